"""A request id makes a command apply once: across retries, nodes, leaders and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from quorate import CommandFailed, DiskStateMachine, StateMachine
from quorate.errors import RequestIdReused
from quorate.node.node import wall_clock_us
from quorate.testing import TestCluster

from .support import Counter, DiskCounter, value_of

Machine = Callable[[], StateMachine | DiskStateMachine]
DAY_US = 24 * 3600 * 1_000_000
both = pytest.mark.parametrize("machine", [Counter, DiskCounter])


@both
async def test_a_retry_on_any_node_gets_the_first_answer(machine: Machine) -> None:
    async with TestCluster(3, machine=machine) as cluster:
        await cluster.wait_for_leader()
        for node in cluster.nodes:
            assert (await node.propose(b"5", request_id="a")).result == 5
            await node.propose(b"1")
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {8}


@both
async def test_at_once_from_everywhere(machine: Machine) -> None:
    async with TestCluster(3, machine=machine) as cluster:
        await cluster.wait_for_leader()
        proposing = [node.propose(b"5", request_id="a") for node in cluster.nodes for _ in range(10)]
        assert {outcome.result for outcome in await asyncio.gather(*proposing)} == {5}


@both
async def test_across_a_change_of_leaders(machine: Machine) -> None:
    async with TestCluster(3, machine=machine) as cluster:
        leader = await cluster.wait_for_leader()
        assert (await leader.propose(b"5", request_id="a")).result == 5
        await cluster.stop_leader()
        leader = await cluster.wait_for_leader()
        assert (await leader.propose(b"5", request_id="a")).result == 5
        assert value_of(leader) == 5


@both
async def test_across_a_restart_of_all_nodes(machine: Machine) -> None:
    async with TestCluster(3, machine=machine) as cluster:
        leader = await cluster.wait_for_leader()
        assert (await leader.propose(b"5", request_id="a")).result == 5
        await cluster.crash()
        await asyncio.gather(*map(cluster.start, (1, 2, 3)))
        leader = await cluster.wait_for_leader()
        assert (await leader.propose(b"5", request_id="a")).result == 5
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {5}


@both
async def test_across_a_leap_of_the_leaders_clock(machine: Machine) -> None:
    """A clock that is set wrong, and two days ahead, must not make the cluster forget what it was asked before."""
    async with TestCluster(3, machine=machine) as cluster:
        leader = await cluster.wait_for_leader()
        assert (await leader.propose(b"5", request_id="a")).result == 5
        for node in cluster.nodes:
            placement = node._group._placement  # type: ignore[union-attr]
            placement._wall_clock_us = lambda: wall_clock_us() + 2 * DAY_US
        for number in range(20):
            await leader.propose(b"1", request_id=f"later {number}")
        for node in cluster.nodes:
            assert (await node.propose(b"5", request_id="a")).result == 5
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {25}


async def test_a_refusal_is_an_answer_too() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        await cluster.wait_for_leader()
        answers = []
        for node in cluster.nodes:
            with pytest.raises(CommandFailed) as caught:
                await node.propose(b"refuse", request_id="a")
            answers.append(caught.value.args)
        assert len(set(answers)) == 1


async def test_the_id_of_another_command_is_refused() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        await cluster.wait_for_leader()
        one, two, _ = cluster.nodes
        await one.propose(b"5", request_id="a")
        with pytest.raises(RequestIdReused):
            await two.propose(b"6", request_id="a")
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {5}
