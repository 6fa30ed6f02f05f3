"""Changes of tasks as server-sent events, which ``curl -N`` and a browser's ``EventSource`` understand.

::

    id: 42
    event: succeeded
    data: {"number": 42, "task_id": …, "status": "succeeded", …}

The id is the number of the change, which is the same on every node; the event is the state that the task is in by now.
A client that comes back with the last one in ``Last-Event-ID``, or with ``?after=``, misses nothing and is told nothing
twice, at whichever node. Nodes keep the newest changes: who is behind those is told ``gone``, and begins anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from functools import lru_cache

import msgspec

from quorate.node.ports import Engine
from quorate.rest.events import HEARTBEAT_SECONDS, RETRY_MS, STREAM_HEADERS, Watcher, last_event_id
from quorate.rest.http import Headers, RequestError, Stream
from quorate.rest.params import invalid, known_parameters, whole_number
from quorate.tasks.feed import Change, Feed, Gone
from quorate.tasks.records import known_moment
from quorate.tasks.rest.patience import Patience

PATH = "_watch"
"""Below ``tasks``."""
WATCHERS_MAX = 256
"""So many clients may watch one node at a time: each costs a share of what happens there."""
PAUSE_SECONDS = 0.02
"""A watcher looks for more this often at most: what happens meanwhile is told together."""
CHANGES_AT_ONCE = 500
TEXTS_KEPT = 8192
"""Watchers are told the same."""

_encode = msgspec.json.Encoder().encode


class ChangeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A task is in another state. ``number`` counts all changes; ``attempt`` those attempts that were begun."""

    number: int
    at: datetime
    task_id: str
    queue: str
    type: str
    status: str
    attempt: int
    worker: str | None
    reason: str


class Wanted(msgspec.Struct, frozen=True):
    """What a watcher asks for. ``after``: the number of the last change that it was told of."""

    after: int | None
    queue: str | None
    type: str | None

    def includes(self, change: Change) -> bool:
        """Whether it is to be told of a change."""
        return self.queue in (None, change.queue) and self.type in (None, change.type)


class Watching:
    """All who watch the tasks on one node."""

    def __init__(
        self,
        feed: Feed,
        engine: Engine,
        patience: Patience,
        *,
        watchers_max: int = WATCHERS_MAX,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._feed = feed
        self._engine = engine
        self._patience = patience
        self._watchers_max = watchers_max
        self._heartbeat_seconds = heartbeat_seconds
        self.count = 0
        """How many watch."""

    async def watch(self, query: bytes, headers: Headers, body: bytes) -> Stream:
        """``GET /tasks/_watch``."""
        wanted = _read(query, headers)
        await self._engine.read_barrier(consistency="strong" if wanted.after is None else "eventually")
        if self._patience.is_over or self.count >= self._watchers_max:
            why = "is about to stop" if self._patience.is_over else f"is watched by {self.count} clients already"
            raise RequestError(503, f"the node {why}")
        after = self._feed.last if wanted.after is None else wanted.after
        try:
            self._feed.after(after, 1)
        except Gone:
            raise RequestError(410, _gone(after)) from None
        self.count += 1
        return Stream(200, list(STREAM_HEADERS), Watcher(self._texts(after, wanted), self._left))

    async def _texts(self, after: int, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        clock = asyncio.get_running_loop().time
        yield b"retry: %d\nid: %d\n\n" % (RETRY_MS, after)
        spoke_at = clock()
        while not self._patience.is_over:
            try:
                changes = self._feed.after(after, CHANGES_AT_ONCE)
            except Gone:
                yield b"event: gone\ndata: %b\n\n" % _encode({"last": self._feed.last, "detail": _gone(after)})
                return
            if changes:
                after = changes[-1].number
                text = _text(changes, wanted)
                if text:
                    yield text
                    spoke_at = clock()
                if len(changes) < CHANGES_AT_ONCE:
                    await self._patience.wait(asyncio.sleep(PAUSE_SECONDS))
            elif clock() - spoke_at > 0.9 * self._heartbeat_seconds:  # a timer may come a bit early
                # It says how far all has been looked at: who wants but a few is not taken for one who is behind.
                yield b": nothing new\nid: %d\n\n" % after
                spoke_at = clock()
            else:
                await self._patience.wait(self._feed.until_changed(after, self._heartbeat_seconds))

    def _left(self) -> None:
        self.count -= 1


def _read(query: bytes, headers: Headers) -> Wanted:
    values = known_parameters(query, ("queue", "type", "after")) if query else {}
    after = last_event_id(headers)
    if after is None and "after" in values:
        after = whole_number(values["after"])
        if after is None:
            raise invalid("after", "range", "Query parameter should be the number of a change")
    return Wanted(after, values.get("queue"), values.get("type"))


def _text(changes: Sequence[Change], wanted: Wanted) -> bytes:
    if wanted.queue is None and wanted.type is None:
        return b"".join(map(_event, changes))
    return b"".join(_event(change) for change in changes if wanted.includes(change))


@lru_cache(maxsize=TEXTS_KEPT)
def _event(change: Change) -> bytes:
    status = change.state.label
    record = ChangeRecord(
        number=change.number,
        at=known_moment(change.time_us),
        task_id=change.id,
        queue=change.queue,
        type=change.type,
        status=status,
        attempt=change.attempt,
        worker=change.worker,
        reason=change.reason,
    )
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (change.number, status.encode(), _encode(record))


def _gone(after: int) -> str:
    return f"the changes behind {after} are not kept any more: read the tasks, and watch without a number"
