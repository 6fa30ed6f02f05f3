"""What a load consists of: operations dealt by percentages, of objects that are there at that moment."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache
from itertools import accumulate, count
from random import Random

from quorate.ops.bench.load import Deal, Dealt, Operation
from quorate.ops.bench.requests import get, post_head, request_head

_NUMBERS = count(1)
_STARTED_MS = int(time.time() * 1000)


class Kind(StrEnum):
    """Kinds of operations."""

    CREATE = "create"
    BULK = "bulk create"
    UPDATE = "update"
    DELETE = "delete"
    READ = "read one"
    READ_EVENTUALLY = "read one, eventually"
    LIST = "list all"
    PAGE = "page of 100"
    COUNT = "count"
    RANDOM_ID = "random id"
    STATUS = "status"
    HEALTH = "health"


WRITES = frozenset({Kind.CREATE, Kind.BULK, Kind.UPDATE, Kind.DELETE})

_TARGETS = {
    Kind.LIST: "{path}?limit=all",
    Kind.PAGE: "{path}?limit=100",
    Kind.COUNT: "{path}/count",
    Kind.RANDOM_ID: "{path}/random-id",
    Kind.STATUS: "/status",
    Kind.HEALTH: "/health",
}
"""Reads that are the same each time."""

_CREATE = Operation(Kind.CREATE, 201)
_DELETE = Operation(Kind.DELETE, 204)
_UPDATE = Operation(Kind.UPDATE, 200)
_READ = Operation(Kind.READ, 200)
_READ_EVENTUALLY = Operation(Kind.READ_EVENTUALLY, 200)


@cache
def _bulk_create(rows: int) -> Operation:
    return Operation(Kind.BULK, 201, rows)


class Deck:
    """Deals the operations of one load. ``done`` is to be called with each that was answered as expected.

    Objects that are deleted are others than those that are read and updated, so none of these can come too late. While
    there is no object that an operation could be about, one is created instead.
    """

    def __init__(
        self, weights: Mapping[Kind, int], path: str, host: str, category: str, *, bulk_rows: int, rng: Random
    ) -> None:
        """``weights`` are shares of any sum; ``path`` is that of the model's objects, such as ``/api/products``."""
        kinds = [kind for kind, weight in weights.items() if weight]
        self._bounds = list(accumulate(weights[kind] for kind in kinds))
        self._path = path
        self._host = host
        self._row = (
            b'{"id":"%%b","name":"Bench product %%b","price":"19.99","stock":7,"category_id":"%b"}' % category.encode()
        )
        self._bulk_rows = bulk_rows
        self._rng = rng
        self._deletes = Kind.DELETE in kinds
        self._kept: list[bytes] = []
        self._doomed: list[bytes] = []
        self._dealers = [self._dealer(kind) for kind in kinds]
        self.objects = 0
        """How many there must be by what was answered."""

    def _dealer(self, kind: Kind) -> Deal:
        """What deals operations of this kind."""
        if kind in _TARGETS:
            busy = 503 if kind is Kind.LIST else None  # a node gives a few whole lists at a time
            always = Operation(kind, 200, busy=busy), get(_TARGETS[kind].format(path=self._path), self._host), b""
            return lambda: always
        return {
            Kind.CREATE: self._create,
            Kind.BULK: lambda: self.bulk(self._bulk_rows),
            Kind.UPDATE: self._update,
            Kind.DELETE: self._delete,
            Kind.READ: lambda: self._read(_READ, ""),
            Kind.READ_EVENTUALLY: lambda: self._read(_READ_EVENTUALLY, "?consistency=eventually"),
        }[kind]

    def deal(self) -> Dealt:
        """The next operation."""
        if len(self._dealers) == 1:
            return self._dealers[0]()
        return self._dealers[bisect_right(self._bounds, self._rng.random() * self._bounds[-1])]()

    def _create(self) -> Dealt:
        key = _new_id()
        body = self._row % (key, key[-12:])
        return _CREATE, post_head(self._path, self._host, len(body)) + body, key

    def bulk(self, rows: int) -> Dealt:
        """One request that creates so many. What it creates is counted, but not picked for other operations."""
        keys = [_new_id() for _ in range(rows)]
        body = b"[%b]" % b",".join([self._row % (key, key[-12:]) for key in keys])
        return _bulk_create(rows), post_head(f"{self._path}/_bulk", self._host, len(body)) + body, b""

    def _delete(self) -> Dealt:
        if not self._doomed:
            return self._create()
        key = self._doomed.pop()
        return _DELETE, request_head("DELETE", self._at(key), self._host), key

    def _update(self) -> Dealt:
        if not self._kept:
            return self._create()
        body = b'{"stock":%d}' % next(_NUMBERS)
        return _UPDATE, request_head("PATCH", self._at(self._one()), self._host, len(body)) + body, b""

    def _read(self, operation: Operation, query: str) -> Dealt:
        if not self._kept:
            return self._create()
        return operation, get(self._at(self._one()) + query, self._host), b""

    def _one(self) -> bytes:
        """The id of an object that is there."""
        return self._kept[int(self._rng.random() * len(self._kept))]

    def _at(self, key: bytes) -> str:
        return f"{self._path}/{key.decode()}"

    def done(self, operation: Operation, key: bytes) -> None:
        """It was answered as expected."""
        if operation is _CREATE:
            self.objects += 1
            self._know(key)
        elif operation is _DELETE:
            self.objects -= 1
        elif operation.kind is Kind.BULK:
            self.objects += operation.rows

    def begin_with(self, keys: Sequence[bytes], objects: int) -> None:
        """There are ``objects`` already, and of them those with the ids ``keys`` are to be picked from."""
        self.objects = objects
        for key in keys:
            self._know(key)

    def _know(self, key: bytes) -> None:
        """Keep it for reads and updates, or for a delete: half of them each, where there are deletes."""
        rather_doomed = self._deletes and len(self._doomed) < len(self._kept)
        (self._doomed if rather_doomed else self._kept).append(key)


def _new_id() -> bytes:
    """An id that sorts behind those before it, as the UUIDs of version 7 that nodes give do."""
    return b"%08x-%04x-7000-8000-%012x" % (_STARTED_MS >> 16, _STARTED_MS & 0xFFFF, next(_NUMBERS))
