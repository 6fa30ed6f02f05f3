"""Tasks as the machine sees them, and how they go from one state to another."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import msgspec

from quorate.tasks.commands import Spec
from quorate.tasks.errors import NoSuchTask, WrongState
from quorate.tasks.feed import Change
from quorate.tasks.lifecycle import ENDED, NO_FACTS, Event, Facts, State, after, is_possible
from quorate.tasks.limits import DEAD_RETENTION_US, FORGOTTEN_BYTES_MAX
from quorate.tasks.store.tables import NOT_KNOWN, Lane, Tables


class Options(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What of a task's :class:`Spec` only matters once somebody has the task at hand."""

    timeout_ms: int
    backoff_ms: int
    backoff_ms_max: int
    retention_ms: int
    schema_version: int
    exactly_once: bool

    @classmethod
    def of(cls, spec: Spec) -> Options:
        """Those of a spec."""
        return cls(
            spec.timeout_ms,
            spec.backoff_ms,
            spec.backoff_ms_max,
            spec.retention_ms,
            spec.schema_version,
            spec.exactly_once,
        )


encode_options = msgspec.msgpack.Encoder().encode
_decode_options = msgspec.msgpack.Decoder(Options).decode


@lru_cache(maxsize=1024)
def decode_options(data: bytes) -> Options:
    """Most tasks of a kind have the same."""
    return _decode_options(data)


class Row(NamedTuple):
    """What transitions need of a task."""

    sequence: int
    id: str
    lane: int
    state: int
    attempt: int
    attempts_max: int
    token: int | None
    worker: str | None
    run_at_us: int | None
    expires_us: int | None
    started_us: int | None
    blockers: int
    options: bytes
    payload_bytes: int


COLUMNS = ", ".join(Row._fields)


def broken_by(task_id: str, state: State) -> str:
    """The error of a task that depends on one that has ended so."""
    return f"it depends on the task {task_id}, which {state.phrase}"


class Rows:
    """Finds tasks, and moves them along the table of :mod:`quorate.tasks.lifecycle`."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.connection = tables.connection
        self.changes: list[Change] = []
        """What the command under way has changed."""

    # -- finding -----------------------------------------------------------------------------------------

    def find(self, task_id: str) -> Row | None:
        """The task with this id."""
        row = self.connection.execute(f"SELECT {COLUMNS} FROM task WHERE id = ?", (task_id,)).fetchone()
        return None if row is None else Row._make(row)

    def get(self, task_id: str) -> Row:
        """Raises :class:`NoSuchTask`."""
        row = self.find(task_id)
        if row is None:
            raise NoSuchTask(task_id)
        return row

    def where(self, condition: str, bindings: tuple[str | int, ...]) -> list[Row]:
        """The tasks that meet a condition, which says in what order."""
        return list(map(Row._make, self.connection.execute(f"SELECT {COLUMNS} FROM task WHERE {condition}", bindings)))

    def check(self, row: Row, event: Event) -> None:
        """Raises :class:`WrongState` if the event cannot happen to the task now."""
        state = State(row.state)
        if not is_possible(state, event):
            raise WrongState(row.id, state.label, event.value)

    # -- moving ------------------------------------------------------------------------------------------

    def moved(
        self,
        row: Row,
        event: Event,
        time_us: int,
        facts: Facts = NO_FACTS,
        *,
        worker: str | None = None,
        reason: str = "",
    ) -> State:
        """Where the event leads the task, counted and told; writing it is the caller's."""
        state = after(State(row.state), event, facts)
        assert state is not None, "forget() removes tasks"
        lane = self.tables.lanes[row.lane]
        self.tables.count(lane, State(row.state), state)
        self.tell(row.id, lane, state, row.attempt, time_us, worker, reason)
        return state

    def tell(
        self, task_id: str, lane: Lane, state: State, attempt: int, time_us: int, worker: str | None, reason: str = ""
    ) -> None:
        """One more change for the feed."""
        numbers = self.tables.numbers
        numbers.change += 1
        self.changes.append(
            Change(numbers.change, time_us, task_id, lane.queue.name, lane.type, state, attempt, worker, reason)
        )

    def make_ready(self, row: Row, event: Event, time_us: int, *, attempt: int, reason: str = "") -> None:
        """By an event that leads to READY, or to SCHEDULED where the task's time has not come."""
        early = row.run_at_us is not None and row.run_at_us > time_us
        facts = Facts(is_early=early, may_retry=True)
        state = self.moved(row._replace(attempt=attempt), event, time_us, facts, reason=reason)
        self.tables.lanes[row.lane].first = NOT_KNOWN
        self.connection.execute(
            "UPDATE task SET state = ?, next_us = ?, attempt = ?, blockers = 0, token = NULL, worker = NULL, "
            "ended_us = NULL, reason = NULL WHERE sequence = ?",
            (state, row.run_at_us if state is State.SCHEDULED else row.expires_us, attempt, row.sequence),
        )

    def end(
        self,
        row: Row,
        event: Event,
        time_us: int,
        *,
        facts: Facts = NO_FACTS,
        reason: str | None = None,
        error: str | None = None,
        result: bytes | None = None,
        keep: bool = True,
    ) -> State:
        """By an event that ends the task. Those that depend on it learn of that with a tick. ``keep``: its result.

        An error stays what the last attempt said, unless there is another. The token stays where a worker's report has
        ended the lease, so that the same report is known again.
        """
        state = self.moved(row, event, time_us, facts, worker=row.worker, reason=reason or "")
        assert state in ENDED
        retained_us = DEAD_RETENTION_US if state is State.DEAD else decode_options(row.options).retention_ms * 1000
        self.connection.execute(
            "UPDATE task SET state = ?, next_us = ?, ended_us = ?, expires_us = NULL, token = ?, reason = ?, "
            "error = coalesce(?, error), result = ? WHERE sequence = ?",
            (
                state,
                time_us + (retained_us if keep else 0),
                time_us,
                row.token if event in (Event.COMPLETE, Event.FAIL) else None,
                reason,
                error,
                result,
                row.sequence,
            ),
        )
        if self.tables.numbers.dependencies:
            self._has_ended(row, succeeded=state is State.SUCCEEDED)
        return state

    def _has_ended(self, row: Row, *, succeeded: bool) -> None:
        """Have those told who depend on the task; it waits for no others any more."""
        if row.state == State.WAITING:
            self.connection.execute("DELETE FROM task_dependency WHERE dependent = ?", (row.sequence,))
            self.tables.numbers.dependencies -= self.connection.changes()
        waits = "SELECT 1 FROM task_dependency WHERE target = ? LIMIT 1"
        if self.connection.execute(waits, (row.sequence,)).fetchone():
            self.connection.execute("INSERT OR REPLACE INTO task_news VALUES (?, ?)", (row.sequence, int(succeeded)))

    def forget(self, rows: Iterable[Row]) -> None:
        """Remove tasks that have ended, with all that belongs to them.

        Where their payloads are large, those behind the first of them stay for a tick: pages are freed one by one.
        """
        removed: list[tuple[int]] = []
        left: list[tuple[int]] = []
        size = 0
        for row in rows:
            size += row.payload_bytes
            if removed and size > FORGOTTEN_BYTES_MAX:
                left.append((row.sequence,))
                continue
            assert after(State(row.state), Event.FORGET) is None
            self.tables.count(self.tables.lanes[row.lane], State(row.state), None)
            removed.append((row.sequence,))
        self.connection.executemany("UPDATE task SET next_us = 0 WHERE sequence = ?", left)
        self.connection.executemany("DELETE FROM task WHERE sequence = ?", removed)
        self.connection.executemany("DELETE FROM task_payload WHERE sequence = ?", removed)
