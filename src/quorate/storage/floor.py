"""Where the log begins, on disk: everything up to the floor is in the state machines, or in a snapshot.

::

    compaction   floor                   → segments below it are removed, one by one
    a snapshot   floor with ``resetting`` → every segment is removed, a new one begun → floor without it

The floor is durable before anything leaves the log, so a log can reach below its floor, but can never begin
behind it: a start that finds such a hole refuses. ``resetting`` says that none of the entries in the log count any
more. A start that finds it removes them all: one old segment left over could pass for what follows the snapshot.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from quorate.errors import CorruptLog
from quorate.raft.output import Floor
from quorate.storage.filesystem import FileSystem
from quorate.storage.sealed import read_sealed, write_sealed

_NAME = "floor"
_MAGIC = b"QUORFLR\n"
_RECORD = struct.Struct(">?QQQ")  # resetting, index, term, configuration index; the configuration follows

NO_FLOOR = Floor()
"""Nothing was ever removed: the log begins with entry 1."""


@dataclass(frozen=True, slots=True)
class StoredFloor:
    """The floor, and whether the log still has to begin anew behind it."""

    floor: Floor
    resetting: bool = False


def load_floor(fs: FileSystem, group_directory: Path) -> StoredFloor:
    """What was saved last; index 0 if nothing was. Raises :class:`CorruptLog` if it cannot be read."""
    path = group_directory / _NAME
    content = read_sealed(fs, path, _MAGIC)
    if content is None:
        return StoredFloor(NO_FLOOR)
    if len(content) < _RECORD.size:
        raise CorruptLog(f"{path} is of another format")
    resetting, index, term, configuration_index = _RECORD.unpack_from(content)
    return StoredFloor(Floor(index, term, configuration_index, content[_RECORD.size :]), resetting)


def save_floor(fs: FileSystem, group_directory: Path, stored: StoredFloor) -> None:
    """Replace it in one step; durable on return."""
    floor = stored.floor
    record = _RECORD.pack(stored.resetting, floor.index, floor.term, floor.configuration_index)
    write_sealed(fs, group_directory / _NAME, _MAGIC, record + floor.configuration)
