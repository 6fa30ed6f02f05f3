"""How a follower passes proposals on: the messages, and the forwards that wait for the leader's word.

The leader answers with the place where it put the commands. The follower then waits for its own apply of that
entry and computes the results itself, so an answer also means that the follower's state has caught up with it.
A forward is sent once; if its fate cannot be learned, the outcome is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from quorate.errors import FrameError
from quorate.machine.commands import Command


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
