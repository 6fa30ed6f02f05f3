"""Rows of keys in the SQLite file: segments of many, which are only ever appended, and the line that says which count.

A segment is one blob of encoded rows. It has a number, and the line says from which number on (``first``) and before
which (``behind``) segments count: those before are void, and deleted bit by bit; those behind are of a checkpoint that
was never completed. Of a key the newest row counts, the last in the segment with the highest number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import apsw

from quorate.machine.contract import Rows

TABLES = frozenset({"kv_segment", "kv_checkpoint"})
SCHEMA = """
CREATE TABLE IF NOT EXISTS kv_segment (
    number INTEGER PRIMARY KEY,
    rows BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS kv_checkpoint (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    first INTEGER NOT NULL,
    behind INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    time_us INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO kv_checkpoint VALUES (1, 0, 0, 0, 0);
"""
_FREE = (
    "DELETE FROM kv_segment WHERE number IN (SELECT number FROM kv_segment WHERE number < ? ORDER BY number LIMIT ?)"
)


class Header(NamedTuple):
    """What the last complete checkpoint has left: the segments that count, and the keyspace's revision and time."""

    first: int
    behind: int
    revision: int
    time_us: int


class Segments:
    """The two tables. Transactions are somebody else's business."""

    def __init__(self, connection: apsw.Connection) -> None:
        """Creates the tables, if need be, and removes what an unfinished checkpoint has left."""
        self._connection = connection
        connection.execute(SCHEMA)
        row: Any = connection.execute("SELECT first, behind, revision, time_us FROM kv_checkpoint").fetchone()
        self.header = Header(*row)
        self.next = self.header.behind
        """The number of the next segment."""
        self._last = self.next
        connection.execute("DELETE FROM kv_segment WHERE number >= ?", (self.next,))

    def newest_first(self) -> Iterator[bytes]:
        """The segments that count."""
        newest = "SELECT rows FROM kv_segment WHERE number >= ? ORDER BY number DESC"
        found: Iterator[Any] = self._connection.execute(newest, (self.header.first,))
        return (rows for (rows,) in found)

    def append(self, rows: bytes) -> None:
        """Write a segment. It counts when :meth:`complete` says so."""
        self._connection.execute("INSERT INTO kv_segment VALUES (?, ?)", (self.next, rows))
        self.next += 1

    def complete(self, header: Header) -> None:
        """From now on this counts."""
        self._connection.execute("UPDATE kv_checkpoint SET first = ?, behind = ?, revision = ?, time_us = ?", header)
        self._last, self.header = self.header.behind, header

    def free(self, at_once: int) -> Iterator[None]:
        """Delete the void segments, so many in each step."""
        self._connection.execute(_FREE, (self.header.first, at_once))
        while self._connection.changes():
            yield
            self._connection.execute(_FREE, (self.header.first, at_once))

    def appended(self) -> list[Rows]:
        """What was written for the last :meth:`complete`, and the line that says that it counts."""
        return [
            Rows(
                "SELECT number, rows FROM kv_segment WHERE number >= ? AND number < ?",
                (self._last, self.header.behind),
                "INSERT OR REPLACE INTO kv_segment VALUES (?, ?)",
            ),
            Rows(
                "SELECT only, first, behind, revision, time_us FROM kv_checkpoint",
                (),
                "INSERT OR REPLACE INTO kv_checkpoint VALUES (?, ?, ?, ?, ?)",
            ),
        ]
