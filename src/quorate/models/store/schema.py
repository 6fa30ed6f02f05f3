"""The compiled form of a model: its columns, and the ways between an object, a row and JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import msgspec

from quorate.models.errors import Invalid
from quorate.models.patches import patch_model
from quorate.models.store.columns import (
    IDENTIFIER,
    INT64_MAX,
    INT64_MIN,
    INTEGER,
    Codec,
    SqlValue,
    Unstorable,
    key_text_allowed,
)
from quorate.models.store.loading import Loader, loader_of

if TYPE_CHECKING:
    from pydantic import BaseModel

    from quorate.models.model import Model

Row = tuple[SqlValue, ...]
T = TypeVar("T")

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")


class NoDefault:
    """The field must be given."""

    def __repr__(self) -> str:
        return "NO_DEFAULT"


NO_DEFAULT = NoDefault()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A column whose values are primary keys of a ``model``: ``column`` of its ``table``."""

    model: str
    table: str
    column: str
    on_delete: str
    target: ModelSchema | None
    """The model's schema; ``None`` if it is the column's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One field. ``default`` is in stored form, or :data:`NO_DEFAULT`."""

    name: str
    codec: Codec
    nullable: bool
    default: SqlValue | NoDefault
    primary_key: bool = False
    unique: bool = False
    indexed: bool = False
    immutable: bool = False
    references: ForeignKey | None = None
    tracked: bool = False
    audited: bool = False
    retention_us: int | None = None
    exposed: bool = True
    consistent_read: bool = False

    @property
    def has_history(self) -> bool:
        """Whether changes of it are kept."""
        return self.tracked or self.audited

    @property
    def has_default(self) -> bool:
        return not isinstance(self.default, NoDefault)

    def fingerprint(self) -> dict[str, object]:
        """What of the column the rows in the file and the outcome of commands depend on."""
        references = self.references
        return {
            "name": self.name,
            "type": self.codec.name,
            "nullable": self.nullable,
            "primary_key": self.primary_key,
            "unique": self.unique,
            "indexed": self.indexed,
            "immutable": self.immutable,
            "references": f"{references.model}.{references.column} {references.on_delete}" if references else None,
            "tracked": self.tracked,
            "audited": self.audited,
            "retention_us": self.retention_us,
            "exposed": self.exposed,  # for a refusal does not say what is in a hidden field
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMethod:
    """A method that changes its object by what it is called with.

    ``path`` is the last part of its URL; ``arguments`` checks what it is called with; ``takes_context`` says whether it
    wants to know when it happens.
    """

    name: str
    path: str
    function: Callable[..., None]
    arguments: type[BaseModel]
    takes_context: bool
    summary: str

    @property
    def needs_arguments(self) -> bool:
        """Whether it cannot be called with none."""
        return any(argument.is_required() for argument in self.arguments.model_fields.values())


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelSchema:
    """A model as the store sees it. Rows hold stored values in the order of ``columns``.

    ``has_rules``: the class has validators of its own (methods), which may look at several fields, so a
    changed field can only be judged together with the rest of the object.
    """

    name: str
    resource: str
    table: str
    model: type[Model]
    columns: tuple[Column, ...]
    has_rules: bool
    events: Mapping[str, EventMethod] = field(default_factory=dict)
    """The methods that are events, by their names."""
    unique_together: tuple[tuple[str, ...], ...] = ()
    """Fields of which no two objects have the same values, unless one of them is ``None``."""
    local_columns: tuple[Column, ...] = ()
    """The fields that each node has values of its own for: see :mod:`quorate.models.local`."""
    memory_only: frozenset[str] = frozenset()
    """Those of them that are forgotten when the node stops."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: at for at, name in enumerate(self.names)}

    def position(self, name: str) -> int:
        """Where a field's value stands in a row."""
        return self._positions[name]

    @cached_property
    def defaults(self) -> Row:
        """A row of the defaults; ``None`` where there is none."""
        return tuple(None if isinstance(column.default, NoDefault) else column.default for column in self.columns)

    def with_values(self, row: Row, columns: Sequence[str], values: Row) -> Row:
        """The row with some values replaced."""
        changed = list(row)
        for name, value in zip(columns, values, strict=True):
            changed[self._positions[name]] = value
        return tuple(changed)

    @cached_property
    def by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @cached_property
    def key_position(self) -> int:
        return next(at for at, column in enumerate(self.columns) if column.primary_key)

    @property
    def key(self) -> Column:
        """The primary key's column."""
        return self.columns[self.key_position]

    @cached_property
    def has_history(self) -> bool:
        """Whether changes of some of its fields are kept."""
        return any(column.has_history for column in self.columns)

    @cached_property
    def names_without_key(self) -> tuple[str, ...]:
        return self.without_key(self.names)

    def without_key(self, row: tuple[T, ...]) -> tuple[T, ...]:
        """What stands in the order of ``columns``, but for the primary key."""
        at = self.key_position
        return (*row[:at], *row[at + 1 :])

    def with_key(self, row: Row, key: SqlValue) -> Row:
        """The row with this primary key."""
        at = self.key_position
        return (*row[:at], key, *row[at + 1 :])

    @property
    def key_is_stamped(self) -> bool:
        """Whether the leader makes the primary key when it is not given."""
        return self.key.codec is IDENTIFIER

    @cached_property
    def json_names(self) -> tuple[str, ...]:
        """The fields that are kept as JSON."""
        return tuple(column.name for column in self.columns if column.codec.is_json)

    @cached_property
    def patch_model(self) -> type[BaseModel]:
        """The model with every field optional: checks what is given for some fields."""
        return patch_model(self.name, self.model)

    def fingerprint(self) -> dict[str, object]:
        """Plain data that is equal for declarations that store and refuse alike."""
        return {
            "table": self.table,
            "columns": [column.fingerprint() for column in self.columns],
            "events": sorted(self.events),
            "unique_together": sorted(map(list, self.unique_together)),
        }

    @cached_property
    def rules(self) -> dict[str, str]:
        """The digests of limits, validators and events, by their names: see :mod:`quorate.models.rules`."""
        from quorate.models.rules import digests_of

        return digests_of(self.model, self.events.values())

    # -- object to row -----------------------------------------------------------------------------------

    @cached_property
    def _encoders(self) -> tuple[tuple[str, Any], ...]:
        return tuple((column.name, column.codec.encode) for column in self.columns)

    def encode(self, instance: Model, row: int | None = None) -> Row:
        """The row of a validated object. Raises :class:`Invalid` for a value that cannot be stored."""
        values = instance.__dict__
        try:
            return tuple(
                [None if (value := values[name]) is None else encode(value) for name, encode in self._encoders]
            )
        except Unstorable:
            raise self._unstorable(values, self.names, row) from None

    def encode_fields(self, values: dict[str, Any], names: Sequence[str]) -> Row:
        """The stored form of some fields, in the order of ``names``."""
        try:
            return tuple(
                [None if values[name] is None else self.by_name[name].codec.encode(values[name]) for name in names]
            )
        except Unstorable:
            raise self._unstorable(values, names, None) from None

    def _unstorable(self, values: dict[str, Any], names: Iterable[str], row: int | None) -> Invalid:
        errors = []
        for name in names:
            try:
                if values[name] is not None:
                    self.by_name[name].codec.encode(values[name])
            except Unstorable as error:
                errors.append((name, error.reason, error.message))
        return Invalid.of(self.name, errors, row)

    # -- local values ------------------------------------------------------------------------------------

    @cached_property
    def all_columns(self) -> tuple[Column, ...]:
        """Those of the table, and then the local ones."""
        return (*self.columns, *self.local_columns)

    @cached_property
    def local_defaults(self) -> Row:
        """What is in a local field that was not written here."""
        return tuple(column.default for column in self.local_columns)  # type: ignore[misc] # each of them has one

    def whole(self, row: Row) -> Row:
        """The row with its local values: the defaults, if it has none."""
        return (*row, *self.local_defaults) if len(row) == len(self.columns) else row

    # -- row to object -----------------------------------------------------------------------------------

    @cached_property
    def _loaders(self) -> tuple[tuple[str, Loader], ...]:
        fields = self.model.model_fields
        return tuple((column.name, loader_of(fields[column.name], column.codec)) for column in self.all_columns)

    def load(self, row: Row) -> Model:
        """The object of a row. It is not checked again: what is stored was, by the rules of its time.

        The row may go on with the values of ``local_columns``, which have their defaults otherwise.
        """
        values: dict[str, Any] = {
            name: value if value is None or load is None else load(value)
            for (name, load), value in zip(self._loaders, self.whole(row), strict=True)
        }
        return self.model.model_construct(**values)

    # -- row to JSON -------------------------------------------------------------------------------------

    @cached_property
    def exposed_names(self) -> tuple[str, ...]:
        """The fields that clients get to see, as they are declared."""
        exposed = {column.name for column in self.all_columns if column.exposed}
        return tuple(name for name in self.model.model_fields if name in exposed)

    @cached_property
    def hidden_names(self) -> frozenset[str]:
        """The fields that never leave the server."""
        return frozenset(column.name for column in self.all_columns if not column.exposed)

    @cached_property
    def _exposed(self) -> Documents:
        return self.documents(self.exposed_names)

    @cached_property
    def _complete(self) -> Documents:
        return self.documents(self.names)

    def documents(self, names: Sequence[str]) -> Documents:
        """What makes JSON of these fields of complete rows."""
        return Documents(self, names)

    def object_json(self, row: Row) -> bytes:
        """The object as clients see it, in the shape that pydantic gives it."""
        return self._exposed.one(row)

    def array_json(self, rows: Iterable[Row]) -> bytes:
        """The objects as a JSON array."""
        return self._exposed.many(rows)

    def complete_json(self, row: Row) -> bytes:
        """The object with all its fields: for this process only."""
        return self._complete.one(row)

    def show(self, column: Column, value: SqlValue) -> object:
        """A stored value as JSON shows it."""
        show = column.codec.show
        return value if show is None or value is None else show(value)

    def show_key(self, key: SqlValue) -> str:
        """A primary key as it stands in a URL, unquoted."""
        return str(self.show(self.key, key))

    def parse_key(self, text: str) -> SqlValue:
        """The stored form of a primary key from a URL; ``None`` if no object can have it."""
        codec = self.key.codec
        if codec is IDENTIFIER:
            return UUID(text).bytes if _UUID.fullmatch(text) else None
        if codec is INTEGER:
            number = int(text) if _INTEGER.fullmatch(text) else None
            return number if number is not None and INT64_MIN <= number <= INT64_MAX else None
        return text if key_text_allowed(text) else None


class Documents:
    """Makes JSON of some fields of rows."""

    def __init__(self, schema: ModelSchema, names: Sequence[str]) -> None:
        positions = {column.name: (at, column.codec.show) for at, column in enumerate(schema.all_columns)}
        self._parts = [positions[name] for name in names]
        self._whole = schema.whole if schema.local_columns else None
        self._document = msgspec.defstruct(schema.name, [(name, Any) for name in names])

    def _documents(self, rows: Iterable[Row]) -> list[msgspec.Struct]:
        document, parts = self._document, self._parts
        if self._whole is not None:
            rows = map(self._whole, rows)
        return [
            document(*[value if (value := row[at]) is None or show is None else show(value) for at, show in parts])
            for row in rows
        ]

    def one(self, row: Row) -> bytes:
        """The object of one row."""
        return _encode_json(self._documents((row,))[0])

    def many(self, rows: Iterable[Row]) -> bytes:
        """A JSON array of them."""
        return _encode_json(self._documents(rows))


_encode_json = msgspec.json.Encoder().encode
