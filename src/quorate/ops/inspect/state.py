"""Looking into the state machines' SQLite file without writing to it, or beside it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

COPY_BYTES_MAX = 4 * 2**30
"""A larger file is not copied aside: what its own log holds is left out then."""


@dataclass(slots=True, kw_only=True)
class MachineReport:
    """How far one machine has applied the log."""

    name: str
    applied_index: int
    time_us: int
    """The log's time there, in microseconds since 1970 (UTC)."""


@dataclass(slots=True, kw_only=True)
class StateReport:
    """What is in ``state.sqlite``."""

    bytes: int
    wal_bytes: int
    """The size of SQLite's own log beside it: what was committed since the last checkpoint."""
    as_of: str = "now"
    """Which moment is shown."""
    machines: list[MachineReport] = field(default_factory=list)
    tables: dict[str, int] = field(default_factory=dict)
    """Table → rows."""
    sessions: dict[str, int] = field(default_factory=dict)
    """Machine → requests remembered, so that a retry is not applied again."""
    problem: str | None = None

    @property
    def applied_index(self) -> int:
        """Up to here the log is committed for certain: some machine has applied it."""
        return max((machine.applied_index for machine in self.machines), default=0)


def read_state(path: Path, *, in_use: bool) -> StateReport | None:
    """What is in the file at ``path``; ``None`` if there is none. Reads every table once, to count its rows.

    While a process has it ``in_use``, what is shown is its last checkpoint, a few seconds old: to join in would be
    to hold that process up.
    """
    if not path.exists():
        return None
    wal = path.with_name(f"{path.name}-wal")
    report = StateReport(bytes=path.stat().st_size, wal_bytes=wal.stat().st_size if wal.exists() else 0)
    try:
        with _opened(path, wal, report, in_use=in_use) as connection:
            _read(connection, report)
    except (OSError, apsw.Error) as error:
        report.problem = str(error) or repr(error)
    return report


@contextmanager
def _opened(path: Path, wal: Path, report: StateReport, *, in_use: bool) -> Iterator[apsw.Connection]:
    too_large = report.bytes + report.wal_bytes > COPY_BYTES_MAX
    if in_use or too_large or not report.wal_bytes:
        if in_use or report.wal_bytes:
            report.as_of = "the last checkpoint"
        with _connection(path, "immutable=1") as connection:
            yield connection
        return
    # SQLite would have to write beside the file to take in what its own log holds: so that happens elsewhere.
    with tempfile.TemporaryDirectory(prefix="quorate-inspect-") as directory:
        for file in (path, wal):
            shutil.copyfile(file, Path(directory) / file.name)
        with _connection(Path(directory) / path.name, "") as connection:
            yield connection


@contextmanager
def _connection(path: Path, query: str) -> Iterator[apsw.Connection]:
    flags = apsw.SQLITE_OPEN_URI | (apsw.SQLITE_OPEN_READONLY if query else apsw.SQLITE_OPEN_READWRITE)
    connection = apsw.Connection(f"file:{quote(str(path.absolute()))}?{query}", flags=flags)
    try:
        yield connection
    finally:
        connection.close()


def _read(connection: apsw.Connection, report: StateReport) -> None:
    names: list[Any] = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    ).fetchall()
    tables = {name for (name,) in names}
    if "quorate_applied" in tables:
        rows: list[Any] = connection.execute(
            "SELECT machine, entry_index, time_us FROM quorate_applied ORDER BY machine"
        ).fetchall()
        report.machines = [MachineReport(name=name, applied_index=at, time_us=time_us) for name, at, time_us in rows]
    if "quorate_sessions" in tables:
        report.sessions = dict(
            connection.execute("SELECT machine, count(*) FROM quorate_sessions GROUP BY machine ORDER BY machine")
        )
    for name in sorted(tables - {"quorate_applied", "quorate_latecomers", "quorate_sessions"}):
        quoted = '"' + name.replace('"', '""') + '"'
        report.tables[name] = connection.execute(f"SELECT count(*) FROM {quoted}").get
