"""Term and vote on disk: one record, so that neither can survive without the other."""

from __future__ import annotations

import struct
from pathlib import Path

from google_crc32c import value as crc32c

from quorate.errors import CorruptLog
from quorate.raft.output import HardState
from quorate.storage.filesystem import File, FileSystem, write_atomically

_COPY_OFFSETS = (0, 4096)
"""Where the two copies are: pages apart, so that whatever damages one in a single stroke spares the other."""

_MAGIC = b"QUORVOTE"
_RECORD = struct.Struct(">8sQQ?Q")  # magic, sequence, term, whether there is a vote, the vote
_CHECKSUM = struct.Struct(">I")
_COPY_BYTES = _RECORD.size + _CHECKSUM.size


class HardStateFile:
    """The latest term and vote, each save in two places.

    A save writes one copy, syncs, then writes the other and syncs. A power loss can tear only the copy that is
    being written, while the other one is whole. And as a finished save has replaced both, no damage to one of
    them brings back an older vote: a node that voted twice in a term could elect two leaders.
    """

    def __init__(self, fs: FileSystem, path: Path) -> None:
        """Load what is in the file; a missing one means a node that never voted.

        What is loaded is durable on return. Raises :class:`CorruptLog` if the file is there and neither copy
        can be read, and :class:`OSError`.
        """
        self._fs = fs
        self._path = path
        self._file: File | None = None
        self._sequence = 0
        self._order = (0, 1)
        self.state = HardState()
        """What was saved last."""
        if fs.exists(path):
            self._file = fs.open(path)
            try:
                self._load(self._file)
            except BaseException:
                self.close()
                raise

    def _load(self, file: File) -> None:
        copies = read_copies(file)
        intact = {which: copy for which, copy in enumerate(copies) if copy is not None}
        if not intact:
            raise CorruptLog(
                f"{self._path}: neither copy of the term and vote can be read, so this node could vote twice. "
                f"Nothing was changed: replace it by a new node, or restore a backup."
            )
        newest = max(intact, key=lambda which: intact[which][0])
        self._sequence, self.state = intact[newest]
        # The process may have died, or stopped because of a failed sync, before this was durable; and with one
        # copy lost, the next save must not start with the other.
        self._order = (1 - newest, newest)
        self.save(self.state)
        self._fs.sync_directory(self._path.parent)

    def save(self, state: HardState) -> None:
        """Make ``state`` durable. Raises :class:`OSError`: which state a restart will find is unknown then."""
        self._sequence += 1
        record = _encode(self._sequence, state)
        if self._file is None:
            write_atomically(self._fs, self._path, record.ljust(_COPY_OFFSETS[1], b"\0") + record)
            self._file = self._fs.open(self._path)
        else:
            for which in self._order:
                self._file.write_at(_COPY_OFFSETS[which], record)
                self._file.sync()
        self.state = state

    def close(self) -> None:
        """Close the file. The last call."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_copies(file: File) -> list[tuple[int, HardState] | None]:
    """The sequence number and state of each of the two copies in ``file``; ``None`` for one that is damaged."""
    return [_decode(file.read_at(offset, _COPY_BYTES)) for offset in _COPY_OFFSETS]


def _encode(sequence: int, state: HardState) -> bytes:
    voted = state.voted_for is not None
    record = _RECORD.pack(_MAGIC, sequence, state.term, voted, state.voted_for or 0)
    return record + _CHECKSUM.pack(crc32c(record))


def _decode(copy: bytes) -> tuple[int, HardState] | None:
    """The sequence number and state of a copy; ``None`` if it is damaged."""
    record = copy[: _RECORD.size]
    if copy[_RECORD.size :] != _CHECKSUM.pack(crc32c(record)):
        return None
    magic, sequence, term, voted, vote = _RECORD.unpack(record)
    return (sequence, HardState(term, vote if voted else None)) if magic == _MAGIC else None
