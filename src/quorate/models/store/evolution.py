"""The form that the tables of a file have, and the way from it to that which an app declares.

A file changes its form at one place in the log only, where a ``Declare`` stands (:mod:`quorate.models.commands`), so
all nodes apply every command to tables of the same form. Until then a node whose app declares more waits. What it
declares must be within reach, or it is refused at the start: a field with a default, an index, an event or a model may
just be added; anything else is a migration (:mod:`quorate.models.migrations`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import apsw

from quorate.errors import ConfigError, StorageError
from quorate.models.migrations import Migration
from quorate.models.store.forms import Form, Record, former_schema
from quorate.models.store.leftovers import NEXT
from quorate.models.store.schema import ModelSchema
from quorate.models.store.tables import create_group_sql, create_index_sql, create_table_sql, quoted

RECORDS_TABLE = "quorate_models"
RECORDS = (
    f"CREATE TABLE IF NOT EXISTS {RECORDS_TABLE} "
    "(name TEXT PRIMARY KEY, fingerprint TEXT NOT NULL) STRICT, WITHOUT ROWID"
)
_FREE = ("name", "default", "exposed", "was", "open")
"""What a declaration says of a field that may change without anything becoming of what is stored."""


# -- the form of a file -------------------------------------------------------------------------------------


def read_form(connection: apsw.Connection) -> Form:
    """The form of the tables in the file; empty if there are none.

    Raises :class:`~quorate.errors.StorageError` if what the file says of them cannot be read.
    """
    connection.execute(RECORDS)
    records: list[Any] = connection.execute(f"SELECT name, fingerprint FROM {RECORDS_TABLE}").fetchall()
    try:
        form: Form = {name: json.loads(text) for name, text in records}
        for name, record in form.items():
            record.setdefault("unique_together", [])
            former_schema(name, form)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # SQLite has no checksums
        raise StorageError(
            f"the declarations recorded in {connection.filename} cannot be read ({error!r}): the file is damaged. "
            "Remove it: the state is made anew from the log"
        ) from error
    return form


def write_form(connection: apsw.Connection, form: Form) -> None:
    """Record it as that of the tables."""
    connection.execute(f"DELETE FROM {RECORDS_TABLE}")
    rows = [(name, json.dumps(record)) for name, record in form.items()]
    connection.executemany(f"INSERT INTO {RECORDS_TABLE} VALUES (?, ?)", rows)


def create_tables(connection: apsw.Connection, schemas: Sequence[ModelSchema]) -> None:
    """Make the tables of ``schemas``, and what makes their values unique."""
    for schema in schemas:
        connection.execute(create_table_sql(schema))
        for group in schema.unique_together:
            connection.execute(create_group_sql(schema.table, group))
    adjust_indexes(connection, schemas)


def adjust_indexes(connection: apsw.Connection, schemas: Sequence[ModelSchema]) -> None:
    """Make and drop indexes, until each field has the one that it is declared with.

    Those that keep values unique belong to the form; of the others each node has those that its app declares.
    """
    for schema in schemas:
        sql = "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL"
        indexes: list[Any] = connection.execute(sql, (schema.table,)).fetchall()
        there = {name.removeprefix(NEXT): name for (name,) in indexes}
        for column in schema.columns:
            wanted, name = create_index_sql(schema, column), f"{schema.table}__{column.name}"
            if wanted and name not in there:
                connection.execute(wanted)
            elif not wanted and name in there:
                connection.execute(f"DROP INDEX {quoted(there[name])}")


# -- what is within reach -------------------------------------------------------------------------------------


class Draft:
    """The form that migrations lead to. ``names`` are those of the models that were there before, by theirs now."""

    def __init__(self, before: Form, migrations: Sequence[Migration]) -> None:
        """Raises :class:`ConfigError` for a migration that has nothing to change."""
        self.form = deepcopy(before)
        for name, record in self.form.items():
            record["was"] = name
            for column in record["columns"]:
                column["was"] = column["name"]
        for migration in migrations:
            migration.declare(self.form)
        self.names = {name: record["was"] for name, record in self.form.items()}

    def is_changed(self, model: str) -> bool:
        """Whether a migration concerns the model."""
        return "changed" in self.form[model]

    def former_names(self, model: str) -> dict[str, str]:
        """What the fields of a model were called, as far as their values have stayed what they were."""
        columns = self.form[model]["columns"]
        return {column["name"]: column["was"] for column in columns if column["was"] is not None}


def check_reachable(before: Form, after: Form, migrations: Sequence[Migration]) -> Draft:
    """Raises :class:`ConfigError` unless ``migrations``, and what needs none, lead from one form to the other."""
    draft = Draft(before, migrations)
    for name, record in draft.form.items():
        if name not in after:
            raise ConfigError(
                f"the data directory holds the model {name}, which the app does not declare: "
                f"RemoveModel({name!r}) would remove it, RenameModel({name!r}, …) give it another name"
            )
        _check_model(name, record, after[name])
    return draft


def _check_model(name: str, before: Record, after: Record) -> None:
    if before["table"] != after["table"]:
        raise ConfigError(f"{name}: stored in the table {before['table']}, not in {after['table']}")
    declared = {column["name"]: column for column in after["columns"]}
    stored = {column["name"]: column for column in before["columns"]}
    for field in sorted(stored.keys() - declared.keys()):
        raise ConfigError(
            f"{name}.{field}: stored in the data directory but no longer declared: "
            f"RemoveField({name!r}, {field!r}) would remove it, RenameField({name!r}, {field!r}, …) rename it"
        )
    for field, column in declared.items():
        if field in stored:
            _check_column(f"{name}.{field}", f"{name!r}, {field!r}", stored[field], column)
        else:
            _check_new(f"{name}.{field}", f"{name!r}, {field!r}", column)
    groups, wanted = before["unique_together"], after["unique_together"]
    if groups != wanted and "open" not in before:
        raise ConfigError(
            f"{name}: unique_together was {groups} when the data was stored and is now {wanted}: "
            f"ChangeModel({name!r}) would change it"
        )


def _check_column(where: str, arguments: str, before: Record, after: Record) -> None:
    for attribute, value in after.items():
        stored = before.get(attribute)
        is_open = "open" in before and (attribute != "type" or stored is None) and attribute != "primary_key"
        is_new = attribute not in before and not value  # an earlier Quorate did not know of it
        if stored == value or attribute in _FREE or is_open or is_new:
            continue
        remedy = f"ChangeField({arguments})"
        if attribute == "type":
            remedy = f"ChangeType({arguments}, convert=…)"
        elif attribute == "primary_key":
            remedy = "no migration"
        raise ConfigError(
            f"{where}: {attribute} was {stored} when the data was stored and is now {value}: {remedy} would change it"
        )


def _check_new(where: str, arguments: str, column: Record) -> None:
    if not column["default"]:
        raise ConfigError(f"{where}: a field added to stored data needs a default, or AddField({arguments}, value=…)")
    if column["default"] != [None] and (column["references"] is not None or column["unique"]):
        raise ConfigError(
            f"{where}: a unique field or foreign key added to stored data needs default=None, "
            f"or AddField({arguments}, value=…)"
        )
