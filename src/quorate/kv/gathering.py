"""What is asked at about the same time, gathered: writes into one proposal, reads behind one barrier.

No task and no future is made for a request. Who asks is a :class:`Sender`, and names a place for the reply: whatever
tells its own requests apart.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from quorate.errors import OutcomeUnknown, QuorateError
from quorate.kv.registry import Spec
from quorate.kv.replies import Reply
from quorate.measures import Histogram

if TYPE_CHECKING:
    from quorate.kv.keyspace import Keyspace

BATCH_COMMANDS_MAX = 1000
"""So many commands travel as one at most: they are applied without a pause."""
BATCH_BYTES_MAX = 256 * 1024
BATCH_COPYING_MAX = 100
"""So many of them may be such as copy what is at their key: that may have become longer than it was thought."""
HEAVY_BYTES = BATCH_BYTES_MAX
"""A write that has, or copies, more than this travels alone."""
UNDER_WAY_BYTES_MAX = 64 << 20
"""So much is proposed at a time: what is applied without others coming in between takes some tenths of a second."""
GATHER_SECONDS_MAX = 0.005
"""So long a batch waits at most for the one before it to end. What comes while that is on its way to the disks comes
along: with many clients that halves the work. Only where a batch takes longer than this, between places that are far
apart, does it cost time, and then not more."""
SLICE_SECONDS = 0.005
"""So long reads are answered at a time, and the requests of a connection begun; then everything else has its turn."""
HEADER_BYTES = 3
"""What comes before the commands of a batch, at most."""

_encode = msgspec.msgpack.Encoder().encode

P = TypeVar("P")
P_contra = TypeVar("P_contra", contravariant=True)
Propose = Callable[[bytes, str | None], Coroutine[Any, Any, list[Reply]]]
Spawn = Callable[[Coroutine[Any, Any, None]], object]


class RequestFigures:
    """How many were carried out, each in what time from when it came, and how many were not, or may not have been."""

    def __init__(self) -> None:
        self.seconds = Histogram()
        self.failed = 0
        """Of those that are in :attr:`seconds`."""


class Sender(Protocol[P_contra]):
    """Who is told what has become of its writes and reads: a connection, or the callers in a program."""

    is_gone: bool
    """Whether nobody is there to be told: then nothing is read any more."""

    def answered(self, place: P_contra, reply: Reply) -> None:
        """One was carried out, or refused."""

    def failed(self, place: P_contra, error: QuorateError, request_id: str | None) -> None:
        """One was not carried out, or may not have been; the id is that with which it travelled."""

    def go_on(self) -> None:
        """All that ended at once has been told."""


class Batch:
    """Writes that travel as one command, and where their replies go."""

    __slots__ = ("bytes", "came", "copying", "request_id", "requests", "senders", "timer")

    def __init__(self, request_id: str | None = None) -> None:
        self.request_id = request_id
        self.requests: list[bytes] = []
        self.senders: list[tuple[Sender[Any], Any]] = []
        self.came: list[float] = []
        """When each of them did."""
        self.bytes = 0
        """What they have and copy."""
        self.copying = 0
        self.timer: asyncio.Handle | None = None

    def add(self, sender: Sender[Any], place: Any, encoded: bytes, size: int) -> None:
        """One more, which has and copies so many bytes."""
        self.requests.append(encoded)
        self.senders.append((sender, place))
        self.came.append(monotonic())
        self.bytes += size

    def fail(self, error: QuorateError) -> None:
        """Tell all of them."""
        for sender, place in self.senders:
            sender.failed(place, error, self.request_id)

    def go_on(self) -> None:
        """All of them have been told."""
        for sender in {sender: None for sender, _ in self.senders}:
            sender.go_on()


class Writes:
    """Gathers writes. Their order is that of their arrival, in the log as well."""

    def __init__(self, propose: Propose, spawn: Spawn, command_bytes_max: int) -> None:
        """A batch has no more than ``command_bytes_max``: so no write is refused for its company."""
        self._propose = propose
        self._spawn = spawn
        self._bytes_max = min(BATCH_BYTES_MAX, command_bytes_max - HEADER_BYTES)
        self._batch: Batch | None = None
        self.figures = RequestFigures()
        self._leaving: deque[Batch] = deque()
        """Complete, and waiting until less is under way."""
        self._under_way = 0
        self._under_way_bytes = 0
        self.bytes = 0
        """What all writes have and copy that came and have not ended."""

    def add(self, sender: Sender[P], place: P, request: list[bytes], copied: int = 0) -> bool:
        """One more; it goes into the log at the end of this turn, or when the batch before it has ended.

        ``copied``: so many bytes its command copies, about. Returns whether it is heavy, and so travels alone.
        """
        encoded = _encode(request)
        size = len(encoded) + copied
        batch = self._batch
        if (
            batch is None
            or batch.bytes + size > self._bytes_max
            or len(batch.requests) >= BATCH_COMMANDS_MAX
            or (copied and batch.copying >= BATCH_COPYING_MAX)
        ):
            batch = self._begin()  # a large one travels alone, lest it take others with it
        if copied:
            batch.copying += 1
        batch.add(sender, place, encoded, size)
        self.bytes += size
        return size > HEAVY_BYTES

    def add_once(self, sender: Sender[P], place: P, request: list[bytes], request_id: str, copied: int = 0) -> bool:
        """One that travels alone, with an id by which it is applied once; what came before it goes first."""
        self._send()
        batch = self._batch = Batch(request_id)
        encoded = _encode(request)
        batch.add(sender, place, encoded, len(encoded) + copied)
        self.bytes += batch.bytes
        self._send()
        return batch.bytes > HEAVY_BYTES

    def withdraw(self, sender: Sender[P], place: P) -> None:
        """A write is not wanted any more: it is not made, unless it has left already."""
        batch = self._batch
        if batch is not None and (sender, place) in batch.senders:
            at = batch.senders.index((sender, place))
            del batch.senders[at], batch.requests[at], batch.came[at]

    async def apply(self, request: list[bytes]) -> Reply:
        """One write of nobody's; returns its reply. Raises what proposing raises."""
        return (await self._propose(as_list([_encode(request)]), None))[0]

    def _begin(self) -> Batch:
        self._send()
        batch = self._batch = Batch()
        loop = asyncio.get_running_loop()
        batch.timer = loop.call_later(GATHER_SECONDS_MAX, self._send) if self._under_way else loop.call_soon(self._send)
        return batch

    def _send(self) -> None:
        batch = self._batch
        if batch is None:
            return
        self._batch = None
        if batch.timer is not None:
            batch.timer.cancel()
        if batch.requests:
            self._leaving.append(batch)
            self._leave()
        else:
            self.bytes -= batch.bytes

    def _leave(self) -> None:
        leaving = self._leaving
        while leaving and (not self._under_way or self._under_way_bytes + leaving[0].bytes <= UNDER_WAY_BYTES_MAX):
            batch = leaving.popleft()
            self._under_way += 1
            self._under_way_bytes += batch.bytes
            self._spawn(self._run(batch))

    async def _run(self, batch: Batch) -> None:
        count = len(batch.requests)
        try:
            replies = await self._propose(as_list(batch.requests), batch.request_id)
        except QuorateError as error:
            self.figures.failed += count
            batch.fail(error)
        except BaseException:
            batch.fail(OutcomeUnknown("the proposal was broken off"))
            raise
        else:
            for (sender, place), reply in zip(batch.senders, replies, strict=True):
                sender.answered(place, reply)
        finally:
            now, observe = monotonic(), self.figures.seconds.observe
            for came in batch.came:
                observe(now - came)
            self._under_way -= 1
            self._under_way_bytes -= batch.bytes
            self.bytes -= batch.bytes
            batch.go_on()
            self._send()
            self._leave()


Read = tuple[Sender[Any], Any, Spec, list[bytes], float]
"""Who asks, the place of the reply, what is asked, and when it came."""


class Reads:
    """Gathers reads: one confirmation serves all that arrived before it was asked for.

    What takes longer than a slice goes on in the loop's next turns, where senders take turns as well. Those of one
    sender are answered in their order, by data that never gets older.
    """

    def __init__(
        self, barrier: Callable[[], Coroutine[Any, Any, None]], keyspace: Callable[[], Keyspace], spawn: Spawn
    ) -> None:
        self._barrier = barrier
        self._keyspace = keyspace
        self._spawn = spawn
        self.figures = RequestFigures()
        self._waiting: list[Read] = []
        self._late: dict[Sender[Any], deque[Read]] = {}
        """Confirmed, and waiting for a slice."""

    def add(self, sender: Sender[P], place: P, spec: Spec, request: list[bytes]) -> None:
        """One more."""
        if not self._waiting:
            self._spawn(self._run())
        self._waiting.append((sender, place, spec, request, monotonic()))

    async def _run(self) -> None:
        await asyncio.sleep(0)  # whatever else came in this turn comes along
        reads, self._waiting = self._waiting, []
        try:
            await self._barrier()
        except QuorateError as error:
            self.figures.failed += len(reads)
            now = monotonic()
            for sender, place, _, _, came in reads:
                sender.failed(place, error, None)
                self.figures.seconds.observe(now - came)
        else:
            self._answer(reads)
        for sender in {read[0]: None for read in reads}:
            sender.go_on()

    def _answer(self, reads: Iterable[Read]) -> None:
        """Answer what fits into a slice, and is not behind what waits for one; put off the rest."""
        db, late, is_over, ends = self._keyspace(), self._late, False, monotonic() + SLICE_SECONDS
        observe = self.figures.seconds.observe
        for read in reads:
            sender, place, spec, request, came = read
            if is_over or sender in late:
                self._put_off(read)
            elif not sender.is_gone:
                sender.answered(place, spec.answer(db, request))
                now = monotonic()
                observe(now - came)
                is_over = now >= ends

    def _put_off(self, read: Read) -> None:
        if not self._late:
            asyncio.get_running_loop().call_soon(self._answer_late)
        self._late.setdefault(read[0], deque()).append(read)

    def _answer_late(self) -> None:
        """A slice for who has waited longest, whose rest goes to the end."""
        sender = next(iter(self._late))
        reads = self._late.pop(sender)
        if self._late:
            asyncio.get_running_loop().call_soon(self._answer_late)
        self._answer(reads)
        sender.go_on()


def as_list(encoded: list[bytes]) -> bytes:
    """The MessagePack of a list of what is encoded already: fewer than 65,536."""
    count = len(encoded)
    header = bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return header + b"".join(encoded)
