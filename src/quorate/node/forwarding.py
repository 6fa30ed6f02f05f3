"""How a follower passes proposals on: the messages, and the forwards that wait for the leader's word.

The leader answers with the place where it put the commands. The follower then waits for its own apply of that
entry and computes the results itself, so an answer also means that the follower's state has caught up with it.
A forward is sent once; if its fate cannot be learned, the outcome is unknown.

Forwards are numbered, and no process of a node ever uses a number twice: the answer to one that an earlier
process sent must not be taken for an answer to one of ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from quorate.errors import FrameError, OutcomeUnknown
from quorate.machine.commands import Command
from quorate.node.proposals import Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Please propose these ``commands`` (msgpack, see :func:`encode_commands`) in one entry."""

    number: int
    commands: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardAccepted:
    """They are in the log at ``index`` of ``term``, the first one at ``position`` in its batch."""

    number: int
    index: int
    term: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardRefused:
    """They were not put into the log. ``leader`` is who leads instead, 0 if nobody; else ``reason`` says why not."""

    number: int
    leader: int
    reason: str


ForwardMessage = Forward | ForwardAccepted | ForwardRefused

FORWARDING_KINDS = {64: Forward, 65: ForwardAccepted, 66: ForwardRefused}
"""The frame kinds of these messages: fixed, like all kinds."""

_decoder = msgspec.msgpack.Decoder(list[Command])


def encode_commands(commands: list[Command]) -> bytes:
    """Commands as they travel in a :class:`Forward`."""
    return msgspec.msgpack.encode(commands)


def decode_commands(data: bytes) -> list[Command]:
    """The inverse; raises :class:`FrameError` for anything else, an empty list included."""
    try:
        commands = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise FrameError(f"a forward holds no commands: {error}") from error
    if not commands:
        raise FrameError("a forward holds no commands")
    return commands


@dataclass(slots=True)
class _Forwarded:
    leader: int
    proposals: list[Proposal]


class PendingForwards:
    """Proposals that were sent to a leader, whose word on them has not come."""

    def __init__(self, first_number: int) -> None:
        self._next_number = first_number
        self._pending: dict[int, _Forwarded] = {}
        self.count = 0
        """Proposals in them."""

    def add(self, leader: int, proposals: list[Proposal]) -> int:
        """The number to send them to ``leader`` under."""
        number = self._next_number
        self._next_number += 1
        self._pending[number] = _Forwarded(leader, proposals)
        self.count += len(proposals)
        return number

    def answered(self, peer: int, number: int) -> list[Proposal]:
        """``peer`` gave its word on ``number``; nothing if it was not asked, or everyone has given up waiting."""
        forwarded = self._pending.get(number)
        if forwarded is None or forwarded.leader != peer:
            return []
        return self._remove(number)

    def lose(self, peer: int, reason: str) -> None:
        """What was sent to ``peer`` may be lost: the outcome is unknown."""
        self._lose([number for number, forwarded in self._pending.items() if forwarded.leader == peer], reason)

    def lose_all_but(self, leader: int | None, reason: str) -> None:
        """What was sent to anyone but ``leader`` may be lost."""
        self._lose([number for number, forwarded in self._pending.items() if forwarded.leader != leader], reason)

    def _lose(self, numbers: list[int], reason: str) -> None:
        for number in numbers:
            for proposal in self._remove(number):
                proposal.fail(OutcomeUnknown(reason))

    def expire(self, now: float) -> None:
        """End the proposals whose time is over."""
        for number, forwarded in list(self._pending.items()):
            for proposal in forwarded.proposals:
                if proposal.deadline <= now:
                    proposal.fail(OutcomeUnknown("the leader did not say in time whether it took the command"))
            if all(proposal.future.done() for proposal in forwarded.proposals):
                self._remove(number)

    def _remove(self, number: int) -> list[Proposal]:
        proposals = self._pending.pop(number).proposals
        self.count -= len(proposals)
        return proposals
