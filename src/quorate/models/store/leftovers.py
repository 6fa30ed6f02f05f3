"""What a migration leaves behind: the tables that were replaced, or those that were to replace them.

They may be large, and a table that is dropped takes as long as its rows are many. So they go bit by bit, before
anything else is applied: their references would guard what they refer to.
"""

from __future__ import annotations

from typing import Any

from quorate.machine.digest import BESIDE_THE_STATE
from quorate.machine.sqlite import SqliteState
from quorate.models.store.tables import quoted

NEXT, FORMER = BESIDE_THE_STATE
"""How the names of tables begin that are to take the place of others, and of those that had it."""

STEP_SECONDS = 0.002
_ROWS_AT_ONCE = 200


class Leftovers:
    """Of one file."""

    def __init__(self, state: SqliteState) -> None:
        self._state = state
        self._execute = state.connection.execute
        self._tables: list[str] = []
        self._detached_to: int | None = None
        self.find()

    @property
    def are_there(self) -> bool:
        """Whether there is something to remove."""
        return bool(self._tables)

    def find(self) -> None:
        """Look for them: a migration has ended."""
        names: list[Any] = self._execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
        left = [name for (name,) in names if name.startswith(BESIDE_THE_STATE)]
        targets = {table: {target for _, target, _ in self._references(table)} - {table} for table in left}
        self._tables = []  # the last is removed first: each before those that it refers to
        while left:
            free = [table for table in left if not targets[table].intersection(left)]
            assert free, "tables refer to such as were made before them"
            self._tables += free
            left = [table for table in left if table not in free]

    def _references(self, table: str) -> list[Any]:
        """(column, table that it refers to, column there)."""
        return self._execute('SELECT "from", "table", "to" FROM pragma_foreign_key_list(?)', (table,)).fetchall()

    def remove(self) -> None:
        """Remove some of them."""
        ends = self._state.clock() + STEP_SECONDS
        while self._tables and self._state.clock() < ends:
            if self._remove_some(self._tables[-1]):
                self._tables.pop()
                self._detached_to = None

    def _remove_some(self, table: str) -> bool:
        """Returns whether the table is gone."""
        own = [(column, key) for column, target, key in self._references(table) if target == table]
        if own:
            if self._detach_some(table, own):
                return False
        elif (index := self._execute(_INDEX, (table,)).get) is not None:
            self._execute(f"DROP INDEX {quoted(index)}")
            return False
        some = f"SELECT _rowid_ FROM {quoted(table)} ORDER BY _rowid_ LIMIT {_ROWS_AT_ONCE}"
        self._execute(f"DELETE FROM {quoted(table)} WHERE _rowid_ IN ({some})")
        if self._state.connection.changes():
            return False
        self._execute(f"DROP TABLE {quoted(table)}")
        return True

    def _detach_some(self, table: str, references: list[tuple[str, str]]) -> bool:
        """Have some more rows refer to none but themselves; returns whether there were any."""
        behind = "" if self._detached_to is None else f"WHERE _rowid_ > {self._detached_to}"
        some = f"SELECT _rowid_ FROM {quoted(table)} {behind} ORDER BY _rowid_ LIMIT {_ROWS_AT_ONCE}"
        rows: list[Any] = self._execute(some).fetchall()
        if rows:
            changes = ", ".join(f"{quoted(column)} = {quoted(key)}" for column, key in references)
            between = f"_rowid_ BETWEEN {rows[0][0]} AND {rows[-1][0]}"
            self._execute(f"UPDATE {quoted(table)} SET {changes} WHERE {between}")
            self._detached_to = rows[-1][0]
        return bool(rows)


_INDEX = "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL LIMIT 1"
