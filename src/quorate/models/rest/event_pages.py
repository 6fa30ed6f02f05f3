"""What changed, of all models: ``GET /api/_events``, a page of the event log.

The numbers of the events mean the same on every node: a client may ask one node for a page, and another for the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlencode

import apsw

from quorate.errors import StorageFailed
from quorate.models.feeds import Gone
from quorate.models.machine import ModelsMachine
from quorate.models.rest.events_json import EventDocuments
from quorate.models.rest.wanted import EventsWanted, read_events
from quorate.models.rest.watching import check_get, check_in_force, gone_error
from quorate.models.store.schema import ModelSchema
from quorate.node.ports import Engine
from quorate.rest.http import JSON_TYPE, Headers, Response

PATH = "_events"
"""Below ``/api``."""
SLICE_EVENTS = 100
"""So many events are read at a time; then everything else has its turn."""
SLICES_MAX = 200
"""So often at most for one page, which may be short then, or even empty: ``Link`` says where the next one begins."""
PAGE_BYTES_MAX = 4 * 1024 * 1024
"""A page ends early where the events' data come to this."""


class EventPages:
    """Answers what is asked of the event log of one node."""

    def __init__(
        self,
        machine: ModelsMachine,
        engine: Engine,
        schemas: Sequence[ModelSchema],
        *,
        prefix: str = "/api",
    ) -> None:
        self._machine = machine
        self._engine = engine
        self._documents = EventDocuments(schemas)
        self._models = {schema.resource: schema.name for schema in schemas}
        self._path = f"{prefix}/{PATH}"

    async def handle(self, method: str, tail: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /api/_events``. Raises :class:`RequestError`."""
        check_get(method, tail)
        wanted = read_events(query, self._models)
        await self._engine.read_barrier(consistency=wanted.consistency)
        try:
            return await self._page(wanted)
        except apsw.Error as error:
            raise StorageFailed(f"cannot read the events: {error}") from error

    async def _page(self, wanted: EventsWanted) -> Response:
        model = None if wanted.resource is None else self._models[wanted.resource]
        after = self._machine.events.first - 1 if wanted.after is None else wanted.after
        parts: list[bytes] = []
        bytes_left = PAGE_BYTES_MAX
        for _ in range(SLICES_MAX):
            check_in_force(self._machine)
            log = self._machine.events  # looked up each time: a snapshot replaces it
            if after + 1 < log.first and not parts:
                raise gone_error(Gone(after, log.first))
            if after + 1 < log.first:
                break  # what follows was deleted meanwhile: the next page says so
            found = log.after(after, min(SLICE_EVENTS, wanted.limit - len(parts)), model)
            parts += map(self._documents.encoded, found.events)
            after, bytes_left = found.end, bytes_left - found.size
            if len(parts) == wanted.limit or after >= log.last or bytes_left <= 0:
                break
            await asyncio.sleep(0)
            await self._engine.read_barrier(consistency="eventually")  # a snapshot may be taking the state's place
        first, last = self._machine.events.first, self._machine.events.last
        answer = [JSON_TYPE, (b"x-first-sequence", b"%d" % first), (b"x-last-sequence", b"%d" % last)]
        if after < last:
            answer.append((b"link", self._link(after, wanted)))
        return Response(200, answer, b"[%b]" % b",".join(parts))

    def _link(self, after: int, wanted: EventsWanted) -> bytes:
        asked = {"after": after, "limit": wanted.limit, "resource": wanted.resource, "consistency": wanted.consistency}
        query = urlencode({name: value for name, value in asked.items() if value not in (None, "strong")})
        return f'<{self._path}?{query}>; rel="next"'.encode()
