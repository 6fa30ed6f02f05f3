"""What one model's objects were before: ``GET /{id}/history`` and ``GET /{id}?as_of=…``.

An object's history may be long, so it is read in slices; between two of them everything else has its turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from quorate.models.errors import NotFound
from quorate.models.machine import ModelsMachine
from quorate.models.rest.events_json import encode_json, event_type, object_path
from quorate.models.rest.wanted import read_as_of, read_history
from quorate.models.store.columns import SqlValue
from quorate.models.store.events import Kind, Moment
from quorate.models.store.history import Entry, FieldChange, History
from quorate.models.store.past import Past
from quorate.models.store.schema import Column, ModelSchema
from quorate.node.ports import Engine
from quorate.rest.http import JSON_TYPE, Headers, RequestError, Response, finding
from quorate.rest.times import timestamp

SLICE_ENTRIES = 50
PAGE_BYTES_MAX = 4 * 1024 * 1024
"""A page ends early where its JSON comes to this; ``Link`` says where the next one begins."""

Json = dict[str, Any]


class HistoryPages:
    """Answers what is asked of the past of one model's objects."""

    def __init__(
        self,
        schema: ModelSchema,
        machine: ModelsMachine,
        engine: Engine,
        prefix: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.schema = schema
        self._machine = machine
        self._engine = engine
        self._prefix = prefix
        self._clock = clock
        self._kept = [column for column in schema.columns if column.has_history and column.exposed]

    @property
    def _history(self) -> History:
        return self._machine.histories[self.schema.name]  # looked up each time: a snapshot replaces it

    @property
    def _past(self) -> Past:
        return Past(self._machine.tables[self.schema.name], self._machine.events)

    async def _pause(self) -> None:
        await asyncio.sleep(0)
        await self._engine.read_barrier(consistency="eventually")  # a snapshot may be taking the state's place

    # -- the entries -------------------------------------------------------------------------------------

    async def entries(self, key: SqlValue, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /{id}/history``."""
        wanted = read_history(query)
        if not self.schema.has_history:
            raise RequestError(404, f"no history is kept of {self.schema.resource}: none of their fields declares it")
        await self._engine.read_barrier(consistency=wanted.consistency)
        if not self._history.of(key, 0, 1) and not self._machine.tables[self.schema.name].exists(key):
            raise NotFound(self.schema.name, self.schema.show_key(key))
        parts: list[bytes] = []
        after, bytes_left = wanted.after or 0, PAGE_BYTES_MAX
        while len(parts) < wanted.limit and bytes_left > 0:
            found = self._history.of(key, after, min(SLICE_ENTRIES, wanted.limit - len(parts)))
            if not found:
                break
            for entry in found:
                parts.append(encode_json(self._document(entry)))
                after, bytes_left = entry.sequence, bytes_left - len(parts[-1])
                if bytes_left <= 0:
                    break
            await self._pause()
        answer = [JSON_TYPE]
        if self._history.of(key, after, 1):
            asked = {"after": after, "limit": wanted.limit, "consistency": wanted.consistency}
            more = urlencode({name: value for name, value in asked.items() if value != "strong"})
            path = f"{self._prefix}/{object_path(self.schema, key)}/history"
            answer.append((b"link", f'<{path}?{more}>; rel="next"'.encode()))
        return Response(200, answer, b"[%b]" % b",".join(parts))

    def _document(self, entry: Entry) -> Json:
        changes = {
            column.name: self._change(column, entry.changes[column.name])
            for column in self._kept
            if column.name in entry.changes
        }
        return {
            "sequence_number": entry.sequence,
            "timestamp": timestamp(entry.time_us),
            "event_type": event_type(self.schema.name, entry.kind, entry.name),
            "actor": entry.actor,
            "node_id": entry.origin,
            "index": entry.entry_index,
            "changes": changes,
        }

    def _change(self, column: Column, change: FieldChange) -> Json:
        shown = {"new": self.schema.show(column, change.new)}
        return shown | {"old": self.schema.show(column, change.old)} if change.has_old else shown

    # -- the object as it was ----------------------------------------------------------------------------

    async def as_of(self, key: SqlValue, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /{id}?as_of=…``: the fields of which a history is kept, as they were at that moment."""
        moment, consistency = read_as_of(query)
        if not self.schema.has_history:
            raise _invalid("no_history", f"No history is kept of {self.schema.resource}")
        await self._engine.read_barrier(consistency=consistency)
        self._check_not_in_future(moment)
        values = await self._values(key, moment)
        shown = {name: self.schema.show(self.schema.by_name[name], value) for name, value in values.items()}
        in_order = {name: shown[name] for name in self.schema.names if name in shown}
        return Response(200, [JSON_TYPE], encode_json(in_order))

    def _check_not_in_future(self, moment: Moment) -> None:
        if moment.name == "entry_index":
            is_future = moment.value > self._engine.applied_index
        else:
            is_future = moment.value > self._clock() * 1e6 and not self._machine.events.has_passed(moment.value)
        if is_future:
            raise _invalid("future", "Query parameter should not lie in the future")

    async def _values(self, key: SqlValue, moment: Moment) -> dict[str, SqlValue]:
        """Stored values by field. Raises :class:`NotFound`, and :class:`RequestError` if that is not known any more."""
        if self._past.is_unchanged_since(key, moment):
            return self._current(key, self._kept)
        newest = self._past.newest(key, moment)
        if newest is None:
            self._check_was_there(key, moment)
        values: dict[str, SqlValue] = {self.schema.key.name: key}
        if newest is not None:
            async for entry in self._backwards(key, newest):
                if entry.sequence == newest and entry.kind is Kind.DELETED:
                    raise NotFound(self.schema.name, self.schema.show_key(key))
                if entry.kind is Kind.DELETED:
                    break
                for column in self._kept:
                    if column.name in entry.changes:
                        values.setdefault(column.name, entry.changes[column.name].new)
                if entry.kind is Kind.CREATED or len(values) == len(self._kept) + 1:
                    break
        return values | await self._told_later(key, moment, newest or 0, values)

    def _check_was_there(self, key: SqlValue, moment: Moment) -> None:
        """There is no entry up to ``moment``: because the object was not there, or because it is not kept any more?"""
        first = self._history.of(key, 0, 1)
        exists = self._machine.tables[self.schema.name].exists(key)
        is_certain = self._past.reaches(moment, self._past.retention_us)
        if is_certain and (first[0].kind is Kind.CREATED if first else not exists):
            raise NotFound(self.schema.name, self.schema.show_key(key))
        if not is_certain or not self._past.has_deleted:
            raise RequestError(410, f"the history of {self.schema.resource} does not reach back so far")

    async def _backwards(self, key: SqlValue, sequence: int) -> AsyncIterator[Entry]:
        """The entries from number ``sequence`` back to the first."""
        while True:
            entries = self._history.back(key, sequence, SLICE_ENTRIES)
            for entry in entries:
                yield entry
            if not entries:
                return
            sequence = entries[-1].sequence - 1
            await self._pause()

    async def _told_later(
        self, key: SqlValue, moment: Moment, newest: int, known: dict[str, SqlValue]
    ) -> dict[str, SqlValue]:
        """Of the fields whose entries up to ``moment`` were deleted: what they were before they changed next."""
        missing = {column.name: column for column in self._kept if column.name not in known}
        values: dict[str, SqlValue] = {}
        while missing:
            entries = self._history.of(key, newest, SLICE_ENTRIES)
            for entry in entries:
                newest = entry.sequence
                for name in missing.keys() & entry.changes.keys():
                    del missing[name]
                    if entry.changes[name].has_old:
                        values[name] = entry.changes[name].old
                if entry.kind is Kind.DELETED:
                    missing.clear()
            if not entries:
                values |= self._current(key, list(missing.values()))
                break
            await self._pause()
        past = self._past
        return {
            name: value
            for name, value in values.items()
            if name in self.schema.by_name and past.reaches(moment, self.schema.by_name[name].retention_us)
        }

    def _current(self, key: SqlValue, columns: Sequence[Column]) -> dict[str, SqlValue]:
        """Some fields of the object as it is now; nothing of one that is not there."""
        row = self._machine.tables[self.schema.name].get(key)
        if row is None:
            return {}
        return {column.name: row[self.schema.position(column.name)] for column in (self.schema.key, *columns)}


def _invalid(reason: str, message: str) -> RequestError:
    return RequestError(422, f"query parameter 'as_of': {message}", errors=[finding("as_of", reason, message)])
