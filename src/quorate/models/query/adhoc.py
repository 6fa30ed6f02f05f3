"""SQL that an administrator asks: reads of what the models, their histories and the events are kept in.

Nothing can be changed, hidden fields cannot be looked at, and time, memory and the size of the answer are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import apsw

from quorate.models.query.functions import add_readable
from quorate.models.query.selection import size_of
from quorate.models.store.columns import SqlValue
from quorate.models.store.events import EVENTS_TABLE
from quorate.models.store.history import history_table
from quorate.models.store.schema import ModelSchema

ROWS_MAX = 10_000
BYTES_MAX = 8 * 1024 * 1024
SQL_CHARACTERS_MAX = 64 * 1024
VALUE_BYTES_MAX = 4 * 1024 * 1024

Parameters = Sequence[SqlValue] | Mapping[str, SqlValue]

_HARMLESS = frozenset({apsw.SQLITE_SELECT, apsw.SQLITE_RECURSIVE})
_FORBIDDEN_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer"})
_SCHEMA_TABLES = frozenset({"sqlite_schema", "sqlite_master", "sqlite_temp_schema", "sqlite_temp_master"})
_LIMITS = (
    (apsw.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX),
    (apsw.SQLITE_LIMIT_SQL_LENGTH, 4 * SQL_CHARACTERS_MAX),
    (apsw.SQLITE_LIMIT_COLUMN, 200),
    (apsw.SQLITE_LIMIT_EXPR_DEPTH, 200),
    (apsw.SQLITE_LIMIT_COMPOUND_SELECT, 50),
    (apsw.SQLITE_LIMIT_ATTACHED, 0),
)


_JOINS_BY_NAME = re.compile(r"(?<![^\W\d])(using|natural)(?!\w)", re.IGNORECASE)
"""These words make SQLite compare columns without asking whether they may be read. Looked for wherever they stand, for
nothing that only seems to be in a string must slip through: right behind ``?1``, too, which ends before a letter."""
_FAILURES = (apsw.InterruptError, apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError)
"""These are not the statement's fault."""


class BadSql(Exception):
    """SQLite does not take the statement: its reason."""


class Result(NamedTuple):
    """Some rows under the names of their columns; ``truncated`` if there were more."""

    columns: list[str]
    rows: list[list[object]]
    truncated: bool


class Visible:
    """What may be read: the tables of some models, but for their hidden fields and what those were."""

    def __init__(self, schemas: Sequence[ModelSchema]) -> None:
        # What changed is kept as one value for all fields, the hidden ones too.
        nothing = frozenset[str]()
        self._hidden = {EVENTS_TABLE: frozenset({"data"}), "json_each": nothing, "json_tree": nothing}
        for schema in schemas:
            self._hidden[schema.table] = frozenset(column.name for column in schema.columns if not column.exposed)
            if schema.has_history:
                self._hidden[history_table(schema)] = frozenset({"changes"})

    def authorizer(self, tables: frozenset[str]) -> apsw.Authorizer:
        """What is asked of each statement, in a file with these tables."""

        def authorize(
            action: int, first: str | None, second: str | None, database: str | None, inside: str | None
        ) -> int:
            if action == apsw.SQLITE_FUNCTION:
                allowed = str(second).lower() not in _FORBIDDEN_FUNCTIONS
            elif action == apsw.SQLITE_READ:
                name, column = str(first), str(second)
                hidden = self._hidden.get(name)
                # Rows are counted by a column without a name, those of a subquery under the name that it has there.
                allowed = name not in tables and not column if hidden is None else column not in hidden
            else:
                allowed = action in _HARMLESS
            return apsw.SQLITE_OK if allowed else apsw.SQLITE_DENY

        return authorize


def prepare_for(visible: Visible) -> Callable[[apsw.Connection], None]:
    """What makes a connection fit for :func:`ask`, once it has been opened."""

    def prepare(connection: apsw.Connection) -> None:
        connection.pragma("temp_store", "file")  # a sort of what has no end must not take all memory
        add_readable(connection)
        for limit, value in _LIMITS:
            connection.limit(limit, value)
        tables = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        connection.authorizer = visible.authorizer(frozenset(tables | _SCHEMA_TABLES))

    return prepare


def ask(connection: apsw.Connection, sql: str, parameters: Parameters) -> Result:
    """The answer to one statement. Raises :class:`BadSql`."""
    by_name = _JOINS_BY_NAME.search(sql)
    if by_name is not None:
        raise BadSql(f"{by_name[0]!r} may not be written here: tables are joined with ON, and texts given as params")
    cursor = connection.cursor()
    columns: list[str] = []
    statements = 0

    def begins(cursor: apsw.Cursor, statement: str, bindings: object) -> bool:
        nonlocal statements, columns
        statements += 1
        columns = [name for name, *_ in cursor.get_description()] if statements == 1 else columns
        return statements == 1

    cursor.exec_trace = begins
    rows: list[list[object]] = []
    left = BYTES_MAX
    try:
        for row in cursor.execute(sql, parameters):
            if len(rows) == ROWS_MAX or left <= 0:
                return Result(columns, rows, truncated=True)
            rows.append([_shown(value) for value in row])
            left -= size_of(row) + 8 * len(row)
    except _FAILURES:
        raise
    except apsw.ExecTraceAbort:
        raise BadSql("one statement can be asked at a time") from None
    except (apsw.Error, ValueError, TypeError, LookupError, OverflowError) as error:
        raise BadSql(str(error)[:500]) from None
    return Result(columns, rows, truncated=False)


def _shown(value: SqlValue) -> object:
    return value.hex() if isinstance(value, bytes) else value
