"""Injected disk faults, for chaos: a file system that is slow, or full, while it is told to be."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass
from pathlib import Path

from quorate.storage.filesystem import File, FileLock, FileSystem


@dataclass(slots=True)
class DiskFaults:
    """What is wrong with a disk just now. Set on one thread, read on those that write."""

    delay_seconds: float = 0.0
    """Every sync takes so much longer."""
    full: bool = False
    """Whatever writes fails with ENOSPC, as it does on a copy-on-write file system without room."""
    fired: int = 0
    """How often either had its effect; counted without a lock, so nearly."""

    def before_write(self) -> None:
        """Raises :class:`OSError` if there is no room."""
        if self.full:
            self.fired += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def before_sync(self) -> None:
        """Take the time that a slow disk takes."""
        if self.delay_seconds:
            self.fired += 1
            time.sleep(self.delay_seconds)


class FaultyFile:
    """A file on such a disk."""

    __slots__ = ("_faults", "_file")

    def __init__(self, file: File, faults: DiskFaults) -> None:
        self._file = file
        self._faults = faults

    @property
    def size(self) -> int:
        return self._file.size

    def read_at(self, offset: int, size: int) -> bytes:
        return self._file.read_at(offset, size)

    def write_at(self, offset: int, data: bytes) -> None:
        self._faults.before_write()
        self._file.write_at(offset, data)

    def truncate(self, size: int) -> None:
        self._file.truncate(size)

    def allocate(self, size: int) -> None:
        self._faults.before_write()
        self._file.allocate(size)

    def sync(self) -> None:
        self._faults.before_sync()
        self._file.sync()

    def close(self) -> None:
        self._file.close()


class FaultyFileSystem:
    """``real``, with the faults that are set in ``faults``."""

    def __init__(self, real: FileSystem, faults: DiskFaults) -> None:
        self._real = real
        self._faults = faults

    def open(self, path: Path, *, create: bool = False) -> FaultyFile:
        if create and self._faults.full and not self._real.exists(path):
            self._faults.before_write()
        return FaultyFile(self._real.open(path, create=create), self._faults)

    def exists(self, path: Path) -> bool:
        return self._real.exists(path)

    def list_files(self, directory: Path) -> list[str]:
        return self._real.list_files(directory)

    def rename(self, source: Path, target: Path) -> None:
        self._real.rename(source, target)

    def remove(self, path: Path) -> None:
        self._real.remove(path)

    def make_directories(self, path: Path) -> None:
        self._real.make_directories(path)

    def sync_directory(self, path: Path) -> None:
        self._faults.before_sync()
        self._real.sync_directory(path)

    def lock(self, path: Path) -> FileLock:
        return self._real.lock(path)

    def boot_id(self) -> str | None:
        return self._real.boot_id()
