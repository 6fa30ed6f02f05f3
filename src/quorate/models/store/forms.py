"""Declarations as plain data, as they stand in the file and in the log.

A *form* says of each model what its rows and the outcome of commands depend on. The state machine keeps its tables in
the form that is in force, which the log decides; a node may have been started with a program that declares more, and
then works with former declarations, made of their forms, until its own are declared. The *rules* beside it are digests
of limits and code (:mod:`quorate.models.rules`): they are compared, but nothing can be made of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from quorate.models.errors import SchemaAhead
from quorate.models.store import columns
from quorate.models.store.columns import Codec, SqlValue
from quorate.models.store.schema import NO_DEFAULT, Column, ForeignKey, ModelSchema, NoDefault, Row

if TYPE_CHECKING:
    from quorate.models.model import Model

Record = dict[str, Any]
Form = dict[str, Record]
"""The record of each model, by its name."""
Rules = dict[str, dict[str, str]]
"""The digests of each model, by its name; none of those that were declared by a Quorate which made none."""

_CODECS = {
    codec.name: codec
    for codec in (
        columns.TEXT,
        columns.INTEGER,
        columns.BOOLEAN,
        columns.FLOAT,
        columns.DECIMAL,
        columns.IDENTIFIER,
        columns.BYTES,
        columns.DATETIME,
        columns.NAIVE_DATETIME,
        columns.DATE,
        columns.JSON,
    )
}


def form_of(schemas: Iterable[ModelSchema]) -> Form:
    """What the models declare. Equal for declarations that store and refuse alike."""
    return {schema.name: _record(schema) for schema in schemas}


def _record(schema: ModelSchema) -> Record:
    record = dict(schema.fingerprint())
    record["unique_together"] = sorted(list(group) for group in schema.unique_together)
    record["columns"] = [_column_record(column) for column in schema.columns]
    return record


def _column_record(column: Column) -> Record:
    record = column.fingerprint()
    del record["indexed"]  # each node may have the indexes that it likes
    default = column.default
    if isinstance(default, NoDefault):
        record["default"] = []
    else:
        record["default"] = [{"hex": default.hex()} if isinstance(default, bytes) else default]
    return record


def rules_of(schemas: Iterable[ModelSchema]) -> Rules:
    """What the models ask of values, and their code."""
    return {schema.name: schema.rules for schema in schemas}


def fingerprint_of(version: int, form: Form, rules: Rules) -> str:
    """A digest of declarations and their version."""
    return hashlib.sha256(json.dumps([version, form, rules], sort_keys=True).encode()).hexdigest()


def declaration_text(form: Form, rules: Rules) -> str:
    """Declarations as the log has them."""
    return json.dumps({name: {**record, "rules": rules.get(name, {})} for name, record in form.items()})


def read_declaration(text: str) -> tuple[Form, Rules]:
    """The form and the rules of declarations as the log has them."""
    form: Form = json.loads(text)
    return form, {name: record.pop("rules") for name, record in form.items() if "rules" in record}


def differences(rules: Rules, others: Rules) -> list[str]:
    """Whose digests differ, as ``Model.field``, of the models that have some in both."""
    return [
        f"{model}.{name}"
        for model in sorted(rules.keys() & others.keys())
        for name in sorted(rules[model].keys() | others[model].keys())
        if rules[model].get(name) != others[model].get(name)
    ]


def codec_named(name: str) -> Codec:
    """The codec of a recorded type. Raises :class:`KeyError`."""
    if name.startswith("decimal("):
        return columns.fixed_decimal(int(name.removeprefix("decimal(").removesuffix(")")))
    return _CODECS[name]


@dataclass(frozen=True, kw_only=True, eq=False)
class FormerSchema(ModelSchema):
    """A model as it is declared by a form, which is not that of this program.

    Where a command has to run the model's code, rules and events, that is the code of ``present``, whose fields are
    found under the names in ``former_names``. Without, :class:`SchemaAhead` is raised: this program cannot tell what
    the earlier one would do.
    """

    present: ModelSchema | None = None
    former_names: Mapping[str, str] = field(default_factory=dict)

    def load(self, row: Row) -> Model:
        """The object, of the class as it is now."""
        return self._judge().load(self._in_present(row))

    def complete_json(self, row: Row) -> bytes:
        """The object as it is now, with all its fields."""
        return self._judge().complete_json(self._in_present(row))

    def encode(self, instance: Model, row: int | None = None) -> Row:
        """The former row of an object."""
        present = self._judge()
        values = dict(zip(present.names, present.encode(instance, row), strict=True))
        return tuple(values[name] for name in self._own_names)

    @property
    def _own_names(self) -> list[str]:
        """What the columns are called now, in their order."""
        now = {former: name for name, former in self.former_names.items()}
        return [now[name] for name in self.names]

    def _judge(self) -> ModelSchema:
        if self.present is None:
            raise SchemaAhead(
                f"a command on {self.name} was made by an earlier version of the app, and takes that version's code: "
                "start this node with the earlier version, and with this one when no such commands are made"
            )
        return self.present

    def _in_present(self, row: Row) -> Row:
        values = dict(zip(self.names, row, strict=True))
        present = self._judge()
        return tuple(
            values[former] if (former := self.former_names.get(name)) else default
            for name, default in zip(present.names, present.defaults, strict=True)
        )


def former_schema(
    name: str, form: Form, present: ModelSchema | None = None, former_names: Mapping[str, str] | None = None
) -> ModelSchema:
    """The model that a form declares. Raises :class:`KeyError` or :class:`TypeError` for what is no form."""
    from quorate.models.model import Model

    record = form[name]
    names = dict(former_names or {})
    table_columns = tuple(_column(each, form) for each in record["columns"])
    if present is not None:
        now = {former: present.by_name.get(own) for own, former in names.items()}
        table_columns = tuple(
            replace(column, indexed=own.indexed and not column.unique) if (own := now.get(column.name)) else column
            for column in table_columns
        )
    judge = (
        present if present is not None and len(names) == len(table_columns) and _is_complete(present, names) else None
    )
    return FormerSchema(
        name=name,
        resource=name,
        table=record["table"],
        model=Model if judge is None else judge.model,
        columns=table_columns,
        has_rules=True,
        events={} if judge is None else {each: judge.events[each] for each in record["events"] if each in judge.events},
        unique_together=tuple(tuple(group) for group in record.get("unique_together", ())),
        present=judge,
        former_names=names,
    )


def _is_complete(present: ModelSchema, former_names: Mapping[str, str]) -> bool:
    """Whether every field has a value in each former row, if only its default."""
    return all(column.name in former_names or column.has_default for column in present.columns)


def _column(record: Record, form: Form) -> Column:
    codec = codec_named(record["type"])
    if record["primary_key"] and codec is columns.TEXT:
        codec = columns.KEY_TEXT
    return Column(
        name=record["name"],
        codec=codec,
        nullable=record["nullable"],
        default=_default(record.get("default", [])),
        primary_key=record["primary_key"],
        unique=record["unique"],
        immutable=record["immutable"],
        indexed=record["references"] is not None and not record["unique"],
        references=_reference(record["references"], form),
        tracked=record["tracked"],
        audited=record["audited"],
        retention_us=record["retention_us"],
        exposed=record.get("exposed", True),
    )


def _default(recorded: Sequence[Any]) -> SqlValue | NoDefault:
    if not recorded:
        return NO_DEFAULT
    (default,) = recorded
    value: SqlValue = bytes.fromhex(default["hex"]) if isinstance(default, dict) else default
    return value


def _reference(recorded: str | None, form: Form) -> ForeignKey | None:
    if recorded is None:
        return None
    target, on_delete = recorded.split(" ")
    model, column = target.split(".")
    return ForeignKey(model=model, table=form[model]["table"], column=column, on_delete=on_delete, target=None)
