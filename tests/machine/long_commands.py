"""A machine with a command that takes long."""

from __future__ import annotations

from quorate.errors import CommandFailed
from quorate.machine.contract import ApplyContext, Steps
from quorate.machine.sqlite import SqliteState

from .support import Ledger

NEXT, FORMER = "quorate_next_ledger", "quorate_former_ledger"
TABLE = "CREATE TABLE {} (number INTEGER PRIMARY KEY, amount INTEGER UNIQUE)"


class Rebuilder(Ledger):
    """``b"rebuild 5"`` doubles all amounts in five steps; with ``refuse`` or ``disk`` behind that it fails then.

    ``held`` keeps it from ending.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held = False
        self.steps = 0
        self.removed = 0
        self.times: list[int] = []

    def open(self, state: SqliteState) -> None:
        super().open(state)
        self._find_leftovers()

    def apply(self, command: bytes, context: ApplyContext) -> object:
        self.times.append(context.time_us)
        if command.startswith(b"rebuild "):
            return self._rebuild(*command.decode().split()[1:])
        assert not self.has_leftovers
        return super().apply(command, context)

    def _rebuild(self, count: str, end: str = "") -> Steps:
        execute = self.state.connection.execute
        execute(TABLE.format(NEXT))
        for _ in range(int(count)):
            self.steps += 1
            yield
        while self.held:
            self.steps += 1
            yield
        if end == "disk":
            raise OSError(28, "No space left on device")
        execute(f"INSERT INTO {NEXT} SELECT number, 2 * amount FROM ledger")
        if end == "refuse":
            self._find_leftovers()
            raise CommandFailed("no")
        with self.state.savepoint():
            execute(f"ALTER TABLE ledger RENAME TO {FORMER}; ALTER TABLE {NEXT} RENAME TO ledger")
        self._find_leftovers()
        return self.total

    def _find_leftovers(self) -> None:
        sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN (?, ?)"
        self._leftovers: list[str] = [name for (name,) in self.state.connection.execute(sql, (NEXT, FORMER))]

    @property
    def has_leftovers(self) -> bool:
        return bool(self._leftovers)

    def remove_leftovers(self) -> None:
        self.removed += 1
        self.state.connection.execute(f"DROP TABLE {self._leftovers.pop()}")
