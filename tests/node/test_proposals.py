"""Proposals end once, and say "not applied" only where that is certain."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quorate.errors import CommandFailed, OutcomeUnknown, ProposalDropped
from quorate.machine.commands import Command
from quorate.machine.outcome import Applied
from quorate.node import proposals
from quorate.node.proposals import (
    LargeUnderWay,
    LocalUnit,
    Proposal,
    ProposalQueue,
    RemoteUnit,
    WaitingProposals,
    batches,
)


def proposal(deadline: float = 100.0) -> Proposal:
    return Proposal(asyncio.get_running_loop().create_future(), deadline)


def error_of(item: Proposal) -> BaseException | None:
    return item.future.exception() if item.future.done() else None


def unit(*bodies: bytes) -> RemoteUnit:
    return RemoteUnit([Command("default", body) for body in bodies], lambda *_: None, lambda _: None)


async def test_the_entry_that_was_applied_in_their_place_decides() -> None:
    waiting = WaitingProposals()
    first, second = proposal(), proposal()
    waiting.add(5, 2, 0, [first])
    waiting.add(5, 2, 1, [second])
    waiting.applied(5, 2, ["one", CommandFailed("two")])
    assert first.future.result() == Applied(5, 2, "one")
    assert isinstance(error_of(second), CommandFailed)
    assert waiting.count == 0


async def test_another_leaders_entry_in_their_place_means_not_applied() -> None:
    waiting = WaitingProposals()
    item = proposal()
    waiting.add(5, 2, 0, [item])
    waiting.applied(5, 3, [])
    assert isinstance(error_of(item), ProposalDropped)


async def test_a_later_leaders_claim_of_the_place_decides_nothing() -> None:
    """Its entry may be lost with it; then the earlier one, still in our log, is committed after all.

    We proposed entry 5 in term 2; the leader of term 3 put what we forwarded at 5, too, and died before anyone had
    it; we are elected in term 4 and commit our own entry 5. Ending the first as "not applied" was a lie.
    """
    waiting = WaitingProposals()
    ours, forwarded = proposal(), proposal()
    waiting.add(5, 2, 0, [ours])
    waiting.add(5, 3, 0, [forwarded])
    assert not ours.future.done()
    waiting.applied(5, 2, ["applied"])
    assert ours.future.result() == Applied(5, 2, "applied")
    assert isinstance(error_of(forwarded), ProposalDropped)
    assert waiting.count == 0


async def test_once_a_later_term_is_applied_no_earlier_entry_behind_it_can_come() -> None:
    waiting = WaitingProposals()
    behind, current = proposal(), proposal()
    waiting.add(7, 2, 0, [behind])
    waiting.add(7, 3, 0, [current])
    waiting.applied(5, 3, [])
    assert isinstance(error_of(behind), ProposalDropped)
    assert waiting.count == 1
    late = proposal()
    waiting.add(8, 2, 0, [late])
    assert isinstance(error_of(late), ProposalDropped)
    waiting.applied(7, 3, ["done"])
    assert current.future.result().result == "done"
    assert (waiting.count, waiting._by_index) == (0, {})


async def test_a_place_learned_too_late_leaves_the_outcome_unknown() -> None:
    waiting = WaitingProposals()
    waiting.applied(5, 2, ["gone"])
    item = proposal()
    waiting.add(5, 2, 0, [item])
    assert isinstance(error_of(item), OutcomeUnknown)
    assert waiting.count == 0


async def test_a_position_that_the_entry_does_not_have_leaves_the_outcome_unknown() -> None:
    waiting = WaitingProposals()
    item = proposal()
    waiting.add(5, 2, 7, [item])
    waiting.applied(5, 2, ["only one"])
    assert isinstance(error_of(item), OutcomeUnknown)


async def test_those_whose_time_is_over_end_as_unknown_and_the_others_wait_on() -> None:
    waiting = WaitingProposals()
    early, late, cancelled = proposal(1.0), proposal(3.0), proposal(3.0)
    waiting.add(5, 2, 0, [early, late])
    waiting.add(6, 2, 0, [cancelled])
    cancelled.future.cancel()
    waiting.expire(2.0)
    assert isinstance(error_of(early), OutcomeUnknown)
    assert waiting.count == 1
    waiting.applied(5, 2, ["early", "late"])
    assert late.future.result().result == "late"


async def test_a_claim_for_nobody_is_not_kept() -> None:
    waiting = WaitingProposals()
    waiting.add(10**15, 2, 0, [])
    assert not waiting._by_index


async def test_an_ended_proposal_does_not_end_again() -> None:
    item = proposal()
    item.applied(1, 1, "first")
    item.fail(OutcomeUnknown("late"))
    item.applied(2, 2, "second")
    assert item.future.result().result == "first"


def test_batches_keep_the_order_and_are_bounded_by_bytes_and_by_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "ENTRY_BYTES_MAX", 10)
    monkeypatch.setattr(proposals, "ENTRY_COMMANDS_MAX", 3)
    units: list[Any] = [unit(b"a"), unit(b"b", b"c"), unit(b"d"), unit(b"e" * 50), unit(b"f" * 6), unit(b"g" * 6)]
    found = [[command.body[:1] for command in commands] for _, commands in batches(units)]
    assert found == [[b"a", b"b", b"c"], [b"d"], [b"e"], [b"f"], [b"g"]]
    assert list(batches([])) == []


def test_the_queue_is_bounded_by_commands_and_by_bytes() -> None:
    queue = ProposalQueue(3, 100, ())
    queue.add(unit(b"a", b"b"))
    with pytest.raises(ProposalDropped):
        queue.add(unit(b"c", b"d"))
    queue.add(unit(b"c" * 90))
    with pytest.raises(ProposalDropped):
        queue.add(unit(b""))
    assert (len(queue.take()), len(queue), queue.count) == (2, 0, 0)
    queue.add(unit(b"x" * 1000))  # alone, it must be possible at all
    with pytest.raises(ProposalDropped):
        queue.add(unit(b"y"))


def test_large_units_wait_for_room_while_small_ones_pass_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "LARGE_BYTES", 10)
    queue = ProposalQueue(4, 100, {"default"})
    first, second, small, last = unit(b"f" * 40), unit(b"s" * 20), unit(b"x"), unit(b"l" * 11)
    for each in (first, second, small, last):
        queue.add(each)
    room = 30
    assert queue.is_due(lambda size: size <= room)
    assert queue.take_due(lambda size: size <= room) == [small], "nor does the second pass the first"
    assert not queue.is_due(lambda size: size <= room)
    with pytest.raises(ProposalDropped):
        queue.add(unit(b"b" * 30))  # what waits is in memory all the time
    queue.add(unit(b"t" * 9))  # but it must not keep out what is small
    assert queue.take_due(lambda size: size <= room) != []
    room = 40
    assert [queue.take_due(lambda size: size <= room) for _ in range(3)] == [[first], [second], [last]]
    assert (len(queue), queue.count) == (0, 0)
    queue.add(unit(b"n" * 100))
    assert len(queue.take()) == 1, "where this node does not lead, nothing is kept back"


def test_where_order_counts_nothing_passes_what_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "LARGE_BYTES", 10)
    queue = ProposalQueue(10, 1000, {"other"})
    large, small = unit(b"l" * 40), unit(b"s")
    for each in (large, small):
        queue.add(each)
    assert queue.take_due(lambda size: False) == [large, small]


async def test_nobody_waits_for_a_turn_that_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "LARGE_BYTES", 10)
    queue = ProposalQueue(10, 1000, {"default"})
    of_another = unit(b"x" * 50)
    late, in_time, gone = [
        LocalUnit([Command("default", b"y" * 50)], proposal(at), WaitingProposals()) for at in (5, 7, 9)
    ]
    gone.proposal.future.cancel()
    for each in (of_another, late, in_time, gone):
        queue.add(each)
    assert queue.take_late(6.0) == [late, gone]
    assert (queue.take_late(6.0), queue.count) == ([], 2)
    assert queue.take() == [of_another, in_time]


def test_large_units_are_under_way_one_after_the_other_and_rest_in_between() -> None:
    large, most = proposals.LARGE_BYTES + 1, proposals.LARGE_UNDER_WAY_BYTES_MAX
    under_way = LargeUnderWay()
    assert under_way.has_room_for(10 * most, 1, now=5.0), "one is always possible"
    under_way.added(7, most - large, 1, now=5.0)
    under_way.added(8, 100, 1, now=5.0)  # a small one counts for nothing
    assert under_way.has_room_for(large, 1, now=5.0)
    assert not under_way.has_room_for(large + 1, 1, now=9.0)
    under_way.added(9, large, 1, now=5.0)
    assert not under_way.has_room_for(1, 1, now=9.0)
    under_way.applied(8, now=5.05)
    assert under_way.has_room_for(large, 1, now=5.06), "no rest before all of them are applied"
    under_way.applied(9, now=5.1)
    assert not under_way.has_room_for(large, 1, now=5.19)
    assert under_way.has_room_for(large, 1, now=5.21)
    under_way.added(10, most, 1, now=6.0)
    under_way.applied(10, now=60.0)
    assert under_way.has_room_for(large, 1, now=60.0 + proposals.REST_SECONDS_MAX), "the rest is bounded"


def test_what_an_earlier_leader_had_under_way_keeps_nobody_waiting() -> None:
    under_way = LargeUnderWay()
    under_way.added(7, 10 * proposals.LARGE_UNDER_WAY_BYTES_MAX, 1, now=5.0)
    assert not under_way.has_room_for(1, 1, now=6.0)
    assert under_way.has_room_for(10, 2, now=6.0)
    under_way.added(7, 2 * proposals.LARGE_BYTES, 2, now=6.0)  # in the place of the other
    assert under_way.has_room_for(10, 2, now=6.0)
    assert not under_way.has_room_for(proposals.LARGE_UNDER_WAY_BYTES_MAX, 2, now=6.0)


async def test_a_unit_whose_caller_is_gone_is_abandoned() -> None:
    item = proposal()
    local = LocalUnit([Command("default", b"1")], item, WaitingProposals())
    assert not local.abandoned
    item.future.cancel()
    assert local.abandoned
