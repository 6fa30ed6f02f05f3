"""Bits and bit fields: the examples of Redis' documentation, the edges, and a model to compare with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.kv.commands.bitfields import NO_TYPE
from quorate.kv.commands.bits import NO_BIT, NO_BIT_TO_FIND, NO_OFFSET
from quorate.kv.replies import NOT_AN_INTEGER, SYNTAX, WRONG_TYPE, Reply
from quorate.kv.values import List
from tests.kv.support import ask, database, events, run


def test_single_bits() -> None:
    db = database()
    assert ask(db, "SETBIT mykey 7 1") == 0
    assert ask(db, "GETBIT mykey 0") == 0
    assert ask(db, "GETBIT mykey 7") == 1
    assert ask(db, "GETBIT mykey 100") == 0
    assert ask(db, "SETBIT mykey 7 0") == 1
    assert ask(db, "GET mykey") == b"\0"
    revision = db.revision
    assert ask(db, "SETBIT mykey 7 0") == 0
    assert db.revision == revision
    assert ask(db, "SETBIT mykey 20 0") == 0
    assert ask(db, "STRLEN mykey") == 3
    assert ask(db, "SETBIT zeros 0 0") == 0
    assert ask(db, "GET zeros") == b"\0"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("SETBIT k -1 0", NO_OFFSET),
        ("SETBIT k x 0", NO_OFFSET),
        (f"SETBIT k {1 << 29} 0", NO_OFFSET),
        ("SETBIT k 0 2", NO_BIT),
        ("SETBIT k 0 x", NO_BIT),
        ("GETBIT k -1", NO_OFFSET),
        ("BITCOUNT s 0", SYNTAX),
        ("BITCOUNT s 0 x", NOT_AN_INTEGER),
        ("BITCOUNT s 0 1 HELLO", SYNTAX),
        ("BITPOS k 2", NO_BIT_TO_FIND),
        ("BITPOS s 1 0 1 BIT more", SYNTAX),
        ("BITOP NOT d a b", "ERR BITOP NOT must be called with a single source key."),
        ("BITOP NAND d a b", SYNTAX),
        ("BITFIELD k GET u64 0", NO_TYPE),
        ("BITFIELD k GET i65 0", NO_TYPE),
        ("BITFIELD k GET u0 0", NO_TYPE),
        ("BITFIELD k GET 8 0", NO_TYPE),
        ("BITFIELD k GET u8 -1", NO_OFFSET),
        ("BITFIELD k GET u8 #x", NO_OFFSET),
        (f"BITFIELD k SET u8 {1 << 29} 1", NO_OFFSET),
        ("BITFIELD k SET u8 0", SYNTAX),
        ("BITFIELD k SET u8 0 x", NOT_AN_INTEGER),
        ("BITFIELD k OVERFLOW MAYBE", "ERR Invalid OVERFLOW type specified"),
        ("BITFIELD_RO k SET u8 0 1", "ERR BITFIELD_RO only supports the GET subcommand"),
    ],
)
def test_what_is_wrong_is_said_in_redis_words(line: str, error: str) -> None:
    db = database()
    ask(db, "SET s text")
    assert ask(db, line) == error


@pytest.mark.parametrize("line", ["BITCOUNT k 0", "BITCOUNT k x y", "BITPOS k 1 x", "BITPOS k 1 0 1 HELLO"])
def test_a_range_is_not_looked_at_where_nothing_is(line: str) -> None:
    assert ask(database(), line) in (0, -1)


@pytest.mark.parametrize(
    "line",
    [
        *("SETBIT l 0 1", "GETBIT l 0", "BITCOUNT l", "BITPOS l 1", "BITOP AND d l", "BITOP NOT d l"),
        *("BITFIELD l GET u8 0", "BITFIELD_RO l GET u8 0"),
    ],
)
def test_other_types_are_refused(line: str) -> None:
    db = database()
    db.put(b"l", List([b"a"]), "rpush")
    assert ask(db, line) == WRONG_TYPE


@pytest.mark.parametrize(
    ("ends", "count"),
    [("", 26), ("0 0", 4), ("1 1", 6), ("1 1 BYTE", 6), ("5 30 BIT", 17), ("3 1", 0), ("-1 -2", 0), ("-1 -1 bit", 0)],
)
def test_counting_bits(ends: str, count: int) -> None:
    db = database()
    ask(db, "SET mykey foobar")
    assert ask(db, f"BITCOUNT mykey {ends}") == count
    assert ask(db, f"BITCOUNT none {ends}") == 0


@pytest.mark.parametrize(
    ("value", "rest", "place"),
    [
        (b"\xff\xf0\x00", "0", 12),
        (b"\x00\xff\xf0", "1 0", 8),
        (b"\x00\xff\xf0", "1 2", 16),
        (b"\x00\xff\xf0", "1 2 -1 BYTE", 16),
        (b"\x00\xff\xf0", "1 7 15 BIT", 8),
        (b"\x00\x00\x00", "1", -1),
        (b"\x00\x00\x00", "1 7 -3 BIT", -1),
        (b"\xff\xff\xff", "0", 24),
        (b"\xff\xff\xff", "0 1", 24),
        (b"\xff\xff\xff", "0 0 -1", -1),
        (b"\xff\xff\xff", "0 0 5 BIT", -1),
        (b"\xff", "0 5", -1),
        (b"", "0", -1),
        (None, "0", 0),
        (None, "1", -1),
    ],
)
def test_finding_a_bit(value: bytes | None, rest: str, place: int) -> None:
    db = database()
    if value is not None:
        run(db, "SET", "k", value)
    assert ask(db, f"BITPOS k {rest}") == place


def test_combining_strings() -> None:
    db = database()
    ask(db, "MSET key1 foobar key2 abcdef")
    assert ask(db, "BITOP AND dest key1 key2") == 6
    assert ask(db, "GET dest") == b"`bc`ab"
    assert ask(db, "SET short a") == b"OK"
    assert ask(db, "BITOP or dest key1 short") == 6
    assert ask(db, "GET dest") == b"goobar"
    assert ask(db, "BITOP XOR dest key1 key1") == 6
    assert ask(db, "GET dest") == bytes(6)
    assert ask(db, "BITOP NOT dest short") == 1
    assert ask(db, "GET dest") == b"\x9e"
    assert ask(db, "BITOP AND dest key1 none") == 6
    assert ask(db, "GET dest") == bytes(6)
    assert ask(db, "BITOP AND dest none") == 0
    assert ask(db, "EXISTS dest") == 0
    revision = db.revision
    assert ask(db, "BITOP AND dest none") == 0
    assert db.revision == revision


def test_fields_of_bits() -> None:
    db = database()
    assert ask(db, "BITFIELD mykey INCRBY i5 100 1 GET u4 0") == [1, 0]
    replies = [ask(db, "BITFIELD k INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1") for _ in range(4)]
    assert replies == [[1, 1], [2, 2], [3, 3], [0, 3]]
    assert ask(db, "BITFIELD k OVERFLOW FAIL INCRBY u2 102 1") == [None]
    assert ask(db, "BITFIELD b SET u8 #1 255 GET u8 8 GET i8 8 GET u8 #0") == [0, 255, -1, 0]
    assert ask(db, "GET b") == b"\0\xff"
    assert ask(db, "BITFIELD_RO b GET i4 #2 GET u16 0") == [-1, 255]
    assert ask(db, "BITFIELD b") == []


@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("SET u8 0 -1 GET u8 0", [0, 255]),
        ("SET u8 0 257 GET u8 0", [0, 1]),
        ("OVERFLOW SAT SET u8 0 257 GET u8 0", [0, 255]),
        ("OVERFLOW SAT INCRBY u8 0 -1", [0]),
        ("OVERFLOW SAT SET i8 0 -1000 GET i8 0", [0, -128]),
        ("OVERFLOW FAIL SET i8 0 128 GET i8 0", [None, 0]),
        ("SET i64 0 9223372036854775807 INCRBY i64 0 1", [0, -(1 << 63)]),
        ("SET i64 0 9223372036854775807 OVERFLOW SAT INCRBY i64 0 1", [0, (1 << 63) - 1]),
        ("INCRBY i8 0 127 INCRBY i8 0 1", [127, -128]),
        ("SET u63 3 -1 GET u63 3 GET u3 0", [0, (1 << 63) - 1, 0]),
    ],
)
def test_overflows(line: str, replies: Reply) -> None:
    assert ask(database(), f"BITFIELD k {line}") == replies


def test_fields_that_are_only_read_change_nothing() -> None:
    db = database()
    assert ask(db, "BITFIELD k GET u8 0 GET i5 100") == [0, 0]
    assert (db.revision, len(db)) == (0, 0)


def test_fields_that_do_not_fit_make_the_string_longer_all_the_same() -> None:
    db = database()
    told = events(db)
    assert ask(db, "BITFIELD k GET u8 0 OVERFLOW FAIL SET u8 8 256") == [0, None]
    assert ask(db, "GET k") == b"\0\0"
    assert told == []


def test_fields_that_stay_as_they_are_are_not_told_of() -> None:
    db = database()
    told = events(db)
    ask(db, "BITFIELD k SET u8 0 0")
    ask(db, "BITFIELD k SET u8 0 0")
    assert told == [("setbit", b"k")]


ENDS = st.integers(-40, 40)


@given(st.binary(max_size=5), ENDS, ENDS, st.sampled_from(["BYTE", "BIT"]), st.sampled_from("01"))
def test_ranges_are_as_in_a_text_of_digits(value: bytes, first: int, last: int, unit: str, bit: str) -> None:
    db = database()
    run(db, "SET", "k", value)
    digits = "".join(f"{byte:08b}" for byte in value)
    size = 1 if unit == "BIT" else 8
    length = len(digits) // size
    crossed = first < 0 and last < 0 and first > last
    low = max(first + length, 0) if first < 0 else first
    high = max(last + length, 0) if last < 0 else last
    end = (high + 1) * size
    count = 0 if crossed else digits[low * size : end].count("1")
    assert run(db, "BITCOUNT", "k", first, last, unit) == count
    assert run(db, "BITPOS", "k", bit, first, last, unit) == digits[:end].find(bit, low * size)


WIDTHS, OFFSETS, INTEGERS = st.integers(1, 63), st.integers(0, 100), st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.binary(max_size=20), st.booleans(), WIDTHS, OFFSETS, INTEGERS)
def test_a_field_holds_what_was_set_and_nothing_else_moves(
    value: bytes, signed: bool, bits: int, offset: int, wanted: int
) -> None:
    db = database()
    run(db, "SET", "k", value)
    kind = f"{'i' if signed else 'u'}{bits}"
    before = "".join(f"{byte:08b}" for byte in value)
    run(db, "BITFIELD", "k", "SET", kind, offset, wanted)
    stored = wanted & (1 << bits) - 1
    changed = run(db, "GET", "k")
    assert isinstance(changed, bytes)
    after = "".join(f"{byte:08b}" for byte in changed)
    filled = before.ljust(len(after), "0")
    assert after == filled[:offset] + f"{stored:0{bits}b}" + filled[offset + bits :]
    read = stored - (1 << bits) if signed and stored >> (bits - 1) else stored
    assert run(db, "BITFIELD_RO", "k", "GET", kind, offset) == [read]
