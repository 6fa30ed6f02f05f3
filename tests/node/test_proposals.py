"""Proposals end once, and say "not applied" only where that is certain."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quorate.errors import CommandFailed, OutcomeUnknown, ProposalDropped
from quorate.machine.commands import Command
from quorate.machine.outcome import Applied
from quorate.node import proposals
from quorate.node.proposals import LocalUnit, Proposal, ProposalQueue, RemoteUnit, WaitingProposals, batches


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
    queue = ProposalQueue(3, 100)
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


async def test_a_unit_whose_caller_is_gone_is_abandoned() -> None:
    item = proposal()
    local = LocalUnit([Command("default", b"1")], item, WaitingProposals())
    assert not local.abandoned
    item.future.cancel()
    assert local.abandoned
