"""From the bytes of a request's body to stored values. Nothing that fails here reaches the log.

400: not JSON, or not JSON that means one thing (a member named twice, NaN, an infinite number).
422: JSON that is not an object of the model.
"""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn

from annotated_types import Len
from pydantic import FailFast, TypeAdapter, ValidationError

from quorate.models.errors import Invalid
from quorate.models.merge import merged_row, plain_errors
from quorate.models.rest.refusals import from_refusal
from quorate.models.store.columns import SqlValue
from quorate.models.store.schema import EventMethod, ModelSchema, Row
from quorate.rest.http import RequestError, finding
from quorate.rest.json import parse_object, parse_strictly

BULK_ROWS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class FieldChanges:
    """A patch whose fields are valid whatever the rest of the object is."""

    columns: tuple[str, ...]
    values: Row


@dataclass(frozen=True, slots=True)
class MergeDocument:
    """A patch that can only be judged together with the object."""

    text: str
    members: dict[str, Any]

    def without(self, names: Container[str]) -> MergeDocument:
        """The document without these members."""
        members = {name: value for name, value in self.members.items() if name not in names}
        return MergeDocument(json.dumps(members), members)


class BodyReader:
    """Reads the bodies of one model's requests. All methods raise :class:`RequestError`."""

    def __init__(self, schema: ModelSchema) -> None:
        self._schema = schema
        self._object = schema.model.__pydantic_validator__
        rows = Annotated[list[schema.model], Len(0, BULK_ROWS_MAX), FailFast()]  # type: ignore[name-defined]
        self._array = TypeAdapter(rows).validator
        self._patch = schema.patch_model.__pydantic_validator__
        # Only what is kept as JSON can take in a NaN or a member named twice inside a value.
        self._is_flat = not schema.json_names

    def object_row(self, body: bytes) -> Row:
        """A complete object. A primary key that is to be stamped may be missing and is ``None`` then."""
        self._check_nested(body)
        try:
            instance = self._object.validate_json(body)
        except ValidationError as error:
            self._refuse(body, error)
        if body.count(b":") != len(instance.__pydantic_fields_set__):
            parse_strictly(body)
        try:
            return self._schema.encode(instance)
        except Invalid as refusal:
            raise from_refusal(refusal) from None

    def replacement_row(self, body: bytes, key: SqlValue) -> Row:
        """A complete object for an id that is known: its primary key may be missing, but not another one."""
        schema = self._schema
        if not schema.key_is_stamped:  # then the model requires what the URL has said already
            document = parse_object(body)
            document.setdefault(schema.key.name, schema.show(schema.key, key))
            body = json.dumps(document).encode()
        row = self.object_row(body)
        given = row[schema.key_position]
        if given is not None:
            self._check_same_key(given, key)
        return schema.with_key(row, key)

    def array_rows(self, body: bytes) -> list[Row]:
        """A JSON array of complete objects; errors are those of the first bad one."""
        self._check_nested(body)
        try:
            instances = self._array.validate_json(body)
        except ValidationError as error:
            self._refuse(body, error, array=True)
        if body.count(b":") != sum(len(instance.__pydantic_fields_set__) for instance in instances):
            parse_strictly(body)
        try:
            return [self._schema.encode(instance, at) for at, instance in enumerate(instances)]
        except Invalid as refusal:
            raise from_refusal(refusal) from None

    def patch(self, body: bytes, key: SqlValue) -> FieldChanges | MergeDocument:
        """A JSON merge patch (RFC 7396)."""
        schema = self._schema
        if schema.has_rules or not self._is_flat:
            document = parse_object(body)
            if schema.has_rules or any(isinstance(document.get(name), dict) for name in schema.json_names):
                return MergeDocument(body.decode(), document)
        try:
            instance = self._patch.validate_json(body)
        except ValidationError as error:
            self._refuse(body, error)
        given = instance.__pydantic_fields_set__
        if body.count(b":") != len(given):
            parse_strictly(body)
        names = tuple(name for name in schema.names if name in given)
        try:
            values = schema.encode_fields(instance.__dict__, names)
        except Invalid as refusal:
            raise from_refusal(refusal) from None
        if schema.key.name in given:
            at = names.index(schema.key.name)
            self._check_same_key(values[at], key)
            names, values = (*names[:at], *names[at + 1 :]), (*values[:at], *values[at + 1 :])
        return FieldChanges(names, values)

    def arguments(self, method: EventMethod, body: bytes) -> str:
        """What an event is called with, as JSON that was checked."""
        try:
            given = method.arguments.__pydantic_validator__.validate_json(body)
        except ValidationError as error:
            self._refuse(body, error, name=f"object of arguments for {method.name}")
        parse_strictly(body)
        return str(given.model_dump_json())

    def check_merge(self, current: Row, patch: MergeDocument) -> Row:
        """The row that ``patch`` would make of ``current``."""
        try:
            row = merged_row(self._schema, current, patch.members)
        except Invalid as refusal:
            raise from_refusal(refusal) from None
        at = self._schema.key_position
        self._check_same_key(row[at], current[at])
        return row

    def _check_nested(self, body: bytes) -> None:
        if not self._is_flat:
            parse_strictly(body)

    def _check_same_key(self, given: SqlValue, key: SqlValue) -> None:
        if given != key:
            name, message = self._schema.key.name, "Primary key should be the one in the URL"
            raise RequestError(422, f"{name}: {message}", errors=[finding(name, "immutable", message)])

    def _refuse(self, body: bytes, error: ValidationError, *, array: bool = False, name: str = "") -> NoReturn:
        parse_strictly(body)
        findings = []
        for field, reason, message in plain_errors(error, self._schema.hidden_names):
            if reason == "json_invalid":
                raise RequestError(400, message) from None
            row, _, field = field.partition(".") if array else ("", "", field)
            findings.append(finding(field, reason, message, int(row) if row else None))
        name = name or f"{'array' if array else 'object'} of {self._schema.name}"
        raise RequestError(422, f"the body is not a valid {name}", errors=findings) from None
