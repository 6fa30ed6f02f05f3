"""The disk of a simulated machine: it takes time, it fails, and it may lose its power at any change of any file."""

from __future__ import annotations

import errno
import os
from asyncio import AbstractEventLoop
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from quorate.raft.output import Write
from quorate.storage.filesystem import TEMPORARY_SUFFIX, write_atomically
from quorate.storage.memory import MemoryFileSystem
from quorate.storage.store import GroupStore
from quorate.testing.simulation.loop import Scheduler, SimulatedHandle, SimulatedLoop

COMMITS_REMEMBERED_MAX = 4
CHANGES_OF_ONE_WRITE = 12
"""About as many changes of files as one batch of writes makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskPlan:
    """How a disk behaves all the time."""

    base_seconds: float = 0.0005
    jitter_seconds: float = 0.001
    """The mean of what comes on top, distributed exponentially."""


class ProcessKilled(BaseException):
    """The simulated process ends at this very point. No error: nothing may handle it."""


class SimulatedDisk(MemoryFileSystem):
    """A :class:`MemoryFileSystem` with timing and lasting faults. It outlives the processes that use it.

    SQLite files are kept beside the others, as images: what SQLite has handed to the operating system is in
    :attr:`committed`, newest last, and what it has synced is the file itself.
    """

    def __init__(self, scheduler: Scheduler, rng: Random, plan: DiskPlan, fired: Counter[str]) -> None:
        super().__init__()
        self.plan = plan
        self.fired = fired
        self.is_full = False
        self.stalled_until = 0.0
        self.broken = False
        """Whether an injected fault has hit the process that runs now: it may stop, and must not hide it."""
        self.committed: dict[Path, list[bytes]] = {}
        self.on_kill: Callable[[], None] | None = None
        self._scheduler = scheduler
        self._rng = rng
        self._kill_after: int | None = None
        self._failing: dict[str, int] = {}

    def seconds(self) -> float:
        """How long a batch of writes that begins now takes."""
        usual = self.plan.base_seconds + self._rng.expovariate(1.0) * self.plan.jitter_seconds
        return max(self.stalled_until - self._scheduler.now, 0.0) + usual

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        if source in self.committed:
            self.committed[target] = self.committed.pop(source)
        elif not target.name.endswith(TEMPORARY_SUFFIX) and not source.name.endswith(TEMPORARY_SUFFIX):
            self.committed.pop(target, None)  # another file took its place

    def remove(self, path: Path) -> None:
        super().remove(path)
        self.committed.pop(path, None)

    # -- faults ------------------------------------------------------------------------------------------

    def kill_after(self, changes: int, on_kill: Callable[[], None]) -> None:
        """Let so many changes of files and names through; at the next one call ``on_kill``, and end the process."""
        self._kill_after = changes
        self.on_kill = on_kill

    def fail_next(self, operation: str, code: int) -> None:
        """Let the next ``"sync"`` or ``"write"`` fail with this ``errno``."""
        self._failing[operation] = code

    def heal(self) -> None:
        """End every fault that lasts."""
        self.is_full = False
        self.stalled_until = 0.0
        self._kill_after = self.on_kill = None
        self._failing.clear()

    def about_to(self, operation: str, path: Path) -> None:
        if self._kill_after is not None:
            if self._kill_after <= 0:
                self.broken = True
                if self.on_kill is not None:
                    on_kill, self.on_kill = self.on_kill, None
                    on_kill()
                raise ProcessKilled
            self._kill_after -= 1
        if self.is_full and operation == "write":
            self.broken = True
            self.fired["writes to a full disk"] += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        code = self._failing.pop(operation, 0)
        if code:
            self.broken = True
            self.fired["failed syncs" if operation == "sync" else "failed writes"] += 1
            if operation == "sync":
                super().fail_next_sync(code, path)
            else:
                raise OSError(code, os.strerror(code), str(path))
        super().about_to(operation, path)

    def used(self) -> list[tuple[Path, int]]:
        """The files with anything in them, and how many bytes that is, without the zeros at the end."""
        found = [(path, len(bytes(inode.live).rstrip(b"\0"))) for path, inode in sorted(self._names.items())]
        return [(path, size) for path, size in found if size]

    def zero(self, path: Path, offset: int, size: int) -> None:
        """Decay: a sector reads as zeros, durably."""
        inode = self._inode(path)
        for content in (inode.live, inode.durable):
            end = min(offset + size, len(content))
            content[offset:end] = bytes(max(0, end - offset))

    def lose_file(self, path: Path) -> None:
        """Decay: a file is gone, durably."""
        self._names.pop(path, None)
        self._durable_names.pop(path, None)

    def wipe(self) -> None:
        """A new disk: nothing is left."""
        for gone in (self._directories, self._names, self._durable_names, self._unsynced_names, self.committed):
            gone.clear()
        self.is_full = False
        self.kill()

    # -- ends --------------------------------------------------------------------------------------------

    def kill(self) -> None:
        super().kill()
        self._kill_after = self.on_kill = None
        self._failing.clear()
        self.broken = False

    def lose_power(self) -> None:
        """What was not synced is lost, or survives in parts; of a SQLite file, some state since its last sync."""
        self.is_full = False
        self.crash(self._rng)
        for path, images in sorted(self.committed.items()):
            survivor = self._rng.randint(0, len(images))
            if survivor and path.parent in self._directories:
                write_atomically(self, path, images[survivor - 1])
        self.committed.clear()
        self.kill()


class SimulatedWriter:
    """Persists what has gathered after as long as the disk takes; what arrives meanwhile is covered by the next turn.

    All of a batch reaches the files at its end. A process that dies while one is under way leaves any part of it.
    """

    def __init__(
        self,
        disk: SimulatedDisk,
        store: GroupStore,
        on_persisted: Callable[[int], None],
        on_failure: Callable[[BaseException], None],
        loop: AbstractEventLoop,
        *,
        on_submitted: Callable[[Write], None],
        on_durable: Callable[[list[Write]], None],
    ) -> None:
        """``on_submitted`` and ``on_durable`` are the observer's: they are told before the node is."""
        assert isinstance(loop, SimulatedLoop)
        self._disk = disk
        self._store = store
        self._on_persisted = on_persisted
        self._on_failure = on_failure
        self._on_submitted = on_submitted
        self._on_durable = on_durable
        self._loop = loop
        self._queue: list[Write] = []
        self._timer: SimulatedHandle | None = None
        self._stopped = False

    @property
    def pending(self) -> int:
        """Writes that are not durable yet."""
        return len(self._queue)

    def submit(self, write: Write) -> None:
        if self._stopped:
            return
        self._on_submitted(write)
        self._queue.append(write)
        if self._timer is None:
            self._begin()

    def _begin(self) -> None:
        self._batch = len(self._queue)
        self._timer = self._disk._scheduler.after(self._disk.seconds(), self._loop, self._finish)

    def _finish(self) -> None:
        self._timer = None
        batch, self._queue = self._queue[: self._batch], self._queue[self._batch :]
        if self._stopped or not batch:
            return
        try:
            self._store.persist(batch)
            self._on_durable(batch)
            self._loop.call_soon(self._on_persisted, batch[-1].ticket)
            if self._queue:
                self._begin()
            else:
                self._store.mark()
        except Exception as error:
            self._stopped = True
            self._loop.call_soon(self._on_failure, error)

    def close(self) -> None:
        """Finish what was submitted."""
        if self._timer is not None:
            self._timer.cancel()
            self._batch = len(self._queue)
            self._finish()
        self._stopped = True

    def die(self, rng: Random) -> None:
        """The process ends now: of what is under way, any number of changes have reached the files."""
        if self._timer is not None and not self._stopped:
            self._stopped = True
            self._timer.cancel()
            changes = rng.choice((0, rng.randint(0, CHANGES_OF_ONE_WRITE), 1 << 30))
            self._disk.kill_after(changes, _nobody)
            try:
                self._store.persist(self._queue)
            except (Exception, ProcessKilled):
                pass  # it was killed in the middle
        self._stopped = True


def _nobody() -> None:
    pass
