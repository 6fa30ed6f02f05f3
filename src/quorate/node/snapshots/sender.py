"""Who is to be brought a snapshot, how many at a time, and what happens when it fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from quorate.errors import StorageError, StorageFailed
from quorate.node.events import EventStream, SnapshotSent
from quorate.node.group import Group
from quorate.node.snapshots.messages import SnapshotProgress
from quorate.node.snapshots.outgoing import OutgoingSnapshots
from quorate.node.snapshots.transfer import Ending, Transfer
from quorate.node.snapshots.work import Tasks
from quorate.raft.output import SnapshotWanted
from quorate.raft.progress import Progress, ProgressState
from quorate.transport.contract import WireMessage

log = logging.getLogger(__name__)

TRANSFERS_MAX = 2
"""Snapshots on their way at one time."""
CONNECTION_POLL_SECONDS = 0.1
BACK_OFF_SECONDS_MIN = 0.25
BACK_OFF_SECONDS_MAX = 15.0
ANSWER_SECONDS = 2.0
"""So long the core's own word that a snapshot is there may take, behind the word that the transfer is done."""
CATCH_UP_SECONDS = 60.0
"""The log is kept for so long for a peer that has got a snapshot and lacks what came meanwhile."""


@dataclass(slots=True)
class _CatchingUp:
    index: int
    """What the peer has; the log behind it is needed."""
    until_index: int
    deadline: float


class Sender:
    """A leader's transfers, one task per peer."""

    def __init__(
        self,
        group: Group,
        outgoing: OutgoingSnapshots,
        *,
        send: Callable[[int, Sequence[WireMessage]], None],
        backlog_bytes: Callable[[int], int],
        connected: Container[int],
        events: EventStream,
        tasks: Tasks,
        first_number: int,
    ) -> None:
        """``send`` and ``backlog_bytes`` are those of the bulk lane. ``first_number`` differs in each process start."""
        self._group = group
        self._outgoing = outgoing
        self._send = send
        self._backlog_bytes = backlog_bytes
        self._connected = connected
        self._events = events
        self._tasks = tasks
        self._next_number = first_number
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(TRANSFERS_MAX)
        self._bringing: dict[int, asyncio.Task[None]] = {}
        self._transfers: dict[int, Transfer] = {}
        self._failures: dict[int, int] = {}
        self._catching_up: dict[int, _CatchingUp] = {}

    # -- inputs ------------------------------------------------------------------------------------------

    def wanted(self, wanted: SnapshotWanted) -> None:
        """The core asks for a snapshot for a peer."""
        earlier = self._bringing.pop(wanted.peer, None)
        if earlier is not None:
            earlier.cancel()
        bringing = self._bring(wanted.peer, wanted.session, self._group.core.term, earlier)
        self._bringing[wanted.peer] = self._tasks.spawn(bringing, f"bring node {wanted.peer} a snapshot")

    def answered(self, peer: int, progress: SnapshotProgress) -> None:
        """A peer says how far it is with a snapshot."""
        transfer = self._transfers.get(peer)
        if transfer is not None and transfer.number == progress.number:
            transfer.answered(progress)

    def log_needed_from(self, *, patiently: bool) -> int | None:
        """The log behind this index is needed by peers that are getting a snapshot.

        Or have just got one and are catching up, or may go on in a moment with one: these only if ``patiently``.
        """
        replication, now = self._group.core.replication, self._loop.time()
        for peer, each in list(self._catching_up.items()):
            progress = replication.peers.get(peer) if replication is not None else None
            here = progress is not None and peer in self._connected
            if progress is None or not here or now > each.deadline or progress.match >= each.until_index:
                del self._catching_up[peer]
            else:
                each.index = max(each.index, progress.match)
        indexes = [each.index for each in self._catching_up.values()] if patiently else []
        return min([*indexes, *self._outgoing.indexes(only_used=not patiently)], default=None)

    # -- one peer ----------------------------------------------------------------------------------------

    def _progress(self, peer: int, session: int, term: int) -> Progress | None:
        """The peer's progress, while this node leads ``term`` and the peer still needs a snapshot."""
        core = self._group.core
        if self._group.stopped or core.term != term or core.replication is None:
            return None
        progress = core.replication.peers.get(peer)
        wanted = progress is not None and progress.session == session and progress.state is ProgressState.SNAPSHOT
        return progress if wanted else None

    async def _bring(self, peer: int, session: int, term: int, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])

        def is_wanted() -> bool:
            return self._progress(peer, session, term) is not None

        await self._until(lambda: peer in self._connected or not is_wanted(), CONNECTION_POLL_SECONDS)
        async with self._slots:
            ending = await self._transfer(peer, session, term, is_wanted) if is_wanted() else Ending.MOOT
        if ending is Ending.DONE:
            # Its acknowledgement takes another way than the word that it is done; without it the core would begin anew.
            await self._until(lambda: not is_wanted(), CONNECTION_POLL_SECONDS / 10, ANSWER_SECONDS)
        if ending in (Ending.DONE, Ending.MOOT):
            self._failures.pop(peer, None)
        elif ending is not Ending.CUT_OFF:
            await self._back_off(peer, ending, is_wanted)
        if self._bringing.get(peer) is asyncio.current_task():
            del self._bringing[peer]
        if is_wanted():
            self._group.snapshot_ended(peer, session)

    async def _until(self, condition: Callable[[], bool], poll_seconds: float, seconds: float | None = None) -> None:
        deadline = None if seconds is None else self._loop.time() + seconds
        while not condition() and (deadline is None or self._loop.time() < deadline):  # noqa: ASYNC110
            await asyncio.sleep(poll_seconds)

    async def _transfer(self, peer: int, session: int, term: int, is_wanted: Callable[[], bool]) -> Ending:
        ending = Ending.FAILED
        try:
            witness = peer in self._group.core.configuration.witnesses
            outgoing = await self._outgoing.acquire(witness=witness)
            try:
                self._next_number += 1
                transfer = self._transfers[peer] = Transfer(
                    self._next_number,
                    outgoing,
                    term=term,
                    session=session,
                    send=lambda messages: self._send(peer, messages),
                    backlog_bytes=lambda: self._backlog_bytes(peer),
                    is_wanted=is_wanted,
                    is_connected=lambda: peer in self._connected,
                )
                log.info("sending node %d a snapshot of entry %d", peer, outgoing.index)
                began = self._loop.time()
                ending = await transfer.run()
                if ending is Ending.DONE:
                    self._group.figures.snapshots.sent(outgoing.manifest.size_bytes, self._loop.time() - began)
                    self._brought(peer, outgoing.index)
            finally:
                self._transfers.pop(peer, None)
                if ending is Ending.BROKEN:
                    outgoing.retired = True  # perhaps it is broken here
                self._outgoing.release(outgoing, ended_well=ending is Ending.DONE)
        except StorageFailed:
            raise
        except StorageError as error:
            log.warning("no snapshot for node %d: %s", peer, error)
        return ending

    def _brought(self, peer: int, index: int) -> None:
        deadline = self._loop.time() + CATCH_UP_SECONDS
        self._catching_up[peer] = _CatchingUp(index, self._group.core.log.last_index, deadline)
        facts = {"event": SnapshotSent.name, "peer": peer, "index": index}
        log.info("node %d has got its snapshot of entry %d", peer, index, extra=facts)
        self._events.publish(SnapshotSent(peer, index))

    async def _back_off(self, peer: int, ending: Ending, is_wanted: Callable[[], bool]) -> None:
        self._group.figures.snapshots.failed += 1
        failures = self._failures.get(peer, 0)
        self._failures[peer] = failures + 1
        pause = min(BACK_OFF_SECONDS_MAX, BACK_OFF_SECONDS_MIN * 2 ** min(failures, 10))
        log.warning("node %d did not get its snapshot: %s; the next attempt in %g s", peer, ending.value, pause)
        await self._until(lambda: not is_wanted(), CONNECTION_POLL_SECONDS, pause)
