"""A file system that only reads, and who else uses a directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import NoReturn

from quorate.storage.filesystem import FileLock


class ReadOnlyFile:
    """Implements :class:`~quorate.storage.filesystem.File`; what would write raises :class:`OSError`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @property
    def size(self) -> int:
        """The length in bytes."""
        return os.fstat(self._descriptor).st_size

    def read_at(self, offset: int, size: int) -> bytes:
        """See :class:`~quorate.storage.filesystem.File`."""
        parts = []
        while size > 0 and (part := os.pread(self._descriptor, size, offset)):
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)

    def write_at(self, offset: int, data: bytes) -> NoReturn:
        """Refused."""
        _refuse()

    def truncate(self, size: int) -> NoReturn:
        """Refused."""
        _refuse()

    def allocate(self, size: int) -> NoReturn:
        """Refused."""
        _refuse()

    def sync(self) -> NoReturn:
        """Refused."""
        _refuse()

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)


class ReadOnlyFileSystem:
    """Implements :class:`~quorate.storage.filesystem.FileSystem`; what would write raises :class:`OSError`."""

    def open(self, path: Path, *, create: bool = False) -> ReadOnlyFile:
        """The file, for reading."""
        return ReadOnlyFile(os.open(path, os.O_RDONLY))

    def exists(self, path: Path) -> bool:
        """Whether there is a file or directory of that name."""
        return path.exists()

    def list_files(self, directory: Path) -> list[str]:
        """The names of the files in it, sorted; none if it is missing."""
        if not directory.is_dir():
            return []
        with os.scandir(directory) as found:
            return sorted(item.name for item in found if item.is_file())

    def rename(self, source: Path, target: Path) -> NoReturn:
        """Refused."""
        _refuse()

    def remove(self, path: Path) -> NoReturn:
        """Refused."""
        _refuse()

    def make_directories(self, path: Path) -> NoReturn:
        """Refused."""
        _refuse()

    def sync_directory(self, path: Path) -> NoReturn:
        """Refused."""
        _refuse()

    def boot_id(self) -> str | None:
        """Nothing is run here: not known."""
        return None

    def lock(self, path: Path) -> FileLock:
        """Refused: see :func:`user_of`."""
        _refuse()


def user_of(directory: Path) -> str | None:
    """Which process uses the data directory now, in words; ``None`` if none does."""
    try:
        descriptor = os.open(directory / "LOCK", os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        return f"process {holder}" if holder else "another process"
    finally:
        os.close(descriptor)  # gives a lock that was had back at once
    return None


def _refuse() -> NoReturn:
    raise OSError("this only reads")
