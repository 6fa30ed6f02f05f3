"""Putting a snapshot in the place of the log and the state.

It is staged and verified by now. First the log begins anew behind its floor, durably; then the state is replaced.
A crash before the first leaves everything as it was; one behind it is finished by the next start.
"""

from __future__ import annotations

import logging
from pathlib import Path

from quorate.machine.router import Router
from quorate.node.events import EventStream, SnapshotInstalled
from quorate.node.group import Group
from quorate.node.snapshots.messages import SnapshotOffer, TransferState
from quorate.node.snapshots.work import DirectoryAccess, in_thread
from quorate.storage.filesystem import FileSystem, reporting
from quorate.storage.incoming import part_path
from quorate.storage.machines import encode_header
from quorate.storage.manifest import MACHINES_PART, SQLITE_PART, Manifest

log = logging.getLogger(__name__)


class Installation:
    """Checks and installs what :class:`~quorate.node.snapshots.receiver.Receiver` has brought together."""

    def __init__(
        self,
        group: Group,
        router: Router,
        access: DirectoryAccess,
        fs: FileSystem,
        state_path: Path,
        events: EventStream,
    ) -> None:
        """``fs`` is that of the directory; ``state_path`` is where the SQLite file is."""
        self._group = group
        self._router = router
        self._access = access
        self._fs = fs
        self._state_path = state_path
        self._events = events

    async def check(self, manifest: Manifest) -> None:
        """Whether the staged snapshot is one that this node's state machines can continue with.

        Raises :class:`~quorate.errors.CorruptLog` or :class:`~quorate.errors.ConfigError`.
        """
        if manifest.parts:
            await in_thread(self._check, manifest)

    def _check(self, manifest: Manifest) -> None:
        names = [part.name for part in manifest.parts]
        path = part_path(self._access.directory.path, names.index(SQLITE_PART)) if SQLITE_PART in names else None
        self._router.check_copy(path, self._machines(manifest), manifest.floor.index)

    def _machines(self, manifest: Manifest) -> bytes:
        """The part with the machines in memory, as it is staged."""
        for number, part in enumerate(manifest.parts):
            if part.name == MACHINES_PART:
                path = part_path(self._access.directory.path, number)
                with reporting(path):
                    file = self._fs.open(path)
                    try:
                        return file.read_at(len(encode_header(manifest.floor, part)), part.size_bytes)
                    finally:
                        file.close()
        return b""

    async def install(self, peer: int, offer: SnapshotOffer, manifest: Manifest) -> TransferState:
        """Install the staged snapshot that ``peer`` has sent, unless there is no need for it any more."""
        directory, floor = self._access.directory, manifest.floor
        machines = await in_thread(self._machines, manifest)
        if not self._group.install_snapshot(peer, offer.term, offer.session, floor):
            await self._access.call(directory.discard)
            return TransferState.DONE
        await self._group.until_durable(floor.index)
        if manifest.parts:
            self._group.applier.replace()
            await self._access.call(self._router.replace_state, self._switch, machines)
            if machines:
                self._router.machines_saved(floor.index)
        else:
            await self._access.call(self._switch)
        self._group.state_replaced(floor)
        self._events.publish(SnapshotInstalled(floor.index))
        log.info("the state is now that of entry %d, as node %d had it", floor.index, peer)
        return TransferState.DONE

    def _switch(self) -> None:
        self._access.directory.switch(self._state_path)
