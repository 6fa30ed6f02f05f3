"""A snapshot on its way from the leader: the receiving end. Staged, verified, and handed on to be installed."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from quorate.errors import ConfigError, CorruptLog, FrameError, QuorateError, StorageError
from quorate.node.group import Group
from quorate.node.snapshots.installation import Installation
from quorate.node.snapshots.messages import SnapshotChunk, SnapshotOffer, SnapshotProgress, TransferState
from quorate.node.snapshots.work import DirectoryAccess, Tasks
from quorate.raft.roles import Role
from quorate.storage.incoming import Incoming
from quorate.storage.manifest import Manifest
from quorate.transport.contract import WireMessage

log = logging.getLogger(__name__)

QUEUE_BYTES_MAX = 16 * 1024 * 1024
"""What came and was not written yet; more is dropped, as the network may drop it."""


class Reception:
    """One snapshot that is coming in from ``peer``, as it was ``offer``-ed."""

    def __init__(self, peer: int, offer: SnapshotOffer, manifest: Manifest) -> None:
        self.peer = peer
        self.offer = offer
        self.manifest = manifest
        self.task: asyncio.Task[None] | None = None
        self.is_final = False
        """Whether it is being installed: from there is no way back."""
        self._queue: deque[SnapshotOffer | SnapshotChunk] = deque()
        self._queue_bytes = 0
        self._arrived = asyncio.Event()

    def put(self, message: SnapshotOffer | SnapshotChunk) -> None:
        """Something more came."""
        size = len(message.data) if isinstance(message, SnapshotChunk) else 0
        if self._queue_bytes + size <= QUEUE_BYTES_MAX:
            self._queue.append(message)
            self._queue_bytes += size
            self._arrived.set()

    async def take(self) -> list[SnapshotOffer | SnapshotChunk]:
        """All that came, once there is something."""
        await self._arrived.wait()
        self._arrived.clear()
        messages = list(self._queue)
        self._queue.clear()
        self._queue_bytes = 0
        return messages


def write_all(incoming: Incoming, messages: Sequence[SnapshotOffer | SnapshotChunk]) -> bool:
    """Write what follows; returns whether something was left out because what is before it has not come. Blocks."""
    gap = False
    for message in messages:
        if isinstance(message, SnapshotChunk) and not incoming.write(message.part, message.offset, message.data):
            gap = gap or (message.part, message.offset) > incoming.position
    return gap


class Receiver:
    """Takes one snapshot at a time, from whoever leads."""

    def __init__(
        self,
        group: Group,
        access: DirectoryAccess,
        installation: Installation,
        *,
        send: Callable[[int, Sequence[WireMessage]], None],
        tasks: Tasks,
    ) -> None:
        """``send`` is that of the prompt lane."""
        self._group = group
        self._access = access
        self._installation = installation
        self._send = send
        self._tasks = tasks
        self._reception: Reception | None = None

    def chunk(self, peer: int, chunk: SnapshotChunk) -> None:
        """A piece came."""
        reception = self._reception
        if reception is not None and (reception.peer, reception.offer.number) == (peer, chunk.number):
            reception.put(chunk)

    def offered(self, peer: int, offer: SnapshotOffer) -> None:
        """A leader offers a snapshot, or asks how far an offered one is."""
        current = self._reception
        if not self._may_come_from(peer, offer) or (current is not None and current.offer.term > offer.term):
            self._answer(peer, offer, TransferState.REFUSED)
        elif current is not None and current.is_final:
            self._answer(peer, offer, TransferState.WORKING)
        elif current is not None and (current.peer, current.offer.number) == (peer, offer.number):
            current.put(offer)  # answered behind what came before it
        else:
            self._begin(peer, offer, current)

    def _may_come_from(self, peer: int, offer: SnapshotOffer) -> bool:
        """Whether ``peer`` may be the leader of its term, and that term is not over."""
        core = self._group.core
        if offer.term != core.term:
            return offer.term > core.term
        return core.role is not Role.LEADER and core.leader in (None, peer)

    def _begin(self, peer: int, offer: SnapshotOffer, current: Reception | None) -> None:
        try:
            manifest = Manifest.decode(offer.manifest)
        except QuorateError as error:
            log.warning("node %d offers a snapshot that cannot be understood: %s", peer, error)
            self._answer(peer, offer, TransferState.REFUSED)
            return
        if self._group.has_everything_up_to(manifest.floor):
            # Not all of it by way of a snapshot, perhaps; the leader learns of it as of any other entries.
            self._group.install_snapshot(peer, offer.term, offer.session, manifest.floor)
            self._answer(peer, offer, TransferState.DONE)
            return
        self._group.offered_snapshot(offer.term, offer.session, for_witness=not manifest.parts)
        log.info("receiving a snapshot of entry %d from node %d", manifest.floor.index, peer)
        reception = self._reception = Reception(peer, offer, manifest)
        earlier = current.task if current is not None else None
        if earlier is not None:
            earlier.cancel()
        reception.task = self._tasks.spawn(self._receive(reception, earlier), f"receive a snapshot from node {peer}")

    def _answer(
        self, peer: int, offer: SnapshotOffer, state: TransferState, position: tuple[int, int] = (0, 0)
    ) -> None:
        part, offset = position
        self._send(peer, [SnapshotProgress(number=offer.number, part=part, offset=offset, state=state)])

    # -- one snapshot ------------------------------------------------------------------------------------

    async def _receive(self, reception: Reception, earlier: asyncio.Task[None] | None) -> None:
        peer, offer = reception.peer, reception.offer
        if earlier is not None:
            await asyncio.wait([earlier])
        try:
            state = await self._received(reception)
        except (CorruptLog, ConfigError, FrameError) as error:
            log.warning("the snapshot from node %d is of no use: %s", peer, error)
            await self._access.call(self._access.directory.discard)
            state = TransferState.BROKEN
        except StorageError as error:
            if reception.is_final:
                raise
            log.warning("the snapshot from node %d cannot be taken in: %s", peer, error)
            state = TransferState.REFUSED
        if self._reception is reception:
            self._reception = None
        self._answer(peer, offer, state)

    async def _received(self, reception: Reception) -> TransferState:
        """Take all of it in, and install it."""
        peer, offer, call = reception.peer, reception.offer, self._access.call
        incoming = await call(self._opened, reception.manifest)
        self._answer(peer, offer, TransferState.WANTED, incoming.position)
        while not incoming.complete:
            messages = await reception.take()
            gap = await call(write_all, incoming, messages)
            self._answer(peer, offer, TransferState.GAP if gap else TransferState.WANTED, incoming.position)
        verifying = self._tasks.spawn(self._keep_company(reception), "answer while verifying")
        try:
            await call(incoming.verify)
            await self._installation.check(reception.manifest)
            if not self._may_come_from(peer, offer):
                return TransferState.REFUSED  # it stays where it is: the next leader may offer the same
            reception.is_final = True
            await self._installation.install(peer, offer, reception.manifest)
            return TransferState.DONE
        finally:
            verifying.cancel()

    def _opened(self, manifest: Manifest) -> Incoming:
        """Begin, or go on with, this snapshot; another one that is staged and was not installed gives way."""
        directory = self._access.directory
        staged = directory.staged()
        if staged is not None and staged != manifest:
            directory.discard()
        return directory.begin(manifest)

    async def _keep_company(self, reception: Reception) -> None:
        """Answer what comes while the snapshot is verified, so that the leader waits."""
        while True:
            for message in await reception.take():
                if isinstance(message, SnapshotOffer):
                    self._answer(reception.peer, message, TransferState.WORKING)
