"""One entry of the replicated log."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


class EntryKind(IntEnum):
    """What an entry's payload means. The values are on disk and on the wire: never renumber."""

    NOOP = 0
    """The empty entry that opens every leader's term (Raft §8)."""
    COMMANDS = 1
    """A batch of commands for the state machines; opaque to the core."""
    MEMBERSHIP = 2
    """A configuration of the cluster (:mod:`quorate.raft.membership`): in force from the moment it is in the log."""
    WITNESSED = 3
    """What a witness keeps in place of commands: where the entry is and its term, no payload."""


@dataclass(slots=True)
class Entry:
    """A log entry: position (``index``, from 1), the leader's ``term``, and opaque ``payload`` bytes.

    ``record`` is the entry in its encoded form (see :mod:`quorate.records`), kept so that the log file and
    every peer receive the same bytes and nothing is encoded twice. The core never looks at it.
    """

    index: int
    term: int
    kind: EntryKind
    payload: bytes
    record: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def size_bytes(self) -> int:
        """The payload's size, which is what windows and bounds count."""
        return len(self.payload)
