"""The reads of one model's resource."""

from __future__ import annotations

import msgspec

from quorate.models.errors import NotFound
from quorate.models.machine import ModelsMachine
from quorate.models.ports import Engine
from quorate.models.rest import params
from quorate.models.rest.http import JSON_TYPE, Headers, RequestError, Response
from quorate.models.store.columns import SqlValue
from quorate.models.store.schema import ModelSchema
from quorate.models.store.tables import Table

PAGE_BYTES_MAX = 4 * 1024 * 1024
"""A page of a list ends early where its texts and blobs come to this; ``Link`` says where the next one begins."""


class Reading:
    """Answers what is asked of the state of one node."""

    def __init__(self, schema: ModelSchema, machine: ModelsMachine, engine: Engine, path: str) -> None:
        self.schema = schema
        self._machine = machine
        self._engine = engine
        self._path = path

    @property
    def _table(self) -> Table:
        return self._machine.tables[self.schema.name]  # looked up each time: a snapshot replaces the tables

    async def list(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /``."""
        page = params.read_page(query)
        await self._engine.read_barrier(consistency=page.consistency)
        table = self._table
        rows = table.page(page.limit, page.offset, PAGE_BYTES_MAX)
        answer = [JSON_TYPE, (b"x-total-count", str(table.count).encode())]
        link = page.link(self._path, count=len(rows), total=table.count)
        if link:
            answer.append((b"link", link))
        return Response(200, answer, self.schema.array_json(rows))

    async def get(self, key: SqlValue, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /{id}``."""
        await self._engine.read_barrier(consistency=params.read_consistency(query))
        stored = self._table.stored(key)
        if stored is None:
            raise NotFound(self.schema.name, self.schema.show_key(key))
        tag = params.etag(stored.version)
        if params.is_known(headers, stored.version):
            return Response(304, [tag], b"")
        return Response(200, [JSON_TYPE, tag], self.schema.object_json(stored.row))

    async def count(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /count``."""
        await self._engine.read_barrier(consistency=params.read_consistency(query))
        return Response(200, [JSON_TYPE], b'{"count":%d}' % self._table.count)

    async def random_id(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /random-id``."""
        await self._engine.read_barrier(consistency=params.read_consistency(query))
        key = self._table.random_key()
        if key is None:
            raise RequestError(404, f"there is no {self.schema.name} yet")
        return Response(200, [JSON_TYPE], msgspec.json.encode({"id": self.schema.show(self.schema.key, key)}))
