"""Every proposal ends in exactly one of applied, not applied, unknown: on every path that can be forced."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from quorate import CommandFailed, ConfigError, Node, NotApplied, NotLeader, OutcomeUnknown
from quorate.errors import NodeStopped, ProposalDropped, ProposalTooLarge
from quorate.node import proposals
from quorate.raft.roles import Event
from quorate.testing import TestCluster

from .support import Counter, GatedDisk, core_of, until, value_of


def followers(cluster: TestCluster, leader: Node) -> list[Node]:
    return [node for node in cluster.nodes if node is not leader]


async def test_the_proposer_sees_its_own_write_whichever_node_it_asked() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        total = 0
        for node in [leader, *followers(cluster, leader)]:
            applied = await node.propose(b"5")
            total += 5
            assert applied.result == total
            assert value_of(node) == total
        with pytest.raises(CommandFailed) as caught:
            await followers(cluster, leader)[0].propose(b"refuse")
        assert caught.value.args[0] == "refused"
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {total}
        assert len({tuple(node.machine.times) for node in cluster.nodes}) == 1
        times = leader.machine.times
        assert all(earlier < later for earlier, later in pairwise(times))


async def test_what_is_proposed_together_shares_an_entry() -> None:
    async with TestCluster(1, machine=Counter) as cluster:
        node = await cluster.wait_for_leader()
        outcomes = await asyncio.gather(*(node.propose(b"1") for _ in range(50)))
        assert len({outcome.index for outcome in outcomes}) == 1
        assert [outcome.result for outcome in outcomes] == list(range(1, 51))


async def test_large_proposals_go_one_by_one_and_small_ones_pass_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counter, "unordered", True)
    for bound in ("ENTRY_BYTES_MAX", "LARGE_BYTES", "LARGE_UNDER_WAY_BYTES_MAX"):
        monkeypatch.setattr(proposals, bound, 1000)
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        follower = followers(cluster, leader)[0]
        large = [node.propose(b"1".rjust(2000)) for node in (leader, follower, leader, follower)]
        *others, small = await asyncio.gather(*large, leader.propose(b"1"))
        indexes = sorted(outcome.index for outcome in others)
        assert len(set(indexes)) == 4
        assert small.index < indexes[1]
        await cluster.wait_for_convergence()  # each outcome was seen by its proposer, whoever leads by then
        assert {value_of(node) for node in cluster.nodes} == {5}


async def test_large_proposals_that_wait_outlive_their_leader_or_are_not_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Counter, "unordered", True)
    for bound in ("ENTRY_BYTES_MAX", "LARGE_BYTES", "LARGE_UNDER_WAY_BYTES_MAX"):
        monkeypatch.setattr(proposals, bound, 1000)
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        waiting = [asyncio.create_task(leader.propose(b"1".rjust(2000), timeout=30)) for _ in range(5)]
        await waiting[0]
        await leader.transfer_leadership()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        applied = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        assert all(isinstance(outcome, NotApplied) for outcome in outcomes if isinstance(outcome, BaseException))
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {len(applied)}


async def test_a_command_that_no_node_could_read_is_refused_before_the_log() -> None:
    async with TestCluster(1, machine=Counter, settings={"max_command_bytes": 1024}) as cluster:
        node = await cluster.wait_for_leader()
        with pytest.raises(TypeError):
            await node.propose("41")  # type: ignore[arg-type]
        with pytest.raises(ProposalTooLarge):
            await node.propose(b"1" * 1025)
        with pytest.raises(ProposalTooLarge):
            await node.propose(b"1", request_id="x" * 257)
        with pytest.raises(ValueError, match="surrogates"):
            await node.propose(b"1", request_id="\ud800")
        with pytest.raises(ConfigError, match="no machine"):
            await node.propose(b"1", machine="other")
        assert (await node.propose(bytearray(b"41"))).result == 41
        assert (await node.propose(memoryview(b"1"))).result == 42


async def test_a_follower_told_not_to_forward_says_who_leads() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        follower = followers(cluster, leader)[0]
        await follower.wait_for_leader()
        with pytest.raises(NotLeader) as caught:
            await follower.propose(b"1", forward=False)
        assert caught.value.leader == leader.node_id


async def test_a_proposal_that_must_not_be_forwarded_is_not_when_leadership_goes_the_moment_it_is_made() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        proposing = asyncio.ensure_future(leader.propose(b"1", forward=False))
        await asyncio.sleep(0)
        other = followers(cluster, leader)[0]
        core = core_of(leader)
        core._become_follower(Event.HIGHER_TERM, core.term + 1, other.node_id)
        with pytest.raises(NotLeader):
            await proposing


async def test_without_a_leader_nothing_is_applied() -> None:
    async with TestCluster(3, machine=Counter, started=[1]) as cluster:
        (node,) = cluster.nodes
        with pytest.raises(NotLeader):
            await node.propose(b"1", timeout=0.1)
        with pytest.raises(NotLeader):
            await node.propose(b"1", forward=False)


async def test_a_proposal_waits_for_the_leader_as_long_as_it_has_time() -> None:
    async with TestCluster(3, machine=Counter, started=[1]) as cluster:
        (node,) = cluster.nodes
        proposing = asyncio.ensure_future(node.propose(b"7"))
        await asyncio.gather(cluster.start(2), cluster.start(3))
        assert (await proposing).result == 7


async def test_a_leader_without_a_quorum_does_not_know_the_outcome_and_the_entry_may_still_win() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        for other in followers(cluster, leader):
            cluster.network.cut(leader.node_id, other.node_id)
            cluster.network.cut(other.node_id, leader.node_id)
        with pytest.raises(OutcomeUnknown):
            await leader.propose(b"1", timeout=0.05, forward=False)
        cluster.heal()
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} in ({0}, {1})


async def test_an_entry_overwritten_by_the_next_leader_was_certainly_not_applied() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        old = await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        cluster.partition_network([old.node_id])
        lost = asyncio.ensure_future(old.propose(b"1000", forward=False))
        new = await cluster.wait_for_leader()
        assert new is not old
        assert (await new.propose(b"1")).result == 1
        cluster.heal()
        with pytest.raises(ProposalDropped):
            await lost
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {1}


async def test_a_forward_whose_answer_is_lost_has_an_unknown_outcome_and_is_applied_once() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        follower = followers(cluster, leader)[0]
        await cluster.wait_for_convergence()
        cluster.network.cut(leader.node_id, follower.node_id)
        with pytest.raises(OutcomeUnknown):
            await follower.propose(b"1", timeout=0.1)
        cluster.heal()
        await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        assert value_of(follower) == 1


async def test_a_forward_to_a_leader_that_is_lost_has_an_unknown_outcome_at_once() -> None:
    async with TestCluster(3, machine=Counter, file_system=GatedDisk) as cluster:
        leader = await cluster.wait_for_leader()
        follower = followers(cluster, leader)[0]
        await cluster.wait_for_convergence()
        cluster.network.cut(follower.node_id, leader.node_id)
        proposing = asyncio.ensure_future(follower.propose(b"1", timeout=60))
        assert follower._group is not None
        await until(lambda: follower._group is not None and follower._group.pending == 1)
        await cluster.kill(leader.node_id)
        with pytest.raises(OutcomeUnknown):
            await asyncio.wait_for(proposing, 5)
        assert follower._group.pending == 0


async def test_with_a_request_id_a_lost_leader_is_no_reason_to_give_up() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        follower = followers(cluster, leader)[0]
        await cluster.wait_for_convergence()
        cluster.network.cut(leader.node_id, follower.node_id)  # it takes the command, and cannot say so
        proposing = asyncio.ensure_future(follower.propose(b"1", request_id="once", timeout=10))
        await until(lambda: value_of(leader) == 1)
        await cluster.kill(leader.node_id)
        cluster.heal()
        assert (await proposing).result == 1
        await cluster.wait_for_convergence()
        assert {value_of(node) for node in cluster.nodes} == {1}


async def test_a_retry_that_cannot_be_made_leaves_the_first_attempts_outcome_unknown() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        follower = followers(cluster, leader)[0]
        await cluster.wait_for_convergence()
        cluster.network.cut(leader.node_id, follower.node_id)
        proposing = asyncio.ensure_future(follower.propose(b"1", request_id="once", timeout=10))
        await until(lambda: value_of(leader) == 1)
        await follower.stop(hand_over=False)
        with pytest.raises(OutcomeUnknown):
            await proposing
        await cluster.stop(follower.node_id)


async def test_stopping_a_node_ends_what_waits_on_it() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        cluster.partition_network([leader.node_id])
        placed = asyncio.ensure_future(leader.propose(b"1", forward=False))
        assert leader._group is not None
        await until(lambda: leader._group is not None and leader._group.pending == 1)
        await asyncio.sleep(0)
        queued = asyncio.ensure_future(leader.propose(b"1", forward=False))
        stopping = asyncio.ensure_future(leader.stop(hand_over=False))
        await stopping
        with pytest.raises(OutcomeUnknown):
            await placed
        with pytest.raises(NodeStopped):
            await queued
        with pytest.raises(NodeStopped):
            await leader.propose(b"1")
        await cluster.stop(leader.node_id)


async def test_a_leader_that_stops_tells_followers_what_it_did_not_take() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        follower = followers(cluster, leader)[0]
        await follower.wait_for_leader()
        assert leader._group is not None
        turn = leader._group._schedule_turn
        leader._group._schedule_turn = lambda: None  # type: ignore[method-assign]
        proposing = asyncio.ensure_future(follower.propose(b"1", timeout=30))
        await until(lambda: leader._group is not None and leader._group._placement._queue.count == 1)
        leader._group._schedule_turn = turn  # type: ignore[method-assign]
        await cluster.stop(leader.node_id, hand_over=False)
        with pytest.raises(NotApplied):
            await asyncio.wait_for(proposing, 5)


async def test_a_cancelled_caller_leaves_nothing_behind() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        cluster.partition_network([leader.node_id])
        callers = [asyncio.ensure_future(node.propose(b"1", timeout=60)) for node in cluster.nodes for _ in range(5)]
        await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        cluster.heal()
        await (await cluster.wait_for_leader()).propose(b"0")
        await until(lambda: all(node._group is not None and node._group.pending == 0 for node in cluster.nodes))
        await cluster.wait_for_convergence()


async def test_a_caller_that_gives_up_at_once_leaves_no_trace_in_the_log() -> None:
    async with TestCluster(1, machine=Counter) as cluster:
        node = await cluster.wait_for_leader()
        caller = asyncio.ensure_future(node.propose(b"1"))
        await asyncio.sleep(0)
        caller.cancel()
        assert (await node.propose(b"5")).result == 5


async def test_no_more_than_so_many_proposals_are_under_way_on_leader_and_follower() -> None:
    settings = {"max_pending_proposals": 10}
    async with TestCluster(3, machine=Counter, settings=settings, file_system=GatedDisk) as cluster:
        leader = await cluster.wait_for_leader()
        follower = followers(cluster, leader)[0]
        await cluster.wait_for_convergence()
        disks = [cluster.file_system(node.node_id) for node in cluster.nodes]
        for disk in disks:
            assert isinstance(disk, GatedDisk)
            disk.hold_syncs()
        for node in (leader, follower):
            waiting = [asyncio.ensure_future(node.propose(b"1", timeout=60)) for _ in range(10)]
            await until(lambda node=node: node._group.pending == 10)  # type: ignore[misc]
            with pytest.raises(ProposalDropped):
                await node.propose(b"1")
            for caller in waiting:
                caller.cancel()
        for disk in disks:
            assert isinstance(disk, GatedDisk)
            disk.let_syncs_go()
        await until(lambda: all(node._group is not None and node._group.pending == 0 for node in cluster.nodes))


async def test_a_disk_that_stalls_makes_no_leader_answer_early() -> None:
    async with TestCluster(1, machine=Counter, file_system=GatedDisk) as cluster:
        node = await cluster.wait_for_leader()
        disk = cluster.file_system(1)
        assert isinstance(disk, GatedDisk)
        disk.hold_syncs()
        proposing = asyncio.ensure_future(node.propose(b"1"))
        await until(disk.holding.is_set)
        assert node.status.commit_index < node.status.last_index
        with pytest.raises(OutcomeUnknown):
            await node.propose(b"1", timeout=0.05)
        assert value_of(node) == 0
        assert not proposing.done()
        disk.let_syncs_go()
        assert (await proposing).result == 1
