"""Watches of keys: every change once and in order, over nodes and snapshots, or the word that it cannot be."""

from __future__ import annotations

import asyncio
from typing import Any

import hiredis
import pytest
import redis.exceptions
from hypothesis import given
from hypothesis import strategies as st

from quorate.kv.history import History, merged
from quorate.kv.keyspace import VALUE_TOLD_BYTES_MAX, Change
from quorate.kv.machine import MACHINE, KvMachine
from quorate.kv.server.service import Limits
from quorate.testing import TestCluster
from tests.node.snapshot_support import EARLY
from tests.node.support import until

from .clients import Doors, serving
from .wire import Wire, wire

# -- the history -----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 40)), max_size=300), st.integers(1, 60), st.integers(1, 9))
def test_the_history_keeps_the_latest_without_a_gap_and_within_its_bounds(
    changes: list[tuple[int, int]], changes_max: int, settled_every: int
) -> None:
    history = History(changes_max, 10_000)
    model: list[Change] = []
    told_bytes = 0
    for revision, (events, size) in enumerate(changes, start=1):
        for number in range(events):
            change = (f"e{number}", b"k", revision, b"x" * size if size else None)
            history.recent.append(change)
            model.append(change)
            told_bytes += 1 + size
        if revision % settled_every == 0:
            assert history.settle(told_bytes) == len(history.recent)
            assert sum(len(run.changes) for run in history._runs) <= changes_max
            assert sum(run.bytes for run in history._runs) <= 10_000
    assert history.last == (model[-1][2] if model else 0)
    assert list(history.since(history.first)) == list(merged(each for each in model if each[2] >= history.first))
    middle = (history.first + history.last) // 2
    assert list(history.since(middle)) == list(merged(each for each in model if each[2] >= max(middle, history.first)))


def test_events_of_one_change_become_one_that_ends_as_the_last() -> None:
    changes: list[Change] = [("expired", b"k", 1, None), ("set", b"k", 1, b"v"), ("del", b"k", 2, None)]
    assert list(merged(changes)) == [("expired,set", b"k", 1, b"v"), ("del", b"k", 2, None)]
    assert list(merged([])) == []


# -- on the wire -----------------------------------------------------------------------------------------


async def told(client: Wire, count: int) -> list[Any]:
    """So many messages, without the word and the id in front."""
    messages = [await client.next() for _ in range(count)]
    assert all(message[0] == b"change" for message in messages), messages
    return [message[2:] for message in messages]


@pytest.mark.parametrize("protocol", [2, 3])
async def test_changes_of_keys_and_of_prefixes_are_told_on_another_node(protocol: int) -> None:
    async with serving() as doors:
        leader = await doors.cluster.wait_for_leader()
        follower = next(node for node in doors.cluster.nodes if node is not leader)
        async with doors.client(leader) as client, wire(doors.port(follower), protocol) as watcher:
            await client.set("before", "1")
            assert await watcher.ask("QUORATE.WATCH", "KEY", "a", "b") == [1, 2]
            assert await watcher.ask("quorate.watch", "prefix", "user:", "u") == [2, 2]
            await client.set("a", "1", ex=100)
            await client.set("other", "1")
            await client.rpush("user:1", "x")
            await client.lpop("user:1")
            await client.set("b", "x" * (VALUE_TOLD_BYTES_MAX + 1))
            await client.delete("a", "other")
            messages = [await watcher.next() for _ in range(5)]
            assert messages == [
                [b"change", 1, 2, b"set,expire", b"a", b"1"],
                [b"change", 2, 4, b"rpush", b"user:1", None],
                [b"change", 2, 5, b"lpop,del", b"user:1", None],
                [b"change", 1, 6, b"set", b"b", None],
                [b"change", 1, 7, b"del", b"a", None],
            ]
            assert all(isinstance(each, hiredis.PushNotification) is (protocol == 3) for each in messages)
            assert await watcher.ask("PING") == (b"PONG" if protocol == 3 else [b"pong", b""])
            assert await watcher.ask("QUORATE.UNWATCH", 1) == 1
            await client.set("a", "2")
            await client.set("user:2", "3")
            assert await told(watcher, 1) == [[10, b"set", b"user:2", b"3"]]
            assert await watcher.ask("QUORATE.UNWATCH") == 1
            assert await watcher.ask("QUORATE.UNWATCH") == 0
            assert await watcher.ask("GET", "a") == b"2"
            service = doors.service(follower)
            assert [service.watches._live, service.watches._by_key, service.watches._by_prefix] == [{}, {}, {}]


async def test_what_is_asked_wrongly_is_an_error() -> None:
    async with serving(1, limits=Limits(subscriptions_max=3)) as doors, wire(doors.port(doors.cluster.nodes[0])) as it:
        for line, error in [
            ("QUORATE.WATCH KEY", "ERR wrong number of arguments for 'quorate.watch' command"),
            ("QUORATE.WATCH NOPE a", "ERR syntax error"),
            ("QUORATE.WATCH KEY a FROM x", "ERR a revision is an integer above 0"),
            ("QUORATE.WATCH KEY a FROM 0", "ERR a revision is an integer above 0"),
            ("QUORATE.WATCH KEY a b c d", "ERR a client watches at most 3 keys and prefixes"),
            ("QUORATE.UNWATCH x", "ERR value is not an integer or out of range"),
            ("QUORATE.UNWATCH 1 2", "ERR syntax error"),
        ]:
            assert str(await it.ask(*line.split())) == error
        assert await it.ask("GET", "a") is None  # still no watch


async def test_a_watch_goes_on_where_another_ended_on_any_node() -> None:
    async with serving() as doors:
        async with doors.client(doors.cluster.nodes[0]) as client:
            for number in range(300):
                await client.set(f"k{number % 7}", number)
            await client.delete("k1")
        expected = [[n + 1, b"set", b"k%d" % (n % 7), b"%d" % n] for n in range(300)] + [[301, b"del", b"k1", None]]
        for node in doors.cluster.nodes:
            async with wire(doors.port(node), 3) as watcher:
                assert await watcher.ask("QUORATE.WATCH", "PREFIX", "", "FROM", 1) == [1, 1]
                assert await told(watcher, 301) == expected
            async with wire(doors.port(node), 3) as watcher:
                assert await watcher.ask("QUORATE.WATCH", "KEY", "k1", "FROM", 250) == [2, 250]
                assert await told(watcher, 8) == [each for each in expected[249:] if each[2] == b"k1"]


async def test_a_revision_that_is_not_there_yet_is_waited_for() -> None:
    async with serving() as doors:
        first, second, _ = doors.cluster.nodes
        async with doors.client(first) as client, wire(doors.port(second), 3) as watcher:
            assert await watcher.ask("QUORATE.WATCH", "KEY", "k", "FROM", 4) == [1, 4]
            for number in range(1, 6):
                await client.set("k", number)
            assert await told(watcher, 2) == [[4, b"set", b"k", b"4"], [5, b"set", b"k", b"5"]]


async def test_what_history_does_not_hold_is_an_error_and_the_state_is_read_instead_without_a_gap() -> None:
    async with serving(1, limits=Limits(history_changes_max=20)) as doors:
        node = doors.cluster.nodes[0]
        async with doors.client(node) as client, wire(doors.port(node), 3) as watcher:
            for number in range(100):
                await client.set(f"k{number % 5}", number)
            error = str(await watcher.ask("QUORATE.WATCH", "PREFIX", "k", "FROM", 1))
            code, oldest = error.split()
            assert code == "COMPACTED"
            assert 80 <= int(oldest) <= 90
            assert await watcher.ask("QUORATE.WATCH", "PREFIX", "k", "FROM", oldest) == [2, int(oldest)]
            assert (await told(watcher, 101 - int(oldest)))[-1] == [100, b"set", b"k4", b"99"]
            await watcher.ask("QUORATE.UNWATCH")
            async with client.pipeline() as pipe:
                revision, *values = await pipe.execute_command("QUORATE.HEAD").get("k0").get("k1").execute()
            assert (revision, values) == (100, [b"95", b"96"])
            await client.set("k0", "new")
            await watcher.ask("QUORATE.WATCH", "PREFIX", "k", "FROM", revision + 1)
            assert await told(watcher, 1) == [[101, b"set", b"k0", b"new"]]


async def test_a_client_that_does_not_read_misses_nothing_as_long_as_history_reaches_back() -> None:
    async with serving(1, limits=Limits(output_soft_bytes=10_000)) as doors:
        node = doors.cluster.nodes[0]
        async with doors.client(node) as client, wire(doors.port(node), 3, limit=1000) as lazy:
            await lazy.ask("QUORATE.WATCH", "KEY", "k")
            watches = doors.service(node).watches
            sent = 0
            while watches:  # until it is left behind
                await client.set("k", f"{sent} {'x' * 20_000}")
                sent += 1
                assert sent < 2000
            for _ in range(200):
                await client.set("k", f"{sent} {'x' * 20_000}")
                sent += 1
            messages = await told(lazy, sent)
            assert [message[0] for message in messages] == list(range(1, sent + 1))
            assert [int(message[3].split()[0]) for message in messages] == list(range(sent))
            await until(lambda: bool(watches))
            await client.set("k", "live again")
            assert await told(lazy, 1) == [[sent + 1, b"set", b"k", b"live again"]]


async def test_a_client_that_does_not_read_for_too_long_is_told_what_it_has_missed() -> None:
    async with serving(1, limits=Limits(output_soft_bytes=10_000, history_bytes_max=3_000_000)) as doors:
        node = doors.cluster.nodes[0]
        async with doors.client(node) as client, wire(doors.port(node), 3, limit=1000) as lazy:
            await lazy.ask("QUORATE.WATCH", "KEY", "k")
            watches = doors.service(node).watches
            while watches:
                await client.set("k", "x" * 20_000)
            history = watches._history
            (watch,) = watches._behind[next(iter(watches._behind))]
            while history.first <= watch.next:
                async with client.pipeline(transaction=False) as pipe:
                    for _ in range(100):
                        pipe.set("k", "x" * 20_000)
                    await pipe.execute()
            revisions, message = [], await lazy.next()
            while message[0] == b"change":
                revisions.append(message[2])
                message = await lazy.next()
            assert revisions == list(range(1, len(revisions) + 1))
            assert message == [b"compacted", 1, history.first]
            assert history.first > len(revisions) + 1
            assert watches.count(watch.connection) == 0
            assert await lazy.ask("PING") == b"PONG"


async def test_flushing_is_one_change_for_every_watch() -> None:
    async with serving(1) as doors:
        node = doors.cluster.nodes[0]
        async with doors.client(node) as client, wire(doors.port(node), 3) as watcher:
            await client.mset({"a": "1", "b": "2"})
            await watcher.ask("QUORATE.WATCH", "KEY", "nothing")
            await watcher.ask("QUORATE.WATCH", "PREFIX", "b", "FROM", 2)
            assert await watcher.next() == [b"change", 2, 2, b"set", b"b", b"2"]
            await client.flushdb()
            for watch_id in (1, 2):
                assert await watcher.next() == [b"change", watch_id, 3, b"flushdb", b"", None]


async def test_behind_an_installed_snapshot_a_watch_is_told_that_it_missed_something() -> None:
    settings = {**EARLY, "proposal_timeout_ms": 2_000}
    async with TestCluster(3, machines=lambda: {MACHINE: KvMachine()}, settings=settings) as cluster:
        doors = Doors(cluster)
        leader = await cluster.wait_for_leader()
        follower = next(node for node in cluster.nodes if node is not leader)
        for node in (leader, follower):
            await node.wait_for_leader()
            await doors.open(node)
        async with (
            doors.client(leader) as client,
            wire(doors.port(follower), 3) as missing,
            wire(doors.port(follower), 3) as later,
        ):
            await missing.ask("QUORATE.WATCH", "KEY", "k")
            await later.ask("QUORATE.WATCH", "KEY", "k", "FROM", 1_000_000)
            await client.set("k", "seen")
            assert await told(missing, 1) == [[1, b"set", b"k", b"seen"]]
            cluster.partition_network([follower.node_id])
            while follower.status.last_index >= leader.status.snapshot_index:
                async with client.pipeline(transaction=False) as pipe:
                    for number in range(100):
                        pipe.set("k", number)
                    await pipe.execute()
            revision = await client.execute_command("QUORATE.HEAD")
            cluster.heal()
            message = await missing.next(20)
            assert message[:2] == [b"compacted", 1]
            assert 2 < message[2] <= revision + 1
            assert await later.comes_nothing()
            await client.set("k", "behind")
            assert str(await missing.ask("QUORATE.WATCH", "KEY", "k", "FROM", 2)).startswith("COMPACTED ")
            await missing.ask("QUORATE.WATCH", "KEY", "k", "FROM", revision + 1)
            assert await told(missing, 1) == [[revision + 1, b"set", b"k", b"behind"]]
        await doors.close_all()


async def test_a_snapshot_that_brings_nothing_new_ends_no_watch() -> None:
    async with serving(1) as doors:
        node = doors.cluster.nodes[0]
        async with doors.client(node) as client, wire(doors.port(node), 3) as watcher:
            await watcher.ask("QUORATE.WATCH", "KEY", "k")
            await client.set("other", "1")
            opened = doors.service(node)._machine.after_open
            assert opened is not None
            opened()
            await client.set("k", "1")
            assert await told(watcher, 1) == [[2, b"set", b"k", b"1"]]


async def test_all_who_listen_to_one_node_hear_the_same() -> None:
    async with serving(1) as doors:
        node = doors.cluster.nodes[0]
        others = Doors(doors.cluster)
        async with doors.client(node) as client:
            await client.set("k", "1")
            await others.open(node)
            async with wire(doors.port(node), 3) as one, wire(others.port(node), 3) as other:
                for watcher in (one, other):
                    await watcher.ask("QUORATE.WATCH", "KEY", "k", "FROM", 1)
                    assert await told(watcher, 1) == [[1, b"set", b"k", b"1"]]
                    await watcher.ask("SUBSCRIBE", "c")
                await client.set("k", "2")
                for watcher in (one, other):
                    assert await told(watcher, 1) == [[2, b"set", b"k", b"2"]]
                assert await client.publish("c", "x") == 2
                await others.close(node.node_id)
                await client.set("k", "3")
                assert await one.next() == [b"message", b"c", b"x"]
                assert await told(one, 1) == [[3, b"set", b"k", b"3"]]


async def test_it_can_be_had_by_the_library_that_everybody_has() -> None:
    async with serving(1) as doors, doors.client(doors.cluster.nodes[0], 3) as client:
        connection = await client.connection_pool.get_connection()
        await connection.send_command("QUORATE.WATCH", "PREFIX", "user:")
        assert await connection.read_response() == [1, 1]
        await client.set("user:7", "Ada")
        assert await connection.read_response(push_request=True) == [b"change", 1, 1, b"set", b"user:7", b"Ada"]
        await client.connection_pool.release(connection)
        await connection.disconnect()


# -- the known bug ---------------------------------------------------------------------------------------


class Follows:
    """Watches one prefix for as long as it takes: at another node when one is lost, from behind what it saw last."""

    def __init__(self, doors: Doors, prefix: str, until: bytes, first: int) -> None:
        self.doors = doors
        self.prefix = prefix
        self.until = until
        self.seen: list[tuple[int, bytes, bytes]] = []
        self.tried = first
        self.watched_at = [0]

    async def run(self) -> None:
        while not self.seen or self.seen[-1][1] != self.until:
            nodes = self.doors.cluster.nodes
            node = nodes[self.tried % len(nodes)]
            self.tried += 1
            try:
                async with wire(self.doors.port(node), 3) as client:
                    await self._follow(client, node.node_id)
            except (OSError, EOFError, KeyError):
                await asyncio.sleep(0.01)

    async def _follow(self, client: Wire, node_id: int) -> None:
        first = self.seen[-1][0] + 1 if self.seen else 1
        reply = await client.ask("QUORATE.WATCH", "PREFIX", self.prefix, "FROM", first)
        assert isinstance(reply, list), reply
        self.watched_at.append(node_id)
        while not self.seen or self.seen[-1][1] != self.until:
            _, _, revision, _, key, value = await client.next(30)
            self.seen.append((revision, key, value))


async def test_scenario_53_a_watch_neither_goes_back_nor_skips() -> None:
    """Whatever node a watch goes on at, and whoever leads, it sees each change once, in the order of the log.

    From: etcd-io/etcd #20221 (resumed at a node that was behind, a watch was told of the past), #18089 and #8411
    (changes were left out around a compaction, and behind a snapshot).
    How: a watch resumes at a node that has applied more, or less, than it has seen, and goes on from what that node
    applies next.
    Brings it back: in ``Watches.begin``, call ``_set_live`` in any case.
    """
    async with serving() as doors:
        stop = asyncio.Event()
        acknowledged: dict[bytes, bytes] = {}

        async def write(name: int) -> None:
            number = 0
            while not stop.is_set():
                for node in doors.cluster.nodes:
                    number += 1
                    key, value = b"w:%d" % (number % 20), b"%d.%d" % (name, number)
                    try:
                        async with doors.client(node) as client:
                            await client.set(key, value)
                            acknowledged[value] = key
                    except (redis.exceptions.RedisError, OSError, KeyError):
                        await asyncio.sleep(0.005)

        writers = [asyncio.create_task(write(name)) for name in range(4)]
        followers = [Follows(doors, "w:", b"w:end", first) for first in range(3)]
        following = [asyncio.create_task(each.run()) for each in followers]
        await until(lambda: all(len(each.seen) > 200 for each in followers), 30)

        leader = await doors.cluster.wait_for_leader()
        await doors.close(leader.node_id)
        await doors.cluster.kill(leader.node_id)
        before = len(acknowledged)
        await until(lambda: len(acknowledged) > before + 200, 30)
        await doors.open(await doors.cluster.start(leader.node_id))
        await until(lambda: len(acknowledged) > before + 400, 30)
        watched_at = followers[0].watched_at[-1]
        await doors.close(watched_at)
        await doors.cluster.kill(watched_at)
        await until(lambda: len(acknowledged) > before + 600, 30)

        stop.set()
        await asyncio.gather(*writers)
        async with doors.client(await doors.cluster.wait_for_leader()) as client:
            await client.set("w:end", "")
        await asyncio.gather(*following)
        assert max(len(each.watched_at) for each in followers) > 2
        for each in followers:
            assert [revision for revision, _, _ in each.seen] == list(range(1, len(each.seen) + 1))
            assert each.seen == followers[0].seen
        seen = {value: key for _, key, value in followers[0].seen}
        assert len(acknowledged) > 800
        assert acknowledged.items() <= seen.items()
