"""Leases: what belongs to one, and that all of it ends in the entry in which the lease does."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis.exceptions

from quorate.kv.codec import encode_row, row_of, value_of
from quorate.kv.commands import leases
from quorate.kv.keyspace import SWEPT_MAX, Change, Keyspace
from quorate.kv.replies import NULL_ARRAY
from quorate.kv.server.service import Limits
from quorate.kv.values import Lease
from tests.kv.clients import serving
from tests.kv.routers import apply, copied, keyspace_of, opened, settle
from tests.kv.support import START_US, ask, database, run

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NO_LEASE = "NOLEASE there is no such lease, or its time is over"


def contents(db: Keyspace) -> dict[bytes, bytes]:
    """All that is there, deadlines and revisions included."""
    return {key: encode_row(key, item) for key, item in db.items.items()}


def restored(db: Keyspace) -> Keyspace:
    """Another node, from a snapshot."""
    other = database(db.time_us)
    rows = [row_of(key, item) for key, item in db.items.items()]
    other.load((key, value_of(content), *rest) for key, content, *rest in reversed(rows) if content is not None)
    other.revision = db.revision
    return other


def test_a_lease_lives_as_long_as_it_is_renewed() -> None:
    db = database()
    assert ask(db, "QUORATE.LEASE GRANT l 1000") == b"OK"
    assert ask(db, "QUORATE.LEASE GRANT l 1000") == "LEASEEXISTS there is a lease of this name"
    assert ask(db, "QUORATE.LEASE keepalive l", START_US + 900_000) == 1000
    assert ask(db, "QUORATE.LEASED l", START_US + 1_500_000) == [1000, 400, []]
    assert ask(db, "TYPE l") == b"lease"
    assert ask(db, "PTTL l") == 400
    assert ask(db, "SCAN 0 TYPE lease") == [b"0", [b"l"]]
    assert ask(db, "OBJECT ENCODING l") == b"raw"
    assert ask(db, "QUORATE.LEASE KEEPALIVE l", START_US + 1_900_000) is None
    assert ask(db, "QUORATE.LEASED l") is NULL_ARRAY
    assert ask(db, "QUORATE.LEASE REVOKE l") == 0
    assert ask(db, "QUORATE.LEASE GRANT l 7") == b"OK"


def leased_keys(line: str, after_us: int = 0) -> tuple[list[bytes], list[tuple[str, bytes]]]:
    """What is left of a lease and its keys by a command, and what was told of it."""
    db = database()
    ask(db, "QUORATE.LEASE GRANT l 1000")
    for key in ("a", "b", "c"):
        ask(db, f"SET {key} 1")
    ask(db, "HSET h f 1")
    assert ask(db, "QUORATE.LEASE ATTACH l a h b none a") == 3
    ask(db, "SET b 2")
    assert ask(db, "QUORATE.LEASED l") == [1000, 1000, [b"a", b"h"]]
    changes: list[Change] = []
    db.on_change = changes.append
    ask(db, line, START_US + after_us)
    assert len({change[2] for change in changes}) == len({change[1:3] for change in changes})
    return sorted(db.items), [change[:2] for change in changes]


@pytest.mark.parametrize(
    ("line", "after_us", "event"),
    [
        ("QUORATE.SWEEP", 1_000_000, "expired"),
        ("QUORATE.LEASE REVOKE l", 0, "del"),
        ("DEL l", 0, "del"),
        ("UNLINK l", 0, "del"),
        ("QUORATE.CAD l 6", 0, "del"),
    ],
)
def test_with_a_lease_go_the_keys_that_nobody_has_written_since(line: str, after_us: int, event: str) -> None:
    left, told = leased_keys(line, after_us)
    assert left == [b"b", b"c"]
    assert told == [(event, b"l"), (event, b"a"), (event, b"h")]


@pytest.mark.parametrize(
    "line", ["QUORATE.LEASE GRANT l 5", "SET l x", "HSET l f x", "QUORATE.LOCK l me 5", "MSET l x", "RENAME c l"]
)
def test_what_comes_in_the_place_of_a_lease_whose_time_is_over_finds_its_keys_gone(line: str) -> None:
    left, told = leased_keys(line, 1_000_000)
    assert left == ([b"b", b"l"] if line.startswith("RENAME") else [b"b", b"c", b"l"])
    assert [each for each in told if each[0] == "expired"] == [("expired", each) for each in (b"l", b"a", b"h")]


def test_before_the_sweep_a_key_outlives_its_lease_and_whoever_writes_it_keeps_it() -> None:
    db = database()
    ask(db, "QUORATE.LEASE GRANT l 1000")
    ask(db, "MSET a 1 b 1")
    ask(db, "QUORATE.LEASE ATTACH l a b")
    assert ask(db, "QUORATE.LEASE ATTACH l a", START_US + 1_000_000) == NO_LEASE
    ask(db, "SET a 2")
    assert ask(db, "QUORATE.SWEEP") == 2
    assert list(db.items) == [b"a"]


def test_a_key_leaves_a_lease_when_it_is_written_or_detached_and_comes_back_when_it_is_attached() -> None:
    db = database()
    ask(db, "QUORATE.LEASE GRANT l 1000")
    ask(db, "MSET a 1 b 1 c 1")
    ask(db, "QUORATE.LEASE ATTACH l a b c")
    assert ask(db, "QUORATE.LEASE DETACH l a none") == 1
    assert ask(db, "QUORATE.LEASE DETACH l a") == 0
    ask(db, "APPEND b 2")
    assert ask(db, "QUORATE.LEASE DETACH l b") == 0
    assert (ask(db, "QUORATE.LEASE DETACH l c"), ask(db, "QUORATE.LEASED l")) == (1, [1000, 1000, []])
    assert ask(db, "QUORATE.LEASE ATTACH l c") == 1
    assert ask(db, "QUORATE.LEASED l")[2] == [b"c"]
    revision = ask(db, "QUORATE.REVISION c")[0]
    assert ask(db, f"QUORATE.CAS c {revision} 2 LEASE l") == 11
    assert ask(db, "QUORATE.LEASED l")[2] == [b"c"]
    assert ask(db, "QUORATE.LEASE ATTACH l a") == 1
    ask(db, "QUORATE.LEASE REVOKE l")
    assert list(db.items) == [b"b"]


def test_a_key_of_two_leases_goes_with_the_first() -> None:
    db = database()
    ask(db, "SET a 1")
    for lease in ("l", "m"):
        ask(db, f"QUORATE.LEASE GRANT {lease} 1000")
        ask(db, f"QUORATE.LEASE ATTACH {lease} a")
    ask(db, "QUORATE.LEASE REVOKE m")
    assert list(db.items) == [b"l"]
    ask(db, "SET a 2")
    ask(db, "QUORATE.LEASE REVOKE l")
    assert list(db.items) == [b"a"]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("QUORATE.LEASE GRANT l", "ERR wrong number of arguments for 'quorate.lease|grant' command"),
        ("QUORATE.LEASE KEEPALIVE l 5", "ERR wrong number of arguments for 'quorate.lease|keepalive' command"),
        ("QUORATE.LEASE ATTACH l", "ERR wrong number of arguments for 'quorate.lease|attach' command"),
        ("QUORATE.LEASE", "ERR wrong number of arguments for 'quorate.lease' command"),
        (
            "QUORATE.LEASE STEAL l",
            "ERR unknown subcommand 'STEAL': there are GRANT, KEEPALIVE, REVOKE, ATTACH, DETACH",
        ),
        ("QUORATE.LEASE GRANT new 0", "ERR invalid expire time in 'quorate.lease|grant' command"),
        ("QUORATE.LEASE GRANT new x", "ERR value is not an integer or out of range"),
        ("QUORATE.LEASE GRANT text 5", WRONG_TYPE),
        ("QUORATE.LEASE KEEPALIVE text", WRONG_TYPE),
        ("QUORATE.LEASE REVOKE text", WRONG_TYPE),
        ("QUORATE.LEASE ATTACH text l", WRONG_TYPE),
        ("QUORATE.LEASE ATTACH none text", NO_LEASE),
        ("QUORATE.LEASE DETACH none text", NO_LEASE),
        ("QUORATE.LEASE ATTACH l text l", WRONG_TYPE),
        ("QUORATE.LEASE ATTACH l text lock", WRONG_TYPE),
        ("QUORATE.LEASED text", WRONG_TYPE),
    ],
)
def test_bad_requests_change_nothing(line: str, error: str) -> None:
    db = database()
    ask(db, "SET text x")
    ask(db, "QUORATE.LEASE GRANT l 1000")
    ask(db, "QUORATE.LOCK lock me 1000")
    assert ask(db, line) == error


@pytest.mark.parametrize(
    "line",
    [
        *("SET {} x", "SET {} x PXAT 5", "SETEX {} 5 x", "MSET text y {} x", "GETSET {} x", "APPEND {} x", "INCR {}"),
        *("HSET {} f x", "RPUSH {} x", "SADD {} x", "ZADD {} 1 x", "SETBIT {} 1 1", "GETDEL {}", "GETEX {} EX 5"),
        *("RENAME text {}", "RENAME {} new", "RENAMENX {} new", "COPY text {} REPLACE", "COPY {} new", "LPOP {}"),
        *("SUNIONSTORE {} set", "SINTERSTORE {} set none", "ZUNIONSTORE {} 1 set", "BITOP NOT {} text"),
        *("BITOP NOT {} none", "EXPIRE {} 100", "EXPIRE {} 0", "PEXPIREAT {} 5", "PERSIST {}", "GET {}"),
        "QUORATE.CAS {} 1 x",
    ],
)
@pytest.mark.parametrize("claim", ["QUORATE.LEASE GRANT {} 1000", "QUORATE.LOCK {} me 1000"])
def test_no_command_for_data_touches_a_lease_or_a_lock(claim: str, line: str) -> None:
    db = database()
    ask(db, claim.format("claim"))
    ask(db, "SET text x")
    ask(db, "SADD set x")
    before = contents(db)
    assert ask(db, line.format("claim")) == WRONG_TYPE
    assert contents(db) == before


def lease_at(db: Keyspace, name: bytes) -> Lease:
    value = db.get(name, Lease)
    assert value is not None
    return value


def test_a_lease_has_so_many_keys_and_what_left_it_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "KEYS_MAX", 3)
    db = database()
    ask(db, "QUORATE.LEASE GRANT l 1000")
    ask(db, "MSET a 1 b 1 c 1 d 1")
    assert ask(db, "QUORATE.LEASE ATTACH l a b c d") == "ERR a lease has at most 1000 keys"
    assert ask(db, "QUORATE.LEASE ATTACH l a b c none") == 3
    assert ask(db, "QUORATE.LEASE ATTACH l c b a") == 3
    assert ask(db, "QUORATE.CAS e 0 1 LEASE l") == "ERR a lease has at most 1000 keys"
    assert ask(db, "EXISTS e") == 0
    ask(db, "SET a 2")
    assert ask(db, "QUORATE.LEASE ATTACH l d") == 1
    assert ask(db, "QUORATE.LEASED l")[2] == [b"b", b"c", b"d"]
    ask(db, "DEL b")
    for number in range(10):
        assert ask(db, f"QUORATE.CAS e{number} 0 1 LEASE l")
        ask(db, f"DEL e{number}")
        assert len(lease_at(db, b"l").keys) <= 3
    size, memory_bytes = db.items[b"l"].size, db.memory_bytes
    again = restored(db)
    assert (again.items[b"l"].size, again.memory_bytes) == (size, memory_bytes)


def test_a_sweep_stops_behind_the_lease_with_which_it_has_deleted_enough() -> None:
    db = database()
    for lease in range(4):
        run(db, "QUORATE.LEASE", "GRANT", f"l{lease}", 1000)
        keys = [f"{lease}:{number}" for number in range(SWEPT_MAX * 4 // 5)]
        run(db, "MSET", *(word for key in keys for word in (key, "x")))
        run(db, "QUORATE.LEASE", "ATTACH", f"l{lease}", *keys)
    of_two = 2 * (SWEPT_MAX * 4 // 5 + 1)
    assert ask(db, "QUORATE.SWEEP", START_US + 1_000_000) == of_two
    assert ask(db, "QUORATE.SWEEP") == of_two
    assert (ask(db, "QUORATE.SWEEP"), len(db)) == (0, 0)


def test_a_lease_survives_a_checkpoint_a_restart_and_a_snapshot_with_its_keys(tmp_path: Path) -> None:
    lines = ("QUORATE.LEASE GRANT l 1000", "SET a 1", "HSET h f 1", "SET b 1", "QUORATE.LEASE ATTACH l b a h")
    with opened(tmp_path / "one") as router:
        apply(router, *lines, "SET a 2")
        machines = copied(router, tmp_path / "other")
        apply(router, "QUORATE.LEASE KEEPALIVE l", after_us=500_000)
        before = router.digest()
        settle(router)
    with opened(tmp_path / "one") as router, opened(tmp_path / "other", machines) as other:
        assert router.digest() == before
        apply(other, "QUORATE.LEASE KEEPALIVE l", after_us=500_000)
        for each in (router, other):
            assert apply(each, "QUORATE.LEASED l", after_us=1_400_000) == [[1000, 100, [b"b", b"h"]]]
            assert apply(each, "QUORATE.SWEEP", after_us=1_500_000) == [3]
            assert list(keyspace_of(each).items) == [b"a"]
        assert router.digest() == other.digest()


def test_a_checkpoint_holds_a_lease_as_it_was_when_it_began(tmp_path: Path) -> None:
    with opened(tmp_path / "one") as router:
        apply(router, "QUORATE.LEASE GRANT l 1000", "MSET a 1 b 1", "QUORATE.LEASE ATTACH l a")
        before = router.digest()
        router.begin_checkpoint()
        apply(router, "QUORATE.LEASE ATTACH l b", "QUORATE.LEASE DETACH l a")
        while router.is_checkpointing:
            router.flush()
    with opened(tmp_path / "one") as router:
        assert (router.applied, router.digest()) == (1, before)


LINES = [
    *("QUORATE.LEASE GRANT {} 700", "QUORATE.LEASE GRANT {} 3000", "QUORATE.LEASE KEEPALIVE {}"),
    *("QUORATE.LEASE ATTACH {} {} {}", "QUORATE.LEASE ATTACH {} {}", "QUORATE.LEASE DETACH {} {}", "QUORATE.LEASED {}"),
    *("QUORATE.LEASE REVOKE {}", "QUORATE.CAS {} 0 x LEASE {}", "QUORATE.CAS {} 0 x PX 500 LEASE {}", "SET {} x"),
    *("DEL {}", "SET {} x PX 300", "RENAME {} {}", "COPY {} {} REPLACE", "PERSIST {}", "PEXPIRE {} 400", "HSET {} f x"),
    *("QUORATE.LOCK {} me 600", "QUORATE.LOCK {} you 600", "QUORATE.LOCKED {}", "QUORATE.SWEEP", "QUORATE.GET {}"),
    *("SINTERSTORE {} {} {}", "MSET {} 1 {} 2", "QUORATE.REVISION {} {}", "FLUSHALL"),
]
"""Any of them, with any keys."""


@pytest.mark.parametrize("seed", range(5))
def test_nodes_that_apply_the_same_commands_hold_the_same(seed: int) -> None:
    rng = Random(seed)
    db, other = database(), database()
    expired = 0
    for number in range(500):
        if number % 50 == 49:
            other = restored(db)
        line = LINES[int(len(LINES) * rng.random() ** 1.1)]
        line = line.format(*(rng.choice("abcdef") for _ in range(line.count("{}"))))
        time_us = START_US + number * 100_000
        reply, other_reply = ask(db, line, time_us), ask(other, line, time_us)
        assert repr(reply) == repr(other_reply), line
        if number % 10 == 0:
            assert contents(db) == contents(other), line
            revisions = [item.revision for _, item in db.items.items()]
            assert len(set(revisions)) == len(revisions)
        expired += reply if line == "QUORATE.SWEEP" else 0
    assert expired
    assert (db.revision, db.memory_bytes) == (other.revision, other.memory_bytes)


async def test_a_lease_that_ends_when_the_leader_is_lost_takes_its_keys_along_once() -> None:
    async with serving() as doors:
        leader = await doors.cluster.wait_for_leader()
        told: dict[int, list[tuple[str, bytes]]] = {node.node_id: [] for node in doors.cluster.nodes}
        async with doors.client(leader) as client:
            await client.execute_command("QUORATE.LEASE", "GRANT", "l", 3000)
            for key in ("a", "b"):
                assert await client.execute_command("QUORATE.CAS", key, 0, "x", "LEASE", "l")
            await client.set("b", "stays")
        await doors.cluster.wait_for_convergence()
        survivors = [node for node in doors.cluster.nodes if node is not leader]
        for node in survivors:
            keyspace, seen = doors.service(node).keyspace, told[node.node_id]
            keyspace.on_change = lambda change, seen=seen: seen.append(change[:2])
            assert sorted(key for key, _ in keyspace.items.items()) == [b"a", b"b", b"l"]
        await doors.close(leader.node_id)
        await doors.cluster.kill(leader.node_id)
        await doors.cluster.wait_until(lambda: all(len(told[node.node_id]) > 1 for node in survivors), 10)
        async with doors.client(survivors[0]) as client:
            await client.execute_command("QUORATE.LEASE", "GRANT", "l", 60_000)
            ttl, left, keys = await client.execute_command("QUORATE.LEASED", "l")
            assert (ttl, keys) == (60_000, [])
            assert 50_000 < left <= 60_000
        await doors.cluster.wait_for_convergence()
        for node in survivors:
            assert told[node.node_id] == [("expired", b"l"), ("expired", b"a"), ("lease", b"l")]
            assert sorted(key for key, _ in doors.service(node).keyspace.items.items()) == [b"b", b"l"]


async def test_what_is_held_can_be_kept_and_given_back_when_there_is_no_more_memory() -> None:
    async with (
        serving(1, limits=Limits(memory_bytes_max=2000)) as doors,
        doors.client(doors.cluster.nodes[0]) as client,
    ):

        async def command(line: str) -> Any:
            return await client.execute_command(*line.split())

        token = await command("QUORATE.LOCK lock me 60000")
        await command("QUORATE.LEASE GRANT l 60000")
        await command("SET k " + "x" * 2000)
        for line in (
            *("QUORATE.LEASE GRANT m 60000", "QUORATE.LEASE ATTACH l k", "QUORATE.LOCK other me 60000"),
            *("QUORATE.CAS n 0 x", f"QUORATE.FENCED lock {token} SET n x"),
        ):
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                await command(line)
        assert await command("quorate.lease keepalive l") == 60_000
        assert await command("QUORATE.LEASE DETACH l k") == 0
        assert await command("QUORATE.LEASE REVOKE l") == 1
        assert await command(f"QUORATE.RENEW lock {token} 60000") == 1
        assert await command(f"quorate.fenced lock {token} del none") == 0
        assert await command(f"QUORATE.UNLOCK lock {token}") == 1
        revision = (await command("QUORATE.REVISION k"))[0]
        assert await command(f"QUORATE.CAD k {revision}") == 1
