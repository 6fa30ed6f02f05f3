"""The SQLite file of a simulated node: kept in memory, with the losses that the real one may suffer.

In WAL mode with ``synchronous=NORMAL`` a process that dies leaves the last committed state, and a machine that does
leaves that or an earlier one, though none before the last sync. The images that :class:`SimulatedDisk` keeps give
just that.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import apsw

from quorate.errors import CorruptLog, StorageError, StorageFailed
from quorate.machine.copies import Amend, Pinned, applied_in
from quorate.machine.sqlite import SqliteState, Synced
from quorate.storage.filesystem import read_bytes, write_atomically
from quorate.testing.simulation.disk import COMMITS_REMEMBERED_MAX, SimulatedDisk


class SimulatedSqliteState(SqliteState):
    """A :class:`SqliteState` whose file is on a :class:`SimulatedDisk`."""

    def __init__(self, path: Path, disk: SimulatedDisk) -> None:
        self._file = path
        self._disk = disk
        self._looks = 0
        super().__init__(path)

    def clock(self) -> float:
        """Goes on by a millisecond whenever it is looked at."""
        self._looks += 1
        return self._looks / 1000

    def connect(self) -> apsw.Connection:
        """A connection to a copy of what was committed last."""
        connection = apsw.Connection(":memory:", statementcachesize=256)
        try:
            self._disk.open(self._file, create=True).close()
            image = self._newest()
            if image:
                connection.deserialize("main", image)
            connection.pragma("foreign_keys", True)
        except BaseException:
            connection.close()
            raise
        return connection

    def _newest(self) -> bytes:
        images = self._disk.committed.get(self._file)
        if images:
            return images[-1]
        try:
            return read_bytes(self._disk, self._file) if self._disk.exists(self._file) else b""
        except OSError as error:
            raise StorageFailed(f"cannot open {self.path}: {error}") from error

    def _take_image(self) -> None:
        """Keep what is committed as the operating system would."""
        images = self._disk.committed.setdefault(self._file, [])
        images.append(self.connection.serialize("main"))
        if len(images) > COMMITS_REMEMBERED_MAX:
            del images[0]

    def commit(self) -> None:
        """Hand what was applied to the operating system."""
        if self._in_transaction:
            super().commit()
            self._take_image()

    def sync(self) -> Synced:
        """Make all that was committed durable."""
        images = self._disk.committed.get(self._file)
        if self._closed:
            return Synced(0, False)
        if images:
            newest = images[-1]
            try:
                write_atomically(self._disk, self._file, newest)
            except OSError as error:
                raise StorageFailed(f"cannot checkpoint {self.path}: {error}") from error
            # Only what came since may be lost; the list is another one if the file was replaced meanwhile.
            if self._disk.committed.get(self._file) is images and newest in images:
                del images[: images.index(newest)]
        return Synced(0, True)

    def begin_log(self) -> None:
        """There is none."""

    def pin(self) -> Pinned:
        """Keep the moment: an image is one."""
        if not self._in_transaction:
            self._take_image()  # tables may have been made outside of transactions
        return _PinnedImage(self.connect(), self._newest(), self._disk)

    def examine(self, path: Path) -> Mapping[str, tuple[int, int]]:
        """What a copy says of each machine in it but latecomers."""
        connection = apsw.Connection(":memory:")
        try:
            connection.deserialize("main", read_bytes(self._disk, path))
            applied = applied_in(connection)
            if connection.execute("PRAGMA quick_check(1)").get != "ok":
                raise CorruptLog(f"{path} is no copy of the state: it is damaged")
        except (OSError, apsw.Error) as error:
            raise CorruptLog(f"{path} is no copy of the state: {error}") from error
        finally:
            connection.close()
        return applied

    def check_released(self) -> None:
        """Nobody else can have it open."""


class _PinnedImage(Pinned):
    """A pinned moment as an image."""

    def __init__(self, connection: apsw.Connection, image: bytes, disk: SimulatedDisk) -> None:
        super().__init__(connection)
        self._image = image
        self._disk = disk

    def copy_to(self, path: Path, amend: Amend | None = None) -> None:
        """Write the image to ``path``, durably."""
        if self.closed:
            raise StorageError("the copy of the state was given up")
        image = self._image
        try:
            if amend is not None:
                amend(self._connection)
                image = self._connection.serialize("main")
            write_atomically(self._disk, path, image)
        except (OSError, apsw.Error) as error:
            raise StorageError(f"cannot copy the state to {path}: {error}") from error
