"""Proposals from their arrival to their outcome: applied, not applied, or unknown; one of them, exactly once.

Proposals that arrive in one turn of the event loop become one log entry. While an entry is under way, its
proposals wait under its index; what is applied at that index decides: the same term, and it is theirs; another
term, and another leader's entry took the place, so theirs never took effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from quorate.errors import CommandFailed, OutcomeUnknown, ProposalDropped, QuorateError
from quorate.machine.commands import Command
from quorate.machine.outcome import Applied

ENTRY_BYTES_MAX = 256 * 1024
"""A batch is closed at this size, so that applying one entry never holds the event loop for long."""


class Proposal:
    """One command proposed on this node, and the future its caller awaits."""

    __slots__ = ("command", "deadline", "future")

    def __init__(self, command: Command, future: asyncio.Future[Applied], deadline: float) -> None:
        self.command = command
        self.future = future
        self.deadline = deadline

    def fail(self, error: QuorateError) -> None:
        """End with an error, unless it has ended already."""
        if not self.future.done():
            self.future.set_exception(error)

    def applied(self, index: int, term: int, outcome: object) -> None:
        """End with the outcome of applying."""
        if self.future.done():
            return
        if isinstance(outcome, CommandFailed):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(Applied(index, term, outcome))


class Unit(Protocol):
    """Commands that must travel in one entry: a local proposal, or what one follower forwarded at once."""

    @property
    def commands(self) -> list[Command]:
        """The commands, in order."""
        ...

    def accepted(self, index: int, term: int, position: int) -> None:
        """They are in the log of this node."""

    def refused(self, error: QuorateError) -> None:
        """They were not put into the log."""


@dataclass(slots=True)
class LocalUnit:
    """A proposal of this node."""

    proposal: Proposal
    waiting: WaitingProposals

    @property
    def commands(self) -> list[Command]:
        """See :class:`Unit`."""
        return [self.proposal.command]

    def accepted(self, index: int, term: int, position: int) -> None:
        """See :class:`Unit`."""
        self.waiting.add(index, term, position, (self.proposal,))

    def refused(self, error: QuorateError) -> None:
        """See :class:`Unit`."""
        self.proposal.fail(error)


@dataclass(slots=True)
class RemoteUnit:
    """What a follower forwarded; the callbacks tell it."""

    commands: list[Command]
    on_accepted: Callable[[int, int, int], None]
    on_refused: Callable[[QuorateError], None]

    def accepted(self, index: int, term: int, position: int) -> None:
        """See :class:`Unit`."""
        self.on_accepted(index, term, position)

    def refused(self, error: QuorateError) -> None:
        """See :class:`Unit`."""
        self.on_refused(error)


class ProposalQueue:
    """Units that arrived and are not in the log yet; bounded by count and by bytes."""

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._units: list[Unit] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._units)

    def add(self, unit: Unit) -> None:
        """Enqueue. Raises :class:`ProposalDropped` when the bound is reached."""
        size = sum(len(command.body) for command in unit.commands)
        if len(self._units) >= self._count_max or (self._units and self._bytes + size > self._bytes_max):
            raise ProposalDropped(f"{len(self._units)} proposals are queued already")
        self._units.append(unit)
        self._bytes += size

    def take(self) -> list[Unit]:
        """All units, and an empty queue."""
        units, self._units = self._units, []
        self._bytes = 0
        return units


def batches(units: Iterable[Unit]) -> Iterable[tuple[list[Unit], list[Command]]]:
    """Split ``units``, in order, into batches of one entry each, with the batch's commands."""
    batch: list[Unit] = []
    commands: list[Command] = []
    size = 0
    for unit in units:
        unit_size = sum(len(command.body) for command in unit.commands)
        if batch and size + unit_size > ENTRY_BYTES_MAX:
            yield batch, commands
            batch, commands, size = [], [], 0
        batch.append(unit)
        commands.extend(unit.commands)
        size += unit_size
    if batch:
        yield batch, commands


@dataclass(slots=True)
class _Waiting:
    term: int
    proposals: list[tuple[int, Proposal]]  # (position in the batch, proposal)


class WaitingProposals:
    """Local proposals whose entry is in the log, here or on the leader, and not applied here yet."""

    def __init__(self) -> None:
        self._by_index: dict[int, _Waiting] = {}
        self.count = 0
        self.applied_index = 0

    def add(self, index: int, term: int, position: int, proposals: Iterable[Proposal]) -> None:
        """They are at ``position`` and behind in the batch of entry ``index`` of ``term``."""
        numbered = list(enumerate(proposals, start=position))
        if index <= self.applied_index:
            for _, proposal in numbered:
                proposal.fail(OutcomeUnknown(f"entry {index} was applied before its place was known here"))
            return
        self.count += len(numbered)
        waiting = self._by_index.get(index)
        if waiting is None:
            self._by_index[index] = _Waiting(term, numbered)
        elif waiting.term == term:
            waiting.proposals += numbered
        else:
            older, newer = sorted((waiting, _Waiting(term, numbered)), key=lambda each: each.term)
            self._drop(index, older)
            self._by_index[index] = newer

    def applied(self, index: int, term: int, outcomes: list[object]) -> None:
        """Entry ``index`` of ``term`` was applied with these outcomes."""
        self.applied_index = index
        waiting = self._by_index.pop(index, None)
        if waiting is None:
            return
        if waiting.term != term:
            self._drop(index, waiting)
            return
        self.count -= len(waiting.proposals)
        for position, proposal in waiting.proposals:
            proposal.applied(index, term, outcomes[position])

    def _drop(self, index: int, waiting: _Waiting) -> None:
        self.count -= len(waiting.proposals)
        for _, proposal in waiting.proposals:
            proposal.fail(ProposalDropped(f"another leader's entry took the place {index}"))

    def expire(self, now: float) -> None:
        """End those whose time is over: they may still be applied, so their outcome is unknown."""
        for index, waiting in list(self._by_index.items()):
            kept = []
            for item in waiting.proposals:
                if item[1].deadline > now and not item[1].future.done():
                    kept.append(item)
                else:
                    item[1].fail(OutcomeUnknown("no quorum confirmed the command in time; it may still be applied"))
            self.count -= len(waiting.proposals) - len(kept)
            waiting.proposals = kept
            if not kept:
                del self._by_index[index]

    def fail_all(self, error: QuorateError) -> None:
        """End all of them."""
        for waiting in self._by_index.values():
            for _, proposal in waiting.proposals:
                proposal.fail(error)
        self._by_index.clear()
        self.count = 0
