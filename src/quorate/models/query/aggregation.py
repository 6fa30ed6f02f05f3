"""Aggregates: numbers about groups of objects, computed by SQLite.

Sums of integers are exact however large they get, and so are those of Decimals; averages of integers are floats, those
of Decimals have 28 digits. What has no value counts for ``count`` alone; of no values at all the result is null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import apsw
import msgspec

from quorate.models.query.errors import BadQuery
from quorate.models.query.fields import Kind, QueryField, QueryFields
from quorate.models.query.filters import Condition, where
from quorate.models.query.functions import DECIMAL_AVERAGE, DECIMAL_SUM
from quorate.models.store import decimals
from quorate.models.store.columns import SqlValue
from quorate.models.store.tables import quoted

FUNCTIONS = ("sum", "avg", "min", "max")
FIELDS_MAX = 32

_Make = Callable[[Sequence[SqlValue]], object]

_HALF_BITS = 32
_LOW_HALF = (1 << _HALF_BITS) - 1


class Result(NamedTuple):
    """One member of a group's document: the SQL that it takes, and what makes JSON of that."""

    name: str
    sql: tuple[str, ...]
    make: _Make


class Aggregation(NamedTuple):
    """What to tell of which groups of objects."""

    table: str
    conditions: tuple[Condition, ...]
    groups: tuple[str, ...]
    results: tuple[Result, ...]

    def page(self, connection: apsw.Connection, limit: int, offset: int) -> tuple[list[dict[str, object]], bool]:
        """The groups in their order, and whether others follow."""
        clause = where(self.conditions)
        selected = ", ".join([part for result in self.results for part in result.sql])
        names = ", ".join(map(quoted, self.groups))
        grouping = f" GROUP BY {names} ORDER BY {names}" if names else ""
        sql = f"SELECT {selected} FROM {quoted(self.table)}{clause.text}{grouping} LIMIT ? OFFSET ?"
        rows: list[tuple[SqlValue, ...]] = connection.execute(sql, (*clause.bindings, limit + 1, offset)).fetchall()
        return [self._document(row) for row in rows[:limit]], len(rows) > limit

    def _document(self, row: Sequence[SqlValue]) -> dict[str, object]:
        document, at = {}, 0
        for result in self.results:
            document[result.name] = result.make(row[at : at + len(result.sql)])
            at += len(result.sql)
        return document


def parse_aggregation(
    fields: QueryFields, conditions: tuple[Condition, ...], parameters: Mapping[str, str]
) -> Aggregation:
    """``group_by``, ``count`` and ``sum``, ``avg``, ``min``, ``max`` with lists of fields. Raises :class:`BadQuery`."""
    groups = [fields.ordered_field("group_by", name) for name in _listed("group_by", parameters.get("group_by"))]
    results = [Result(field.name, (quoted(field.name),), _shown(field)) for field in groups]
    if "count" in parameters:
        if parameters["count"] not in ("", "true"):
            raise BadQuery("count", "count", "It takes no value: the objects of each group are counted")
        results.append(Result("count", ("count(*)",), _first))
    for function in FUNCTIONS:
        names = _listed(function, parameters.get(function))
        results += [_result(function, fields.ordered_field(function, name)) for name in names]
    if not results:
        raise BadQuery("group_by", "missing", "Say what to group by, or what to compute: count, sum, avg, min, max")
    seen: set[str] = set()
    for result in results:
        if result.name in seen:
            raise BadQuery("group_by", "ambiguous", f"Two members of the answer would be named {result.name}")
        seen.add(result.name)
    return Aggregation(fields.schema.table, conditions, tuple(field.name for field in groups), tuple(results))


def _listed(parameter: str, text: str | None) -> list[str]:
    names = [] if text is None else text.split(",", FIELDS_MAX)
    if len(names) > FIELDS_MAX:
        raise BadQuery(parameter, "too_long", f"At most {FIELDS_MAX} fields can be listed")
    if len(set(names)) < len(names):
        raise BadQuery(parameter, "repeated_field", "A field is named twice")
    return names


def _result(function: str, field: QueryField) -> Result:
    name, column = f"{function}_{field.name}", quoted(field.name)
    if function in ("min", "max"):
        return Result(name, (f"{function}({column})",), _shown(field))
    match field.kind:
        case Kind.INTEGER:
            # Two halves, as the sum of the whole may not fit in SQLite's 64 bits.
            halves = (f"sum({column} >> {_HALF_BITS})", f"sum({column} & {_LOW_HALF})")
            if function == "sum":
                return Result(name, halves, _integer_sum)
            return Result(name, (*halves, f"count({column})"), _integer_average)
        case Kind.FLOAT:
            return Result(name, (f"{function}({column})",), _first)
        case Kind.DECIMAL if function == "sum":
            return Result(name, (f"{DECIMAL_SUM}({column})",), _shown(field))
        case Kind.DECIMAL:
            return Result(name, (f"{DECIMAL_AVERAGE}({column})",), _plain_decimal)
    raise BadQuery(function, "not_a_number", f"{field.name} is no number")


def _shown(field: QueryField) -> _Make:
    show = field.column.codec.show
    return lambda values: values[0] if show is None or values[0] is None else show(values[0])


def _first(values: Sequence[SqlValue]) -> object:
    return values[0]


def _integer_sum(values: Sequence[SqlValue]) -> object:
    total = _total(values)
    return None if total is None else msgspec.Raw(str(total).encode())  # it may be larger than msgspec's integers


def _integer_average(values: Sequence[SqlValue]) -> object:
    total, count = _total(values), values[2]
    return None if total is None or not isinstance(count, int) else total / count


def _total(values: Sequence[SqlValue]) -> int | None:
    high, low = values[:2]
    return (high << _HALF_BITS) + low if isinstance(high, int) and isinstance(low, int) else None


def _plain_decimal(values: Sequence[SqlValue]) -> object:
    return None if values[0] is None else decimals.plain(str(values[0]))
