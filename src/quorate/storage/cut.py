"""The announcement that a log's suffix is being cut off, so that a cut is done whole or not at all.

A cut shortens one segment and removes others. Stopped half way, it would leave what decay leaves: a file system may
have zeroed the rest of the first block and not yet shortened the file, so that marks further on still claim as
durable what is gone. The announcement is durable before the first byte goes and is withdrawn, durably, before new
entries come: a recovery that finds it finishes the cut.
"""

from __future__ import annotations

import struct
from pathlib import Path

from google_crc32c import value as crc32c

from quorate.errors import CorruptLog
from quorate.storage.filesystem import FileSystem, read_bytes, write_atomically

_NAME = "cut"
_MAGIC = b"QUORCUT\n"
_RECORD = struct.Struct(">8sQ")
_CHECKSUM = struct.Struct(">I")


def announce_cut(fs: FileSystem, directory: Path, index: int) -> None:
    """From here on the entries from ``index`` on do not count any more; durable on return."""
    record = _RECORD.pack(_MAGIC, index)
    write_atomically(fs, directory / _NAME, record + _CHECKSUM.pack(crc32c(record)))


def announced_cut(fs: FileSystem, directory: Path) -> int | None:
    """The index of a cut that may be unfinished. Raises :class:`CorruptLog` if it cannot be read."""
    path = directory / _NAME
    if not fs.exists(path):
        return None
    data = read_bytes(fs, path)
    record = data[: _RECORD.size]
    if data[_RECORD.size :] != _CHECKSUM.pack(crc32c(record)):
        raise CorruptLog(f"{path} cannot be read, so what was cut off the log is unknown; restore a backup")
    return int(_RECORD.unpack(record)[1])


def withdraw_cut(fs: FileSystem, directory: Path) -> None:
    """The cut is done; durable on return, as new entries would be cut by it otherwise."""
    if fs.exists(directory / _NAME):
        fs.remove(directory / _NAME)
        fs.sync_directory(directory)
