"""The reads of one model's resource."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from functools import lru_cache, partial

import msgspec

from quorate.machine.queries import QUERY_SECONDS_MAX
from quorate.models.errors import NotFound
from quorate.models.machine import ModelsMachine
from quorate.models.query.fields import QueryFields
from quorate.models.query.selection import Selection
from quorate.models.query.streaming import ListStream
from quorate.models.rest import listing
from quorate.models.rest.listing import Paging, Wanted
from quorate.models.rest.serving import Served
from quorate.models.store.columns import SqlValue
from quorate.models.store.schema import ModelSchema
from quorate.models.store.tables import Table
from quorate.node.ports import Engine
from quorate.rest import heads, params
from quorate.rest.http import JSON_TYPE, Headers, RequestError, Response, Stream

PAGE_BYTES_MAX = 4 * 1024 * 1024
"""A page of a list ends early where its texts and blobs come to this; ``Link`` says where the next one begins."""

COUNT_SECONDS_MAX = 0.0005
"""Counting what a filter finds may take this long; otherwise a page does not say of how many objects it is."""

CHOICES_KEPT = 64
"""Of the ``fields`` that lists were asked for, and of the queries of counts: the same ones come again and again."""


class Reading:
    """Answers what is asked of the state of one node."""

    def __init__(self, schema: ModelSchema, machine: ModelsMachine, engine: Engine, path: str, served: Served) -> None:
        self.schema = schema
        self._machine = machine
        self._engine = engine
        self._path = path
        self._fields = QueryFields(schema)
        self._documents = lru_cache(CHOICES_KEPT)(schema.documents)
        self._read_count = lru_cache(CHOICES_KEPT)(partial(listing.read_count, self._fields))
        self._local = served.local_fields(schema)
        self._consistency = served.consistency_of(schema, schema.exposed_names)
        self._consistency_of_key = served.consistency_of(schema, (schema.key.name,))

    @property
    def _table(self) -> Table:
        return self._machine.tables[self.schema.name]  # looked up each time: a snapshot replaces the tables

    async def list(self, query: bytes, headers: Headers, body: bytes) -> Response | Stream:
        """``GET /``."""
        wanted = listing.read_list(self._fields, query, self._consistency)
        await self._engine.read_barrier(consistency=wanted.consistency)
        if wanted.paging is None:
            return await self._stream(wanted)
        return await self._page(wanted, wanted.paging)

    async def _page(self, wanted: Wanted, paging: Paging) -> Response:
        selection, offset = wanted.selection, paging.offset or 0
        answer = [JSON_TYPE, *self._total(selection)]
        page = await self._machine.queries.answer(
            lambda connection: selection.page(connection, paging.limit, offset, wanted.after, PAGE_BYTES_MAX),
            self._engine.flush,
        )
        if paging.offset is not None:
            link = paging.link(self._path, len(page.rows), page.has_more)
        else:
            has_next = page.rows and page.has_more
            link = paging.link_behind(self._path, wanted.cursors.behind(page.rows[-1])) if has_next else b""
        if link:
            answer.append((b"link", link))
        rows = page.rows
        if self._local is not None:
            await self._engine.read_barrier(consistency="eventually")  # a snapshot may have replaced the state
            rows = await self._local.whole_rows(self._engine, lambda: self._table, rows)
        return Response(200, answer, self._documents(wanted.fields).many(rows))

    async def _stream(self, wanted: Wanted) -> Stream:
        local = [column.name for column in self.schema.local_columns if column.name in wanted.fields]
        if local:
            raise params.invalid("limit", "local_field", f"Name the fields that are wanted, without {', '.join(local)}")
        queries = self._machine.queries
        await queries.list_turns.take(QUERY_SECONDS_MAX)
        with ExitStack() as turn:
            turn.callback(queries.list_turns.give_back)
            await self._engine.read_barrier(consistency="eventually")  # a snapshot may have replaced the state
            self._engine.flush()
            answer = [JSON_TYPE, *self._total(wanted.selection)]
            documents = self._documents(wanted.fields)
            return Stream(200, answer, ListStream(queries, wanted.selection, documents, wanted.after, turn))

    def _total(self, selection: Selection) -> Iterable[tuple[bytes, bytes]]:
        """The header that says how many there are on all pages, unless counting them takes long."""
        if selection.conditions:
            total = self._machine.queries.try_at_once(selection.count, COUNT_SECONDS_MAX)
        else:
            total = self._table.count
        return () if total is None else [(b"x-total-count", b"%d" % total)]

    async def get(self, key: SqlValue, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /{id}``."""
        await self._engine.read_barrier(consistency=params.read_consistency(query, self._consistency))
        stored = self._table.stored(key)
        if stored is None:
            raise NotFound(self.schema.name, self.schema.show_key(key))
        tag = heads.etag(stored.version)
        if self._local is None and heads.is_known(headers, stored.version):
            return Response(304, [tag], b"")
        row = stored.row if self._local is None else self._local.whole(self._table, stored.row)
        return Response(200, [JSON_TYPE, tag], self.schema.object_json(row))

    async def count(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /count``."""
        selection, consistency = self._read_count(query, self._consistency_of_key)
        await self._engine.read_barrier(consistency=consistency)
        count = self._table.count
        if selection.conditions:
            count = await self._machine.queries.answer(selection.count, self._engine.flush)
        return Response(200, [JSON_TYPE], b'{"count":%d}' % count)

    async def aggregate(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /_aggregate``."""
        aggregation, paging, consistency = listing.read_aggregate(self._fields, query, self._consistency)
        await self._engine.read_barrier(consistency=consistency)
        groups, has_more = await self._machine.queries.answer(
            lambda connection: aggregation.page(connection, paging.limit, paging.offset or 0), self._engine.flush
        )
        answer = [JSON_TYPE]
        link = paging.link(self._path + "/_aggregate", len(groups), has_more)
        if link:
            answer.append((b"link", link))
        return Response(200, answer, msgspec.json.encode(groups))

    async def random_id(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /random-id``."""
        await self._engine.read_barrier(consistency=params.read_consistency(query, self._consistency_of_key))
        key = self._table.random_key()
        if key is None:
            raise RequestError(404, f"there is no {self.schema.name} yet")
        return Response(200, [JSON_TYPE], msgspec.json.encode({"id": self.schema.show(self.schema.key, key)}))
