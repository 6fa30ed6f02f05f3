"""Conditions on fields, from a list's parameters to SQL that can use indexes.

Texts are compared as they are stored, code point by code point: ``A`` is not ``a``. Every operator but ``ne`` and
``isnull`` passes over objects that have no value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from quorate.models.query.errors import BadQuery
from quorate.models.query.fields import Operator, QueryField, QueryFields, parse_boolean
from quorate.models.store.columns import SqlValue
from quorate.models.store.tables import quoted

IN_VALUES_MAX = 100

_COMPARISONS = {
    Operator.EQ: "=",
    Operator.NE: "IS NOT",  # what has no value has not this one either
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LT: "<",
    Operator.LTE: "<=",
}
_LAST_CHARACTER = chr(0x10FFFF)
_SURROGATES_FIRST, _SURROGATES_LAST = 0xD800, 0xDFFF


class Sql(NamedTuple):
    """A piece of SQL and what its question marks stand for."""

    text: str
    bindings: tuple[SqlValue, ...] = ()


class Condition(NamedTuple):
    """One condition on one column. ``values`` are in stored form; of ``isnull`` it is 1 or 0."""

    column: str
    operator: Operator
    values: tuple[SqlValue, ...]

    def sql(self) -> Sql:
        """It as an expression."""
        name = quoted(self.column)
        match self.operator:
            case Operator.IN:
                return Sql(f"{name} IN ({', '.join('?' * len(self.values))})", self.values)
            case Operator.ISNULL:
                return Sql(f"{name} IS {'' if self.values[0] else 'NOT '}NULL")
            case Operator.STARTSWITH | Operator.CONTAINS | Operator.ENDSWITH:
                return self._part_sql(name, str(self.values[0]))
        return Sql(f"{name} {_COMPARISONS[self.operator]} ?", self.values)

    def _part_sql(self, name: str, part: str) -> Sql:
        """No LIKE, so nothing in the value is a wildcard."""
        if not part:
            return Sql(f"{name} IS NOT NULL")
        if self.operator is Operator.CONTAINS:
            return Sql(f"instr({name}, ?) > 0", (part,))
        if self.operator is Operator.ENDSWITH:
            return Sql(f"substr({name}, ?) = ?", (-len(part), part))
        end = _after_prefix(part)
        return Sql(f"{name} >= ?", (part,)) if end is None else Sql(f"{name} >= ? AND {name} < ?", (part, end))


def where(conditions: tuple[Condition, ...], *more: Sql) -> Sql:
    """The WHERE clause for all of them; empty if there are none."""
    parts = [*(condition.sql() for condition in conditions), *more]
    if not parts:
        return Sql("")
    text = " AND ".join([part.text for part in parts])
    return Sql(f" WHERE {text}", tuple([value for part in parts for value in part.bindings]))


def parse_filters(fields: QueryFields, parameters: Mapping[str, str]) -> tuple[Condition, ...]:
    """The conditions that ``field=value`` and ``field__operator=value`` ask for, in a fixed order.

    Raises :class:`BadQuery` for what is unknown, not valid, or said twice.
    """
    given: dict[tuple[str, Operator], str] = {}
    conditions = []
    for parameter, text in parameters.items():
        field, operator = named(fields, parameter)
        twin = given.setdefault((field.name, operator), parameter)
        if twin != parameter:
            raise BadQuery(parameter, "repeated_parameter", f"It says the same as {twin}; give one")
        conditions.append(Condition(field.name, operator, _values(field, operator, parameter, text)))
    nulls = {column for column, operator, values in conditions if operator is Operator.ISNULL and values == (1,)}
    for (name, operator), parameter in given.items():
        if name in nulls and operator is not Operator.ISNULL:
            raise BadQuery(parameter, "contradiction", f"Nothing can be asked of {name} where it is null")
    return tuple(sorted(conditions, key=lambda condition: (condition.column, condition.operator)))


def named(fields: QueryFields, parameter: str) -> tuple[QueryField, Operator]:
    """What ``field`` or ``field__operator`` asks for. Raises :class:`BadQuery` for what cannot be asked."""
    field = fields.by_name.get(parameter)
    if field is not None:
        name, word = parameter, Operator.EQ.value
    else:
        name, _, word = parameter.rpartition("__")
        field = fields.by_name.get(name)
    if field is None:
        known = ", ".join(fields.by_name)
        raise BadQuery(parameter, "unknown_parameter", f"Unknown query parameter; the fields are {known}")
    if word not in field.operators:
        known = ", ".join(field.operators)
        raise BadQuery(parameter, "unknown_operator", f"What can be asked of {name} is {known}")
    return field, Operator(word)


def _values(field: QueryField, operator: Operator, parameter: str, text: str) -> tuple[SqlValue, ...]:
    if operator is Operator.ISNULL:
        return (int(parse_boolean(parameter, text)),)
    if operator is not Operator.IN:
        return (field.parse(parameter, text),)
    parts = text.split(",", IN_VALUES_MAX)
    if len(parts) > IN_VALUES_MAX:
        raise BadQuery(parameter, "too_long", f"At most {IN_VALUES_MAX} values can be listed")
    return tuple([field.parse(parameter, part) for part in parts])


def _after_prefix(prefix: str) -> str | None:
    """The least text that is greater than all that begin with ``prefix``; ``None`` if there is none."""
    kept = prefix.rstrip(_LAST_CHARACTER)
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    if _SURROGATES_FIRST <= following <= _SURROGATES_LAST:
        following = _SURROGATES_LAST + 1
    return kept[:-1] + chr(following)
