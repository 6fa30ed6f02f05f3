"""The committed log, read once more from its beginning: what every node was to carry out, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from quorate.machine.commands import JOINT, decode_batch
from quorate.machine.contract import ApplyContext
from quorate.machine.joint import Part, decode_parts
from quorate.raft.entry import Entry, EntryKind


def commands_for(
    machine: str, entries: Iterable[Entry], *, is_refused: Callable[[Sequence[Part]], bool] | None = None
) -> Iterator[tuple[bytes, ApplyContext]]:
    """The commands for one machine in a log, from its first entry on. Of a request that came again only the first.

    So are its parts of joint commands, except of those of which ``is_refused`` says that another part refuses them.
    """
    requests: set[str] = set()
    time_us = 0
    for entry in entries:
        if entry.kind is not EntryKind.COMMANDS:
            continue
        batch = decode_batch(entry.payload)
        time_us = max(batch.time_us, time_us + 1)
        for position, command in enumerate(batch.commands):
            context = ApplyContext(entry.index, entry.term, time_us, batch.seed, position, command.origin)
            if command.machine == JOINT and is_refused is not None:
                parts = decode_parts(command.body)
                if not is_refused(parts):
                    yield from (
                        (part.body, context.of_part(number, 0))
                        for number, part in enumerate(parts)
                        if part.machine == machine
                    )
                continue
            if command.machine != machine or command.request_id in requests:
                continue
            if command.request_id is not None:
                requests.add(command.request_id)
            yield command.body, context
