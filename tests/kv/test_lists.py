"""Lists: what Redis' documentation shows of each command, and the edges."""

from __future__ import annotations

import pytest

from quorate.kv.keyspace import Keyspace
from quorate.kv.replies import NOT_AN_INTEGER, NULL_ARRAY, OK, SYNTAX, WRONG_TYPE
from quorate.kv.values import List
from tests.kv.support import events, run

NOT_POSITIVE = "ERR value is out of range, must be positive"


def held(db: Keyspace, key: str = "l") -> list[bytes]:
    """All elements, after a look at whether their bytes are counted right."""
    value = db.get(key.encode(), List)
    assert value is None or value.bytes == List(value.elements).bytes
    elements: list[bytes] = run(db, "LRANGE", key, 0, -1)
    return elements


def test_pushing_at_both_ends(db: Keyspace) -> None:
    assert run(db, "LPUSH", "l", "c", "b", "a") == 3
    assert run(db, "RPUSH", "l", "d", "e") == 5
    assert held(db) == [b"a", b"b", b"c", b"d", b"e"]
    assert run(db, "LLEN", "l") == 5
    assert run(db, "LPUSHX", "l", "z") == 6
    assert run(db, "RPUSHX", "l", "z") == 7
    assert run(db, "LPUSHX", "none", "z") == 0
    assert run(db, "RPUSHX", "none", "z") == 0
    assert run(db, "LLEN", "none") == 0


def test_popping(db: Keyspace) -> None:
    run(db, "RPUSH", "l", "one", "two", "three", "four", "five")
    assert run(db, "LPOP", "l") == b"one"
    assert run(db, "LPOP", "l", 2) == [b"two", b"three"]
    assert run(db, "RPOP", "l") == b"five"
    assert run(db, "RPOP", "l", 0) == []
    assert held(db) == [b"four"]
    told = events(db)
    assert run(db, "RPOP", "l", 9) == [b"four"]
    assert told == [("rpop", b"l"), ("del", b"l")]
    assert run(db, "LPOP", "l") is None
    assert run(db, "LPOP", "l", 1) is NULL_ARRAY
    assert run(db, "LPOP", "l", -1) == NOT_POSITIVE
    assert run(db, "LPOP", "l", "x") == NOT_POSITIVE
    assert run(db, "LPOP", "l", 1, 2) == "ERR wrong number of arguments for 'lpop' command"


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0, 0, "a"),
        (-3, 2, "abc"),
        (-100, 100, "abc"),
        (5, 10, ""),
        (1, -1, "bc"),
        (-2, -2, "b"),
        (2, 1, ""),
        (0, -9, ""),
    ],
)
def test_lrange(db: Keyspace, start: int, stop: int, expected: str) -> None:
    run(db, "RPUSH", "l", *"abc")
    assert run(db, "LRANGE", "l", start, stop) == [letter.encode() for letter in expected]
    assert run(db, "LTRIM", "l", start, stop) == OK
    assert held(db) == [letter.encode() for letter in expected]
    assert (b"l" in db.items) is bool(expected)


def test_lrange_is_right_from_either_end(db: Keyspace) -> None:
    numbers = [b"%d" % index for index in range(100)]
    run(db, "RPUSH", "l", *numbers)
    for start, stop in [(0, 9), (90, 99), (40, 70), (98, 98), (1, 1)]:
        assert run(db, "LRANGE", "l", start, stop) == numbers[start : stop + 1]
    assert run(db, "LRANGE", "l", "x", 1) == NOT_AN_INTEGER


def test_a_trim_that_leaves_all_is_no_change(db: Keyspace) -> None:
    run(db, "RPUSH", "l", *"abc")
    revision = db.revision
    assert run(db, "LTRIM", "l", 0, -1) == OK
    assert run(db, "LTRIM", "none", 0, 0) == OK
    assert db.revision == revision


def test_lindex_and_lset(db: Keyspace) -> None:
    run(db, "RPUSH", "l", "one", "two", "three")
    assert [run(db, "LINDEX", "l", index) for index in (0, -1, 3, -4)] == [b"one", b"three", None, None]
    assert run(db, "LSET", "l", 0, "four") == OK
    assert run(db, "LSET", "l", -2, "five") == OK
    assert held(db) == [b"four", b"five", b"three"]
    assert run(db, "LSET", "l", 3, "x") == "ERR index out of range"
    assert run(db, "LSET", "none", 0, "x") == "ERR no such key"
    assert run(db, "LSET", "l", "x", "x") == NOT_AN_INTEGER
    assert run(db, "LINDEX", "none", 0) is None


@pytest.mark.parametrize(
    ("count", "removed", "left"), [(-2, 2, "habc"), (2, 2, "abch"), (0, 3, "abc"), (1, 1, "abhch"), (-9, 3, "abc")]
)
def test_lrem(db: Keyspace, count: int, removed: int, left: str) -> None:
    run(db, "RPUSH", "l", *"habhch")
    assert run(db, "LREM", "l", count, "h") == removed
    assert held(db) == [letter.encode() for letter in left]
    revision = db.revision
    assert run(db, "LREM", "l", 0, "none") == 0
    assert db.revision == revision
    assert run(db, "LREM", "none", 0, "a") == 0


def test_linsert(db: Keyspace) -> None:
    run(db, "RPUSH", "l", "Hello", "World")
    assert run(db, "LINSERT", "l", "BEFORE", "World", "There") == 3
    assert run(db, "LINSERT", "l", "after", "World", "!") == 4
    assert held(db) == [b"Hello", b"There", b"World", b"!"]
    assert run(db, "LINSERT", "l", "AFTER", "none", "x") == -1
    assert run(db, "LINSERT", "none", "AFTER", "a", "x") == 0
    assert run(db, "LINSERT", "l", "BESIDE", "a", "x") == SYNTAX


def test_lpos(db: Keyspace) -> None:
    run(db, "RPUSH", "l", *"abc123cc")
    assert run(db, "LPOS", "l", "c") == 2
    assert run(db, "LPOS", "l", "c", "RANK", 2) == 6
    assert run(db, "LPOS", "l", "c", "RANK", -1) == 7
    assert run(db, "LPOS", "l", "c", "COUNT", 2) == [2, 6]
    assert run(db, "LPOS", "l", "c", "RANK", -1, "COUNT", 2) == [7, 6]
    assert run(db, "LPOS", "l", "c", "COUNT", 0) == [2, 6, 7]
    assert run(db, "LPOS", "l", "c", "COUNT", 0, "MAXLEN", 7) == [2, 6]
    assert run(db, "LPOS", "l", "c", "MAXLEN", 2) is None
    assert run(db, "LPOS", "l", "c", "RANK", 9) is None
    assert run(db, "LPOS", "l", "c", "RANK", 1 - 2**63) is None
    assert run(db, "LPOS", "none", "c") is None
    assert run(db, "LPOS", "none", "c", "COUNT", 1) == []


def test_lpos_refuses_what_makes_no_sense(db: Keyspace) -> None:
    assert run(db, "LPOS", "l", "c", "RANK", 0).startswith("ERR RANK can't be zero: use 1 to start")
    assert run(db, "LPOS", "l", "c", "COUNT", -1) == "ERR COUNT can't be negative"
    assert run(db, "LPOS", "l", "c", "MAXLEN", -1) == "ERR MAXLEN can't be negative"
    assert run(db, "LPOS", "l", "c", "RANK") == SYNTAX
    assert run(db, "LPOS", "l", "c", "PLACE", 1) == SYNTAX


def test_lmove(db: Keyspace) -> None:
    run(db, "RPUSH", "l", "one", "two", "three")
    assert run(db, "LMOVE", "l", "other", "RIGHT", "LEFT") == b"three"
    assert run(db, "LMOVE", "l", "other", "left", "right") == b"one"
    assert (held(db), held(db, "other")) == ([b"two"], [b"three", b"one"])
    assert run(db, "RPOPLPUSH", "l", "other") == b"two"
    assert (held(db), held(db, "other")) == ([], [b"two", b"three", b"one"])
    assert b"l" not in db.items
    assert run(db, "LMOVE", "l", "other", "LEFT", "LEFT") is None
    assert run(db, "LMOVE", "l", "other", "LEFT", "UP") == SYNTAX


def test_a_list_rotates_onto_itself(db: Keyspace) -> None:
    run(db, "RPUSH", "l", "one", "two", "three")
    assert run(db, "RPOPLPUSH", "l", "l") == b"three"
    assert held(db) == [b"three", b"one", b"two"]
    run(db, "RPUSH", "alone", "a")
    told = events(db)
    assert run(db, "LMOVE", "alone", "alone", "LEFT", "RIGHT") == b"a"
    assert held(db, "alone") == [b"a"]
    assert told == [("rpush", b"alone"), ("lpop", b"alone")]


def test_a_move_to_another_kind_takes_nothing(db: Keyspace) -> None:
    run(db, "RPUSH", "l", "one")
    db.put(b"text", b"x", "set")
    assert run(db, "RPOPLPUSH", "l", "text") == WRONG_TYPE
    assert run(db, "LMOVE", "text", "l", "LEFT", "LEFT") == WRONG_TYPE
    assert held(db) == [b"one"]


def test_lmpop(db: Keyspace) -> None:
    assert run(db, "LMPOP", 2, "none1", "none2", "LEFT", "COUNT", 10) is NULL_ARRAY
    run(db, "RPUSH", "l", *"abcde")
    run(db, "RPUSH", "m", *"xy")
    assert run(db, "LMPOP", 1, "l", "LEFT") == [b"l", [b"a"]]
    assert run(db, "LMPOP", 2, "l", "m", "RIGHT", "COUNT", 10) == [b"l", [b"e", b"d", b"c", b"b"]]
    assert run(db, "LMPOP", 2, "l", "m", "right", "count", 1) == [b"m", [b"y"]]
    assert run(db, "LMPOP", 0, "l", "LEFT") == "ERR numkeys should be greater than 0"
    assert run(db, "LMPOP", "x", "l", "LEFT") == "ERR numkeys should be greater than 0"
    assert run(db, "LMPOP", 1, "l", "LEFT", "COUNT", 0) == "ERR count should be greater than 0"
    assert run(db, "LMPOP", 1, "l", "UP") == SYNTAX
    assert run(db, "LMPOP", 2, "l", "LEFT") == SYNTAX
    assert run(db, "LMPOP", 1, "l", "LEFT", "COUNT") == SYNTAX


COMMANDS = [
    ("LPUSH", "a"),
    ("RPUSH", "a"),
    ("LPUSHX", "a"),
    ("RPUSHX", "a"),
    ("LPOP",),
    ("RPOP", "2"),
    ("LLEN",),
    ("LRANGE", "0", "1"),
    ("LINDEX", "0"),
    ("LSET", "0", "a"),
    ("LREM", "0", "a"),
    ("LTRIM", "0", "0"),
    ("LINSERT", "BEFORE", "a", "b"),
    ("LPOS", "a"),
    ("LMOVE", "k2", "LEFT", "LEFT"),
    ("RPOPLPUSH", "k2"),
]


@pytest.mark.parametrize(("name", "rest"), [(name, rest) for name, *rest in COMMANDS])
def test_a_key_of_another_kind_is_refused(db: Keyspace, name: str, rest: list[str]) -> None:
    db.put(b"k", b"text", "set")
    assert run(db, name, "k", *rest) == WRONG_TYPE
    assert run(db, "LMPOP", "1", "k", "LEFT") == WRONG_TYPE
