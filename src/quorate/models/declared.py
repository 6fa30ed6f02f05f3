"""Which declarations are in force on a file: those that the log declared last, until then those it was made with."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import NoReturn

import apsw
import msgspec

from quorate.errors import CommandFailed, ConfigError
from quorate.models.commands import Change, Declare, MergePatch, Operation
from quorate.models.errors import SchemaAhead, SchemaBehind
from quorate.models.migrations import Migration
from quorate.models.store.events import EVENTS_TABLE
from quorate.models.store.evolution import (
    Draft,
    adjust_indexes,
    check_reachable,
    create_tables,
    read_form,
    write_form,
)
from quorate.models.store.forms import Form, FormerSchema, fingerprint_of, form_of, former_schema
from quorate.models.store.history import RETENTIONS_TABLE, history_table
from quorate.models.store.migrating import Migrator, referring_first
from quorate.models.store.schema import ModelSchema
from quorate.models.store.tables import quoted
from quorate.models.upgrading import Upgrade

log = logging.getLogger(__name__)

DECLARED_TABLE = "quorate_declared"
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS {DECLARED_TABLE} (
    version INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    models TEXT NOT NULL
) STRICT;
"""
MESSAGE_CHARACTERS_MAX = 500


class Declarations:
    """What the app declares, and what is in force on the open file."""

    def __init__(self, schemas: Sequence[ModelSchema], migrations: Sequence[Migration]) -> None:
        self._own = tuple(schemas)
        self._migrations = tuple(migrations)
        self.form = form_of(schemas)
        self.version = len(migrations)
        self.fingerprint = fingerprint_of(self.version, self.form)
        self.in_force: tuple[int, str] = (0, "")
        """Version and fingerprint of what the log declared last; no fingerprint if it declared nothing yet."""
        self.are_awaited = False
        """Whether somebody sees to it that what the app declares comes into force."""
        self._stored: Form = self.form
        self.are_stored = True
        """Whether the tables are in the form that the app declares: each request asks."""
        self.schemas = self._own
        """Those in force."""
        self._upgrades: dict[int, Upgrade] = {}

    def _go_by(self, form: Form) -> None:
        """The tables are in this form."""
        self._stored = form
        self.are_stored = form == self.form

    @property
    def are_in_force(self) -> bool:
        """Whether the log has declared what the app does."""
        return self.in_force == (self.version, self.fingerprint)

    @property
    def are_served(self) -> bool:
        """Whether what the models do can be proposed, and read from the tables."""
        return self.are_stored and (self.are_in_force or not self.are_awaited)

    # -- opening -----------------------------------------------------------------------------------------

    def open(self, connection: apsw.Connection) -> None:
        """Find out what is in force; make the tables if there are none.

        Raises :class:`ConfigError` if what the app declares is not within reach, and
        :class:`~quorate.errors.StorageError` for a file that is damaged.
        """
        connection.execute(_SCHEMA)
        self._go_by(read_form(connection))
        self._read_in_force(connection)
        if self.in_force[0] > self.version:
            raise ConfigError(
                f"the data is of version {self.in_force[0]} of the schema, and the app has only {self.version} "
                "migrations: start this node with the newer version of the app"
            )
        if not self.in_force[1] and not _has_changes(connection):
            self._make(connection, self._own, self.form)
        if self.in_force[1] or not self.are_stored:
            check_reachable(self._stored, self.form, self._migrations[self.in_force[0] :])
        self._arrange(connection)
        if not self.are_stored:
            log.warning(
                "the app declares what is not in force yet: version %d of the schema, %.12s…, where the cluster has "
                "version %d, %.12s…. Until the other nodes run this app, too, its models are served by them",
                self.version,
                self.fingerprint,
                self.in_force[0],
                self.in_force[1],
            )

    def _read_in_force(self, connection: apsw.Connection) -> None:
        sql = f"SELECT version, fingerprint FROM {DECLARED_TABLE} ORDER BY version DESC LIMIT 1"
        found = connection.execute(sql).fetchone()
        self.in_force = (0, "") if found is None else (found[0], found[1])

    def _make(self, connection: apsw.Connection, schemas: Sequence[ModelSchema], form: Form) -> None:
        """Make the tables of a state in which nothing has happened."""
        former = [former_schema(name, self._stored) for name in self._stored]
        for schema in referring_first(former):
            connection.execute(f"DROP TABLE {quoted(schema.table)}")
            connection.execute(f"DROP TABLE IF EXISTS {quoted(history_table(schema))}")
        connection.execute(f"DROP TABLE IF EXISTS {RETENTIONS_TABLE}")
        create_tables(connection, schemas)
        write_form(connection, form)
        self._go_by(form)

    def _arrange(self, connection: apsw.Connection) -> None:
        own = {schema.name: schema for schema in self._own}
        if self.are_stored:
            self.schemas = self._own
        else:
            draft = Draft(self._stored, self._migrations[self.in_force[0] :])
            now = {was: name for name, was in draft.names.items()}
            self.schemas = tuple(self._schema_in_force(name, now.get(name), draft, own) for name in self._stored)
        self._upgrades = {}
        adjust_indexes(connection, self.schemas)

    def _schema_in_force(self, name: str, now: str | None, draft: Draft, own: Mapping[str, ModelSchema]) -> ModelSchema:
        if name == now and self._stored[name] == self.form[name]:
            return own[name]
        if now is None:
            return former_schema(name, self._stored)
        return former_schema(name, self._stored, own[now], draft.former_names(now))

    # -- what the log says -------------------------------------------------------------------------------

    @property
    def wanted(self) -> Declare | None:
        """The command that would put in force what the app declares; ``None`` if that is so already."""
        if self.are_in_force:
            return None
        return Declare(self.version, self.fingerprint, json.dumps(self.form), self.in_force[1])

    def declare(self, connection: apsw.Connection, command: Declare) -> None:
        """Put other declarations in force, and bring the tables into their form. The caller undoes what fails.

        Raises :class:`CommandFailed` if all nodes refuse, and :class:`SchemaBehind` if this one cannot follow.
        """
        version, follows = self.in_force
        if command.follows != follows or command.version < version:
            raise CommandFailed("something else was declared meanwhile")
        behind = SchemaBehind(
            f"the cluster has declared version {command.version} of the schema, which this node's app (version "
            f"{self.version}) does not know: upgrade this node, and start it again"
        )
        if command.version > self.version:
            raise behind
        form: Form = json.loads(command.models)
        if form != self._stored:
            if not follows and not _has_changes(connection):
                self._make(connection, [former_schema(name, form) for name in form], form)
            else:
                self._migrate(connection, form, self._migrations[version : command.version], behind)
        try:
            check_reachable(form, self.form, self._migrations[command.version :])
        except ConfigError as error:
            raise behind from error
        connection.execute(
            f"INSERT OR REPLACE INTO {DECLARED_TABLE} VALUES (?, ?, ?)",
            (command.version, command.fingerprint, command.models),
        )
        self._read_in_force(connection)
        self._arrange(connection)
        log.info("version %d of the schema is in force (%.12s…)", command.version, command.fingerprint)

    def _migrate(
        self, connection: apsw.Connection, form: Form, migrations: Sequence[Migration], behind: SchemaBehind
    ) -> None:
        try:
            draft = check_reachable(self._stored, form, migrations)
        except ConfigError as error:  # it was within reach of the node that declared it
            raise behind from error
        try:
            Migrator(connection, self._stored, form, draft, migrations).run()
        except apsw.ConstraintError as error:
            raise CommandFailed(f"the stored objects do not fit what is declared: {error}") from error
        except (apsw.Error, OSError, MemoryError):
            raise
        except Exception as error:  # a migration's function: it does the same on every node
            message = f"{type(error).__name__}: {error}"[:MESSAGE_CHARACTERS_MAX]
            raise CommandFailed(f"a migration failed: {message}") from error
        write_form(connection, form)
        self._go_by(form)

    def reload(self, connection: apsw.Connection) -> None:
        """What is in force is again what the file says: a declaration was undone."""
        self._go_by(read_form(connection))
        self._read_in_force(connection)
        self._arrange(connection)

    def upgraded(self, connection: apsw.Connection, change: Change) -> Change:
        """The change by the declarations in force. Raises :class:`SchemaBehind` and :class:`CommandFailed`."""
        version = self.in_force[0]
        if not self.in_force[1] or change.schema == version:
            return change
        if change.schema > version:
            raise SchemaBehind(f"a change was checked by version {change.schema} of the schema, which is not declared")
        upgrade = self._upgrades.get(change.schema)
        if upgrade is None:
            sql = f"SELECT models FROM {DECLARED_TABLE} WHERE version = ?"
            found = connection.execute(sql, (change.schema,)).get
            if found is None:
                raise CommandFailed(f"version {change.schema} of the schema was never in force")
            before = json.loads(found)
            upgrade = Upgrade(before, self._stored, self._migrations[change.schema : version])
            self._upgrades[change.schema] = upgrade
        return upgrade.change(change)

    def translated(self, change: Change) -> Change:
        """A change of before: merge patches name the fields as the code does that is to judge them."""
        schemas = {schema.name: schema for schema in self.schemas}
        operations = [_translated(each, schemas[each.model]) for each in change.operations]
        return msgspec.structs.replace(change, operations=operations)

    def refuse_event(self, schema: ModelSchema, event: str) -> NoReturn:
        """A call names an event that ``schema`` does not have: raises what follows from that."""
        if event in self._stored[schema.name]["events"]:
            raise SchemaAhead(
                f"{schema.name}.{event} was called by an earlier version of the app, whose code is not here: start "
                "this node with the earlier version, and with this one when no such calls are made"
            )
        if self.in_force[1]:
            raise CommandFailed(f"{schema.name} has no event {event} any more")
        raise SchemaBehind(f"the log names the event {schema.name}.{event}, which is not declared here")


def _translated(operation: Operation, schema: ModelSchema) -> Operation:
    if not isinstance(operation, MergePatch) or not isinstance(schema, FormerSchema):
        return operation
    now = {former: name for name, former in schema.former_names.items()}
    document = {now.get(name, name): value for name, value in json.loads(operation.document).items()}
    return msgspec.structs.replace(operation, document=json.dumps(document))


def _has_changes(connection: apsw.Connection) -> bool:
    """Whether something was ever stored: the newest events are never deleted."""
    found = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (EVENTS_TABLE,)).fetchone()
    return found is not None and connection.execute(f"SELECT 1 FROM {EVENTS_TABLE} LIMIT 1").fetchone() is not None
