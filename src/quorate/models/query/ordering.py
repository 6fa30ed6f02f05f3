"""The order of a list, and what lies behind an object in it.

SQLite's order of values is kept: what has no value comes first, and last where the order is descending. Every order is
made total by the primary key, in the direction of the last field that was named: so an index on (field, primary key)
can be walked either way.

What lies behind an object is a row of disjoint parts, each of them one range of one index: those that differ from the
object in the last field alone come first. No part has an OR in it, which would cost the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from quorate.models.query.errors import BadQuery
from quorate.models.query.fields import QueryFields
from quorate.models.query.filters import Sql
from quorate.models.store.columns import SqlValue
from quorate.models.store.schema import Column, ModelSchema, Row
from quorate.models.store.tables import quoted

TERMS_MAX = 8


class Term(NamedTuple):
    """A field to sort by."""

    column: Column
    descending: bool

    def sql(self) -> str:
        return f"{quoted(self.column.name)}{' DESC' if self.descending else ''}"

    def same(self, value: SqlValue) -> Sql:
        """The condition that a row has this value."""
        name = quoted(self.column.name)
        return Sql(f"{name} IS NULL") if value is None else Sql(f"{name} = ?", (value,))

    def behind(self, value: SqlValue) -> list[Sql]:
        """The conditions for rows behind this value, in the order of those rows."""
        name = quoted(self.column.name)
        if value is None:
            return [] if self.descending else [Sql(f"{name} IS NOT NULL")]
        if not self.descending:
            return [Sql(f"{name} > ?", (value,))]
        nulls = [Sql(f"{name} IS NULL")] if self.column.nullable else []
        return [Sql(f"{name} < ?", (value,)), *nulls]


class Order(NamedTuple):
    """A total order. The last term's values are unique."""

    terms: tuple[Term, ...]

    def sql(self) -> str:
        """The ORDER BY clause."""
        return f" ORDER BY {', '.join(term.sql() for term in self.terms)}"

    def values(self, schema: ModelSchema, row: Row) -> Row:
        """Where a row stands."""
        return tuple([row[schema.position(term.column.name)] for term in self.terms])

    def parts_behind(self, values: Sequence[SqlValue]) -> list[list[Sql]]:
        """What lies behind a row with these values: parts, in their order, each of them a list of conditions."""
        parts = []
        for at in reversed(range(len(self.terms))):
            same = [term.same(value) for term, value in zip(self.terms[:at], values[:at], strict=True)]
            parts += [[*same, condition] for condition in self.terms[at].behind(values[at])]
        return parts

    def fits(self, values: object) -> bool:
        """Whether these could be the values of a row."""
        if not isinstance(values, list) or len(values) != len(self.terms):
            return False
        return all(_fits(term.column, value) for term, value in zip(self.terms, values, strict=True))


def parse_order(fields: QueryFields, text: str | None) -> Order:
    """The order that ``-price,name`` asks for; that of the primary keys if nothing is asked for."""
    key = fields.schema.key
    terms: list[Term] = []
    for part in text.split(",", TERMS_MAX) if text is not None else ():
        if len(terms) == TERMS_MAX:
            raise BadQuery("order_by", "too_long", f"At most {TERMS_MAX} fields can be listed")
        column = fields.ordered_field("order_by", part.removeprefix("-")).column
        if any(term.column is column for term in terms):
            raise BadQuery("order_by", "repeated_field", f"{column.name} is named twice")
        terms.append(Term(column, part.startswith("-")))
    for at, term in enumerate(terms):
        if term.column is key or (term.column.unique and not term.column.nullable):
            return Order(tuple(terms[: at + 1]))
    return Order((*terms, Term(key, bool(terms) and terms[-1].descending)))


_STORED_TYPES: dict[str, type] = {"TEXT": str, "INTEGER": int, "REAL": float, "BLOB": bytes}


def _fits(column: Column, value: object) -> bool:
    return column.nullable if value is None else type(value) is _STORED_TYPES[column.codec.sql_type]
