"""Another version of the app comes to one node after the other, and from some it is taken back for a while."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

import msgspec

from quorate.app import App
from quorate.machine.commands import decode_batch
from quorate.models.commands import Declare, decode_command
from quorate.models.machine import MACHINE
from quorate.raft.entry import EntryKind
from quorate.testing.simulation.host import Host
from quorate.testing.simulation.knowledge import Knowledge
from quorate.testing.simulation.models import OUTDATED, TAKEN_BACK, UPGRADED
from quorate.testing.simulation.trace import WORLD, Trace

BACK = 0.15
"""So many of the changes are one to an older version."""


class Rollout:
    """Restarts nodes with other versions of the app, of which there may be just one: then it does nothing."""

    def __init__(
        self,
        apps: Sequence[App],
        hosts: Mapping[int, Host],
        known: Knowledge,
        rng: Random,
        trace: Trace,
        fired: Counter[str],
    ) -> None:
        self._apps = tuple(apps)
        self._by_fingerprint = {app.schema_fingerprint: version for version, app in enumerate(apps)}
        self._hosts = hosts
        self._known = known
        self._rng = rng
        self._trace = trace
        self._fired = fired
        self._looked_at = 0
        self._declared = 0
        for host in hosts.values():
            host.on_outdated = self._outdated

    @property
    def declared(self) -> int:
        """The latest version that a committed entry declares."""
        committed = self._known.committed
        for entry in committed[self._looked_at :]:
            if entry.kind is EntryKind.COMMANDS:
                for command in decode_batch(entry.payload).commands:
                    if command.machine == MACHINE:
                        self._note(command.body)
        self._looked_at = len(committed)
        return self._declared

    def _note(self, body: bytes) -> None:
        try:
            command = decode_command(body)
        except msgspec.MsgspecError:
            return
        if isinstance(command, Declare):
            self._declared = max(self._declared, self._by_fingerprint[command.fingerprint])

    async def go_on(self, mean_seconds: float) -> None:
        """Change versions until cancelled."""
        while len(self._apps) > 1:
            await asyncio.sleep(self._rng.expovariate(1 / mean_seconds))
            host = self._rng.choice(list(self._hosts.values()))
            step = -1 if self._rng.random() < BACK else 1
            self._change(host, min(max(host.version + step, 0), len(self._apps) - 1))

    def finish(self) -> None:
        """All get the latest version, and those that run another one start again."""
        latest = max(len(self._apps) - 1, 0)
        for host in self._hosts.values():
            host.version = latest
            if host.process is not None and host.process.version != latest:
                host.kill()

    def _change(self, host: Host, version: int) -> None:
        if version == host.version:
            return
        self._fired[UPGRADED if version > host.version else TAKEN_BACK] += 1
        host.version = version
        self._trace.event(WORLD, f"node {host.node_id} gets version {version} of the app")
        if host.process is not None and self._rng.random() < 0.5:
            host.kill()
        else:
            host.stop()

    def _outdated(self, host: Host, version: int) -> bool:
        """Whether a node may say that the version of the app it ran cannot go on; then it gets the one in force."""
        if version >= self.declared:
            return False
        self._fired[OUTDATED] += 1
        host.version = max(host.version, self.declared)
        return True
