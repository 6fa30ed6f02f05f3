"""Requests out of bytes: however they are cut into pieces, whatever is in them, and within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.kv.resp.bounds import Bounds, ProtocolError
from quorate.kv.resp.careful import CarefulParser
from quorate.kv.resp.reader import RequestReader

TRICKY = [b"", b"GET", b"\r\n", b"\n", b"*2\r\n", b"*99999999", b"\r\n*12345678\r\n", b"$", b"$-1\r\n", b"%1000000000"]
ARGUMENTS = st.one_of(st.sampled_from(TRICKY), st.binary(max_size=40))
REQUESTS = st.lists(st.lists(ARGUMENTS, min_size=1, max_size=5), min_size=1, max_size=8)


def encoded(request: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(request) + b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in request)


def read(data: bytes, sizes: list[int], bounds: Bounds | None = None) -> list[list[bytes]]:
    reader, found, at, turn = RequestReader(bounds or Bounds()), [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        found += reader.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    return found


@settings(max_examples=400, deadline=None)
@given(REQUESTS, st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_requests_come_out_as_they_went_in(requests: list[list[bytes]], sizes: list[int]) -> None:
    assert read(b"".join(map(encoded, requests)), sizes) == requests


@settings(max_examples=400, deadline=None)
@given(REQUESTS, st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(0, 10_000))
def test_another_reader_goes_on_where_one_stopped(requests: list[list[bytes]], sizes: list[int], seed: int) -> None:
    data, found, at, turn = b"".join(map(encoded, requests)), [], 0, seed
    reader: RequestReader | CarefulParser = RequestReader(Bounds())
    while at < len(data):
        size = sizes[turn % len(sizes)]
        found += reader.feed(data[at : at + size])
        at, turn = at + size, turn + 1
        if turn % 3 == 0:  # as at RESET, and at the password behind it
            if isinstance(reader, RequestReader):
                rest, reader = reader.take_rest(), CarefulParser(Bounds())
            else:
                rest, reader = reader.rest, RequestReader(Bounds())
            found += reader.feed(rest) if rest else ()
    assert found == requests


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_what_people_type_is_read_too(size: int) -> None:
    data = b'PING\r\nset  "a b" x\n\r\n' + encoded([b"GET", b"a b"]) + b"ping\r\n"
    assert read(data, [size]) == [[b"PING"], [b"set", b"a b", b"x"], [b"GET", b"a b"], [b"ping"]]


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("head", [b"POST / HTTP/1.1\r\n", b"PUT / HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_form_that_a_browser_sends_is_no_list_of_commands(head: bytes, size: int) -> None:
    reader, found = RequestReader(Bounds()), []
    data = head + b"\r\nSET key value\r\n"

    def feed() -> None:
        for at in range(0, len(data), size):
            found.extend(reader.feed(data[at : at + size]))

    with pytest.raises(ProtocolError, match="HTTP"):
        feed()
    assert [b"SET", b"key", b"value"] not in found


def test_requests_without_anything_in_them_are_passed_over() -> None:
    assert read(b"*0\r\n" + encoded([b"PING"]) + b"*-1\r\n" + encoded([b"PING"]), [1000]) == [[b"PING"], [b"PING"]]


@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize(
    "data",
    [
        b"*1000000000\r\n",
        b"*99999999999999999999\r\n",
        b"*1\r\n*1000000000\r\n",
        b"*10000\r\n*10000\r\n",
        b"*1\r\n$1\r\na\r\n*2\r\n$1\r\na\r\n*99999\r\n*",
        b"*2\r\n$3\r\nGET\r\n:5\r\n",
        b"*1\r\n$99999999999\r\n",
        b"*1\r\n$-5\r\n",
        b"*x\r\n",
        b"$3\r\nGET\r\n" + b"*1\r\n$1000000000\r\n",
        b'say "what\r\n',
        b"x" * 70_000,
        b"*1\r\n$3\r\nGETTO\r\n",
    ],
    ids=repr,
)
def test_what_is_no_request_or_too_much_ends_the_connection(data: bytes, size: int) -> None:
    with pytest.raises(ProtocolError):
        read(data, [size])


def test_a_stream_without_a_pause_is_held_no_longer_than_it_takes() -> None:
    bounds = Bounds(request_bytes_max=1 << 20)
    request = encoded([b"SET", b"key", b"\r\n" * 500])
    assert len(read(request * 4000, [65_000], bounds)) == 4000


def test_a_request_may_not_be_larger_than_the_bound() -> None:
    bounds = Bounds(bulk_bytes_max=1 << 16, request_bytes_max=1 << 17)
    assert read(encoded([b"SET", b"k", b"x" * 60_000]), [4096], bounds)
    with pytest.raises(ProtocolError, match="too large"):
        read(encoded([b"SET", b"k", b"x" * 60_000, b"y" * 60_000, b"z" * 60_000]), [4096], bounds)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 50))
def test_no_bytes_whatever_do_anything_else(data: bytes, size: int) -> None:
    try:
        found = read(data, [size])
    except ProtocolError:
        return
    assert all(request and all(type(each) is bytes for each in request) for request in found)
