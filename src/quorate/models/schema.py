"""The compiled form of a model: its columns, and the ways between an object, a row and JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import msgspec

from quorate.models.columns import (
    IDENTIFIER,
    INT64_MAX,
    INT64_MIN,
    INTEGER,
    Codec,
    SqlValue,
    Unstorable,
    key_text_allowed,
)
from quorate.models.errors import Invalid

if TYPE_CHECKING:
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
    """A column whose values are primary keys of ``target``."""

    target: ModelSchema
    on_delete: str

    @property
    def model(self) -> str:
        return self.target.name

    @property
    def table(self) -> str:
        return self.target.table

    @property
    def column(self) -> str:
        return self.target.key.name


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
        }


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

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

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
    def immutable_names(self) -> frozenset[str]:
        return frozenset(column.name for column in self.columns if column.immutable)

    @cached_property
    def json_names(self) -> tuple[str, ...]:
        """The fields that are kept as JSON."""
        return tuple(column.name for column in self.columns if column.codec.is_json)

    def fingerprint(self) -> dict[str, object]:
        """Plain data that is equal for declarations that store and refuse alike."""
        return {"table": self.table, "columns": [column.fingerprint() for column in self.columns]}

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

    # -- row to JSON -------------------------------------------------------------------------------------

    @cached_property
    def _shows(self) -> tuple[Any, ...]:
        return tuple(column.codec.show for column in self.columns)

    @cached_property
    def _document(self) -> type[msgspec.Struct]:
        return msgspec.defstruct(self.name, [(name, Any) for name in self.names])

    def _documents(self, rows: Iterable[Row]) -> list[msgspec.Struct]:
        document, shows = self._document, self._shows
        return [
            document(
                *[
                    value if show is None or value is None else show(value)
                    for show, value in zip(shows, row, strict=True)
                ]
            )
            for row in rows
        ]

    def object_json(self, row: Row) -> bytes:
        """The object as JSON, in the shape that pydantic gives it."""
        return _encode_json(self._documents((row,))[0])

    def array_json(self, rows: Iterable[Row]) -> bytes:
        """The objects as a JSON array."""
        return _encode_json(self._documents(rows))

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


_encode_json = msgspec.json.Encoder().encode
