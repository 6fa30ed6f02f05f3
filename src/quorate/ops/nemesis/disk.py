"""One node's disk, which can be filled: a small file system in memory where mounts are allowed, else a limit."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from quorate.errors import QuorateError

SMALL_DISK_BYTES = 256 << 20
CHUNKS_BYTES = (16 << 20, 1 << 20, 64 << 10, 4096, 1)
LIMIT_BYTES = 4096


class Disk(ABC):
    """Where the nodes keep their data. That of ``small_node`` can become full."""

    name: str
    outlives_process = False
    """Whether a process that is started again finds the disk still full."""

    def __init__(self, small_node: int) -> None:
        self.small_node = small_node

    def directory_of(self, directory: Path, node_id: int) -> Path:
        """A node's data directory below that of the run."""
        return directory / f"node{node_id}"

    @abstractmethod
    def fill(self, pid: int) -> None:
        """Leave nothing for the process to write to. To be called again as long as that frees space."""

    @abstractmethod
    def free(self) -> None:
        """Undo it, for the next process."""

    def rescue(self, directory: Path) -> None:
        """Keep what would be gone at the end of the run."""

    def close(self) -> None:
        """Leave nothing mounted. No process may use it any more."""


class LimitedDisk(Disk):
    """No file may grow: what the process writes fails with an error much like that of a full disk (EFBIG)."""

    name = "a limit on the size of files"

    def fill(self, pid: int) -> None:
        """Limit the process (prlimit(2))."""
        try:
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (LIMIT_BYTES, hard))
        except ProcessLookupError:
            pass

    def free(self) -> None:
        """The limit died with its process."""


class SmallDisk(Disk):
    """A tmpfs of its own, filled to the last byte by a file that nobody needs."""

    name = "a small tmpfs that is filled"
    outlives_process = True

    def __init__(self, small_node: int, directory: Path) -> None:
        super().__init__(small_node)
        self._mounted = directory / "small-disk"
        self._filler = self._mounted / "filler"
        self._mounted.mkdir(parents=True)
        size = f"size={SMALL_DISK_BYTES}"
        done = subprocess.run(
            ("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self._mounted)),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise QuorateError(f"cannot mount a tmpfs: {done.stderr.strip()}")

    def directory_of(self, directory: Path, node_id: int) -> Path:
        """The small one's is there."""
        return self._mounted / f"node{node_id}" if node_id == self.small_node else directory / f"node{node_id}"

    def fill(self, pid: int) -> None:
        """Write until nothing more goes in."""
        with self._filler.open("ab", buffering=0) as file:
            for size in CHUNKS_BYTES:
                try:
                    while True:
                        end = os.fstat(file.fileno()).st_size
                        os.posix_fallocate(file.fileno(), end, size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        """Remove the file."""
        self._filler.unlink(missing_ok=True)

    def rescue(self, directory: Path) -> None:
        """Copy the data to the disk."""
        source = self.directory_of(directory, self.small_node)
        if source.is_dir():
            shutil.copytree(
                source, directory / source.name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.lock")
            )

    def close(self) -> None:
        """Unmount it."""
        subprocess.run(("umount", str(self._mounted)), capture_output=True, check=False)
