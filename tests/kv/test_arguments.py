"""Reading arguments as C programs do, and writing numbers as they do."""

from __future__ import annotations

import contextlib
from math import inf
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import quorate.kv.commands  # noqa: F401 (declares them)
from quorate.kv.arguments import (
    PATTERN_BYTES_MAX,
    checked_pattern,
    glob,
    lenient_number,
    number,
    scan_cursor,
    shown,
    written,
)
from quorate.kv.commands.extended import add, parse
from quorate.kv.commands.extended import written as written_extended
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import COMMANDS
from quorate.kv.replies import NOT_A_FLOAT, CommandError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"1", 1.0),
        (b"-1.5e3", -1500.0),
        (b".5", 0.5),
        (b"5.", 5.0),
        (b"+Infinity", inf),
        (b"-inf", -inf),
        (b"0x1p3", 8.0),
        (b"-0X.8", -0.5),
        (b"1e-320", 1e-320),
    ],
)
def test_numbers(text: bytes, value: float) -> None:
    assert number(text) == lenient_number(text) == value


@pytest.mark.parametrize(
    "text", [b"", b" 1", b"1 ", b"nan", b"1x", b"1\0", b"0x", b"1e", b"1e400", b"1e-400", b"0x1p5000"]
)
def test_what_is_no_number(text: bytes) -> None:
    with pytest.raises(CommandError, match=NOT_A_FLOAT):
        number(text)


@pytest.mark.parametrize(
    ("text", "value", "within_range"),
    [
        (b"", 0.0, 0.0),
        (b" \t1", 1.0, 1.0),
        (b"1\0x", 1.0, 1.0),
        (b"-1e400", -inf, None),
        (b"0x1p5000", inf, None),
        (b"inf", inf, inf),
        (b"1e-400", 0.0, None),
        (b"1e-320", 1e-320, None),
        (b"0.0e9", 0.0, 0.0),
        (b"1 ", None, None),
        (b" ", None, None),
    ],
)
def test_numbers_at_which_nobody_looks_closely(text: bytes, value: float | None, within_range: float | None) -> None:
    assert lenient_number(text) == value
    assert lenient_number(text, within_range=True) == within_range


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, b"3"),
        (0.1, b"0.10000000000000001"),
        (1e17, b"1e+17"),
        (99999999999999984.0, b"99999999999999984"),
        (1e-7, b"9.9999999999999995e-08"),
        (-inf, b"-inf"),
        (-0.0, b"-0"),
    ],
)
def test_doubles_are_written_with_17_digits(value: float, text: bytes) -> None:
    assert written(value) == text


@given(st.floats(allow_nan=False))
def test_a_written_double_reads_back_as_the_same(value: float) -> None:
    assert number(written(value)) == value


@pytest.mark.parametrize(
    ("text", "cursor"), [(b"", 0), (b"17", 17), (b"+5", 5), (b"-1", (1 << 64) - 1), (b"007", 7), (b"3\0x", 3)]
)
def test_cursors(text: bytes, cursor: int) -> None:
    assert scan_cursor(text) == cursor


@pytest.mark.parametrize("text", [b"x", b" 1", b"1 ", b"-", b"1.0", b"%d" % (1 << 64), b"1" * 50])
def test_what_is_no_cursor(text: bytes) -> None:
    with pytest.raises(CommandError, match="invalid cursor"):
        scan_cursor(text)


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        (b"*", [b"", b"a"], []),
        (b"**", [b"a"], [b""]),
        (b"h?llo", [b"hello"], [b"hllo"]),
        (b"[c-a]", [b"a", b"b", b"c"], [b"d", b"-"]),
        (b"[^a-c]", [b"d"], [b"b"]),
        (b"[\0-\xff]", [b"\0", b"\xff"], [b"a"]),
        (b"[a", [b"a"], [b"[a"]),
        (b"\\*", [b"*"], [b"a"]),
        (b"a\\", [b"a\\"], [b"a"]),
        (b"a*b*c", [b"abc", b"abbcc", b"axbxcbc"], [b"acb", b"abcx", b"xabc"]),
        (b"*ab*ab", [b"abab", b"aabab", b"ababxab"], [b"ab", b"aba", b"abb"]),
        (b"*a*b*b*a*", [b"abba", b"xaxbxbxax"], [b"aba", b"bbaa"]),
        (b"a*[]*", [], [b"a", b"ab"]),
    ],
)
def test_patterns(pattern: bytes, names: list[bytes], others: list[bytes]) -> None:
    like = glob(pattern)
    assert all(like(name) for name in names)
    assert not any(like(name) for name in others)


def test_no_pattern_takes_long_to_say_no() -> None:
    like = glob(b"*a" * 500 + b"*b")  # trying all ways in which that could fit would not end
    assert not like(b"a" * 5000)
    assert like(b"a" * 5000 + b"b")


def test_a_pattern_that_takes_long_to_read_is_refused() -> None:
    assert checked_pattern(b"x" * PATTERN_BYTES_MAX) == b"x" * PATTERN_BYTES_MAX
    with pytest.raises(CommandError, match="at most"):
        checked_pattern(b"x" * (PATTERN_BYTES_MAX + 1))


@pytest.mark.parametrize(
    "request_",
    [
        b"SCAN 0 + MATCH x",
        b"HSCAN k 0 + COUNT 5",
        b"COPY a b + DB 0",
        b"GETEX k + EX 5",
        b"SORT k + GET #",
        b"ZUNION 1 k + WEIGHTS 1",
        b"ZRANGE k 0 1 + LIMIT 0 1",
        b"LCS a b + MINMATCHLEN 1",
    ],
)
def test_many_options_take_no_longer_to_read_than_so_many(request_: bytes) -> None:
    start, options = (part.split() for part in request_.split(b" + "))

    def seconds(times: int) -> float:
        arguments = start + options * times
        spec = COMMANDS[start[0]]
        began = process_time()
        with contextlib.suppress(CommandError):
            spec.check_arguments(arguments)
            spec.handler(Keyspace(), arguments)
        return process_time() - began

    assert seconds(300_000) < 40 * max(seconds(30_000), 0.05)  # 100 times as long if each looked at all others


def test_what_a_client_sent_is_repeated_in_part() -> None:
    assert shown(b"abc\0def") == "abc"
    assert shown(b"\xff") == "\N{REPLACEMENT CHARACTER}"
    assert len(shown(b"x" * 1000)) == 128


@pytest.mark.parametrize(
    ("first", "second", "total"),
    [
        (b"0.1", b"0.2", b"0.3"),
        (b"100000.1", b"0.1", b"100000.20000000000000284"),
        (b"18446744073709551615", b"1", b"18446744073709551616"),
        (b"36893488147419103232", b"1", b"36893488147419103232"),
        (b"1e-18", b"0", b"0"),
        (b"-1e-17", b"0", b"-0.00000000000000001"),
        (b"3.6e-4951", b"3.6e-4951", b"0"),
    ],
)
def test_extended_sums(first: bytes, second: bytes, total: bytes) -> None:
    assert written_extended(add(parse(first, ""), parse(second, ""))) == total


@pytest.mark.parametrize("text", [b"1.19e4932", b"1e-4951", b"1e99999999999999999999", b"0x1p16384", b"nan", b""])
def test_what_is_no_extended_number(text: bytes) -> None:
    with pytest.raises(CommandError, match=NOT_A_FLOAT):
        parse(text, NOT_A_FLOAT)
