"""A node in miniature: the machine on a real file, and a log whose time is the test's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from quorate.errors import CommandFailed
from quorate.machine.contract import ApplyContext
from quorate.machine.sqlite import SqliteState
from quorate.tasks.commands import (
    Claim,
    Claims,
    Command,
    Completed,
    Failed,
    New,
    Released,
    Report,
    Spec,
    Submit,
    Tick,
    encode_command,
)
from quorate.tasks.lifecycle import State
from quorate.tasks.machine import TasksMachine
from quorate.tasks.store.claiming import Lease

FIRST_US = 1_700_000_000_000_000
SECOND_US = 1_000_000
SPEC = Spec("mail", "send")


class Stored(NamedTuple):
    """What the table says of a task."""

    sequence: int
    id: str
    state: State
    attempt: int
    token: int | None
    worker: str | None
    next_us: int | None
    blockers: int
    reason: str | None
    error: str | None
    result: bytes | None
    payload: bytes | None


class Replica:
    """One machine on one file. ``time_us`` is the log's, and goes on by a microsecond with each command."""

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self.index = 0
        self.time_us = FIRST_US
        self.open()

    def open(self) -> None:
        self.state = SqliteState(self.path)
        self.machine = TasksMachine()
        self.machine.open(self.state)

    def close(self) -> None:
        """What was applied is in the file behind it."""
        self.state.commit()
        self.machine.close()
        self.state.close()

    def reopen(self) -> None:
        self.close()
        self.open()

    # -- commands ----------------------------------------------------------------------------------------

    def do(self, command: Command) -> Any:
        """The result of a command, or its refusal raised."""
        self.index += 1
        self.time_us += 1
        self.state.begin()
        context = ApplyContext(self.index, 1, self.time_us, seed=self.index * 7919)
        return self.machine.apply(encode_command(command), context)

    def outcome(self, command: Command) -> object:
        """The result, or the refusal."""
        try:
            return self.do(command)
        except CommandFailed as refusal:
            return refusal

    def later(self, seconds: float) -> None:
        self.time_us += round(seconds * SECOND_US)

    def submit(self, *tasks: New, spec: Spec = SPEC) -> list[tuple[int, bool]]:
        return cast("list[tuple[int, bool]]", self.do(Submit([spec], list(tasks))))

    def add(self, *ids: str, spec: Spec = SPEC) -> None:
        """Tasks with these ids."""
        self.submit(*(New(0, task_id, b"{}") for task_id in ids), spec=spec)

    def claim(self, limit: int = 1, worker: str = "w", **more: Any) -> list[Lease]:
        ((*leases,),) = self.do(Claims([Claim(worker, limit, **more)]))
        return leases

    def complete(self, lease: Lease, result: bytes = b"null") -> str:
        (label,) = self.do(Report(completed=[Completed(lease.id, lease.token, result)]))
        return str(label)

    def fail(self, lease: Lease, error: str = "no", **more: Any) -> str:
        (label,) = self.do(Report(failed=[Failed(lease.id, lease.token, error, **more)]))
        return str(label)

    def release(self, lease: Lease) -> str:
        (label,) = self.do(Report(released=[Released(lease.id, lease.token)]))
        return str(label)

    def tick(self, limit: int = 250) -> int:
        return int(self.do(Tick(limit)))

    def settle(self) -> int:
        """Tick until nothing is due; returns how often."""
        ticks = 0
        while (next_us := self.machine.upkeep.next_us) is not None and next_us <= self.time_us:
            assert self.tick() > 0 or self.machine.upkeep.next_us != next_us, "a tick for nothing"
            ticks += 1
        return ticks

    # -- looking -----------------------------------------------------------------------------------------

    def all(self, where: str = "1") -> dict[str, Stored]:
        """The tasks, by id."""
        rows = self.state.connection.execute(
            "SELECT sequence, id, state, attempt, token, worker, next_us, blockers, reason, error, result, "
            "coalesce(payload, (SELECT payload FROM task_payload WHERE sequence = task.sequence)) "
            f"FROM task WHERE {where} ORDER BY sequence"
        )
        return {row[1]: Stored(row[0], row[1], State(row[2]), *row[3:]) for row in rows}

    def __getitem__(self, task_id: str) -> Stored:
        return self.all()[task_id]

    def states(self, ids: Sequence[str]) -> list[State]:
        tasks = self.all()
        return [tasks[task_id].state for task_id in ids]

    def count(self, table: str) -> int:
        row: Any = self.state.connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(row[0])

    def digest(self) -> str:
        """Of all tables."""
        digest = hashlib.blake2b(digest_size=16)
        self.state.digest_into(digest, frozenset())
        return digest.hexdigest()

    def memory(self) -> object:
        """All that the machine keeps beside the file."""
        tables = self.machine.tables
        queues = [
            (queue.number, name, queue.name, queue.paused, queue.pending_max, queue.pending, list(queue.lanes))
            for name, queue in tables.queues.items()
        ]
        lanes = [
            (lane.number, lane.queue.name, lane.type, lane.capabilities, lane.counts) for lane in tables.lanes.values()
        ]
        return repr((tables.numbers, queues, lanes, sorted(tables._lane_of)))
