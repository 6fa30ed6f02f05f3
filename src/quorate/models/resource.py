"""The REST resource of one model. Plain calls in, plain answers out; the web layer does the rest.

====================  =================================================================
``GET /``             a page of objects in the order of their ids: 200
``POST /``            create one: 201, the stored object, ``Location``
``POST /_bulk``       create all of an array or none: 201, the stored objects
``GET /count``        200, ``{"count": N}``
``GET /random-id``    200, ``{"id": …}``; 404 while there is no object
``GET /{id}``         200
``PUT /{id}``         replace all fields: 200, the stored object
``PATCH /{id}``       JSON merge patch (RFC 7396): 200, the stored object
``DELETE /{id}``      204
====================  =================================================================

An id that no object can have is answered like one that none has: 404.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import quote, unquote_to_bytes

import apsw
import msgspec

from quorate.errors import StorageFailed
from quorate.models import params
from quorate.models.bodies import BodyReader, FieldChanges, MergeDocument
from quorate.models.columns import SqlValue
from quorate.models.commands import Command, Create, Delete, MergePatch, Patch, Replace, encode_command
from quorate.models.errors import Immutable, ModelRefusal, NotFound
from quorate.models.http import JSON_TYPE, Headers, RequestError, Response, from_refusal
from quorate.models.machine import MACHINE, ModelsMachine, changed_immutable
from quorate.models.ports import Engine
from quorate.models.schema import ModelSchema, Row
from quorate.models.tables import Table

PAGE_BYTES_MAX = 4 * 1024 * 1024
"""A page of a list ends early where its texts and blobs come to this; ``Link`` says where the next one begins."""

_Handler = Callable[[bytes, Headers, bytes], Awaitable[Response]]
_ItemHandler = Callable[[SqlValue, bytes, Headers, bytes], Awaitable[Response]]


class ModelResource:
    """Serves one model at ``path`` (``/api/<resource>``)."""

    def __init__(self, schema: ModelSchema, machine: ModelsMachine, engine: Engine, *, prefix: str = "/api") -> None:
        self.schema = schema
        self.path = f"{prefix}/{schema.resource}"
        self._machine = machine
        self._engine = engine
        self._bodies = BodyReader(schema)
        self._routes: dict[str, dict[str, _Handler]] = {
            "": {"GET": self._list, "POST": self._create},
            "_bulk": {"POST": self._create_many},
            "count": {"GET": self._count},
            "random-id": {"GET": self._random_id},
        }
        self._item_routes: dict[str, _ItemHandler] = {
            "GET": self._get,
            "PUT": self._replace,
            "PATCH": self._change,
            "DELETE": self._remove,
        }

    async def handle(self, method: str, tail: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """Answer one request. ``tail`` is the path behind :attr:`path` and a slash, still percent-encoded.

        Raises :class:`RequestError` for every refusal that concerns models, and whatever the engine raises
        for want of a leader, a quorum or time.
        """
        verb = "GET" if method == "HEAD" else method
        try:
            routes = self._routes.get(tail)
            if routes is not None:
                handler = routes.get(verb)
                if handler is None:
                    raise _not_allowed(method, routes)
                return await handler(query, headers, body)
            if "/" in tail:
                raise RequestError(404, f"there is nothing at {self.path}/{tail[:200]}")
            item_handler = self._item_routes.get(verb)
            if item_handler is None:
                raise _not_allowed(method, self._item_routes)
            return await item_handler(self._key(tail), query, headers, body)
        except ModelRefusal as refusal:
            raise from_refusal(refusal) from None
        except apsw.Error as error:
            raise StorageFailed(f"cannot read {self.schema.resource}: {error}") from error

    # -- reads -------------------------------------------------------------------------------------------

    async def _list(self, query: bytes, headers: Headers, body: bytes) -> Response:
        page = params.read_page(query)
        await self._engine.read_barrier(consistency=page.consistency)
        table = self._table
        rows = table.page(page.limit, page.offset, PAGE_BYTES_MAX)
        answer = [JSON_TYPE, (b"x-total-count", str(table.count).encode())]
        link = page.link(self.path, count=len(rows), total=table.count)
        if link:
            answer.append((b"link", link))
        return Response(200, answer, self.schema.array_json(rows))

    async def _get(self, key: SqlValue, query: bytes, headers: Headers, body: bytes) -> Response:
        await self._engine.read_barrier(consistency=params.read_consistency(query))
        row = self._table.get(key)
        if row is None:
            raise self._not_found(key)
        return Response(200, [JSON_TYPE], self.schema.object_json(row))

    async def _count(self, query: bytes, headers: Headers, body: bytes) -> Response:
        await self._engine.read_barrier(consistency=params.read_consistency(query))
        return Response(200, [JSON_TYPE], b'{"count":%d}' % self._table.count)

    async def _random_id(self, query: bytes, headers: Headers, body: bytes) -> Response:
        await self._engine.read_barrier(consistency=params.read_consistency(query))
        key = self._table.random_key()
        if key is None:
            raise RequestError(404, f"there is no {self.schema.name} yet")
        return Response(200, [JSON_TYPE], msgspec.json.encode({"id": self.schema.show(self.schema.key, key)}))

    # -- writes ------------------------------------------------------------------------------------------

    async def _create(self, query: bytes, headers: Headers, body: bytes) -> Response:
        request_id = self._check_write(query, headers)
        row = self._bodies.object_row(body)
        (row,) = await self._insert([row], request_id)
        location = f"{self.path}/{quote(self.schema.show_key(row[self.schema.key_position]), safe='')}"
        return Response(201, [JSON_TYPE, (b"location", location.encode())], self.schema.object_json(row))

    async def _create_many(self, query: bytes, headers: Headers, body: bytes) -> Response:
        request_id = self._check_write(query, headers)
        rows = self._bodies.array_rows(body)
        if rows:
            rows = await self._insert(rows, request_id)
        return Response(201, [JSON_TYPE], self.schema.array_json(rows))

    async def _insert(self, rows: list[Row], request_id: str | None) -> list[Row]:
        """The rows as they were stored, with their keys."""
        command = Create(self.schema.name, self.schema.names, rows)
        keys = cast("list[SqlValue]", await self._propose(command, request_id))
        return [self.schema.with_key(row, key) for row, key in zip(rows, keys, strict=True)]

    async def _replace(self, key: SqlValue, query: bytes, headers: Headers, body: bytes) -> Response:
        request_id = self._check_write(query, headers)
        columns = self.schema.names_without_key
        values = self.schema.without_key(self._bodies.replacement_row(body, key))
        if request_id is None:
            await self._check_change(key, columns, values)
        return await self._stored(Replace(self.schema.name, key, columns, values), request_id)

    async def _change(self, key: SqlValue, query: bytes, headers: Headers, body: bytes) -> Response:
        request_id = self._check_write(query, headers, b"application/merge-patch+json")
        patch = self._bodies.patch(body, key)
        if isinstance(patch, FieldChanges):
            if request_id is None:
                await self._check_change(key, patch.columns, patch.values)
            return await self._stored(Patch(self.schema.name, key, patch.columns, patch.values), request_id)
        if request_id is None:
            await self._check_merge(key, patch)
        return await self._stored(MergePatch(self.schema.name, key, patch.text), request_id)

    async def _remove(self, key: SqlValue, query: bytes, headers: Headers, body: bytes) -> Response:
        params.refuse_parameters(query)
        request_id = params.request_id(headers)
        if request_id is None:
            await self._current(key)
        await self._propose(Delete(self.schema.name, key), request_id)
        return Response(204, [], b"")

    async def _stored(self, command: Command, request_id: str | None) -> Response:
        row = cast("Row", await self._propose(command, request_id))
        return Response(200, [JSON_TYPE], self.schema.object_json(row))

    async def _propose(self, command: Command, request_id: str | None) -> object:
        applied = await self._engine.propose(encode_command(command), machine=MACHINE, request_id=request_id)
        return applied.result

    # -- checks against the state, before the log --------------------------------------------------------
    #
    # They only spare the log what it would refuse anyway, so they must not refuse what it would accept: a local
    # state that says no may just be behind, and is asked again when it is fresh. With a request id the log alone
    # can answer, for it knows whether this is a retry of a request that was applied.

    async def _current(self, key: SqlValue) -> Row:
        row = self._table.get(key)
        if row is None:
            row = await self._fresh(key)
        return row

    async def _fresh(self, key: SqlValue) -> Row:
        await self._engine.read_barrier(consistency="strong")
        row = self._table.get(key)
        if row is None:
            raise self._not_found(key)
        return row

    async def _check_change(self, key: SqlValue, columns: tuple[str, ...], values: Row) -> None:
        row = await self._current(key)
        if changed_immutable(self.schema, row, columns, values) is not None:
            changed = changed_immutable(self.schema, await self._fresh(key), columns, values)
            if changed is not None:
                raise Immutable(self.schema.name, changed)

    async def _check_merge(self, key: SqlValue, patch: MergeDocument) -> None:
        merged = self._bodies.check_merge(await self._fresh(key), patch)
        await self._check_change(key, self.schema.names, merged)

    # -- the request -------------------------------------------------------------------------------------

    @property
    def _table(self) -> Table:
        return self._machine.tables[self.schema.name]  # looked up each time: a snapshot replaces the tables

    def _key(self, tail: str) -> SqlValue:
        try:
            text = unquote_to_bytes(tail).decode()
        except UnicodeDecodeError:
            text = ""
        key = self.schema.parse_key(text)
        if key is None:
            raise NotFound(self.schema.name, tail[:200])
        return key

    def _not_found(self, key: SqlValue) -> NotFound:
        return NotFound(self.schema.name, self.schema.show_key(key))

    def _check_write(self, query: bytes, headers: Headers, *also: bytes) -> str | None:
        """Refuse what is wrong before the body is looked at; the request id, if there is one."""
        params.refuse_parameters(query)
        given, accepted = params.content_type(headers), (b"application/json", *also)
        if given not in accepted:
            names = b" or ".join(accepted).decode()
            raise RequestError(415, f"the body should be {names}", headers=[(b"accept", b", ".join(accepted))])
        return params.request_id(headers)


def _not_allowed(method: str, routes: dict[str, _Handler] | dict[str, _ItemHandler]) -> RequestError:
    allowed = [*routes, *(["HEAD"] if "GET" in routes else [])]
    detail = f"{method[:20]} is not allowed here, only {', '.join(allowed)}"
    return RequestError(405, detail, headers=[(b"allow", ", ".join(allowed).encode())])
