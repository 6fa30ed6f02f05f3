"""The writes of one model's resource."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import quote

from quorate.models.changes import changed_immutable
from quorate.models.commands import Call, Create, Delete, MergePatch, Operation, Patch, Replace
from quorate.models.errors import Immutable, NotFound, VersionMismatch
from quorate.models.local import Kept, LocalFields, Members
from quorate.models.machine import ModelsMachine
from quorate.models.rest.bodies import BodyReader, FieldChanges, MergeDocument
from quorate.models.rest.serving import Served
from quorate.models.store.columns import SqlValue
from quorate.models.store.schema import EventMethod, ModelSchema, Row
from quorate.models.store.tables import Table
from quorate.models.submitting import Submitter
from quorate.node.ports import Engine
from quorate.rest import heads, params
from quorate.rest.heads import WriteHead
from quorate.rest.http import JSON_TYPE, Headers, RequestError, Response

MERGE_PATCH_TYPE = b"application/merge-patch+json"


class Writing:
    """Checks what is to be written, and proposes it."""

    def __init__(self, schema: ModelSchema, machine: ModelsMachine, engine: Engine, path: str, served: Served) -> None:
        self._local = served.local_fields(schema)
        self.schema = schema
        self._machine = machine
        self._engine = engine
        self._submitter = Submitter(engine, machine)
        self._path = path
        self._bodies = BodyReader(schema)

    async def create(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /``."""
        head = self._check(query, headers)
        row = self._bodies.object_row(body)
        local = {} if self._local is None else self._local.in_object(body)
        version, (row,) = await self._insert([row], head)
        row = await self._with_local(row, version, local)
        location = f"{self._path}/{quote(self.schema.show_key(row[self.schema.key_position]), safe='')}"
        answer = [JSON_TYPE, (b"location", location.encode()), heads.etag(version)]
        return Response(201, answer, self.schema.object_json(row))

    async def create_many(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /_bulk``."""
        head = self._check(query, headers)
        rows = self._bodies.array_rows(body)
        local = [] if self._local is None else self._local.in_array(body)
        if rows:
            version, rows = await self._insert(rows, head)
            if self._local is not None:
                kept = list(map(Kept, rows, range(version, version + len(rows)), local))
                with self._local.behind(kept):
                    await self._engine.read_barrier(consistency="eventually")  # a snapshot may be on its way
                    await self._local.keep(self._table, kept)
                rows = [self._local.with_values(row, values) for row, _, values in kept]
        return Response(201, [JSON_TYPE], self.schema.array_json(rows))

    async def _insert(self, rows: list[Row], head: WriteHead) -> tuple[int, list[Row]]:
        """The version of the first, and the rows as they were stored, with their keys."""
        operation = Create(self.schema.name, self.schema.names, rows)
        version, *keys = cast("list[SqlValue]", await self._submit(operation, head))
        stored = [self.schema.with_key(row, key) for row, key in zip(rows, keys, strict=True)]
        return cast("int", version), stored

    async def replace(self, key: SqlValue, query: bytes, headers: Headers, body: bytes) -> Response:
        """``PUT /{id}``."""
        head = self._check(query, headers)
        columns = self.schema.names_without_key
        values = self.schema.without_key(self._bodies.replacement_row(body, key))
        local = {} if self._local is None else self._local.in_replacement(body, key)
        if head.request_id is None:
            await self._check_change(key, columns, values)
        return await self._stored(Replace(self.schema.name, key, columns, values, head.expected), head, local)

    async def change(self, key: SqlValue, query: bytes, headers: Headers, body: bytes) -> Response:
        """``PATCH /{id}``."""
        head = self._check(query, headers, MERGE_PATCH_TYPE)
        patch = self._bodies.patch(body, key)
        name, local, late = self.schema.name, {}, {}
        if self._local is not None and (given := self._local.in_change(body)):
            if self._local.is_all_of(body):
                return await self._change_here(self._local, key, given, head)
            row = await self._current_unless_retry(key, head)
            if row is None:
                late = given
            else:
                local = self._local.merged(self._table, row, given)
            if isinstance(patch, MergeDocument):
                patch = patch.without(given)
        if isinstance(patch, FieldChanges):
            if head.request_id is None:
                await self._check_change(key, patch.columns, patch.values)
            return await self._stored(Patch(name, key, patch.columns, patch.values, head.expected), head, local, late)
        if head.request_id is None:
            await self._check_merge(key, patch)
        return await self._stored(MergePatch(name, key, patch.text, head.expected), head, local, late)

    async def _change_here(self, fields: LocalFields, key: SqlValue, given: Members, head: WriteHead) -> Response:
        """A change that concerns this node alone."""
        await self._engine.read_barrier(consistency="eventually")
        await self._current(key)
        stored = self._table.stored(key)
        if stored is None or head.expected not in (None, stored.version):
            raise VersionMismatch(self.schema.name, self.schema.show_key(key), stored.version if stored else None)
        row = await fields.change(self._engine, lambda: self._table, stored.row, stored.version, given)
        return Response(200, [JSON_TYPE, heads.etag(stored.version)], self.schema.object_json(row))

    async def delete(self, key: SqlValue, query: bytes, headers: Headers, body: bytes) -> Response:
        """``DELETE /{id}``."""
        params.refuse_parameters(query)
        head = heads.write_head(headers)
        if head.request_id is None:
            await self._current(key)
        await self._submit(Delete(self.schema.name, key, head.expected), head)
        return Response(204, [], b"")

    def caller_of(self, method: EventMethod) -> Callable[[SqlValue, bytes, Headers, bytes], Awaitable[Response]]:
        """What answers ``POST /{id}/{event}``."""

        async def call(key: SqlValue, query: bytes, headers: Headers, body: bytes) -> Response:
            if body or method.needs_arguments:
                head = self._check(query, headers)
            else:
                params.refuse_parameters(query)
                head, body = heads.write_head(headers), b"{}"
            arguments = self._bodies.arguments(method, body)
            if head.request_id is None:
                await self._current(key)
            return await self._stored(Call(self.schema.name, key, method.name, arguments, head.expected), head)

        return call

    async def _stored(
        self,
        operation: Operation,
        head: WriteHead,
        local: dict[str, SqlValue] | None = None,
        late: Members | None = None,
    ) -> Response:
        row, version = cast("tuple[Row, int]", await self._submit(operation, head))
        row = await self._with_local(tuple(row), version, local or {}, late)
        return Response(200, [JSON_TYPE, heads.etag(version)], self.schema.object_json(row))

    async def _with_local(
        self, row: Row, version: int, values: dict[str, SqlValue], late: Members | None = None
    ) -> Row:
        """The row as this node shows it, once it has kept what is for it alone; ``late`` is to be merged into that.

        Raises :class:`~quorate.models.errors.DoneInPart`.
        """
        if self._local is None:
            return row
        kept = [Kept(row, version, values)]
        with self._local.behind(kept):
            await self._engine.read_barrier(consistency="eventually")  # a snapshot may be taking the state's place
            if late:
                values |= self._local.merged(self._table, row, late)
            whole = self._local.with_values(self._local.whole(self._table, row), values)
            if values:
                await self._local.keep(self._table, kept)
        return whole

    async def _submit(self, operation: Operation, head: WriteHead) -> object:
        return await self._submitter.one(operation, actor=head.actor, request_id=head.request_id)

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

    async def _current_unless_retry(self, key: SqlValue, head: WriteHead) -> Row | None:
        """``None`` where the object may have been deleted since a request with this id was applied."""
        try:
            return await self._current(key)
        except NotFound:
            if head.request_id is None:
                raise
            return None

    async def _fresh(self, key: SqlValue) -> Row:
        await self._engine.read_barrier(consistency="strong")
        row = self._table.get(key)
        if row is None:
            raise NotFound(self.schema.name, self.schema.show_key(key))
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

    def _check(self, query: bytes, headers: Headers, *also: bytes) -> WriteHead:
        """Refuse what is wrong before the body is looked at."""
        params.refuse_parameters(query)
        given, accepted = heads.content_type(headers), (b"application/json", *also)
        if given not in accepted:
            names = b" or ".join(accepted).decode()
            raise RequestError(415, f"the body should be {names}", headers=[(b"accept", b", ".join(accepted))])
        return heads.write_head(headers)
