"""The announcement that a log's suffix is being cut off, so that a cut is done whole or not at all.

A cut shortens one segment and removes others. Stopped half way, it would leave what decay leaves: a file system may
have zeroed the rest of the first block and not yet shortened the file, so that marks further on still claim as
durable what is gone. The announcement is durable before the first byte goes and is withdrawn, durably, before new
entries come: a recovery that finds it finishes the cut.
"""

from __future__ import annotations

from pathlib import Path

from quorate.storage.filesystem import FileSystem
from quorate.storage.sealed import read_sealed, write_sealed

_NAME = "cut"
_MAGIC = b"QUORCUT\n"
_INDEX_BYTES = 8  # big-endian


def announce_cut(fs: FileSystem, directory: Path, index: int) -> None:
    """From here on the entries from ``index`` on do not count any more; durable on return."""
    write_sealed(fs, directory / _NAME, _MAGIC, index.to_bytes(_INDEX_BYTES, "big"))


def announced_cut(fs: FileSystem, directory: Path) -> int | None:
    """The index of a cut that may be unfinished.

    Raises :class:`~quorate.errors.CorruptLog` if it cannot be read: what was cut off is unknown then.
    """
    content = read_sealed(fs, directory / _NAME, _MAGIC)
    return None if content is None else int.from_bytes(content, "big")


def withdraw_cut(fs: FileSystem, directory: Path) -> None:
    """The cut is done; durable on return, as new entries would be cut by it otherwise."""
    if fs.exists(directory / _NAME):
        fs.remove(directory / _NAME)
        fs.sync_directory(directory)
