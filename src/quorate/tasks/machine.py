"""The state machine of tasks: every command is one atomic change of the group's SQLite file."""

from __future__ import annotations

from collections.abc import Callable

import apsw
import msgspec

from quorate.errors import StorageError, StorageFailed
from quorate.machine.contract import ApplyContext, DiskStateMachine
from quorate.machine.queries import Queries
from quorate.machine.sqlite import SqliteState
from quorate.tasks.commands import (
    Cancel,
    Claims,
    Command,
    Configure,
    Dismiss,
    Enlist,
    Heartbeat,
    Purge,
    RemoveQueue,
    Report,
    Retry,
    RetryAll,
    Schedule,
    Submit,
    Tick,
    Unschedule,
    Waive,
    decode_command,
)
from quorate.tasks.feed import Feed
from quorate.tasks.store.administration import Administration, Workers
from quorate.tasks.store.claiming import Claiming
from quorate.tasks.store.reporting import Reporting
from quorate.tasks.store.rows import Rows
from quorate.tasks.store.schedules import Schedules
from quorate.tasks.store.submitting import Submitting
from quorate.tasks.store.tables import Tables
from quorate.tasks.store.upkeep import Upkeep
from quorate.tasks.store.waiving import Waiving

MACHINE = "tasks"
"""The machine's name."""


def _nothing() -> None:
    pass


class TasksMachine(DiskStateMachine):
    """Applies the commands of :mod:`quorate.tasks.commands`.

    Refuses with :class:`~quorate.tasks.errors.TaskRefusal`, and undoes what a refused command had begun. A command that
    this version does not know is no refusal: other nodes may know it, so the node must stop.
    """

    unordered = True

    def __init__(self) -> None:
        self.feed = Feed()
        """What has changed, told when it is applied."""
        self.after_apply: Callable[[], None] = _nothing
        """Told behind each command."""
        self.queries = Queries()
        """Reads that may take long."""
        self.is_open = False
        """Whether there is a state to look at: not while a snapshot takes its place."""

    def open(self, state: SqliteState) -> None:
        try:
            with state.savepoint():
                self.tables = Tables(state.connection)
        except apsw.Error as error:
            raise StorageError(f"the tables of tasks in {state.path} cannot be opened: {error}") from error
        self._state = state
        self._rows = rows = Rows(self.tables)
        self.schedules = Schedules(state.connection)
        submitting = Submitting(state, rows)
        self.upkeep = Upkeep(rows, submitting, self.schedules)
        self._submitting = submitting
        self._claiming = Claiming(rows)
        self._reporting = Reporting(rows)
        self._administration = Administration(rows)
        self._waiving = Waiving(rows)
        self._workers = Workers(state.connection)
        self.queries.open(state)
        self.is_open = True
        self.feed.restart(self.tables.numbers.change)

    def close(self) -> None:
        self.is_open = False
        self.queries.close()

    def apply(self, command: bytes, context: ApplyContext) -> object:
        try:
            decoded = decode_command(command)
        except msgspec.MsgspecError as error:
            raise StorageFailed(
                f"entry {context.index} is no command about tasks that is known here: {error}"
            ) from error
        changes = self._rows.changes = []
        self.tables.begin()
        try:
            with self._state.savepoint():
                result = self._do(decoded, context)
                self.tables.write()
        except BaseException:
            self.tables.undo()
            raise
        if changes:
            self.feed.publish(changes)
        if isinstance(decoded, Configure):
            self.feed.look_again()  # a queue may go on
        self.after_apply()
        return result

    def _do(self, command: Command, context: ApplyContext) -> object:
        time_us = context.time_us
        match command:
            case Submit():
                return self._submitting.submit(command, time_us)
            case Claims():
                return self._claiming.claim_all(command.claims, time_us)
            case Report():
                return self._reporting.report(command, context)
            case Heartbeat():
                return self._claiming.heartbeat(command, time_us)
            case Tick():
                return self.upkeep.tick(command, time_us)
            case Cancel():
                self._administration.cancel(command, time_us)
            case Retry():
                self._administration.retry(command, time_us)
            case RetryAll():
                return self._administration.retry_all(command, time_us)
            case Purge():
                return self._administration.purge(command, time_us)
            case Waive():
                return self._waiving.waive(command, time_us)
            case Configure():
                self.tables.configure(command.queue, command.paused, command.pending_max)
            case RemoveQueue():
                return self._administration.remove_queue(command)
            case Enlist():
                self._workers.enlist(command, time_us)
            case Dismiss():
                self._workers.dismiss(command.worker)
            case Schedule():
                self.schedules.put(command)
            case Unschedule():
                self.schedules.remove(command.name)
        return None

    # -- joint commands ----------------------------------------------------------------------------------

    def mark(self) -> None:
        self.tables.begin()

    def undo(self, mark: None) -> None:
        self.tables.undo()
        self.feed.take_back(self.tables.numbers.change)
