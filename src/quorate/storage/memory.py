"""The file-system port in memory, with the losses that a real disk may cause.

Every file knows what is durable and which writes came since; names are durable only after their directory was
synced. :meth:`MemoryFileSystem.crash` is a power loss, :meth:`MemoryFileSystem.kill` the end of the process
alone. Both make open handles and locks worthless. The rest are faults to inject.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Lock

from quorate.errors import DataDirectoryLocked
from quorate.storage.filesystem import SECTOR_BYTES


@dataclass(slots=True)
class _Change:
    """What one call did to a file: the length after it, and the whole sectors that it touched.

    Sectors, because that is how a page cache writes back: a later write to a sector takes along whatever an
    earlier one left in it. Bytes behind ``size`` and bytes of a gap are zero and need no image.
    """

    size: int
    offset: int = 0
    image: bytes = b""


@dataclass(slots=True, eq=False)
class _Inode:
    path: Path
    live: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    unsynced: list[_Change] = field(default_factory=list)

    def settle(self) -> None:
        """Everything so far becomes durable."""
        for change in self.unsynced:
            _resize(self.durable, change.size)
            self.durable[change.offset : change.offset + len(change.image)] = change.image
        self.unsynced.clear()

    def lose(self, rng: Random | None) -> None:
        """Power loss: each sector, and the length, is left as it was at some moment since the last sync."""
        count = len(self.unsynced)
        if rng is not None and count:
            # All kept and all lost are rare among random choices, and are the common cases of a real disk.
            fixed = rng.choice((0, count, None, None))
            survivors: dict[int, int] = {}

            def version(place: int) -> int:
                return survivors.setdefault(place, rng.randint(0, count) if fixed is None else fixed)

            length = version(-1)
            size = self.unsynced[length - 1].size if length else len(self.durable)
            content = bytearray(self.durable)
            for number, change in enumerate(self.unsynced, start=1):
                for sector in range(change.size // SECTOR_BYTES, -(-len(content) // SECTOR_BYTES)):
                    if number <= version(sector):
                        start = min(max(sector * SECTOR_BYTES, change.size), len(content))
                        end = min((sector + 1) * SECTOR_BYTES, len(content))
                        content[start:end] = bytes(end - start)
                for at in range(0, len(change.image), SECTOR_BYTES):
                    offset = change.offset + at
                    if number <= version(offset // SECTOR_BYTES):
                        piece = change.image[at : at + SECTOR_BYTES]
                        _resize(content, max(len(content), offset + len(piece)))
                        content[offset : offset + len(piece)] = piece
            _resize(content, size)
            self.durable = content
        self.unsynced.clear()
        self.live = bytearray(self.durable)


def _resize(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


class MemoryFile:
    """A handle on a file of a :class:`MemoryFileSystem`; unusable after that one crashed."""

    __slots__ = ("_boot", "_fs", "_inode")

    def __init__(self, fs: MemoryFileSystem, inode: _Inode) -> None:
        self._fs, self._inode, self._boot = fs, inode, fs.boot

    def _usable(self) -> _Inode:
        if self._boot != self._fs.boot:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), str(self._inode.path))
        return self._inode

    @property
    def size(self) -> int:
        return len(self._usable().live)

    def read_at(self, offset: int, size: int) -> bytes:
        return bytes(self._usable().live[offset : offset + size])

    def write_at(self, offset: int, data: bytes) -> None:
        inode = self._usable()
        self._fs.about_to("write", self._inode.path)
        live = inode.live
        end = offset + len(data)
        _resize(live, max(len(live), end))
        live[offset:end] = data
        first = offset - offset % SECTOR_BYTES
        last = end + -end % SECTOR_BYTES
        inode.unsynced.append(_Change(len(live), first, bytes(live[first:last])))

    def truncate(self, size: int) -> None:
        inode = self._usable()
        self._fs.about_to("truncate", self._inode.path)
        _resize(inode.live, size)
        inode.unsynced.append(_Change(size))

    def allocate(self, size: int) -> None:
        if size > self.size:
            self._fs.about_to("write", self._inode.path)
            self.truncate(size)

    def sync(self) -> None:
        inode = self._usable()
        try:
            self._fs.about_to("sync", self._inode.path)
        except OSError:
            # What Linux does: the pages count as clean from now on, so no later sync writes them either.
            inode.unsynced.clear()
            raise
        inode.settle()

    def close(self) -> None:
        self._boot = -1


class MemoryFileLock:
    """A lock of a :class:`MemoryFileSystem`."""

    __slots__ = ("_held", "_path")

    def __init__(self, held: set[Path], path: Path) -> None:
        self._held, self._path = held, path

    def release(self) -> None:
        self._held.discard(self._path)


class MemoryFileSystem:
    """Files in memory: for tests and simulations, and for nodes that may forget everything."""

    def __init__(self) -> None:
        self.boot = 0
        """How often this machine lost its processes: handles of an earlier boot are refused."""
        self._directories: set[Path] = set()
        self._names_lock = Lock()
        self._names: dict[Path, _Inode] = {}
        self._durable_names: dict[Path, _Inode] = {}
        self._unsynced_names: list[dict[Path, _Inode | None]] = []
        self._locks: set[Path] = set()
        self._faults: dict[str, tuple[int, Path | None]] = {}
        self._changes_left: int | None = None
        self._power_losses = 0

    # -- the port ----------------------------------------------------------------------------------------

    def open(self, path: Path, *, create: bool = False) -> MemoryFile:
        if path in self._directories:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        inode = self._names.get(path)
        if inode is None:
            if not create or path.parent not in self._directories:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            inode = _Inode(path)
            self._change_names({path: inode})
        return MemoryFile(self, inode)

    def exists(self, path: Path) -> bool:
        return path in self._names or path in self._directories

    def list_files(self, directory: Path) -> list[str]:
        if directory not in self._directories:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(directory))
        with self._names_lock:
            return sorted(path.name for path in self._names if path.parent == directory)

    def rename(self, source: Path, target: Path) -> None:
        self._change_names({source: None, target: self._inode(source)})

    def remove(self, path: Path) -> None:
        self._inode(path)
        self._change_names({path: None})

    def make_directories(self, path: Path) -> None:
        for directory in (path, *path.parents):
            if directory in self._names:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory))
        self._directories.update((path, *path.parents))

    def sync_directory(self, path: Path) -> None:
        self.about_to("sync", path)
        with self._names_lock:
            for change in [each for each in self._unsynced_names if any(name.parent == path for name in each)]:
                _apply(self._durable_names, change)
                self._unsynced_names.remove(change)

    def lock(self, path: Path) -> MemoryFileLock:
        if path in self._locks:
            raise DataDirectoryLocked(f"{path.parent} is in use by this process, which holds {path}")
        self.open(path, create=True)
        self._locks.add(path)
        return MemoryFileLock(self._locks, path)

    def boot_id(self) -> str | None:
        return f"run {self._power_losses} of this machine"

    # -- faults ------------------------------------------------------------------------------------------

    def crash(self, rng: Random | None = None) -> None:
        """Power loss. What was not synced is lost, or with ``rng`` survives in random parts."""
        for change in self._unsynced_names:
            if rng is not None and rng.random() < 0.5:
                _apply(self._durable_names, change)
        self._unsynced_names.clear()
        self._names = dict(self._durable_names)
        for path, inode in sorted(self._names.items(), key=lambda item: item[0]):
            inode.path = path
            inode.lose(rng)
        self._power_losses += 1
        self.kill()

    def kill(self) -> None:
        """The process ends and the machine goes on: handles and locks are gone, every write is still there."""
        self._locks.clear()
        self._faults.clear()
        self._changes_left = None
        self.boot += 1

    def fail_next_sync(self, code: int = errno.EIO, path: Path | None = None) -> None:
        """Let the next sync (of ``path``, or of anything) raise; what it should have written never will be."""
        self._faults["sync"] = (code, path)

    def fail_next_write(self, code: int = errno.ENOSPC, path: Path | None = None) -> None:
        """Let the next write or allocation (in ``path``, or anywhere) raise and change nothing."""
        self._faults["write"] = (code, path)

    def flip_bit(self, path: Path, offset: int, bit: int) -> None:
        """Decay: invert bit 0 … 7 of the byte at ``offset``, durably."""
        inode = self._inode(path)
        inode.live[offset] ^= 1 << bit
        if offset < len(inode.durable):
            inode.durable[offset] ^= 1 << bit

    def lose_power_after(self, changes: int) -> None:
        """Let this many changes of files and names through, and none of the later ones until :meth:`crash`.

        The later ones raise; a change is any call that writes, syncs, or makes or removes a name.
        """
        self._changes_left = changes

    def about_to(self, operation: str, path: Path) -> None:
        """Raise the fault that is due for this operation, if any."""
        if self._changes_left is not None:
            if not self._changes_left:
                raise OSError(errno.EIO, "the power is lost", str(path))
            self._changes_left -= 1
        code, wanted = self._faults.get(operation, (0, None))
        if code and wanted in (None, path):
            del self._faults[operation]
            raise OSError(code, os.strerror(code), str(path))

    def _inode(self, path: Path) -> _Inode:
        try:
            return self._names[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None

    def _change_names(self, change: dict[Path, _Inode | None]) -> None:
        self.about_to("rename", next(iter(change)))
        with self._names_lock:
            _apply(self._names, change)
            self._unsynced_names.append(change)


def _apply(names: dict[Path, _Inode], change: dict[Path, _Inode | None]) -> None:
    """Carry out one change of names. A name whose file never made it to disk has nothing to lose."""
    for path, inode in change.items():
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode
            inode.path = path
