"""Hashes: what Redis' documentation shows of each command, and the edges."""

from __future__ import annotations

import pytest

from quorate.kv.keyspace import Keyspace
from quorate.kv.replies import NOT_AN_INTEGER, OK, SYNTAX, WRONG_TYPE, Pairs
from quorate.kv.values import Hash
from tests.kv.support import START_US, events, run


@pytest.fixture
def coin(db: Keyspace) -> Keyspace:
    run(db, "HSET", "coin", "heads", "obverse", "tails", "reverse", "edge", "null")
    return db


def test_hset_sets_fields_and_counts_the_new(db: Keyspace) -> None:
    assert run(db, "HSET", "h", "a", "1", "b", "2") == 2
    assert run(db, "HSET", "h", "b", "3", "c", "4", "c", "5") == 1
    assert run(db, "HGETALL", "h") == {b"a": b"1", b"b": b"3", b"c": b"5"}
    assert run(db, "HMSET", "h", "a", "9") == OK
    assert run(db, "HMGET", "h", "a", "none", "c") == [b"9", None, b"5"]
    assert run(db, "HSET", "h", "a", "1", "b") == "ERR wrong number of arguments for 'hset' command"
    assert run(db, "HMSET", "h", "a", "1", "b") == "ERR wrong number of arguments for 'hmset' command"


def test_hsetnx_leaves_what_is_there(db: Keyspace) -> None:
    assert run(db, "HSETNX", "h", "field", "Hello") == 1
    revision = db.revision
    assert run(db, "HSETNX", "h", "field", "World") == 0
    assert (run(db, "HGET", "h", "field"), db.revision) == (b"Hello", revision)


def test_reading(db: Keyspace) -> None:
    run(db, "HSET", "h", "f1", "HelloWorld", "f2", "99")
    assert run(db, "HGET", "h", "f3") is None
    assert (run(db, "HEXISTS", "h", "f1"), run(db, "HEXISTS", "h", "f3")) == (1, 0)
    assert run(db, "HLEN", "h") == 2
    assert [run(db, "HSTRLEN", "h", field) for field in ("f1", "f2", "f3")] == [10, 2, 0]
    assert run(db, "HKEYS", "h") == [b"f1", b"f2"]
    assert run(db, "HVALS", "h") == [b"HelloWorld", b"99"]


def test_what_is_not_there_is_empty(db: Keyspace) -> None:
    assert run(db, "HGET", "h", "f") is None
    assert run(db, "HMGET", "h", "f", "g") == [None, None]
    assert run(db, "HGETALL", "h") == {}
    assert [run(db, "HLEN", "h"), run(db, "HEXISTS", "h", "f"), run(db, "HSTRLEN", "h", "f")] == [0, 0, 0]
    assert [run(db, "HKEYS", "h"), run(db, "HVALS", "h"), run(db, "HRANDFIELD", "h", 3)] == [[], [], []]
    assert run(db, "HDEL", "h", "f") == 0
    assert run(db, "HSCAN", "h", 0) == [b"0", []]


def test_a_hash_without_fields_is_no_more(db: Keyspace) -> None:
    run(db, "HSET", "h", "a", "1", "b", "2")
    assert run(db, "HDEL", "h", "a", "a", "none") == 1
    told = events(db)
    assert run(db, "HDEL", "h", "b", "a") == 1
    assert told == [("hdel", b"h"), ("del", b"h")]
    assert len(db) == 0
    assert db.memory_bytes == 0


def test_bytes_are_those_of_a_fresh_hash(db: Keyspace) -> None:
    run(db, "HSET", "h", "a", "1", "b", "22")
    run(db, "HSET", "h", "a", "longer than before")
    run(db, "HDEL", "h", "b")
    value = db.get(b"h", Hash)
    assert value is not None
    assert value.bytes == Hash(value.fields.items()).bytes


def test_hincrby(db: Keyspace) -> None:
    run(db, "HSET", "h", "field", "5")
    assert [run(db, "HINCRBY", "h", "field", by) for by in (1, -1, -10)] == [6, 5, -5]
    assert run(db, "HINCRBY", "new", "field", 3) == 3
    run(db, "HSET", "h", "text", "x", "most", 2**63 - 1)
    assert run(db, "HINCRBY", "h", "text", 1) == "ERR hash value is not an integer"
    assert run(db, "HINCRBY", "h", "most", 1) == "ERR increment or decrement would overflow"
    assert run(db, "HINCRBY", "h", "field", "1.5") == NOT_AN_INTEGER


def test_hincrbyfloat(db: Keyspace) -> None:
    run(db, "HSET", "h", "field", "10.50")
    assert run(db, "HINCRBYFLOAT", "h", "field", "0.1") == b"10.6"
    assert run(db, "HINCRBYFLOAT", "h", "field", "-5") == b"5.6"
    run(db, "HSET", "h", "field", "5.0e3", "text", "x")
    assert run(db, "HINCRBYFLOAT", "h", "field", "2.0e2") == b"5200"
    assert run(db, "HINCRBYFLOAT", "h", "field", "-5200") == b"0"
    assert run(db, "HINCRBYFLOAT", "h", "text", "1") == "ERR hash value is not a float"
    assert run(db, "HINCRBYFLOAT", "h", "field", "x") == "ERR value is not a valid float"
    assert run(db, "HINCRBYFLOAT", "h", "field", "inf") == "ERR value is NaN or Infinity"
    run(db, "HSET", "h", "field", "1.18e4932")
    assert run(db, "HINCRBYFLOAT", "h", "field", "1.18e4932") == "ERR increment would produce NaN or Infinity"


def test_hrandfield(coin: Keyspace) -> None:
    whole = {b"heads": b"obverse", b"tails": b"reverse", b"edge": b"null"}
    assert run(coin, "HRANDFIELD", "coin") in whole
    assert run(coin, "HRANDFIELD", "coin", 10) == list(whole)
    assert run(coin, "HRANDFIELD", "coin", 0) == []
    assert len(set(run(coin, "HRANDFIELD", "coin", 2))) == 2
    picked = run(coin, "HRANDFIELD", "coin", -5, "WITHVALUES")
    assert isinstance(picked, Pairs)
    assert len(picked) == 5
    assert all(whole[field] == value for field, value in picked)
    assert run(coin, "HRANDFIELD", "none") is None
    assert run(coin, "HRANDFIELD", "coin", 1, "WITHSCORES") == SYNTAX
    assert run(coin, "HRANDFIELD", "coin", 1, "WITHVALUES", "x") == SYNTAX
    assert run(coin, "HRANDFIELD", "coin", "x") == NOT_AN_INTEGER
    assert run(coin, "HRANDFIELD", "coin", -(10**12)).startswith("ERR value is out of range")


def test_the_same_seed_picks_the_same(coin: Keyspace) -> None:
    def picks() -> list[object]:
        coin.random.seed(7)
        return [run(coin, "HRANDFIELD", "coin", count) for count in (1, 2, -9)]

    assert picks() == picks()


def test_hscan_of_a_small_hash_is_one_step(coin: Keyspace) -> None:
    assert run(coin, "HSCAN", "coin", 0, "MATCH", "*s", "COUNT", 1) == [
        b"0",
        [b"heads", b"obverse", b"tails", b"reverse"],
    ]
    assert run(coin, "HSCAN", "coin", 0, "NOVALUES") == [b"0", [b"heads", b"tails", b"edge"]]
    assert run(coin, "HSCAN", "coin", "x") == "ERR invalid cursor"
    assert run(coin, "HSCAN", "coin", 0, "COUNT", 0) == SYNTAX
    assert run(coin, "HSCAN", "coin", 0, "MATCH") == SYNTAX
    assert run(coin, "HSCAN", "coin", 0, "COUNT", "x") == NOT_AN_INTEGER


def test_hscan_gives_what_stays_once_while_others_come_and_go(db: Keyspace) -> None:
    run(db, "HSET", "h", *[text for index in range(5000) for text in (f"stay{index}", "1", f"go{index}", "1")])
    seen: list[bytes] = []
    cursor, steps = b"0", 0
    while cursor != b"0" or not steps:
        cursor, given = run(db, "HSCAN", "h", cursor, "NOVALUES")
        seen += [field for field in given if field.startswith(b"stay")]
        run(db, "HDEL", "h", *[f"go{index}" for index in range(steps * 500, steps * 500 + 500)])
        run(db, "HSET", "h", f"new{steps}", "1")
        steps += 1
    assert steps > 5
    assert sorted(seen) == sorted(b"stay%d" % index for index in range(5000))


COMMANDS = [
    ("HSET", "f", "v"),
    ("HSETNX", "f", "v"),
    ("HGET", "f"),
    ("HMSET", "f", "v"),
    ("HMGET", "f"),
    ("HGETALL",),
    ("HDEL", "f"),
    ("HEXISTS", "f"),
    ("HLEN",),
    ("HSTRLEN", "f"),
    ("HKEYS",),
    ("HVALS",),
    ("HINCRBY", "f", "1"),
    ("HINCRBYFLOAT", "f", "1"),
    ("HRANDFIELD",),
    ("HSCAN", "0"),
]


@pytest.mark.parametrize(("name", "rest"), [(name, rest) for name, *rest in COMMANDS])
def test_a_key_of_another_kind_is_refused(db: Keyspace, name: str, rest: list[str]) -> None:
    db.put(b"k", b"text", "set")
    assert run(db, name, "k", *rest) == WRONG_TYPE


def test_what_is_beyond_its_time_is_not_there(coin: Keyspace) -> None:
    coin.set_deadline(b"coin", START_US + 5, "expire")
    assert run(coin, "HLEN", "coin", time_us=START_US + 5) == 0
    assert run(coin, "HSET", "coin", "a", "b") == 1
    assert run(coin, "HGETALL", "coin") == {b"a": b"b"}
