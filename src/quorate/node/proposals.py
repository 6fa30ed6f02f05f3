"""Proposals from their arrival to their outcome: applied, not applied, or unknown; one of them, exactly once.

Proposals that arrive in one turn of the event loop become one log entry. While an entry is under way, its
proposals wait under its index; what is applied at that index decides: the same term, and it is theirs; another
term, and another leader's entry took the place, so theirs never took effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from quorate.errors import CommandFailed, OutcomeUnknown, ProposalDropped, QuorateError
from quorate.machine.commands import Command
from quorate.machine.outcome import Applied

ENTRY_BYTES_MAX = 256 * 1024
ENTRY_COMMANDS_MAX = 256
"""A batch is closed at this size, so that applying one entry never holds the event loop for long."""


class Proposal:
    """What one caller awaits. The command itself is not kept here: once it is in a log, nobody needs it twice."""

    __slots__ = ("deadline", "future")

    def __init__(self, future: asyncio.Future[Applied], deadline: float) -> None:
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
    def alone(self) -> bool:
        """Whether nothing else may be in that entry."""
        ...

    @property
    def commands(self) -> list[Command]:
        """The commands, in order."""
        ...

    def accepted(self, index: int, term: int, position: int) -> None:
        """They are in the log of this node."""

    def refused(self, error: QuorateError) -> None:
        """They were not put into the log."""


U = TypeVar("U", bound=Unit)


@dataclass(slots=True)
class LocalUnit:
    """A proposal of this node. ``may_forward`` allows it to go into the log by way of another node.

    ``alone`` gives it an entry of its own, which only the node that leads can do.
    """

    commands: list[Command]
    proposal: Proposal
    waiting: WaitingProposals
    may_forward: bool = True
    alone: bool = False

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.proposal.future.done()

    def accepted(self, index: int, term: int, position: int) -> None:
        self.waiting.add(index, term, position, (self.proposal,))

    def refused(self, error: QuorateError) -> None:
        self.proposal.fail(error)


@dataclass(slots=True)
class RemoteUnit:
    """What a follower forwarded; the callbacks tell it."""

    commands: list[Command]
    on_accepted: Callable[[int, int, int], None]
    on_refused: Callable[[QuorateError], None]

    @property
    def alone(self) -> bool:
        return False

    def accepted(self, index: int, term: int, position: int) -> None:
        self.on_accepted(index, term, position)

    def refused(self, error: QuorateError) -> None:
        self.on_refused(error)


class ProposalQueue:
    """Units that arrived and are not in the log yet; bounded by their commands' count and bytes."""

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._units: list[Unit] = []
        self._bytes = 0
        self.count = 0
        """Commands in the queue."""

    def __len__(self) -> int:
        return len(self._units)

    def add(self, unit: Unit) -> None:
        """Enqueue. Raises :class:`ProposalDropped` when a bound is reached; a single unit always fits."""
        count = self.count + len(unit.commands)
        size = self._bytes + _size(unit)
        if self._units and (count > self._count_max or size > self._bytes_max):
            raise ProposalDropped(f"{self.count} proposals are queued already")
        self._units.append(unit)
        self.count = count
        self._bytes = size

    def take(self) -> list[Unit]:
        """All units, and an empty queue."""
        units, self._units = self._units, []
        self._bytes = self.count = 0
        return units


def _size(unit: Unit) -> int:
    return sum([len(command.body) for command in unit.commands])


def batches(units: Iterable[U]) -> Iterable[tuple[list[U], list[Command]]]:
    """Split ``units``, in order, into batches of one entry each, with the batch's commands."""
    batch: list[U] = []
    commands: list[Command] = []
    size = 0
    for unit in units:
        unit_size = _size(unit)
        too_many = len(commands) + len(unit.commands) > ENTRY_COMMANDS_MAX
        too_large = size + unit_size > ENTRY_BYTES_MAX
        if batch and (too_many or too_large or unit.alone or batch[-1].alone):
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


def _overwritten(index: int) -> ProposalDropped:
    return ProposalDropped(f"another leader's entry took the place {index}")


class WaitingProposals:
    """Local proposals whose entry is in the log, here or on the leader, and not applied here yet."""

    def __init__(self) -> None:
        # Several terms may claim one index, each for a log of its own. Only applying decides between them: even
        # the claim of an earlier term may still win, if the later leader is lost before anyone has its entry.
        self._by_index: dict[int, list[_Waiting]] = {}
        self.count = 0
        self.applied_index = 0
        self._applied_term = 0

    def add(self, index: int, term: int, position: int, proposals: Iterable[Proposal]) -> None:
        """They are at ``position`` and behind in the batch of entry ``index`` of ``term``."""
        numbered = list(enumerate(proposals, start=position))
        if index <= self.applied_index:
            for _, proposal in numbered:
                proposal.fail(OutcomeUnknown(f"entry {index} was applied before its place was known here"))
            return
        if term < self._applied_term:
            for _, proposal in numbered:
                proposal.fail(_overwritten(index))
            return
        if not numbered:
            return
        self.count += len(numbered)
        claims = self._by_index.setdefault(index, [])
        for waiting in claims:
            if waiting.term == term:
                waiting.proposals += numbered
                return
        claims.append(_Waiting(term, numbered))

    def applied(self, index: int, term: int, outcomes: list[object]) -> None:
        """Entry ``index`` of ``term`` was applied with these outcomes."""
        self.applied_index = index
        if term > self._applied_term:
            self._applied_term = term
            self._end_impossible(index, term)
        for waiting in self._by_index.pop(index, ()):
            self.count -= len(waiting.proposals)
            for position, proposal in waiting.proposals:
                if waiting.term != term:
                    proposal.fail(_overwritten(index))
                elif position < len(outcomes):
                    proposal.applied(index, term, outcomes[position])
                else:
                    proposal.fail(OutcomeUnknown(f"entry {index} holds no command {position}"))

    def skipped_to(self, index: int, term: int) -> None:
        """The state is now that of a snapshot of entry ``index`` of ``term``: what led to it was not seen here."""
        for skipped in [each for each in self._by_index if each <= index]:
            for waiting in self._by_index.pop(skipped):
                self.count -= len(waiting.proposals)
                for _, proposal in waiting.proposals:
                    proposal.fail(OutcomeUnknown(f"entry {skipped} came here in a snapshot, without its outcome"))
        self.applied_index = index
        if term > self._applied_term:
            self._applied_term = term
            self._end_impossible(index, term)

    def _end_impossible(self, applied_index: int, applied_term: int) -> None:
        """Terms never go back along a log: behind an applied entry no earlier term's entry can be committed."""
        for index, claims in list(self._by_index.items()):
            if index <= applied_index:
                continue
            for waiting in claims:
                if waiting.term < applied_term:
                    self.count -= len(waiting.proposals)
                    for _, proposal in waiting.proposals:
                        proposal.fail(_overwritten(index))
            claims[:] = [waiting for waiting in claims if waiting.term >= applied_term]
            if not claims:
                del self._by_index[index]

    def expire(self, now: float) -> None:
        """End those whose time is over: they may still be applied, so their outcome is unknown."""
        for index, claims in list(self._by_index.items()):
            for waiting in claims:
                kept = []
                for item in waiting.proposals:
                    if item[1].deadline > now and not item[1].future.done():
                        kept.append(item)
                    else:
                        item[1].fail(OutcomeUnknown("no quorum confirmed the command in time; it may still be applied"))
                self.count -= len(waiting.proposals) - len(kept)
                waiting.proposals = kept
            claims[:] = [waiting for waiting in claims if waiting.proposals]
            if not claims:
                del self._by_index[index]

    def fail_all(self, error: QuorateError) -> None:
        """End all of them."""
        for claims in self._by_index.values():
            for waiting in claims:
                for _, proposal in waiting.proposals:
                    proposal.fail(error)
        self._by_index.clear()
        self.count = 0
