"""The file-system port on the operating system's files."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from quorate.errors import DataDirectoryLocked

_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # Linux


class RealFile:
    """A file descriptor used with positions, so that threads share no file pointer."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def read_at(self, offset: int, size: int) -> bytes:
        data = os.pread(self._fd, size, offset)
        if len(data) == size or not data:
            return data
        # One call may return less than asked (Linux stops at 2 GiB, a signal may stop it earlier).
        return data + self.read_at(offset + len(data), size - len(data))

    def write_at(self, offset: int, data: bytes) -> None:
        written = os.pwrite(self._fd, data, offset)
        while written < len(data):
            written += os.pwrite(self._fd, memoryview(data)[written:], offset + written)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def allocate(self, size: int) -> None:
        present = self.size
        if size <= present:
            return
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._fd, present, size - present)
        else:
            os.ftruncate(self._fd, size)

    def sync(self) -> None:
        _sync_data(self._fd)

    def close(self) -> None:
        # A later call on this object must not reach whatever file gets the number next.
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class RealFileLock:
    """A ``flock`` on an open descriptor: the kernel releases it when the process ends, however it ends."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class RealFileSystem:
    """The operating system's files. Stateless: any number of instances are the same."""

    def open(self, path: Path, *, create: bool = False) -> RealFile:
        return RealFile(os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o644))

    def exists(self, path: Path) -> bool:
        return path.exists()

    def list_files(self, directory: Path) -> list[str]:
        with os.scandir(directory) as found:
            return sorted(item.name for item in found if item.is_file())

    def rename(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def remove(self, path: Path) -> None:
        os.unlink(path)

    def make_directories(self, path: Path) -> None:
        if path.is_dir():
            return
        self.make_directories(path.parent)
        path.mkdir(exist_ok=True)
        self.sync_directory(path.parent)

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def boot_id(self) -> str | None:
        try:
            return _BOOT_ID.read_text().strip() or None
        except OSError:
            return None

    def lock(self, path: Path) -> RealFileLock:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
                who = f"process {holder}" if holder else "another process"
                raise DataDirectoryLocked(f"{path.parent} is in use by {who}, which holds {path}") from None
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode("ascii"), 0)
        except BaseException:
            os.close(fd)
            raise
        return RealFileLock(fd)
