"""The in-memory network's faults."""

from __future__ import annotations

import random

import pytest

from quorate.errors import ConfigError, TransportError
from quorate.testing.transport_suite import Recorder, Station, heartbeat, until
from quorate.transport import Lane, LinkState

from .harnesses import MemoryHarness


async def mesh(memory: MemoryHarness, count: int) -> dict[int, Station]:
    """``count`` nodes, all connected to each other."""
    stations = {n: await memory.open(n) for n in range(1, count + 1)}
    for a in stations.values():
        for b in stations.values():
            if a is not b:
                a.transport.dial(b.address)
    await until(lambda: reach(stations) == {n: set(stations) - {n} for n in stations})
    return stations


def reach(stations: dict[int, Station]) -> dict[int, set[int]]:
    """Which nodes each node is connected to."""
    return {n: {peer for peer in stations if station.connected_to(peer)} for n, station in stations.items()}


async def test_a_partition_parts_its_sides_and_healing_joins_them(memory: MemoryHarness) -> None:
    nodes = await mesh(memory, 5)
    memory.network.partition([1, 2], [3, 4])
    assert reach(nodes) == {1: {2, 5}, 2: {1, 5}, 3: {4, 5}, 4: {3, 5}, 5: {1, 2, 3, 4}}
    nodes[1].transport.send(3, 0, [heartbeat(1)])
    nodes[1].transport.send(5, 0, [heartbeat(2)])
    await until(lambda: nodes[5].recorder.messages)
    assert nodes[3].recorder.messages == []
    assert sorted(nodes[1].recorder.events[4:]) == [("disconnected", 3), ("disconnected", 4)]
    memory.network.heal()
    await until(lambda: reach(nodes) == {n: set(nodes) - {n} for n in nodes})
    nodes[1].transport.send(3, 0, [heartbeat(3)])
    await until(lambda: nodes[3].recorder.messages)
    assert nodes[3].recorder.from_peer(1) == [heartbeat(3)]


async def test_what_is_in_flight_when_a_partition_begins_is_lost(memory: MemoryHarness) -> None:
    nodes = await mesh(memory, 2)
    nodes[1].transport.send(2, 0, [heartbeat(1)])
    memory.network.partition([1], [2])
    memory.network.heal()
    await until(lambda: nodes[1].connected_to(2))
    nodes[1].transport.send(2, 0, [heartbeat(2)])
    await until(lambda: nodes[2].recorder.messages)
    assert nodes[2].recorder.from_peer(1) == [heartbeat(2)]
    assert nodes[1].recorder.events == [("connected", 2), ("disconnected", 2), ("connected", 2)]


async def test_an_isolated_node_reaches_no_one_not_even_a_newcomer(memory: MemoryHarness) -> None:
    nodes = await mesh(memory, 3)
    memory.network.isolate(2)
    assert reach(nodes) == {1: {3}, 2: set(), 3: {1}}
    newcomer = await memory.open(4)
    nodes[2].transport.dial(newcomer.address)
    nodes[1].transport.dial(newcomer.address)
    await until(lambda: nodes[1].connected_to(4))
    assert not nodes[2].connected_to(4)
    memory.network.heal()
    await until(lambda: nodes[2].connected_to(4) and nodes[2].connected_to(1))


async def test_a_cut_is_one_way_and_silent(memory: MemoryHarness) -> None:
    nodes = await mesh(memory, 2)
    memory.network.cut(1, 2)
    nodes[1].transport.send(2, 0, [heartbeat(1)])
    nodes[2].transport.send(1, 0, [heartbeat(2)])
    await until(lambda: nodes[1].recorder.messages)
    assert nodes[2].recorder.messages == []
    assert nodes[1].dropped(2) == 1
    assert reach(nodes) == {1: {2}, 2: {1}}


async def test_no_new_connection_over_a_cut(memory: MemoryHarness) -> None:
    a, b = await memory.open(1), await memory.open(2)
    memory.network.cut(2, 1)
    a.transport.dial(b.address)
    probe = await memory.open(3)
    a.transport.dial(probe.address)
    await until(lambda: a.connected_to(3))
    assert a.link_to(b.address).state is LinkState.CONNECTING
    memory.network.heal()
    await until(lambda: a.connected_to(2))


async def test_lost_messages_depend_on_the_seed_alone(memory: MemoryHarness) -> None:
    async def arrived(seed: int) -> list[int]:
        async with MemoryHarness() as harness:
            a, b = await harness.pair()
            harness.network._rng = random.Random(seed)
            harness.network.drop_probability = 0.4
            a.transport.send(2, 0, [heartbeat(n) for n in range(200)])
            harness.network.drop_probability = 0.0
            a.transport.send(2, 0, [heartbeat(200)])
            await until(lambda: heartbeat(200) in b.recorder.from_peer(1))
            assert a.dropped(2) == 201 - len(b.recorder.messages)
            return [getattr(message, "sequence") for message in b.recorder.from_peer(1)]  # noqa: B009

    first = await arrived(1)
    assert first == await arrived(1) != await arrived(2)
    assert 50 < len(first) < 180


async def test_both_lanes_share_one_fate_for_a_seed(memory: MemoryHarness) -> None:
    async def arrived(seed: int) -> list[tuple[int, int]]:
        async with MemoryHarness() as harness:
            a, b = await harness.pair()
            harness.network._rng = random.Random(seed)
            harness.network.drop_probability, harness.network.bulk_delay_seconds = 0.4, 0.001
            for n in range(100):
                a.transport.send(2, 0, [heartbeat(n)])
                a.transport.send(2, 1, [heartbeat(n)], lane=Lane.BULK)
            await until(lambda: len(b.recorder.messages) == 200 - a.dropped(2))
            # Sorted, for how the lanes interleave is a matter of the clock.
            return sorted((group, getattr(message, "sequence")) for _, group, message in b.recorder.messages)  # noqa: B009

    first = await arrived(1)
    assert first == await arrived(1) != await arrived(2)


async def test_a_partition_takes_what_is_in_flight_on_both_lanes(memory: MemoryHarness) -> None:
    nodes = await mesh(memory, 2)
    for lane in Lane:
        nodes[1].transport.send(2, 0, [heartbeat(1)], lane=lane)
        assert nodes[1].transport.backlog_bytes(2, lane) > 0
    memory.network.partition([1], [2])
    assert [nodes[1].transport.backlog_bytes(2, lane) for lane in Lane] == [0, 0]
    memory.network.heal()
    await until(lambda: nodes[1].connected_to(2))
    nodes[1].transport.send(2, 0, [heartbeat(2)], lane=Lane.BULK)
    await until(lambda: nodes[2].recorder.messages)
    assert nodes[2].recorder.from_peer(1) == [heartbeat(2)]


async def test_a_slow_network_is_a_bounded_one(memory: MemoryHarness) -> None:
    a, b = await memory.pair()
    memory.network.delay_seconds = 1000.0
    for _ in range(100):
        a.transport.send(2, 0, [heartbeat(n) for n in range(1000)])
    assert a.dropped(2) == 100_000 - 65_536
    assert b.recorder.messages == []


async def test_an_address_belongs_to_one_running_transport(memory: MemoryHarness) -> None:
    a = await memory.open(1)
    with pytest.raises(TransportError, match="in use"):
        await memory.open(2, address=a.address)
    with pytest.raises(TransportError, match="started once"):
        await a.transport.start(Recorder())
    with pytest.raises(ConfigError):
        a.transport.dial("")
    await a.transport.stop()
    await memory.open(3, address=a.address)
