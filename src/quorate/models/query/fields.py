"""What can be asked of a field, by its type, and how the text of a parameter becomes a stored value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, StrEnum
from typing import Any, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from quorate.models.annotations import value_type
from quorate.models.query.errors import BadQuery
from quorate.models.store.columns import BOOLEAN, FLOAT, INTEGER, KEY_TEXT, TEXT, SqlValue, Unstorable
from quorate.models.store.schema import Column, ModelSchema


class Kind(StrEnum):
    """What the values of a field are to a query."""

    TEXT = "text"
    INTEGER = "integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    """An Enum or a Literal."""
    SCALAR = "scalar"
    """Any other single value: they have an order, and that is all that matters."""
    JSON = "json"


class Operator(StrEnum):
    """What stands behind the two underscores; a bare name means ``eq``."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    CONTAINS = "contains"
    STARTSWITH = "startswith"
    ENDSWITH = "endswith"
    ISNULL = "isnull"


_EQUALITY = (Operator.EQ, Operator.NE, Operator.IN)
_RANGE = (Operator.GT, Operator.GTE, Operator.LT, Operator.LTE)
_PARTS = (Operator.CONTAINS, Operator.STARTSWITH, Operator.ENDSWITH)
_BY_KIND: Mapping[Kind, tuple[Operator, ...]] = {
    Kind.TEXT: (*_EQUALITY, *_RANGE, *_PARTS, Operator.ISNULL),
    Kind.BOOLEAN: (*_EQUALITY, Operator.ISNULL),
    Kind.CHOICE: (*_EQUALITY, Operator.ISNULL),
    Kind.JSON: (Operator.ISNULL,),
}
_ORDERED = (*_EQUALITY, *_RANGE, Operator.ISNULL)
_SUMMABLE = (Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL)

_BOOLEAN = TypeAdapter(bool)
_CONFIG = ConfigDict(val_json_bytes="base64")


class QueryField:
    """A field that may be named in a query."""

    def __init__(self, schema: ModelSchema, column: Column) -> None:
        self.column = column
        self.kind = kind_of(column)
        self.operators = _BY_KIND.get(self.kind, _ORDERED)
        bare, _ = value_type(schema.model.model_fields[column.name].annotation)
        self.choices: dict[str, SqlValue] = _choices(bare, column) if self.kind is Kind.CHOICE else {}
        """The stored values of a :attr:`Kind.CHOICE`, by their texts."""
        self._parse = self._parser(bare)

    @property
    def name(self) -> str:
        return self.column.name

    @property
    def has_order(self) -> bool:
        """Whether objects can be sorted and grouped by it."""
        return self.kind is not Kind.JSON

    @property
    def has_sum(self) -> bool:
        """Whether its values can be added."""
        return self.kind in _SUMMABLE

    def _parser(self, bare: Any) -> Callable[[str], SqlValue]:
        if self.kind is Kind.CHOICE:
            return self._choice
        # The type alone: a value outside the field's own limits is a fine thing to compare with.
        parse = None if self.kind is Kind.JSON else TypeAdapter(bare, config=_CONFIG).validate_strings
        encode = TEXT.encode if self.kind is Kind.TEXT else self.column.codec.encode
        return lambda text: None if parse is None else encode(parse(text))

    def _choice(self, text: str) -> SqlValue:
        if text not in self.choices:
            raise Unstorable("enum", f"Input should be one of {', '.join(self.choices)}")
        return self.choices[text]

    def parse(self, parameter: str, text: str) -> SqlValue:
        """The stored form of a value to compare with. Raises :class:`BadQuery` that names the ``parameter``."""
        try:
            return self._parse(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            raise BadQuery(parameter, first["type"], first["msg"]) from None
        except Unstorable as error:
            raise BadQuery(parameter, error.reason, error.message) from None


class QueryFields:
    """The fields of a model that may be asked for. Clients are never given the ``hidden`` ones."""

    def __init__(self, schema: ModelSchema, *, hidden: bool = False) -> None:
        self.schema = schema
        asked = [column for column in schema.columns if column.exposed or hidden]
        self.by_name = {column.name: QueryField(schema, column) for column in asked}

    @property
    def ordered(self) -> list[str]:
        """The names of those that have an order."""
        return [name for name, each in self.by_name.items() if each.has_order]

    def ordered_field(self, parameter: str, name: str) -> QueryField:
        """The field of this name, which must have an order."""
        found = self.by_name.get(name)
        if found is None or not found.has_order:
            raise BadQuery(parameter, "unknown_field", f"It should name some of {', '.join(self.ordered)}")
        return found


def kind_of(column: Column) -> Kind:
    """What a column's values are."""
    codec = column.codec
    if codec.is_json:
        return Kind.JSON
    if codec.name.startswith("decimal"):
        return Kind.DECIMAL
    if codec in (TEXT, KEY_TEXT):
        return Kind.TEXT
    if codec in (INTEGER, FLOAT, BOOLEAN):
        return {INTEGER: Kind.INTEGER, FLOAT: Kind.FLOAT, BOOLEAN: Kind.BOOLEAN}[codec]
    return Kind.CHOICE if codec.name in ("str", "int") else Kind.SCALAR


def parse_boolean(parameter: str, text: str) -> bool:
    """``true`` or ``false``, in the ways that pydantic knows."""
    try:
        return _BOOLEAN.validate_strings(text)
    except ValidationError:
        raise BadQuery(parameter, "bool_parsing", "Input should be true or false") from None


def _choices(bare: Any, column: Column) -> dict[str, SqlValue]:
    members = list(bare) if isinstance(bare, type) and issubclass(bare, Enum) else get_args(bare)
    stored = [column.codec.encode(member) for member in members]
    return {str(value): value for value in stored}
