"""Which declarations are in force on a file: those that the log declared last, until then those it was made with."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import NoReturn

import apsw
import msgspec

from quorate.errors import CommandFailed, ConfigError
from quorate.machine.sqlite import SqliteState
from quorate.models.commands import Call, Change, Declare, MergePatch, Operation
from quorate.models.errors import MESSAGE_CHARACTERS_MAX, SchemaAhead, SchemaBehind
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
from quorate.models.store.forms import (
    Form,
    FormerSchema,
    Rules,
    declaration_text,
    differences,
    fingerprint_of,
    form_of,
    former_schema,
    read_declaration,
    rules_of,
)
from quorate.models.store.history import RETENTIONS_TABLE, history_table
from quorate.models.store.leftovers import NEXT
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


class Declarations:
    """What the app declares, and what is in force on the open file."""

    def __init__(self, schemas: Sequence[ModelSchema], migrations: Sequence[Migration]) -> None:
        self._own = tuple(schemas)
        self._migrations = tuple(migrations)
        self.form = form_of(schemas)
        self.rules = rules_of(schemas)
        self.version = len(migrations)
        self.fingerprint = fingerprint_of(self.version, self.form, self.rules)
        self.in_force: tuple[int, str] = (0, "")
        """Version and fingerprint of what the log declared last; no fingerprint if it declared nothing yet."""
        self.differing_rules: list[str] = []
        """The fields, validators and events whose rules or code are not those that the log declared last."""
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
        sql = f"SELECT version, fingerprint, models FROM {DECLARED_TABLE} ORDER BY version DESC LIMIT 1"
        found = connection.execute(sql).fetchone()
        self.in_force = (0, "") if found is None else (found[0], found[1])
        rules: Rules = {} if found is None else read_declaration(found[2])[1]
        self.differing_rules = differences(self.rules, rules)

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
        return Declare(self.version, self.fingerprint, declaration_text(self.form, self.rules), self.in_force[1])

    def prepare(self, state: SqliteState, command: Declare) -> Generator[None, None, Migrator | None]:
        """Make beside the state what :meth:`declare` will put in its place, if that is to be other tables.

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
        form, _ = read_declaration(command.models)
        migrations = self._migrations[version : command.version]
        is_new = not follows and not _has_changes(state.connection)
        try:
            check_reachable(form, self.form, self._migrations[command.version :])
            draft = None if is_new or form == self._stored else check_reachable(self._stored, form, migrations)
        except ConfigError as error:  # it was within reach of the node that declared it
            raise behind from error
        if draft is None:
            return None
        own = {schema.name: schema for schema in self._own}
        migrator = Migrator(state, self._stored, form, draft, migrations, own)
        yield from _refusing(migrator.prepare())
        return migrator

    def declare(self, connection: apsw.Connection, command: Declare, migrator: Migrator | None) -> None:
        """Put other declarations in force. ``migrator`` is what :meth:`prepare` has returned."""
        form, _ = read_declaration(command.models)
        if migrator is not None:
            migrator.switch()
            write_form(connection, form)
            self._go_by(form)
        elif form != self._stored:
            self._make(connection, [former_schema(name, form) for name in form], form)
        connection.execute(
            f"INSERT OR REPLACE INTO {DECLARED_TABLE} VALUES (?, ?, ?)",
            (command.version, command.fingerprint, command.models),
        )
        self._read_in_force(connection)
        self._arrange(connection)
        log.info("version %d of the schema is in force (%.12s…)", command.version, command.fingerprint)

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
            before, _ = read_declaration(found)
            upgrade = Upgrade(before, self._stored, self._migrations[change.schema : version])
            self._upgrades[change.schema] = upgrade
        return upgrade.change(change)

    def translated(self, change: Change) -> Change:
        """A change of before: merge patches name the fields as the code does that is to judge them."""
        schemas = {schema.name: schema for schema in self.schemas}
        operations = [_translated(each, schemas[each.model]) for each in change.operations]
        return msgspec.structs.replace(change, operations=operations)

    def check_rules(self, operation: Operation) -> None:
        """Raises :class:`SchemaAhead` if other nodes may judge the operation by other limits or code than this one.

        A change of the model itself comes with other code, which names the fields as they are called now: then that
        it does the same is left to who wrote it.
        """
        if not isinstance(operation, Call | MergePatch):
            return  # of all others the limits were checked before they were proposed
        model = operation.model
        own = self.form.get(model)
        if own is None or self._stored.get(model) != own:
            return
        local = next(schema.local_columns for schema in self._own if schema.name == model)
        others = {f"{model}.{name}" for name in (*own["events"], *(column.name for column in local))}
        if isinstance(operation, Call):
            others.discard(f"{model}.{operation.event}")
        differing = [each for each in self.differing_rules if each.startswith(f"{model}.") and each not in others]
        if differing:
            raise SchemaAhead(
                f"{', '.join(differing)}: not as declared by the version of the app that is in force, so this node "
                f"cannot tell what {_described(operation)} does: start it with that version, and with this one when no "
                "such requests are made"
            )

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


def _refusing(steps: Iterator[None]) -> Iterator[None]:
    """The steps of a migration, whose errors are the same on every node: refusals."""
    try:
        yield from steps
    except apsw.ConstraintError as error:
        what = str(error).replace(NEXT, "")
        raise CommandFailed(f"the stored objects do not fit what is declared: {what}") from error
    except (apsw.Error, OSError, MemoryError):
        raise
    except Exception as error:  # a migration's function
        message = f"{type(error).__name__}: {error}"[:MESSAGE_CHARACTERS_MAX]
        raise CommandFailed(f"a migration failed: {message}") from error


def _described(operation: Call | MergePatch) -> str:
    return f"{operation.model}.{operation.event}" if isinstance(operation, Call) else f"a patch of a {operation.model}"


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
