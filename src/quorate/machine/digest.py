"""A digest of the rows in the SQLite file, equal wherever the same entries were applied."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Protocol

import apsw
import msgspec

_OWN_TABLES = frozenset(
    {
        "quorate_applied",
        "quorate_latecomers",
        "quorate_sessions",
        "quorate_cached_sessions",
        "quorate_cached_requests",
        "quorate_joint",
    }
)
BESIDE_THE_STATE = ("quorate_next_", "quorate_former_")
"""How the names of tables begin that are no part of the state: they are being made for it, or being removed."""
_SESSIONS = "SELECT machine, request_id, fingerprint, outcome, time_us FROM quorate_sessions ORDER BY machine, sequence"
_encode = msgspec.msgpack.Encoder().encode


class Hash(Protocol):
    """Any of ``hashlib``'s."""

    def update(self, data: bytes, /) -> None:
        """Add ``data``."""
        ...


def digest_tables(connection: apsw.Connection, local_tables: Container[str], digest: Hash) -> None:
    """Add all tables of the state but ``local_tables`` to ``digest``: rows in the order of their primary keys.

    Columns count by their names, for a table that was extended has them in another order than one made anew. Reads
    every row: some seconds for a million.
    """
    tables: list[Any] = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    ).fetchall()
    for (name,) in tables:
        if name in _OWN_TABLES or name in local_tables or name.startswith(("sqlite_", *BESIDE_THE_STATE)):
            continue
        _add(digest, name, connection, _rows_sql(connection, name))
    if any(name == "quorate_sessions" for (name,) in tables):
        _add(digest, "quorate_sessions", connection, _SESSIONS)


def _rows_sql(connection: apsw.Connection, table: str) -> str:
    columns: list[Any] = connection.execute(
        "SELECT name, pk FROM pragma_table_info(?) ORDER BY name", (table,)
    ).fetchall()
    names = ", ".join(_quoted(name) for name, _ in columns)
    keys = [_quoted(name) for _, name in sorted((pk, name) for name, pk in columns if pk)]
    return f"SELECT {names} FROM {_quoted(table)} ORDER BY {', '.join(keys) or '_rowid_'}"


def _add(digest: Hash, name: str, connection: apsw.Connection, sql: str) -> None:
    digest.update(_encode(name))
    for row in connection.execute(sql):
        digest.update(_encode(row))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
