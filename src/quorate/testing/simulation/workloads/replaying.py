"""The committed log, read once more from its beginning: what every node was to carry out, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quorate.machine.commands import decode_batch
from quorate.machine.contract import ApplyContext
from quorate.raft.entry import Entry, EntryKind


def commands_for(machine: str, entries: Iterable[Entry]) -> Iterator[tuple[bytes, ApplyContext]]:
    """The commands for one machine in a log, from its first entry on. Of a request that came again only the first."""
    requests: set[str] = set()
    time_us = 0
    for entry in entries:
        if entry.kind is not EntryKind.COMMANDS:
            continue
        batch = decode_batch(entry.payload)
        time_us = max(batch.time_us, time_us + 1)
        for position, command in enumerate(batch.commands):
            if command.machine != machine or command.request_id in requests:
                continue
            if command.request_id is not None:
                requests.add(command.request_id)
            yield command.body, ApplyContext(entry.index, entry.term, time_us, batch.seed, position, command.origin)
