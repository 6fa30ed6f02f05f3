"""Keys of any type: the examples of Redis' documentation, deadlines in log time, and scanning while keys change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.kv.keyspace import SWEPT_MAX, Keyspace
from quorate.kv.replies import NO_SUCH_KEY, NOT_AN_INTEGER, OK, SYNTAX
from quorate.kv.values import Hash, List, Set, SortedSet, Value
from tests.kv.support import SECOND_US, START_US, ask, database, events, run


def test_deleting_and_counting() -> None:
    db = database()
    ask(db, "MSET key1 Hello key2 World")
    assert ask(db, "EXISTS key1 key2 key3 key1") == 3
    assert ask(db, "TOUCH key1 key2 key3") == 2
    assert ask(db, "DBSIZE") == 2
    assert ask(db, "DEL key1 key1 key3") == 1
    assert ask(db, "UNLINK key2") == 1
    revision = db.revision
    assert ask(db, "DEL key1 key2") == 0
    assert db.revision == revision
    assert ask(db, "DBSIZE") == 0


def test_a_key_whose_time_is_over_is_deleted_without_being_counted() -> None:
    db = database()
    ask(db, "SET k v EX 1")
    told = events(db)
    assert ask(db, "DEL k", START_US + SECOND_US) == 0
    assert told == [("expired", b"k")]
    assert ask(db, "DBSIZE") == 0


@pytest.mark.parametrize(
    ("command", "amount", "pttl"),
    [
        ("EXPIRE", 10, 10_000),
        ("PEXPIRE", 1500, 1500),
        ("EXPIREAT", START_US // SECOND_US + 3, 3000),
        ("PEXPIREAT", START_US // 1000 + 7, 7),
    ],
)
def test_a_deadline_is_set(command: str, amount: int, pttl: int) -> None:
    db = database()
    ask(db, "SET k v")
    assert run(db, command, "k", amount) == 1
    assert run(db, command, "none", amount) == 0
    assert ask(db, "PTTL k") == pttl
    assert ask(db, "PEXPIRETIME k") == START_US // 1000 + pttl
    assert ask(db, "PTTL k", START_US + 1) == pttl
    assert ask(db, "PTTL k", START_US + pttl * 1000 - 1) == 1
    assert ask(db, "PTTL k", START_US + pttl * 1000) == -2


def test_what_is_left_is_told_in_seconds_too() -> None:
    db = database()
    ask(db, "SET k v")
    assert [ask(db, f"{name} k") for name in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME")] == [-1] * 4
    assert [ask(db, f"{name} none") for name in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME")] == [-2] * 4
    ask(db, "EXPIREAT k 33177117420")
    assert ask(db, "EXPIRETIME k") == 33177117420
    assert ask(db, "PEXPIRETIME k") == 33177117420000
    ask(db, "PEXPIRE k 1499")
    assert ask(db, "TTL k") == 1
    ask(db, "PEXPIRE k 1500")
    assert ask(db, "TTL k") == 2


@pytest.mark.parametrize("line", ["EXPIRE k 0", "EXPIRE k -1", "PEXPIREAT k 1", "EXPIREAT k 0", "EXPIREAT k -5"])
def test_a_deadline_that_has_passed_deletes(line: str) -> None:
    db = database()
    ask(db, "SET k v")
    told = events(db)
    assert ask(db, line) == 1
    assert told == [("del", b"k")]
    assert len(db) == 0


@pytest.mark.parametrize(
    ("now", "option", "reply"),
    [
        ("", "NX", 1),
        ("", "XX", 0),
        ("", "GT", 0),
        ("", "LT", 1),
        ("EX 10", "NX", 0),
        ("EX 10", "XX", 1),
        ("EX 10", "GT", 1),
        ("EX 20", "GT", 0),
        ("EX 20", "LT", 0),
        ("EX 30", "lt", 1),
        ("EX 30", "XX LT", 1),
        ("", "XX LT", 0),
    ],
)
def test_conditions_of_expire(now: str, option: str, reply: int) -> None:
    db = database()
    ask(db, f"SET k v {now}")
    revision = db.revision
    assert ask(db, f"EXPIRE k 20 {option}") == reply
    assert db.revision == revision + reply


def test_persisting() -> None:
    db = database()
    ask(db, "SET k v EX 10")
    assert ask(db, "PERSIST k") == 1
    assert ask(db, "PERSIST k") == 0
    assert ask(db, "PERSIST none") == 0
    assert ask(db, "TTL k") == -1


INCOMPATIBLE = "ERR NX and XX, GT or LT options at the same time are not compatible"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("EXPIRE k x", NOT_AN_INTEGER),
        ("EXPIRE k 5 OOPS", "ERR Unsupported option OOPS"),
        ("EXPIRE k 5 NX XX", INCOMPATIBLE),
        ("EXPIRE k 5 GT NX", INCOMPATIBLE),
        ("EXPIRE k 5 GT LT", "ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE k 9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("EXPIRE k -9223372036854775808", "ERR invalid expire time in 'expire' command"),
        ("RENAME none k", NO_SUCH_KEY),
        ("RENAMENX none k", NO_SUCH_KEY),
        ("RENAME none none", NO_SUCH_KEY),
        ("COPY a a", "ERR source and destination objects are the same"),
        ("COPY a b DB 1", "ERR DB index is out of range"),
        ("COPY a b DB x", NOT_AN_INTEGER),
        ("COPY a b OVER", SYNTAX),
        ("COPY a b DB", SYNTAX),
        ("SCAN x", "ERR invalid cursor"),
        ("SCAN -x", "ERR invalid cursor"),
        (f"SCAN {1 << 64}", "ERR invalid cursor"),
        ("SCAN 0 COUNT 0", SYNTAX),
        ("SCAN 0 COUNT x", NOT_AN_INTEGER),
        ("SCAN 0 MATCH", SYNTAX),
        ("SCAN 0 BOGUS 1", SYNTAX),
        ("FLUSHALL NOW", SYNTAX),
        ("FLUSHDB ASYNC SYNC", SYNTAX),
        ("OBJECT NONSENSE k", "ERR unknown subcommand 'NONSENSE'. Try OBJECT HELP."),
        ("OBJECT ENCODING", "ERR wrong number of arguments for 'object|encoding' command"),
        ("MEMORY DOCTOR", "ERR unknown subcommand 'DOCTOR'. Try MEMORY HELP."),
        ("MEMORY USAGE k SAMPLES", SYNTAX),
        ("QUORATE.SWEEP now", "ERR wrong number of arguments for 'quorate.sweep' command"),
    ],
)
def test_what_is_wrong_is_said_in_redis_words(line: str, error: str) -> None:
    assert ask(database(), line) == error


VALUES: list[tuple[Value, bytes]] = [
    (b"v", b"string"),
    (Hash([(b"f", b"v")]), b"hash"),
    (List([b"a", b"b"]), b"list"),
    (Set([b"a", b"b"]), b"set"),
    (SortedSet([(b"a", 1.0)]), b"zset"),
]


@pytest.mark.parametrize(("value", "name"), VALUES)
def test_values_of_all_types_are_renamed_and_copied(value: Value, name: bytes) -> None:
    db = database()
    db.put(b"k", value, "set", expires_us=START_US + 9 * SECOND_US)
    assert ask(db, "TYPE k") == name
    assert ask(db, "TYPE none") == b"none"
    assert ask(db, "COPY k copy") == 1
    copied = db.items[b"copy"].value
    assert copied is not value or isinstance(value, bytes)
    longer = 2 * (len("copy") - len("k"))  # the deadlines hold the keys as well
    assert ask(db, "MEMORY USAGE k") == ask(db, "MEMORY USAGE copy") - longer  # type: ignore[operator]
    assert ask(db, "COPY k copy") == 0
    assert ask(db, "COPY k copy DB 0 REPLACE") == 1
    assert ask(db, "COPY none copy REPLACE") == 0
    assert ask(db, "RENAMENX k copy") == 0
    assert ask(db, "RENAME k copy") == OK
    assert ask(db, "EXISTS k") == 0
    assert ask(db, "TTL copy") == 9
    assert ask(db, "RENAMENX copy k") == 1
    assert db.items[b"k"].value is value
    revision = db.revision
    assert ask(db, "RENAME k k") == OK
    assert ask(db, "RENAMENX k k") == 0
    assert db.revision == revision
    ask(db, "DEL k copy")
    assert db.memory_bytes == 0


def test_renaming_and_copying_are_told_by_redis_names() -> None:
    db = database()
    ask(db, "SET a 1")
    told = events(db)
    ask(db, "COPY a b")
    ask(db, "RENAME a b")
    ask(db, "EXPIRE b 5")
    ask(db, "PERSIST b")
    ask(db, "FLUSHALL ASYNC")
    assert told == [
        *(("copy_to", b"b"), ("rename_from", b"a"), ("rename_to", b"b"), ("expire", b"b"), ("persist", b"b")),
        ("flushdb", b""),
    ]


def test_keys_like_a_pattern() -> None:
    db = database()
    ask(db, "MSET firstname Jack lastname Stuntman age 35 a*b 1")
    assert sorted(ask(db, "KEYS *name*")) == [b"firstname", b"lastname"]
    assert sorted(ask(db, "KEYS a??")) == [b"a*b", b"age"]
    assert ask(db, r"KEYS 'a\*b'") == [b"a*b"]
    assert sorted(ask(db, "KEYS [af]*")) == [b"a*b", b"age", b"firstname"]
    ask(db, "EXPIRE age 1")
    assert ask(db, "KEYS age", START_US + SECOND_US) == []


def test_some_key() -> None:
    db = database()
    assert ask(db, "RANDOMKEY") is None
    ask(db, "MSET a 1 b 2")
    ask(db, "PEXPIRE b 1")
    assert {ask(db, "RANDOMKEY") for _ in range(50)} == {b"a", b"b"}
    assert {ask(db, "RANDOMKEY", START_US + 1000) for _ in range(20)} == {b"a"}
    ask(db, "DEL a")
    assert ask(db, "RANDOMKEY") is None


def step(db: Keyspace, cursor: bytes, rest: str = "") -> tuple[bytes, list[bytes]]:
    """The next cursor and what was found."""
    reply = ask(db, f"SCAN {cursor.decode()} {rest}")
    assert isinstance(reply, list)
    after, found = reply
    assert isinstance(after, bytes)
    assert isinstance(found, list)
    return after, [key for key in found if isinstance(key, bytes)]


def scan(db: Keyspace, rest: str = "") -> list[bytes]:
    """All steps of one scan."""
    cursor, found = step(db, b"0", rest)
    while cursor != b"0":
        cursor, more = step(db, cursor, rest)
        found += more
    return found


def test_scanning_finds_each_key_once_and_as_many_in_a_step_as_wanted() -> None:
    db = database()
    assert step(db, b"0") == (b"0", [])
    for number in range(1000):
        run(db, "SET", f"key:{number}", "v")
    db.put(b"list", List([b"a"]), "rpush")
    assert sorted(scan(db)) == sorted(db.items)
    assert 10 <= len(step(db, b"0")[1]) <= 20
    assert len(step(db, b"0", "COUNT 5000")[1]) == 1001
    assert sorted(scan(db, "MATCH key:99*")) == sorted(f"key:{number}".encode() for number in (99, *range(990, 1000)))
    assert scan(db, "TYPE list") == [b"list"]
    assert scan(db, "type LIST match key*") == []
    assert step(db, b"99999999") == (b"0", [])


KEY = st.integers(0, 300)


@given(st.sets(KEY), st.lists(st.lists(st.tuples(st.booleans(), KEY), max_size=20), max_size=60), st.integers(1, 30))
def test_a_key_that_stays_is_found_exactly_once_whatever_else_changes(
    staying: set[int], changes: list[list[tuple[bool, int]]], count: int
) -> None:
    db = database()
    for number in staying:
        run(db, "SET", f"stays:{number}", "v")
    cursor, found = step(db, b"0", f"COUNT {count}")
    while cursor != b"0":
        for present, number in changes.pop() if changes else ():
            run(db, *(("SET", f"comes:{number}", "v") if present else ("DEL", f"comes:{number}")))
        cursor, more = step(db, cursor, f"COUNT {count}")
        found += more
    assert sorted(key for key in found if key.startswith(b"stays")) == sorted(b"stays:%d" % n for n in staying)


def test_flushing() -> None:
    db = database()
    ask(db, "MSET a 1 b 2")
    assert ask(db, "FLUSHDB") == OK
    assert (len(db), db.memory_bytes) == (0, 0)
    revision = db.revision
    assert ask(db, "FLUSHALL SYNC") == OK
    assert db.revision == revision


def test_sweeping_deletes_what_is_over_some_at_a_time() -> None:
    db = database()
    for number in range(SWEPT_MAX + 5):
        run(db, "SET", number, "v", "PX", 1 + number % 2)
    ask(db, "SET stays v EX 100")
    assert ask(db, "QUORATE.SWEEP") == 0
    told = events(db)
    assert ask(db, "QUORATE.SWEEP", START_US + 2000) == SWEPT_MAX
    assert ask(db, "QUORATE.SWEEP") == 5
    assert ask(db, "QUORATE.SWEEP") == 0
    assert {name for name, _ in told} == {"expired"}
    assert list(db.items) == [b"stays"]


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        (b"123", b"int"),
        (b"+1", b"embstr"),
        (b"v" * 45, b"raw"),
        (Hash([(b"f", b"v")]), b"listpack"),
        (Hash([(b"f", b"v" * 65)]), b"hashtable"),
        (List([b"a"]), b"quicklist"),
        (Set([b"1", b"2"]), b"intset"),
        (Set([b"1", b"a"]), b"hashtable"),
        (Set([b"%d" % number for number in range(1000)]), b"hashtable"),
        (SortedSet([(b"a", 1.0)]), b"listpack"),
        (SortedSet([(b"%d" % number, 1.0) for number in range(129)]), b"skiplist"),
    ],
)
def test_how_redis_would_keep_it(value: Value, encoding: bytes) -> None:
    db = database()
    db.put(b"k", value, "set")
    assert ask(db, "OBJECT ENCODING k") == encoding


def test_what_else_can_be_asked_of_a_key() -> None:
    db = database()
    ask(db, "SET k v")
    assert ask(db, "OBJECT REFCOUNT k") == 1
    assert ask(db, "object idletime k") == 0
    assert str(ask(db, "OBJECT FREQ k")).startswith("ERR An LFU maxmemory policy is not selected")
    assert ask(db, "OBJECT ENCODING none") is None
    assert ask(db, "MEMORY USAGE none") is None
    assert ask(db, "MEMORY USAGE k SAMPLES 5") == db.memory_bytes
