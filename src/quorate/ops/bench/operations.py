"""What a load consists of: operations dealt by percentages, of objects that are there at that moment."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, count
from random import Random

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
OF_SOME_OBJECT = frozenset({Kind.UPDATE, Kind.READ, Kind.READ_EVENTUALLY})
"""These need one that is there; while there is none, an object is created instead. So is it for a delete."""

_TARGETS = {
    Kind.LIST: "{path}?limit=all",
    Kind.PAGE: "{path}?limit=100",
    Kind.COUNT: "{path}/count",
    Kind.RANDOM_ID: "{path}/random-id",
    Kind.STATUS: "/status",
    Kind.HEALTH: "/health",
}
"""Reads that are the same each time."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One request, and the status that says that it was done."""

    kind: Kind
    request: bytes
    expected: int
    key: bytes = b""
    """The id of the object that it creates or deletes."""
    rows: int = 1


class Deck:
    """Deals the operations of one load. ``done`` is to be called with each that was answered as expected.

    Objects that are deleted are others than those that are read and updated, so none of these can come too late.
    """

    def __init__(
        self, weights: Mapping[Kind, int], path: str, host: str, category: str, *, bulk_rows: int, rng: Random
    ) -> None:
        """``weights`` are shares of any sum; ``path`` is that of the model's objects, such as ``/api/products``."""
        self._kinds = [kind for kind, weight in weights.items() if weight]
        self._bounds = list(accumulate(weights[kind] for kind in self._kinds))
        self._path = path
        self._host = host
        self._row = (
            b'{"id":"%%b","name":"Bench product %%b","price":"19.99","stock":7,"category_id":"%b"}' % category.encode()
        )
        self._bulk_rows = bulk_rows
        self._rng = rng
        self._deletes = Kind.DELETE in self._kinds
        self._kept: list[bytes] = []
        self._doomed: list[bytes] = []
        self._constant = {kind: Operation(kind, get(target.format(path=path), host), 200)
                          for kind, target in _TARGETS.items()}  # fmt: skip
        self.objects = 0
        """How many there must be by what was answered."""

    def deal(self) -> Operation:
        """The next operation."""
        kind = self._kinds[0]
        if len(self._kinds) > 1:
            kind = self._kinds[bisect_right(self._bounds, self._rng.random() * self._bounds[-1])]
        constant = self._constant.get(kind)
        return constant if constant is not None else self._made(kind)

    def _made(self, kind: Kind) -> Operation:
        if kind in OF_SOME_OBJECT and self._kept:
            key = self._kept[int(self._rng.random() * len(self._kept))]
            return self._update(key) if kind is Kind.UPDATE else self._read(kind, key)
        if kind is Kind.DELETE and self._doomed:
            key = self._doomed.pop()
            return Operation(kind, request_head("DELETE", self._at(key), self._host), 204, key)
        return self.bulk(self._bulk_rows) if kind is Kind.BULK else self._create()

    def _create(self) -> Operation:
        key = _new_id()
        body = self._row % (key, key[-12:])
        return Operation(Kind.CREATE, post_head(self._path, self._host, len(body)) + body, 201, key)

    def bulk(self, rows: int) -> Operation:
        """One request that creates so many. What it creates is counted, but not picked for other operations."""
        keys = [_new_id() for _ in range(rows)]
        body = b"[%b]" % b",".join([self._row % (key, key[-12:]) for key in keys])
        return Operation(Kind.BULK, post_head(f"{self._path}/_bulk", self._host, len(body)) + body, 201, rows=rows)

    def _update(self, key: bytes) -> Operation:
        body = b'{"stock":%d}' % next(_NUMBERS)
        head = request_head("PATCH", self._at(key), self._host, len(body))
        return Operation(Kind.UPDATE, head + body, 200)

    def _read(self, kind: Kind, key: bytes) -> Operation:
        query = "?consistency=eventually" if kind is Kind.READ_EVENTUALLY else ""
        return Operation(kind, get(self._at(key) + query, self._host), 200)

    def _at(self, key: bytes) -> str:
        return f"{self._path}/{key.decode()}"

    def done(self, operation: Operation) -> None:
        """It was answered as expected."""
        if operation.kind is Kind.CREATE:
            self.objects += 1
            self._know(operation.key)
        elif operation.kind is Kind.BULK:
            self.objects += operation.rows
        elif operation.kind is Kind.DELETE:
            self.objects -= 1

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


Deal = Callable[[], Operation]
