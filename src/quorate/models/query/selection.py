"""A list query: which objects, in which order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import apsw

from quorate.models.query.filters import Condition, Sql, where
from quorate.models.query.ordering import Order
from quorate.models.store.columns import SqlValue
from quorate.models.store.schema import ModelSchema, Row
from quorate.models.store.tables import VERSION, quoted


class Page(NamedTuple):
    """Some rows, and whether others follow."""

    rows: list[Row]
    has_more: bool


class Selection(NamedTuple):
    """The objects that meet all conditions, in an order. Its methods are given the connection to ask."""

    schema: ModelSchema
    conditions: tuple[Condition, ...]
    order: Order
    versioned: bool = False
    """Whether the object's version stands behind the values of each row."""

    def statements(self, after: Row | None = None) -> list[Sql]:
        """What selects complete rows, one statement behind the other, behind the values ``after``."""
        columns = ", ".join(map(quoted, (*self.schema.names, VERSION) if self.versioned else self.schema.names))
        select = f"SELECT {columns} FROM {quoted(self.schema.table)}"
        parts: list[list[Sql]] = [[]] if after is None else self.order.parts_behind(after)
        clauses = [where(self.conditions, *part) for part in parts]
        return [Sql(f"{select}{text}{self.order.sql()}", bindings) for text, bindings in clauses]

    def page(self, connection: apsw.Connection, limit: int, offset: int, after: Row | None, bytes_max: int) -> Page:
        """At most ``limit`` rows; fewer, but at least one, where their texts and blobs come to ``bytes_max``."""
        rows: list[Row] = []
        for text, bindings in self.statements(after):
            wanted = limit + 1 - len(rows)  # one more tells whether there are more
            for row in connection.execute(f"{text} LIMIT ? OFFSET ?", (*bindings, wanted, offset)):
                if len(rows) == limit or bytes_max <= 0:
                    return Page(rows, has_more=True)
                rows.append(row)
                bytes_max -= size_of(row)
        return Page(rows, has_more=False)

    def rows(self, connection: apsw.Connection, after: Row | None = None) -> Iterator[Row]:
        """All of them."""
        for text, bindings in self.statements(after):
            yield from connection.execute(text, bindings)

    def count(self, connection: apsw.Connection) -> int:
        """How many there are."""
        clause = where(self.conditions)
        sql = f"SELECT count(*) FROM {quoted(self.schema.table)}{clause.text}"
        found: int = connection.execute(sql, clause.bindings).get
        return found


def size_of(row: tuple[SqlValue, ...]) -> int:
    """The length of its texts and blobs."""
    return sum([len(value) for value in row if isinstance(value, str | bytes)])
