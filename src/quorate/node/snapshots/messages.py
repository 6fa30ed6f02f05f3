"""How a snapshot travels: the messages, and their positions.

The sender offers; the receiver answers with the position it wants next, and again whenever it has written what
came. Nothing else is remembered: after any loss, of messages or of a whole process, the next offer and its answer
say where to go on. Offers and chunks take the bulk lane, answers the prompt one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from quorate.storage.manifest import Manifest


class TransferState(IntEnum):
    """What a receiver says of a transfer. The numbers are on the wire: never renumber, never reuse."""

    WANTED = 0
    """Go on at the position."""
    GAP = 1
    """Something came that does not follow the position: go back to it."""
    WORKING = 2
    """All is here; it is being verified, or put in place. Or an earlier one is: wait."""
    DONE = 3
    """Everything up to the snapshot's floor is here."""
    REFUSED = 4
    """Not from this leader, or not in this term."""
    BROKEN = 5
    """What came was not intact, or does not fit this node: it was thrown away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOffer:
    """The leader of ``term`` has a snapshot for a peer whose replication has this ``session``.

    No process of a node uses a ``number`` twice. ``manifest`` is an encoded
    :class:`~quorate.storage.manifest.Manifest`.
    """

    number: int
    term: int
    session: int
    manifest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotChunk:
    """The bytes of part ``part`` from ``offset`` on."""

    number: int
    part: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotProgress:
    """Everything before byte ``offset`` of part ``part`` is here; ``state`` is a :class:`TransferState`."""

    number: int
    part: int
    offset: int
    state: int


SnapshotMessage = SnapshotOffer | SnapshotChunk | SnapshotProgress

SNAPSHOT_KINDS = {67: SnapshotOffer, 68: SnapshotChunk, 69: SnapshotProgress}
"""The frame kinds of these messages: fixed, like all kinds."""


class Layout:
    """The parts of a snapshot laid end to end, so that a position in it is one number."""

    def __init__(self, manifest: Manifest) -> None:
        self._starts: list[int] = []
        self.size_bytes = 0
        for part in manifest.parts:
            self._starts.append(self.size_bytes)
            self.size_bytes += part.size_bytes

    def position(self, part: int, offset: int) -> int | None:
        """Byte ``offset`` of part ``part``; ``None`` if there is no such byte, nor an end of a part there."""
        if part >= len(self._starts):
            return self.size_bytes if part == len(self._starts) and offset == 0 else None
        position = self._starts[part] + offset
        return position if position <= self._end(part) else None

    def piece(self, position: int, size_max: int) -> tuple[int, int, int]:
        """(part, offset, size) of what is to be sent at ``position``: of one part, and at most ``size_max`` bytes."""
        part = next(number for number in range(len(self._starts)) if position < self._end(number))
        return part, position - self._starts[part], min(size_max, self._end(part) - position)

    def _end(self, part: int) -> int:
        return self._starts[part + 1] if part + 1 < len(self._starts) else self.size_bytes
