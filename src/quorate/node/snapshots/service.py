"""Compaction and snapshots as the node sees them."""

from __future__ import annotations

from collections.abc import Container

from quorate.config import RaftConfig
from quorate.machine.router import Router
from quorate.node.durable import DurableState
from quorate.node.events import EventStream
from quorate.node.group import GROUP, Group
from quorate.node.snapshots.compaction import Compaction
from quorate.node.snapshots.installation import Installation
from quorate.node.snapshots.messages import SnapshotChunk, SnapshotMessage, SnapshotOffer, SnapshotProgress
from quorate.node.snapshots.outgoing import OutgoingSnapshots
from quorate.node.snapshots.receiver import Receiver
from quorate.node.snapshots.sender import Sender
from quorate.node.snapshots.work import DirectoryAccess, Tasks
from quorate.transport.contract import Lane, Transport


class Snapshots:
    """Everything about snapshots that one group needs. Made when the group is; stopped before the files are closed."""

    def __init__(
        self,
        config: RaftConfig,
        group: Group,
        router: Router,
        durable: DurableState,
        transport: Transport,
        *,
        connected: Container[int],
        events: EventStream,
        first_number: int,
    ) -> None:
        """``first_number`` differs in each process start."""
        self._group = group
        self._directory = durable.snapshots
        self._tasks = tasks = Tasks(group.fail)
        access = DirectoryAccess(durable.snapshots)
        self.sender = Sender(
            group,
            OutgoingSnapshots(group, router, access, tasks=tasks),
            send=lambda peer, messages: transport.send(peer, GROUP, messages, lane=Lane.BULK),
            backlog_bytes=lambda peer: transport.backlog_bytes(peer, Lane.BULK),
            connected=connected,
            events=events,
            tasks=tasks,
            first_number=first_number,
        )
        self.receiver = Receiver(
            group,
            access,
            Installation(group, router, access, durable.state_path, events),
            send=lambda peer, messages: transport.send(peer, GROUP, messages),
            tasks=tasks,
        )
        self.compaction = Compaction(
            config, group, router, durable.store, access, events, log_needed_from=self.sender.log_needed_from
        )

    def start(self) -> None:
        """Begin to look after the log."""
        self._group.on_snapshot_wanted = self.sender.wanted
        self._tasks.spawn(self.compaction.run(), "compaction")

    def received(self, peer: int, message: SnapshotMessage) -> None:
        """A message about a snapshot arrived."""
        if self._group.stopped:
            return
        with self._group.failing_loudly():
            match message:
                case SnapshotOffer():
                    self.receiver.offered(peer, message)
                case SnapshotChunk():
                    self.receiver.chunk(peer, message)
                case SnapshotProgress():
                    self.sender.answered(peer, message)

    async def stop(self) -> None:
        """End all of it; returns when no thread uses the files any more."""
        await self._tasks.stop()
        self._directory.close()
