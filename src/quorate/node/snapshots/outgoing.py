"""Snapshots ready to be sent: made once, shared by all peers that need one at that time, removed when nobody does.

While one is there, the log is kept from its index on: a peer that has got it must find there what follows.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import count

from quorate.errors import StorageError
from quorate.machine.capture import Capture
from quorate.machine.router import Router
from quorate.node.group import Group
from quorate.node.snapshots.work import DirectoryAccess, Tasks, in_thread
from quorate.raft.output import Floor
from quorate.storage.filesystem import File, reporting
from quorate.storage.manifest import MACHINES_PART, SQLITE_PART, Manifest, PartInfo
from quorate.storage.snapshots import SnapshotDirectory

log = logging.getLogger(__name__)

LINGER_SECONDS = 30.0
"""What a transfer that failed was sending is kept for so long: the next one can go on with it where that stopped."""


class Outgoing:
    """One snapshot; its copy of the SQLite file, if it has one, is in ``directory`` under its ``number``."""

    def __init__(
        self,
        number: int,
        manifest: Manifest,
        directory: SnapshotDirectory,
        *,
        machines: bytes = b"",
        for_witness: bool = False,
    ) -> None:
        self.number = number
        self.manifest = manifest
        self.encoded = manifest.encode()
        self.for_witness = for_witness
        """Whether the state was left out, so that only a witness can use it."""
        self.users = 0
        self.retired = False
        """Whether nobody should begin to send it any more."""
        self._directory = directory
        self._machines = machines
        self._file: File | None = None

    @property
    def index(self) -> int:
        """The last entry in it."""
        return self.manifest.floor.index

    @property
    def has_copy(self) -> bool:
        """Whether there is a copy of the SQLite file."""
        return any(part.name == SQLITE_PART for part in self.manifest.parts)

    def read(self, part: int, offset: int, size: int) -> bytes:
        """A piece of a part. Blocks; raises :class:`StorageError`."""
        if self.manifest.parts[part].name == MACHINES_PART:
            return self._machines[offset : offset + size]
        path = self._directory.outgoing_path(self.number)
        file = self._file
        if file is None:
            file = self._file = self._directory.open_outgoing(self.number)
        with reporting(path):
            data = file.read_at(offset, size)
        if len(data) < size:
            raise StorageError(f"{path} ends at byte {offset + len(data)}, before its time")
        return data

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class OutgoingSnapshots:
    """Makes them, hands them out, and removes them."""

    def __init__(self, group: Group, router: Router, access: DirectoryAccess, *, tasks: Tasks) -> None:
        self._group = group
        self._log = group.core.log
        self._router = router
        self._access = access
        self._tasks = tasks
        self._numbers = count(1)
        self._there: dict[int, Outgoing] = {}
        self._preparing: Capture | None = None
        self._one_at_a_time = asyncio.Lock()

    def indexes(self, *, only_used: bool) -> list[int]:
        """The indexes of those that are there, or of those that are being sent: the log behind each is needed."""
        indexes = [outgoing.index for outgoing in self._there.values() if outgoing.users or not only_used]
        if self._preparing is not None:
            indexes.append(self._preparing.index)
        return indexes

    async def acquire(self, *, witness: bool) -> Outgoing:
        """A snapshot for a peer; a ``witness`` gets one without any state. To be released.

        Raises :class:`StorageError` if it cannot be made.
        """
        async with self._one_at_a_time:
            outgoing = next((each for each in self._there.values() if self._serves(each, witness)), None)
            if outgoing is None:
                outgoing = self._without_state() if witness else await self._made()
            outgoing.users += 1
        return outgoing

    def _serves(self, outgoing: Outgoing, witness: bool) -> bool:
        fits = outgoing.for_witness is witness and outgoing.index >= self._log.floor.index
        return fits and not outgoing.retired

    def _without_state(self) -> Outgoing:
        manifest = Manifest(self._log.floor_at(self._log.applied))
        return self._added(Outgoing(next(self._numbers), manifest, self._access.directory, for_witness=True))

    def _added(self, outgoing: Outgoing) -> Outgoing:
        self._there[outgoing.number] = outgoing
        return outgoing

    async def _made(self) -> Outgoing:
        if self._group.applier.suspended:
            raise StorageError("the state is being replaced")
        number = next(self._numbers)
        await self._group.applier.until_no_checkpoint()
        capture = self._preparing = self._router.capture()
        try:
            await self._group.applier.until_complete(capture)
            return self._added(await in_thread(self._copied, number, self._log.floor_at(capture.index), capture))
        except BaseException:
            await self._access.call(self._access.directory.remove_outgoing, number)
            raise
        finally:
            self._preparing = None
            capture.close()

    def _copied(self, number: int, floor: Floor, capture: Capture) -> Outgoing:
        """Write the copy and compute the checksums; in a thread."""
        parts: list[PartInfo] = []
        directory, machines = self._access.directory, capture.machines
        if machines:
            parts.append(PartInfo.of_bytes(MACHINES_PART, machines))
        if capture.has_state:
            capture.copy_state(directory.outgoing_path(number))
            parts.append(directory.describe_outgoing(number))
        return Outgoing(number, Manifest(floor, tuple(parts)), directory, machines=machines)

    def release(self, outgoing: Outgoing, *, ended_well: bool) -> None:
        """A peer needs it no more, or, unless it ``ended_well``, will perhaps go on with it in a moment."""
        outgoing.users -= 1
        self._tasks.spawn(self._remove(outgoing, 0.0 if ended_well else LINGER_SECONDS), "remove an outgoing snapshot")

    async def _remove(self, outgoing: Outgoing, seconds: float) -> None:
        if not outgoing.retired:
            await asyncio.sleep(seconds)
        if outgoing.users or self._there.pop(outgoing.number, None) is None:
            return
        outgoing.close()
        if outgoing.has_copy:
            try:
                await self._access.call(self._access.directory.remove_outgoing, outgoing.number)
            except StorageError as error:  # the next start will
                log.warning("an outgoing snapshot was not removed: %s", error)
