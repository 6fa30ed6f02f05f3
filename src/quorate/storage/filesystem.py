"""The file-system port: the few operations that the durable side needs, and how much each one promises.

Nothing here is durable by itself. The bytes of a file survive a power loss once :meth:`File.sync` returned;
a created, renamed or removed name survives once :meth:`FileSystem.sync_directory` of its directory returned.
Until then any part of it may be there afterwards, in pieces of :data:`SECTOR_BYTES`.

All failures are :class:`OSError`; the layers above turn them into Quorate's own errors. Different files may be
used from different threads, and one file may be read in one thread while another thread writes to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from quorate.errors import StorageError

SECTOR_BYTES = 512
"""The unit that storage is trusted to write whole or not at all."""

TEMPORARY_SUFFIX = ".tmp"
"""Ends the name of a file that is not complete yet; what carries it after a crash is rubbish."""


class File(Protocol):
    """An open file, addressed by byte offset."""

    @property
    def size(self) -> int:
        """The length in bytes."""

    def read_at(self, offset: int, size: int) -> bytes:
        """The ``size`` bytes from ``offset`` on; fewer only where the file ends."""

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of ``data``; a gap behind the old end reads as zeros."""

    def truncate(self, size: int) -> None:
        """Make the file ``size`` bytes long, dropping what is behind."""

    def allocate(self, size: int) -> None:
        """Make the file at least ``size`` bytes long, the new ones zero and their space reserved."""

    def sync(self) -> None:
        """Make the content and the length durable. After a failure nobody knows what is: do not try again."""

    def close(self) -> None:
        """Give the file back: every later call but this one raises."""


class FileLock(Protocol):
    """An exclusive lock that is held until it is released or the process ends."""

    def release(self) -> None:
        """Give the lock back; safe to call twice."""


class FileSystem(Protocol):
    """Names and directories."""

    def open(self, path: Path, *, create: bool = False) -> File:
        """The file for reading and writing; with ``create``, made empty where it is missing."""

    def exists(self, path: Path) -> bool:
        """Whether there is a file or directory of that name."""

    def list_files(self, directory: Path) -> list[str]:
        """The names of the files in it, sorted, without subdirectories."""

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name in one step, replacing what had it."""

    def remove(self, path: Path) -> None:
        """Remove a file's name; open handles stay usable."""

    def make_directories(self, path: Path) -> None:
        """Make the directory and the missing ones above it. Durable on return."""

    def sync_directory(self, path: Path) -> None:
        """Make the names in this directory durable."""

    def lock(self, path: Path) -> FileLock:
        """Lock the file, making it where it is missing.

        Raises :class:`~quorate.errors.DataDirectoryLocked`, naming the holder where it is known.
        """

    def boot_id(self) -> str | None:
        """What tells one run of the machine from the next; ``None`` where that cannot be known."""


def read_bytes(fs: FileSystem, path: Path) -> bytes:
    """The whole content of a file."""
    file = fs.open(path)
    try:
        return file.read_at(0, file.size)
    finally:
        file.close()


def write_atomically(fs: FileSystem, path: Path, *pieces: bytes) -> None:
    """Put ``pieces`` in place of the file: whatever happens, either the old or the new content is there whole.

    Durable on return.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    file = fs.open(temporary, create=True)
    try:
        file.truncate(0)
        offset = 0
        for piece in pieces:
            file.write_at(offset, piece)
            offset += len(piece)
        file.sync()
    finally:
        file.close()
    fs.rename(temporary, path)
    fs.sync_directory(path.parent)


@contextmanager
def reporting(path: Path) -> Iterator[None]:
    """Turn an :class:`OSError` into a :class:`StorageError` that says where it happened."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be used: {error}") from error
