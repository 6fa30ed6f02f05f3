"""Sets: what Redis' documentation shows of each command, and the edges."""

from __future__ import annotations

import pytest

from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import COMMANDS
from quorate.kv.replies import SYNTAX, WRONG_TYPE, SetReply
from quorate.kv.values import Set
from tests.kv.support import database, events, run


@pytest.fixture
def three(db: Keyspace) -> Keyspace:
    """The sets that the documentation of SDIFF, SINTER and SUNION has."""
    run(db, "SADD", "key1", *"abcd")
    run(db, "SADD", "key2", "c")
    run(db, "SADD", "key3", *"ace")
    return db


def test_adding_and_removing(db: Keyspace) -> None:
    assert run(db, "SADD", "s", "one", "two", "two") == 2
    revision = db.revision
    assert run(db, "SADD", "s", "one") == 0
    assert run(db, "SREM", "s", "none") == 0
    assert db.revision == revision
    assert run(db, "SCARD", "s") == 2
    assert run(db, "SREM", "s", "one", "one", "none") == 1
    members = run(db, "SMEMBERS", "s")
    assert (type(members), members) == (SetReply, [b"two"])
    told = events(db)
    assert run(db, "SREM", "s", "two") == 1
    assert told == [("srem", b"s"), ("del", b"s")]
    assert (len(db), db.memory_bytes) == (0, 0)


def test_membership(db: Keyspace) -> None:
    run(db, "SADD", "s", "one")
    assert [run(db, "SISMEMBER", "s", member) for member in ("one", "two")] == [1, 0]
    assert run(db, "SMISMEMBER", "s", "one", "two") == [1, 0]
    assert run(db, "SMISMEMBER", "none", "one", "two") == [0, 0]
    assert run(db, "SMEMBERS", "none") == []
    assert run(db, "SCARD", "none") == 0


def test_spop(db: Keyspace) -> None:
    run(db, "SADD", "s", *"abcdef")
    one = run(db, "SPOP", "s")
    assert one in b"abcdef"
    two = run(db, "SPOP", "s", 2)
    assert (type(two), len(set(two))) == (SetReply, 2)
    assert run(db, "SPOP", "s", 0) == []
    told = events(db)
    assert sorted([one, *two, *run(db, "SPOP", "s", 10)]) == [b"a", b"b", b"c", b"d", b"e", b"f"]
    assert told == [("spop", b"s"), ("del", b"s")]
    assert run(db, "SPOP", "s") is None
    assert run(db, "SPOP", "s", 3) == []
    assert run(db, "SPOP", "s", -1) == "ERR value is out of range, must be positive"
    assert run(db, "SPOP", "s", 1, 2) == SYNTAX


def test_srandmember_leaves_the_set_as_it_is(db: Keyspace) -> None:
    run(db, "SADD", "s", "one", "two", "three")
    assert run(db, "SRANDMEMBER", "s") in (b"one", b"two", b"three")
    assert len(set(run(db, "SRANDMEMBER", "s", 2))) == 2
    assert len(run(db, "SRANDMEMBER", "s", -5)) == 5
    assert run(db, "SRANDMEMBER", "s", 9) == [b"one", b"two", b"three"]
    assert run(db, "SRANDMEMBER", "none") is None
    assert run(db, "SRANDMEMBER", "none", 2) == []
    assert run(db, "SRANDMEMBER", "s", "x") == "ERR value is not an integer or out of range"
    assert run(db, "SRANDMEMBER", "s", 1, 2) == SYNTAX


def test_picks_are_about_equally_likely_and_given_by_the_seed() -> None:
    def popped() -> list[list[bytes]]:
        db = database()
        db.random.seed(1)
        rounds = []
        for _ in range(300):
            run(db, "SADD", "s", *range(10))
            rounds.append(run(db, "SPOP", "s", 3))
            run(db, "SPOP", "s", 10)
        return rounds

    rounds = popped()
    assert rounds == popped()
    counts = [sum(b"%d" % member in picked for picked in rounds) for member in range(10)]
    assert min(counts) > 60
    assert max(counts) < 120


def test_smove(db: Keyspace) -> None:
    run(db, "SADD", "s", "one", "two")
    run(db, "SADD", "other", "three")
    assert run(db, "SMOVE", "s", "other", "two") == 1
    assert (run(db, "SMEMBERS", "s"), run(db, "SMEMBERS", "other")) == ([b"one"], [b"three", b"two"])
    revision = db.revision
    assert run(db, "SMOVE", "s", "other", "none") == 0
    assert run(db, "SMOVE", "none", "other", "one") == 0
    assert run(db, "SMOVE", "s", "s", "one") == 1
    assert db.revision == revision
    assert run(db, "SMOVE", "s", "new", "one") == 1
    assert b"s" not in db.items
    db.put(b"text", b"x", "set")
    assert run(db, "SMOVE", "new", "text", "one") == WRONG_TYPE
    assert run(db, "SMEMBERS", "new") == [b"one"]


def test_union_intersection_and_difference(three: Keyspace) -> None:
    assert run(three, "SUNION", "key1", "key2", "key3") == [b"a", b"b", b"c", b"d", b"e"]
    assert run(three, "SINTER", "key1", "key2", "key3") == [b"c"]
    assert run(three, "SDIFF", "key1", "key2", "key3") == [b"b", b"d"]
    assert type(run(three, "SUNION", "key1")) is SetReply
    assert run(three, "SUNION", "none", "key2") == [b"c"]
    assert run(three, "SINTER", "none", "key2") == []
    assert run(three, "SDIFF", "none", "key2") == []
    assert run(three, "SDIFF", "key2", "none") == [b"c"]


def test_storing(three: Keyspace) -> None:
    three.put(b"key", b"text", "set", expires_us=three.time_us + 5)
    told = events(three)
    assert run(three, "SUNIONSTORE", "key", "key1", "key2", "key3") == 5
    assert three.items[b"key"].expires_us == 0
    assert run(three, "SINTERSTORE", "key", "key1", "key3") == 2
    assert run(three, "SDIFFSTORE", "key1", "key1", "key3") == 2
    assert run(three, "SMEMBERS", "key1") == [b"b", b"d"]
    assert told == [("sunionstore", b"key"), ("sinterstore", b"key"), ("sdiffstore", b"key1")]


def test_storing_nothing_deletes(three: Keyspace) -> None:
    told = events(three)
    assert run(three, "SINTERSTORE", "key1", "key2", "none") == 0
    assert told == [("del", b"key1")]
    revision = three.revision
    assert run(three, "SINTERSTORE", "key1", "key2", "none") == 0
    assert three.revision == revision


def test_a_stored_set_is_no_other_sets_own(three: Keyspace) -> None:
    run(three, "SUNIONSTORE", "copy", "key2")
    run(three, "SADD", "copy", "z")
    assert run(three, "SMEMBERS", "key2") == [b"c"]


def test_sintercard(three: Keyspace) -> None:
    assert run(three, "SINTERCARD", 2, "key1", "key3") == 2
    assert run(three, "SINTERCARD", 2, "key1", "key3", "LIMIT", 1) == 1
    assert run(three, "SINTERCARD", 2, "key1", "key3", "LIMIT", 0) == 2
    assert run(three, "SINTERCARD", 2, "key1", "none") == 0
    assert run(three, "SINTERCARD", 0, "key1") == "ERR numkeys should be greater than 0"
    assert run(three, "SINTERCARD", 3, "key1", "key3") == "ERR Number of keys can't be greater than number of args"
    assert run(three, "SINTERCARD", 1, "key1", "LIMIT", -1) == "ERR LIMIT can't be negative"
    assert run(three, "SINTERCARD", 1, "key1", "LIMIT") == SYNTAX


def test_counted_keys_are_found() -> None:
    spec = COMMANDS[b"SINTERCARD"]
    assert spec.keys.of([b"SINTERCARD", b"2", b"a", b"b", b"LIMIT", b"1"]) == [b"a", b"b"]
    assert spec.keys.of([b"SINTERCARD", b"x", b"a"]) == []
    stored = COMMANDS[b"ZUNIONSTORE"].keys
    assert stored.of([b"ZUNIONSTORE", b"to", b"2", b"a", b"b", b"WEIGHTS", b"1", b"2"]) == [b"to", b"a", b"b"]


def test_sscan(three: Keyspace) -> None:
    assert run(three, "SSCAN", "key1", 0) == [b"0", [b"a", b"b", b"c", b"d"]]
    assert run(three, "SSCAN", "key1", 0, "MATCH", "[a-b]") == [b"0", [b"a", b"b"]]
    assert run(three, "SSCAN", "key1", 0, "NOVALUES") == "ERR NOVALUES option can only be used in HSCAN"
    assert run(three, "SSCAN", "none", 0) == [b"0", []]
    run(three, "SADD", "large", *range(3000))
    seen: list[bytes] = []
    cursor = b"0"
    while cursor != b"0" or not seen:
        cursor, given = run(three, "SSCAN", "large", cursor, "COUNT", 100)
        assert len(given) < 1000
        seen += given
    assert sorted(seen) == sorted(b"%d" % member for member in range(3000))


def test_bytes_are_those_of_a_fresh_set(db: Keyspace) -> None:
    run(db, "SADD", "s", *range(20))
    run(db, "SPOP", "s", 7)
    run(db, "SREM", "s", *range(5))
    value = db.get(b"s", Set)
    assert value is not None
    assert value.bytes == Set(value.members).bytes


REFUSING = [
    ("SADD", "k", "a"),
    ("SREM", "k", "a"),
    ("SMEMBERS", "k"),
    ("SISMEMBER", "k", "a"),
    ("SMISMEMBER", "k", "a"),
    ("SCARD", "k"),
    ("SPOP", "k"),
    ("SPOP", "k", "1"),
    ("SRANDMEMBER", "k"),
    ("SMOVE", "k", "key1", "a"),
    ("SUNION", "key1", "k"),
    ("SINTER", "none", "k"),
    ("SDIFF", "key1", "k"),
    ("SUNIONSTORE", "to", "key1", "k"),
    ("SINTERSTORE", "to", "none", "k"),
    ("SDIFFSTORE", "to", "none", "k"),
    ("SINTERCARD", "2", "none", "k"),
    ("SSCAN", "k", "0"),
]


@pytest.mark.parametrize("arguments", REFUSING, ids=" ".join)
def test_a_key_of_another_kind_is_refused(three: Keyspace, arguments: tuple[str, ...]) -> None:
    three.put(b"k", b"text", "set")
    assert run(three, *arguments) == WRONG_TYPE
