"""Proposals from their arrival to their outcome: applied, not applied, or unknown; one of them, exactly once.

Proposals that arrive in one turn of the event loop become one log entry. While an entry is under way, its
proposals wait under its index; what is applied at that index decides: the same term, and it is theirs; another
term, and another leader's entry took the place, so theirs never took effect.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from quorate.errors import CommandFailed, OutcomeUnknown, ProposalDropped, QuorateError
from quorate.machine.commands import Command
from quorate.machine.outcome import Applied

ENTRY_BYTES_MAX = 256 * 1024
ENTRY_COMMANDS_MAX = 256
"""A batch is closed at this size, so that applying one entry never holds the event loop for long."""
LARGE_BYTES = 1024 * 1024
"""A unit of more than this is large: it is long on its way, and what is behind it in the log waits for it."""
LARGE_UNDER_WAY_BYTES_MAX = 4 * 1024 * 1024
"""So much of large units is under way at a time, or one; the others wait in the queue, and small ones pass them."""
REST_SECONDS_MAX = 0.25
"""See :class:`LargeUnderWay`."""


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

    def is_late(self, now: float) -> bool:
        """Whether nobody waits for it at that time any more."""
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

    def is_late(self, now: float) -> bool:
        return self.abandoned or self.proposal.deadline <= now

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

    def is_late(self, now: float) -> bool:
        return False  # that, its follower knows

    def accepted(self, index: int, term: int, position: int) -> None:
        self.on_accepted(index, term, position)

    def refused(self, error: QuorateError) -> None:
        self.on_refused(error)


class ProposalQueue:
    """Units that arrived and are not in the log yet; bounded by their commands, and by the bytes of each kind.

    Large ones wait for room, and are passed by small ones, if all their commands are ``unordered``.
    """

    def __init__(self, count_max: int, bytes_max: int, unordered: Container[str]) -> None:
        self._unordered = unordered
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._small: list[Unit] = []
        self._large: deque[Unit] = deque()
        self._small_bytes = self._large_bytes = 0
        self.count = 0
        """Commands in the queue."""

    def __len__(self) -> int:
        return len(self._small) + len(self._large)

    def add(self, unit: Unit) -> None:
        """Enqueue. Raises :class:`ProposalDropped` when a bound is reached; a single unit always fits."""
        count, size = self.count + len(unit.commands), _size(unit)
        is_large = size > LARGE_BYTES and all(command.machine in self._unordered for command in unit.commands)
        before = self._large_bytes if is_large else self._small_bytes
        if (count > self._count_max and len(self)) or (before + size > self._bytes_max and before):
            raise ProposalDropped(f"{self.count} proposals are queued already")
        self.count = count
        if is_large:
            self._large.append(unit)
            self._large_bytes += size
        else:
            self._small.append(unit)
            self._small_bytes += size

    def is_due(self, has_room_for: Callable[[int], bool]) -> bool:
        """Whether :meth:`take_due` would find something."""
        return bool(self._small) or (bool(self._large) and has_room_for(_size(self._large[0])))

    def take_due(self, has_room_for: Callable[[int], bool]) -> list[Unit]:
        """The small units, and the first large one if there is room for its bytes."""
        if not self._large:
            return self.take()
        units, self._small, self._small_bytes = self._small, [], 0
        if has_room_for(_size(self._large[0])):
            units.append(self._large.popleft())
            self._large_bytes -= _size(units[-1])
        self.count -= sum(len(unit.commands) for unit in units)
        return units

    def take(self) -> list[Unit]:
        """All units, and an empty queue."""
        units = [*self._small, *self._large]
        self._small, self._large = [], deque()
        self._small_bytes = self._large_bytes = self.count = 0
        return units

    def take_late(self, now: float) -> list[Unit]:
        """The units for which nobody waits at that time any more."""
        late = [unit for unit in self._large if unit.is_late(now)]
        if late:
            self._large = deque(unit for unit in self._large if not unit.is_late(now))
            self._large_bytes -= sum(map(_size, late))
            self.count -= sum(len(unit.commands) for unit in late)
        return late


class LargeUnderWay:
    """What a leader has put into its log of large units, and not applied yet; and the rest behind it.

    When they are applied, none follow for as long as they took. So however many wait, half of the time belongs to what
    is small.
    """

    def __init__(self) -> None:
        self._entries: deque[tuple[int, int]] = deque()  # (index, bytes)
        self._term = 0
        self._bytes = 0
        self._began = self._rests_until = 0.0

    def has_room_for(self, size: int, term: int, now: float) -> bool:
        """Whether the leader of ``term`` may add so many bytes; of what an earlier one added nothing is certain."""
        if not self._entries or term != self._term:
            return now >= self._rests_until
        return self._bytes + size <= LARGE_UNDER_WAY_BYTES_MAX

    def added(self, index: int, size: int, term: int, now: float) -> None:
        """Entry ``index`` of ``term`` has a payload of ``size`` bytes."""
        if size <= LARGE_BYTES:
            return
        if term != self._term:
            self._entries.clear()
            self._term, self._bytes = term, 0
        if not self._entries:
            self._began = now
        self._entries.append((index, size))
        self._bytes += size

    def applied(self, index: int, now: float) -> None:
        """All entries up to ``index`` are applied."""
        if not self._entries or self._entries[0][0] > index:
            return
        while self._entries and self._entries[0][0] <= index:
            self._bytes -= self._entries.popleft()[1]
        if not self._entries:
            self._rests_until = now + min(now - self._began, REST_SECONDS_MAX)


def _size(unit: Unit) -> int:
    """The bytes of its commands."""
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
