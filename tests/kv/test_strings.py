"""Strings and counters: the examples of Redis' documentation, and what lies at the edges."""

from __future__ import annotations

import pytest

from quorate.kv.commands.strings import STRING_BYTES_MAX, TOO_LONG
from quorate.kv.replies import NOT_A_FLOAT, NOT_AN_INTEGER, OK, SYNTAX, WRONG_TYPE, Reply
from quorate.kv.values import List
from tests.kv.support import SECOND_US, START_US, ask, database, events, run

LARGEST = (1 << 63) - 1


def test_a_value_is_set_and_read() -> None:
    db = database()
    assert ask(db, "SET mykey Hello") == OK
    assert ask(db, "GET mykey") == b"Hello"
    assert ask(db, "GET nonexisting") is None
    assert run(db, "SET", b"\0\xff\r\n", b"") == OK
    assert run(db, "GET", b"\0\xff\r\n") == b""


def test_a_value_is_gone_when_its_time_is_over_in_the_log() -> None:
    db = database()
    assert ask(db, 'SET anotherkey "will expire in a minute" EX 60') == OK
    assert ask(db, "GET anotherkey", START_US + 60 * SECOND_US - 1) == b"will expire in a minute"
    assert ask(db, "GET anotherkey", START_US + 60 * SECOND_US) is None


@pytest.mark.parametrize(
    ("option", "pttl"),
    [
        ("EX 10", 10_000),
        ("px 10", 10),
        (f"EXAT {START_US // SECOND_US + 5}", 5000),
        (f"PXAT {START_US // 1000 + 5}", 5),
        ("", -1),
    ],
)
def test_setting_gives_a_deadline_or_takes_it_away(option: str, pttl: int) -> None:
    db = database()
    ask(db, "SET k v EX 100")
    assert ask(db, f"SET k v {option}") == OK
    assert ask(db, "PTTL k") == pttl


def test_keepttl_keeps_the_deadline() -> None:
    db = database()
    ask(db, "SET k v EX 100")
    assert ask(db, "SET k w KEEPTTL") == OK
    assert ask(db, "TTL k") == 100


def test_a_deadline_that_has_passed_leaves_nothing() -> None:
    db = database()
    ask(db, "SET k v")
    assert ask(db, "SET k w EXAT 1") == OK
    assert ask(db, "EXISTS k") == 0
    assert len(db) == 0


def test_conditions_of_set() -> None:
    db = database()
    assert ask(db, "SET k v XX") is None
    assert ask(db, "SET k v NX") == OK
    revision = db.revision
    assert ask(db, "SET k w NX") is None
    assert db.revision == revision
    assert ask(db, "SET k w XX") == OK
    assert ask(db, "GET k") == b"w"


def test_set_with_get_returns_what_was_there() -> None:
    db = database()
    assert ask(db, "SET k a GET") is None
    assert ask(db, "SET k b GET") == b"a"
    assert ask(db, "SET k c NX GET") == b"b"
    assert ask(db, "SET k c XX GET EX 5") == b"b"
    assert ask(db, "SET none c XX GET") is None
    assert ask(db, "EXISTS none") == 0
    db.put(b"list", List([b"a"]), "rpush")
    assert ask(db, "SET list v GET") == WRONG_TYPE
    assert ask(db, "SET list v") == OK


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("SET k", "ERR wrong number of arguments for 'set' command"),
        ("SET k v BOGUS", SYNTAX),
        ("SET k v EX", SYNTAX),
        ("SET k v NX XX", SYNTAX),
        ("SET k v EX 1 PX 1", SYNTAX),
        ("SET k v EX 1 KEEPTTL", SYNTAX),
        ("SET k v KEEPTTL EX 1", SYNTAX),
        ("SET k v EX one", NOT_AN_INTEGER),
        ("SET k v EX 0", "ERR invalid expire time in 'set' command"),
        ("SET k v PX -1", "ERR invalid expire time in 'set' command"),
        (f"SET k v EX {LARGEST}", "ERR invalid expire time in 'set' command"),
        ("SETEX k 0 v", "ERR invalid expire time in 'setex' command"),
        ("PSETEX k -5 v", "ERR invalid expire time in 'psetex' command"),
        ("SETEX k x v", NOT_AN_INTEGER),
        ("GETEX k EX 0", "ERR invalid expire time in 'getex' command"),
        ("GETEX k PERSIST EX 5", SYNTAX),
        ("GETEX k EX", SYNTAX),
        ("MSET a 1 b", "ERR wrong number of arguments for 'mset' command"),
        ("MSETNX a 1 b", "ERR wrong number of arguments for 'msetnx' command"),
        ("INCRBY k 1.5", NOT_AN_INTEGER),
        ("INCRBY k +1", NOT_AN_INTEGER),
        ("INCRBY k 01", NOT_AN_INTEGER),
        ("INCRBY k 9223372036854775808", NOT_AN_INTEGER),
        ("DECRBY k -9223372036854775808", "ERR decrement would overflow"),
        ("INCRBYFLOAT k x", NOT_A_FLOAT),
        ("INCRBYFLOAT k nan", NOT_A_FLOAT),
        ("INCRBYFLOAT k 1e5000", NOT_A_FLOAT),
        ("INCRBYFLOAT k inf", "ERR increment would produce NaN or Infinity"),
        ("SETRANGE k -1 v", "ERR offset is out of range"),
        (f"SETRANGE k {STRING_BYTES_MAX} v", TOO_LONG),
        ("GETRANGE k 0 x", NOT_AN_INTEGER),
    ],
)
def test_what_is_wrong_is_said_in_redis_words(line: str, error: str) -> None:
    assert ask(database(), line) == error


@pytest.mark.parametrize(
    "line",
    [
        *("GET l", "GETDEL l", "GETEX l", "GETSET l v", "INCR l", "DECRBY l 2", "INCRBYFLOAT l 1", "APPEND l v"),
        *("STRLEN l", "GETRANGE l 0 1", "SUBSTR l 0 1", "SETRANGE l 0 v", "SETRANGE l 0 ''"),
    ],
)
def test_other_types_are_refused(line: str) -> None:
    db = database()
    db.put(b"l", List([b"a"]), "rpush")
    assert ask(db, line) == WRONG_TYPE


def test_reading_with_a_change() -> None:
    db = database()
    ask(db, "SET k Hello")
    assert ask(db, "GETEX k") == b"Hello"
    assert ask(db, "GETEX k EX 60") == b"Hello"
    assert ask(db, "TTL k") == 60
    assert ask(db, "GETEX k PERSIST") == b"Hello"
    assert ask(db, "TTL k") == -1
    revision = db.revision
    assert ask(db, "GETEX k PERSIST") == b"Hello"
    assert ask(db, "GETEX k") == b"Hello"
    assert ask(db, "GETEX none EX 5") is None
    assert ask(db, "GETDEL none") is None
    assert db.revision == revision
    assert ask(db, "GETSET k World") == b"Hello"
    assert ask(db, "GETDEL k") == b"World"
    ask(db, "SET k again")
    assert ask(db, "GETEX k PXAT 1") == b"again"
    assert ask(db, "EXISTS k") == 0


def test_the_older_ways_to_set() -> None:
    db = database()
    assert ask(db, "SETNX mykey Hello") == 1
    assert ask(db, "SETNX mykey World") == 0
    assert ask(db, "SETEX mykey 10 World") == OK
    assert ask(db, "TTL mykey") == 10
    assert ask(db, "PSETEX mykey 1000 Hello") == OK
    assert ask(db, "PTTL mykey") == 1000
    assert ask(db, "GETSET mykey World") == b"Hello"
    assert ask(db, "TTL mykey") == -1


def test_many_at_once() -> None:
    db = database()
    assert ask(db, "MSET key1 Hello key2 World") == OK
    db.put(b"list", List([b"a"]), "rpush")
    assert ask(db, "MGET key1 list key2 none") == [b"Hello", None, b"World", None]
    assert ask(db, "MSETNX key2 new key3 there") == 0
    assert ask(db, "MSETNX key3 a key3 b") == 1
    assert ask(db, "MGET key2 key3") == [b"World", b"b"]


def test_counting() -> None:
    db = database()
    ask(db, "SET mykey 10 EX 100")
    lines = ("INCR mykey", "DECR mykey", "INCRBY mykey 5", "DECRBY mykey 3")
    assert [ask(db, line) for line in lines] == [11, 10, 15, 12]
    assert ask(db, "GET mykey") == b"12"
    assert ask(db, "TTL mykey") == 100
    assert ask(db, "DECR fresh") == -1
    for text in ("234293482390480948029348230948", "abc", "1.0", " 1", "1 ", "", "-0"):
        run(db, "SET", "mykey", text)
        assert ask(db, "INCR mykey") == NOT_AN_INTEGER


def test_integers_end_at_64_bits() -> None:
    db = database()
    run(db, "SET", "k", LARGEST)
    assert ask(db, "INCR k") == "ERR increment or decrement would overflow"
    assert ask(db, "DECRBY k 9223372036854775807") == 0
    assert ask(db, "INCRBY k -9223372036854775808") == -LARGEST - 1
    assert ask(db, "DECR k") == "ERR increment or decrement would overflow"


@pytest.mark.parametrize(
    ("start", "increment", "result"),
    [
        ("10.50", "0.1", b"10.6"),
        ("10.6", "-5", b"5.6"),
        ("5.0e3", "2.0e2", b"5200"),
        ("0.1", "0.2", b"0.3"),
        ("1", "-1", b"0"),
        ("-0.0", "-0.0", b"0"),
        ("-1e-300", "0", b"0"),
        ("3", "1.", b"4"),
        ("1000.1", "0.1", b"1000.19999999999999996"),
        ("1e19", ".5", b"10000000000000000000"),
        ("0x10", "0x.8p1", b"17"),
        ("100", "0", b"100"),
        ("1.18e4932", "1.18e4932", "ERR increment would produce NaN or Infinity"),
        ("inf", "1", "ERR increment would produce NaN or Infinity"),
        ("abc", "1", NOT_A_FLOAT),
        ("", "1", NOT_A_FLOAT),
    ],
)
def test_decimals_are_added_as_long_doubles(start: str, increment: str, result: Reply | str) -> None:
    db = database()
    run(db, "SET", "k", start)
    assert run(db, "INCRBYFLOAT", "k", increment) == result


def test_appending() -> None:
    db = database()
    assert ask(db, "APPEND mykey Hello") == 5
    assert ask(db, "APPEND mykey ' World'") == 11
    assert ask(db, "GET mykey") == b"Hello World"
    revision = db.revision
    assert ask(db, "APPEND mykey ''") == 11
    assert db.revision == revision
    assert ask(db, "STRLEN mykey") == 11
    assert ask(db, "STRLEN none") == 0
    db.put(b"large", bytes(STRING_BYTES_MAX), "set")
    assert ask(db, "APPEND large x") == TOO_LONG


@pytest.mark.parametrize(
    ("ends", "part"),
    [
        ("0 3", b"This"),
        ("-3 -1", b"ing"),
        ("0 -1", b"This is a string"),
        ("10 100", b"string"),
        ("5 3", b""),
        ("100 200", b""),
        ("-1 -3", b""),
        ("-100 3", b"This"),
        ("0 -100", b"T"),
    ],
)
def test_part_of_a_string(ends: str, part: bytes) -> None:
    db = database()
    ask(db, "SET mykey 'This is a string'")
    assert ask(db, f"GETRANGE mykey {ends}") == part
    assert ask(db, f"SUBSTR mykey {ends}") == part
    assert ask(db, f"GETRANGE none {ends}") == b""


def test_overwriting_part_of_a_string() -> None:
    db = database()
    ask(db, "SET key1 'Hello World' EX 10")
    assert ask(db, "SETRANGE key1 6 Redis") == 11
    assert ask(db, "GET key1") == b"Hello Redis"
    assert ask(db, "TTL key1") == 10
    assert ask(db, "SETRANGE key2 6 Redis") == 11
    assert ask(db, "GET key2") == b"\0\0\0\0\0\0Redis"
    assert ask(db, "SETRANGE key1 2 ''") == 11
    assert ask(db, "SETRANGE none 2 ''") == 0
    assert ask(db, "EXISTS none") == 0


def test_what_happened_is_told_by_redis_names() -> None:
    db = database()
    told = events(db)
    for line in (
        *("SET k 1", "SET k 1 EX 5", "INCR k", "INCRBYFLOAT k 1", "APPEND k 0", "SETRANGE k 0 1", "GETEX k EX 9"),
        *("GETEX k PERSIST", "GETDEL k", "MSET a 1 b 2"),
    ):
        ask(db, line)
    names = ["set", "set", "expire", "incrby", "incrbyfloat", "append", "setrange", "expire", "persist", "del"]
    assert told == [*((name, b"k") for name in names), ("set", b"a"), ("set", b"b")]
