"""Live changes as server-sent events (WHATWG HTML §9.2), which ``curl -N`` and a browser's ``EventSource`` understand.

::

    id: 42
    event: ProductUpdated
    data: {"event_id": …}

The id is the number of the change, which means the same on every node. A client that comes back with the last one in
``Last-Event-ID``, as an ``EventSource`` does by itself, or with ``?after=``, misses nothing and is told nothing twice.
An id comes first of all, and with each heartbeat: so that holds also for who was told of no change yet, and who waits
long for one of its model is not taken for one who is behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

import apsw

from quorate.errors import ReadUnavailable, StorageFailed
from quorate.models.feeds import Batch, Feed, Gone, batches
from quorate.models.machine import ModelsMachine
from quorate.models.rest.events_json import EventDocuments, encode_json
from quorate.models.rest.wanted import EventsWanted, read_watch
from quorate.models.store.schema import ModelSchema
from quorate.node.ports import Engine
from quorate.rest.events import HEARTBEAT_SECONDS, RETRY_MS, STREAM_HEADERS, Watcher
from quorate.rest.http import Headers, RequestError, Stream, not_allowed

PATH = "_watch"
"""Below ``/api``, and below each resource."""
WATCHERS_MAX = 256
"""So many clients may watch one node at a time: each costs a share of what happens there."""


class Watching:
    """All who watch on one node."""

    def __init__(
        self,
        machine: ModelsMachine,
        engine: Engine,
        schemas: Iterable[ModelSchema],
        *,
        watchers_max: int = WATCHERS_MAX,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._machine = machine
        self._engine = engine
        self._documents = EventDocuments(schemas)
        self._watchers_max = watchers_max
        self._heartbeat_seconds = heartbeat_seconds
        self._watchers = 0
        self._closing = False

    @property
    def count(self) -> int:
        """How many watch."""
        return self._watchers

    def close(self) -> None:
        """End the streams: who watches is to go on at another node."""
        self._closing = True
        if self._watchers:
            Feed.of(self._machine).wake()

    async def handle(self, method: str, tail: str, query: bytes, headers: Headers, body: bytes) -> Stream:
        """``GET /api/_watch``: the changes of all models. Raises :class:`RequestError`."""
        check_get(method, tail)
        return await self.stream(read_watch(query, headers))

    async def stream(self, wanted: EventsWanted, model: str | None = None) -> Stream:
        """The changes of one model, or of all. Raises :class:`RequestError`."""
        if wanted.after is None:
            await self._engine.read_barrier(consistency=wanted.consistency)
        else:
            await self._engine.read_barrier(consistency="eventually")
        check_in_force(self._machine)
        if self._closing or self._watchers >= self._watchers_max:
            why = "is about to stop" if self._closing else f"is watched by {self._watchers} clients already"
            raise RequestError(503, f"the node {why}")
        events = self._machine.events
        after = events.last if wanted.after is None else wanted.after
        try:
            if after + 1 < events.first:
                raise gone_error(Gone(after, events.first))
        except apsw.Error as error:
            raise StorageFailed(f"cannot read the events: {error}") from error
        self._watchers += 1
        return Stream(200, list(STREAM_HEADERS), Watcher(self._texts(after, model), self._left))

    async def _texts(self, after: int, model: str | None) -> AsyncGenerator[bytes, None]:
        clock = asyncio.get_running_loop().time
        yield b"retry: %d\nid: %d\n\n" % (RETRY_MS, after)
        spoke_at = clock()
        pause = self._heartbeat_seconds
        try:
            async with aclosing(batches(self._machine, self._engine, after, model, pause_seconds=pause)) as told:
                async for batch in told:
                    if self._closing or self._machine.is_waiting:
                        return  # to come back is refused as long as that is so: see check_in_force
                    if batch.events:
                        yield self._text(batch)
                        spoke_at = clock()
                    elif clock() - spoke_at > 0.9 * pause:  # a timer may come a bit early
                        yield b": nothing new\nid: %d\n\n" % batch.end
                        spoke_at = clock()
        except Gone as gone:
            yield b"event: gone\ndata: %b\n\n" % encode_json({"oldest": gone.oldest, "detail": str(gone)})
        except ReadUnavailable:
            return  # the node stops

    def _text(self, batch: Batch) -> bytes:
        if batch.text is None:
            documents = [(event.sequence, self._documents.document(event)) for event in batch.events]
            batch.text = b"".join(
                b"id: %d\nevent: %b\ndata: %b\n\n" % (sequence, document["event_type"].encode(), encode_json(document))
                for sequence, document in documents
            )
        return batch.text

    def _left(self) -> None:
        self._watchers -= 1


def gone_error(gone: Gone) -> RequestError:
    """How it is answered."""
    return RequestError(410, str(gone), headers=[(b"x-first-sequence", b"%d" % gone.oldest)])


def check_in_force(machine: ModelsMachine) -> None:
    """Refuse while the state is that of earlier declarations, which do not say what is hidden now."""
    if machine.is_waiting:
        raise RequestError(503, "what the app declares is not in force yet: some node still runs an earlier program")


def check_get(method: str, tail: str) -> None:
    """Refuse what is neither GET nor HEAD, and what lies below."""
    if tail:
        raise RequestError(404, "there is nothing here")
    if method not in ("GET", "HEAD"):
        raise not_allowed(method, ("GET",))
