"""One snapshot on its way to one peer: the sending end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from enum import Enum

from quorate.node.snapshots.messages import Layout, SnapshotChunk, SnapshotOffer, SnapshotProgress, TransferState
from quorate.node.snapshots.outgoing import Outgoing
from quorate.node.snapshots.work import in_thread
from quorate.transport.contract import WireMessage

CHUNK_BYTES = 256 * 1024
WINDOW_BYTES = 4 * 1024 * 1024
"""How far ahead of what the receiver has confirmed it sends: what may have to be sent again."""
BACKLOG_BYTES_MAX = 1024 * 1024
"""It sends nothing while more than this waits to leave."""
BACKLOG_PAUSE_SECONDS = 0.005
OFFER_SECONDS = 0.5
"""After so long without an answer the offer is repeated; the answer to it says where to go on."""
FIRST_OFFERS_SECONDS = 0.05
"""The first one is repeated sooner: it may be lost while the bulk lane is opened."""
REWIND_SECONDS = 0.2
"""A gap is told once for each chunk behind it: so long the same gap is taken for one that is being closed."""
SILENCE_SECONDS_MAX = 10.0
WORKING_SECONDS_MAX = 600.0


class Ending(Enum):
    """How a transfer ended."""

    DONE = "the peer has it"
    MOOT = "it is not wanted any more"
    CUT_OFF = "the connection was lost"
    FAILED = "no answer, or a refusal"
    BROKEN = "it did not arrive intact"


class Transfer:
    """Offers, sends ahead within a window, and goes back to where the receiver wants it."""

    def __init__(
        self,
        number: int,
        outgoing: Outgoing,
        *,
        term: int,
        session: int,
        send: Callable[[Sequence[WireMessage]], None],
        backlog_bytes: Callable[[], int],
        is_wanted: Callable[[], bool],
        is_connected: Callable[[], bool],
    ) -> None:
        """``send`` and ``backlog_bytes`` are those of the bulk lane to the peer."""
        self.number = number
        self._outgoing = outgoing
        self._layout = Layout(outgoing.manifest)
        self._offer = SnapshotOffer(number=number, term=term, session=session, manifest=outgoing.encoded)
        self._send = send
        self._backlog_bytes = backlog_bytes
        self._is_wanted = is_wanted
        self._is_connected = is_connected
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._ending: Ending | None = None
        self._confirmed = 0
        self._next: int | None = None  # nothing is sent before the first answer
        self._rewinding = False  # whether the next answer is to an offer that was repeated: what it says is the latest
        self._rewound = (-1, 0.0)
        self._heard = self._started = self._loop.time()
        self._offer_due = 0.0

    async def run(self) -> Ending:
        """Send until it has ended. Raises :class:`~quorate.errors.StorageError` if it cannot be read."""
        while self._ending is None:
            now = self._loop.time()
            if not self._is_wanted():
                return Ending.MOOT
            if not self._is_connected():
                return Ending.CUT_OFF
            if now - self._heard > SILENCE_SECONDS_MAX or now - self._started > WORKING_SECONDS_MAX:
                return Ending.FAILED
            if now >= self._offer_due:
                self._offer_due = now + (FIRST_OFFERS_SECONDS if self._next is None else OFFER_SECONDS)
                self._rewinding = self._next is not None
                self._send([self._offer])
            waits_for_backlog = await self._send_ahead()
            pause = BACKLOG_PAUSE_SECONDS if waits_for_backlog else max(self._offer_due - self._loop.time(), 0.0)
            await self._until_woken(pause)
        return self._ending

    async def _until_woken(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _send_ahead(self) -> bool:
        """Fill the window; returns whether that stopped because too much waits to leave."""
        while self._ending is None and self._next is not None and self._next < self._layout.size_bytes:
            position = self._next
            if position - self._confirmed >= WINDOW_BYTES:
                return False
            if self._backlog_bytes() > BACKLOG_BYTES_MAX:
                return True
            part, offset, size = self._layout.piece(position, CHUNK_BYTES)
            data = await in_thread(self._outgoing.read, part, offset, size)
            if self._next == position:
                self._next += size
                self._send([SnapshotChunk(number=self.number, part=part, offset=offset, data=data)])
        return False

    def answered(self, progress: SnapshotProgress) -> None:
        """The receiver says how far it is."""
        now = self._heard = self._loop.time()
        self._offer_due = now + OFFER_SECONDS
        position = self._layout.position(progress.part, progress.offset)
        match progress.state:
            case TransferState.WANTED | TransferState.GAP if position is not None:
                self._wanted(position, now, gap=progress.state == TransferState.GAP)
            case TransferState.WORKING:
                self._rewinding = False
                if self._next is None:
                    self._offer_due = now + OFFER_SECONDS  # an earlier one is being put in place: ask again then
            case TransferState.DONE:
                self._ending = Ending.DONE
            case TransferState.BROKEN:
                self._ending = Ending.BROKEN
            case _:
                self._ending = Ending.FAILED
        self._wake.set()

    def _wanted(self, position: int, now: float, *, gap: bool) -> None:
        if position > self._confirmed:
            self._started = now
        self._confirmed = position
        rewound_to, rewound_at = self._rewound
        lost = gap and (position != rewound_to or now - rewound_at > REWIND_SECONDS)
        if self._next is None or self._rewinding or lost:
            self._next = position
            self._rewound = (position, now)
        self._next = max(self._next, position)
        self._rewinding = False
