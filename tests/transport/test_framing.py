"""Frames: any chopping gives the same bodies, and no damage passes for a frame."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.errors import FrameError
from quorate.transport.framing import HEADER_BYTES, FrameSplitter, encode_frame, encode_frame_of

BODIES = st.lists(st.binary(max_size=200), max_size=12)


def split(*chunks: bytes, frame_bytes_max: int = 1000) -> list[bytes]:
    splitter = FrameSplitter(frame_bytes_max)
    return [body for chunk in chunks for body in splitter.feed(chunk)]


@given(BODIES, st.data())
def test_any_chunking_gives_the_same_bodies(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(encode_frame, bodies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert split(*chunks) == bodies


@given(BODIES)
def test_one_byte_at_a_time(bodies: list[bytes]) -> None:
    stream = b"".join(map(encode_frame, bodies))
    assert split(*(stream[i : i + 1] for i in range(len(stream)))) == bodies


def test_what_is_incomplete_is_held_and_nothing_else() -> None:
    splitter = FrameSplitter(1000)
    frame = encode_frame(b"body")
    for size in range(len(frame)):
        assert list(splitter.feed(frame + frame[:size])) == [b"body"]
        assert splitter.partial_bytes == size
        assert list(splitter.feed(frame[size:])) == [b"body"]
        assert splitter.partial_bytes == 0


def test_a_large_frame_in_small_chunks_is_copied_a_bounded_number_of_times() -> None:
    # A splitter that joined its buffer for every chunk would copy 16 GiB here and be killed by the time limit.
    body = bytes(8 * 1024 * 1024)
    frame = encode_frame(body)
    chunks = [frame[i : i + 4096] for i in range(0, len(frame), 4096)]
    assert split(*chunks, frame_bytes_max=len(frame)) == [body]


def test_every_truncation_yields_nothing() -> None:
    frame = encode_frame(b"some body")
    for size in range(len(frame)):
        assert split(frame[:size]) == []


@given(st.binary(min_size=1, max_size=40), st.data())
def test_a_flipped_bit_never_yields_a_body(body: bytes, data: st.DataObject) -> None:
    frame = bytearray(encode_frame(body))
    bit = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[bit // 8] ^= 1 << bit % 8
    splitter = FrameSplitter(1000)
    try:
        assert list(splitter.feed(bytes(frame))) == []  # a longer length: it waits for more …
        assert list(splitter.feed(bytes(1000))) == []  # … and is found out when that comes
    except FrameError:
        pass
    else:
        pytest.fail("the damage was not noticed")


@pytest.mark.parametrize("length", [0, 1, 3, 997, 2**31, 2**32 - 1])
def test_an_impossible_length_is_refused_before_anything_is_held(length: int) -> None:
    splitter = FrameSplitter(1000)
    with pytest.raises(FrameError, match="allowed are 8 to 1000"):
        list(splitter.feed(struct.pack(">II", length, 0)))
    assert splitter.partial_bytes == 0


def test_the_limit_counts_the_whole_frame() -> None:
    assert split(encode_frame(bytes(92)), frame_bytes_max=92 + HEADER_BYTES) == [bytes(92)]
    with pytest.raises(FrameError):
        split(encode_frame(bytes(93)), frame_bytes_max=92 + HEADER_BYTES)


def test_bodies_before_the_damage_are_delivered() -> None:
    splitter = FrameSplitter(1000)
    bodies = splitter.feed(encode_frame(b"good") + bytes(50))
    assert next(bodies) == b"good"
    with pytest.raises(FrameError):
        next(bodies)


def test_the_limit_may_be_raised_between_two_frames_of_one_chunk() -> None:
    splitter = FrameSplitter(20)
    bodies = splitter.feed(encode_frame(b"hello") + encode_frame(bytes(500)))
    assert next(bodies) == b"hello"
    splitter.frame_bytes_max = 1000
    assert next(bodies) == bytes(500)


def test_a_frame_in_pieces_is_the_same_frame() -> None:
    pieces = [b"one", b"", b"two" * 1000]
    assert b"".join(encode_frame_of(pieces)) == encode_frame(b"".join(pieces))
    assert encode_frame_of(pieces)[2] is pieces[2]
