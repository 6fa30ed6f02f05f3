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
from quorate.node.snapshots.messages import SnapshotOffer
from quorate.node.snapshots.work import DirectoryAccess, in_thread
from quorate.storage.manifest import Manifest

log = logging.getLogger(__name__)


class Installation:
    """Checks and installs what :class:`~quorate.node.snapshots.receiver.Receiver` has brought together."""

    def __init__(
        self, group: Group, router: Router, access: DirectoryAccess, state_path: Path, events: EventStream
    ) -> None:
        """``state_path`` is where the SQLite file is."""
        self._group = group
        self._router = router
        self._access = access
        self._state_path = state_path
        self._events = events

    async def check(self, manifest: Manifest) -> None:
        """Whether the staged snapshot is one that this node's state machines can continue with.

        Raises :class:`~quorate.errors.CorruptLog` or :class:`~quorate.errors.ConfigError`.
        """
        if manifest.parts:
            await in_thread(self._check, manifest)

    def _check(self, manifest: Manifest) -> None:
        directory = self._access.directory
        machines = directory.staged_machines(manifest)
        self._router.check_copy(directory.staged_state(manifest), machines, manifest.floor.index)

    async def install(self, peer: int, offer: SnapshotOffer, manifest: Manifest) -> None:
        """Install the staged snapshot that ``peer`` has sent, unless there is no need for it any more."""
        directory, floor = self._access.directory, manifest.floor
        machines = await in_thread(directory.staged_machines, manifest)
        if not self._group.install_snapshot(peer, offer.term, offer.session, floor):
            await self._access.call(directory.discard)
            return
        await self._group.until_durable(floor.index)
        if manifest.parts:
            self._group.applier.take_away()
            await self._access.call(self._router.replace_state, self._switch, machines, floor.index)
            if machines:
                self._router.machines_saved(floor.index)
        else:
            await self._access.call(self._switch)
        self._group.state_replaced(floor)
        self._group.figures.snapshots.installed(manifest.size_bytes)
        self._events.publish(SnapshotInstalled(floor.index))
        facts = {"event": SnapshotInstalled.name, "index": floor.index, "peer": peer}
        log.info("the state is now that of entry %d, as node %d had it", floor.index, peer, extra=facts)

    def _switch(self) -> None:
        self._access.directory.switch(self._state_path)
