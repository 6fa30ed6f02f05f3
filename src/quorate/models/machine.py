"""The state machine of declared models: every command is one atomic change of the group's SQLite file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import apsw
import msgspec

from quorate.errors import CommandFailed, StorageError
from quorate.machine.contract import ApplyContext, DiskStateMachine, Steps
from quorate.machine.queries import Queries
from quorate.machine.sqlite import SqliteState
from quorate.models.changes import Changes
from quorate.models.commands import (
    Call,
    Change,
    Create,
    Declare,
    Delete,
    Operation,
    Patch,
    Replace,
    Retain,
    decode_command,
)
from quorate.models.declared import Declarations
from quorate.models.errors import InTransaction, ModelRefusal, SchemaBehind
from quorate.models.migrations import Migration
from quorate.models.query.functions import add_aggregates
from quorate.models.store.events import Cause, EventLog
from quorate.models.store.evolution import RECORDS_TABLE
from quorate.models.store.history import History
from quorate.models.store.leftovers import Leftovers
from quorate.models.store.schema import ModelSchema
from quorate.models.store.tables import Table

if TYPE_CHECKING:
    from quorate.models.feeds import Feed

MACHINE = "models"
"""The machine's name: under it the router finds it and the file keeps its applied index."""
EVENTS_KEPT = 100_000
"""So many of the newest events are kept at least, unless the app says otherwise."""
RETAIN_AT_ONCE = 200
"""So many entries of the history one command looks at."""


def _nothing() -> None:
    pass


class ModelsMachine(DiskStateMachine):
    """Applies the commands of :mod:`quorate.models.commands`.

    Refuses with :class:`~quorate.models.errors.ModelRefusal`. :class:`~quorate.models.errors.SchemaBehind` and
    :class:`apsw.Error` (a full disk, a corrupt file) are no refusals: other nodes do not meet them, so the node
    must stop.
    """

    unordered = True
    local_tables = frozenset({RECORDS_TABLE})  # says in the words of this file what is declared in those of the log

    def __init__(
        self,
        schemas: Sequence[ModelSchema],
        *,
        migrations: Sequence[Migration] = (),
        events_kept: int = EVENTS_KEPT,
    ) -> None:
        """``schemas`` come in the order of their references, targets first (:attr:`quorate.app.App.schemas`)."""
        self.declarations = Declarations(schemas, migrations)
        self._events_kept = events_kept
        self.tables: dict[str, Table] = {}
        self.histories: dict[str, History] = {}
        """Of the models whose changes are kept."""
        self.after_apply: Callable[[], None] = _nothing
        """Told behind each command that may have changed something."""
        self.queries = Queries(add_aggregates)
        """Reads that may take long."""
        self.after_open: Callable[[], None] = _nothing
        """Told, on any thread, when a state has been opened."""
        self.after_close: Callable[[], None] = _nothing
        """Told, on any thread, when it must not be looked at any more."""
        self.feed: Feed | None = None
        """What those have in common who follow the changes here: see :meth:`Feed.of`."""

    def open(self, state: SqliteState) -> None:
        connection = state.connection
        try:
            with state.savepoint():
                self.declarations.open(connection)
                self.events = EventLog(connection, self._events_kept)
                self._open_tables(connection)
            self._state = state
            self._leftovers = Leftovers(state)
            self.queries.open(state)
        except apsw.Error as error:
            raise StorageError(f"the tables in {state.path} cannot be opened: {error}") from error
        self.after_open()

    def _open_tables(self, connection: apsw.Connection) -> None:
        """Have what is in force, which may be earlier declarations than those of the app."""
        schemas = self.declarations.schemas
        self.histories = {schema.name: History(connection, schema) for schema in schemas if schema.has_history}
        self.tables = {schema.name: Table(connection, schema) for schema in schemas}
        self._changes = Changes(self.tables, self.events, self.histories)

    def close(self) -> None:
        self.after_close()
        self.queries.close()

    def apply(self, command: bytes, context: ApplyContext) -> object:
        try:
            decoded = decode_command(command)
        except msgspec.MsgspecError as error:
            raise SchemaBehind(f"entry {context.index} is not a command this version knows: {error}") from error
        match decoded:
            case Change():
                result: object = self._change(decoded, context)
            case Declare():
                return self._declare(decoded)
            case Retain():
                result = self._retain(context)
        self.after_apply()
        return result

    # -- declarations ------------------------------------------------------------------------------------

    @property
    def is_waiting(self) -> bool:
        """Whether what the app declares is not in force: then the tables are not those that its models have."""
        return not self.declarations.are_stored

    def _declare(self, command: Declare) -> Steps:
        try:
            migrator = yield from self.declarations.prepare(self._state, command)
        except CommandFailed:
            self._leftovers.find()
            raise
        with self._state.savepoint():
            self.declarations.declare(self._state.connection, command, migrator)
            self._open_tables(self._state.connection)
        self._leftovers.find()
        self.after_close()
        self.after_open()
        self.after_apply()
        return None

    @property
    def has_leftovers(self) -> bool:
        return self._leftovers.are_there

    def remove_leftovers(self) -> None:
        self._leftovers.remove()

    # -- changes -----------------------------------------------------------------------------------------

    def _change(self, change: Change, context: ApplyContext) -> list[object]:
        change = self.declarations.upgraded(self._state.connection, change)
        for operation in change.operations:
            self._check_known(operation, context)
        if self.is_waiting:
            change = self.declarations.translated(change)
        cause = Cause(context, change.actor)
        if len(change.operations) == 1 and _refuses_first(change.operations[0]):
            return [self._changes.perform(change.operations[0], cause)]
        results: list[object] = []
        try:
            with self._undoing():
                results.extend(self._changes.perform(operation, cause) for operation in change.operations)
        except ModelRefusal as refusal:
            if len(change.operations) > 1:
                raise InTransaction.of(len(results), refusal) from None
            raise
        return results

    @contextmanager
    def _undoing(self) -> Iterator[None]:
        """Undo what was done inside, and what was counted of it, if a refusal leaves the block."""
        mark = self.mark()
        try:
            with self._state.savepoint():
                yield
        except ModelRefusal:
            self.undo(mark)
            raise

    def mark(self) -> tuple[int, list[int]]:
        return self.events.last, [table.count for table in self.tables.values()]

    def undo(self, mark: tuple[int, list[int]]) -> None:
        self.events.last, counts = mark
        for table, count in zip(self.tables.values(), counts, strict=True):
            table.count = count

    def _check_known(self, operation: Operation, context: ApplyContext) -> None:
        table = self.tables.get(operation.model)
        if table is None:
            raise SchemaBehind(f"entry {context.index} names the model {operation.model}, which is not declared here")
        if isinstance(operation, Create | Replace | Patch):
            for name in operation.columns:
                if name not in table.schema.by_name:
                    raise SchemaBehind(
                        f"entry {context.index} names {operation.model}.{name}, which is not declared here"
                    )
        if isinstance(operation, Call) and operation.event not in table.schema.events:
            self.declarations.refuse_event(table.schema, operation.event)
        if self.declarations.differing_rules:
            self.declarations.check_rules(operation)

    # -- retention ---------------------------------------------------------------------------------------

    def _retain(self, context: ApplyContext) -> int:
        left = RETAIN_AT_ONCE
        with self._state.savepoint():
            for _, history in sorted(self.histories.items()):
                left -= history.retain(context.time_us, left)
        return RETAIN_AT_ONCE - left


def _refuses_first(operation: Operation) -> bool:
    """Whether the operation changes something only when it cannot be refused any more."""
    return not isinstance(operation, Delete) and not (isinstance(operation, Create) and len(operation.rows) != 1)
