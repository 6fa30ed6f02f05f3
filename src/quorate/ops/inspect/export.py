"""The log as JSON, an entry in each line: for archives, audits and other programs."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import IO

import msgspec

from quorate.ops.inspect.directory import GROUP, DirectoryReport, inspect_directory
from quorate.ops.inspect.entries import report_entry
from quorate.ops.inspect.files import ReadOnlyFileSystem
from quorate.ops.inspect.log import read_log
from quorate.raft.entry import Entry


def export_log(path: Path, out: IO[bytes]) -> DirectoryReport:
    """Write what can be used of the log at ``path`` to ``out``; the report says what cannot.

    The first line is about all of it: whose it is, ``floor_index`` (the log begins behind it), ``last_index``, and the
    ``applied_index`` of the state, up to which entries are certain to be committed. Each of the others is an entry;
    ``payload`` is as it was proposed, in Base64. Raises :class:`ConfigError` if that is no data directory, and
    :class:`OSError` if ``out`` cannot be written.
    """
    report = inspect_directory(path)
    floor, last = report.floor.index, report.log.last_index
    identity = report.identity
    head = {
        "cluster_id": identity.cluster_id if identity is not None else None,
        "node_id": identity.node_id if identity is not None else None,
        "floor_index": floor,
        "last_index": last,
        "applied_index": report.state.applied_index if report.state is not None else 0,
    }
    out.write(msgspec.json.encode(head) + b"\n")

    def visit(segment: str, byte: int, entry: Entry) -> None:
        if floor < entry.index <= last:
            told = report_entry(segment, byte, entry)
            line = {
                "index": entry.index,
                "term": entry.term,
                "kind": told.kind,
                "time": told.time,
                "commands": told.commands,
                "payload": b64encode(entry.payload).decode(),
            }
            out.write(msgspec.json.encode(line) + b"\n")

    read_log(ReadOnlyFileSystem(), path / "groups" / str(GROUP) / "log", floor_index=floor, group=GROUP, visit=visit)
    return report
