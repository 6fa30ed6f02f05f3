"""What a log entry's payload holds: a batch of commands with the time and the randomness the leader stamped."""

from __future__ import annotations

import msgspec

from quorate.errors import ProtocolViolation

JOINT = "+"
"""In the place of a machine's name: the command is for several, see :mod:`quorate.machine.joint`."""


class Command(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One command for the machine of that name. ``request_id`` makes it apply at most once (see sessions).

    ``origin`` is the node that it was proposed at.
    """

    machine: str
    body: bytes
    request_id: str | None = None
    origin: int = 0


class Batch(msgspec.Struct, array_like=True, frozen=True):
    """The commands of one entry: they share its index and are applied in order, each on its own."""

    time_us: int
    """The leader's clock, microseconds since 1970 (UTC)."""
    seed: int
    """64 random bits from which ids are made."""
    commands: list[Command]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Batch)


def encode_batch(batch: Batch) -> bytes:
    """The payload of an entry."""
    return _encoder.encode(batch)


def decode_batch(payload: bytes) -> Batch:
    """The batch in an entry's payload. Raises :class:`ProtocolViolation`: what is in the log must be readable."""
    try:
        return _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise ProtocolViolation(f"an entry holds no batch of commands: {error}") from error
