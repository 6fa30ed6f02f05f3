"""What operators ask for: cancel, try again, remove, pause; and who the workers are."""

from __future__ import annotations

from collections.abc import Collection

import apsw
import msgspec

from quorate.tasks.commands import Cancel, Enlist, Purge, RemoveQueue, Retry, RetryAll
from quorate.tasks.errors import InvalidTask, NoSuchQueue, NotUnique, QueueInUse, TooMany
from quorate.tasks.lifecycle import ENDED, Event, State
from quorate.tasks.limits import PENDING_MAX, WORKER_LEASES, WORKERS_MAX
from quorate.tasks.store.rows import Row, Rows
from quorate.tasks.store.submitting import key_of
from quorate.tasks.store.tables import ENDED_STATES, RESTING, Lane

_READY = "lane = ? AND state = {state} ORDER BY priority DESC, sequence"
_RESTING = f"lane = ? AND state = {{state}} AND {RESTING} {{condition}} ORDER BY sequence"
_IS_KEPT = "AND next_us IS NOT 0"
"""Those that a tick is about to forget are gone, for all that an operator can say of them."""
_KEY_IS_FREE = (
    "AND NOT EXISTS (SELECT 1 FROM task AS holder WHERE holder.unique_key = task.unique_key "
    f"AND holder.state NOT IN {ENDED_STATES})"
)
_OTHER_HOLDER = (
    "SELECT holder.unique_key, holder.id FROM task JOIN task AS holder ON holder.unique_key = task.unique_key "
    f"AND holder.state NOT IN {ENDED_STATES} AND holder.sequence != task.sequence WHERE task.sequence = ?"
)
_as_text = msgspec.json.Encoder().encode


class Administration:
    """Changes tasks and queues on demand."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._tables = rows.tables
        self._connection = rows.connection

    def cancel(self, command: Cancel, time_us: int) -> None:
        """Raises :class:`~quorate.tasks.errors.NoSuchTask` and :class:`~quorate.tasks.errors.WrongState`."""
        row = self._rows.get(command.id)
        event = Event.FORCE if command.force else Event.CANCEL
        self._rows.check(row, event)
        self._rows.end(row, event, time_us, reason="cancelled")

    def retry(self, command: Retry, time_us: int) -> None:
        """Raises :class:`NotUnique`, :class:`~quorate.tasks.errors.NoSuchTask` and
        :class:`~quorate.tasks.errors.WrongState`.
        """
        row = self._rows.get(command.id)
        self._rows.check(row, Event.RETRY)
        holder = self._connection.execute(_OTHER_HOLDER, (row.sequence,)).fetchone()
        if holder is not None:
            raise NotUnique(key_of(holder[0]), holder[1])
        self._retry(row, time_us)

    def retry_all(self, command: RetryAll, time_us: int) -> int:
        """How many were dead. Those whose unique key is another's by now stay so."""
        rows = self._in_states((State.DEAD,), command.queue, command.limit, _KEY_IS_FREE)
        for row in rows:
            if self._connection.execute(_OTHER_HOLDER, (row.sequence,)).fetchone() is None:
                self._retry(row, time_us)
        return len(rows)

    def _retry(self, row: Row, time_us: int) -> None:
        """A task that has expired may be begun again: somebody wants it now. Who has not heard of its end waits on."""
        self._rows.make_ready(row._replace(expires_us=None, run_at_us=None), Event.RETRY, time_us, attempt=0)
        self._connection.execute(
            "UPDATE task SET expires_us = NULL, run_at_us = NULL, result = NULL WHERE sequence = ?", (row.sequence,)
        )
        self._connection.execute("DELETE FROM task_news WHERE sequence = ?", (row.sequence,))

    def purge(self, command: Purge, time_us: int) -> int:
        """How many were in those states, and are gone or about to be. Raises :class:`InvalidTask`."""
        if State.RUNNING in command.states:
            raise InvalidTask("state", "running", "tasks that are running cannot be purged: cancel them with force")
        states = tuple(map(State, dict.fromkeys(command.states)))
        rows = self._in_states(states, command.queue, command.limit, _IS_KEPT)
        self._forget([row for row in rows if State(row.state).is_ended])
        for row in rows:
            if not State(row.state).is_ended:
                self._rows.end(row, Event.CANCEL, time_us, reason="purged", keep=False)
        return len(rows)

    def remove_queue(self, command: RemoveQueue) -> int:
        """How many tasks that have ended went with it. Raises :class:`NoSuchQueue` and :class:`QueueInUse`."""
        queue = self._tables.queues.get(command.queue)
        if queue is None:
            raise NoSuchQueue(command.queue)
        unfinished = sum(lane.counts[state] for lane in queue.lanes.values() for state in State if state not in ENDED)
        if unfinished:
            raise QueueInUse(command.queue, unfinished)
        rows = self._in_states(tuple(sorted(ENDED)), command.queue, command.limit, _IS_KEPT)
        self._forget(rows)
        if len(rows) < command.limit:  # what is left of it goes with a tick, and the queue with that
            self._tables.configure(command.queue, False, PENDING_MAX)
        return len(rows)

    def _forget(self, rows: list[Row]) -> None:
        self._rows.forget([row for row in rows if not self._is_news(row)])

    def _is_news(self, row: Row) -> bool:
        """Whether those who depend on the task have not all learned that it ended: then a tick forgets it."""
        news = self._connection.execute("SELECT 1 FROM task_news WHERE sequence = ?", (row.sequence,)).fetchone()
        if news is not None:
            self._connection.execute("UPDATE task SET next_us = 0 WHERE sequence = ?", (row.sequence,))
        return news is not None

    def _in_states(self, states: tuple[State, ...], queue: str | None, limit: int, condition: str = "") -> list[Row]:
        """Some of one queue or all, lane by lane, so that nothing is looked at in vain: the oldest of a lane first, of
        those that are ready the next in turn.
        """
        rows: list[Row] = []
        for lane in self._lanes(queue):
            for state in states:
                if lane.counts[state] and len(rows) < limit:
                    chosen = _READY if state is State.READY else _RESTING
                    found = f"{chosen.format(state=int(state), condition=condition)} LIMIT ?"
                    rows += self._rows.where(found, (lane.number, limit - len(rows)))
        return rows

    def _lanes(self, queue: str | None) -> Collection[Lane]:
        if queue is None:
            return self._tables.lanes.values()
        known = self._tables.queues.get(queue)
        return () if known is None else known.lanes.values()


class Workers:
    """Who is there to do tasks."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def enlist(self, command: Enlist, time_us: int) -> None:
        """Raises :class:`TooMany`."""
        count = self._connection.execute("SELECT count(*) FROM task_worker WHERE id != ?", (command.worker,)).fetchone()
        if count is not None and count[0] >= WORKERS_MAX:
            raise TooMany("workers", WORKERS_MAX)
        self._connection.execute(
            "INSERT INTO task_worker VALUES (?, ?, ?, ?, ?, ?, ?, ?, '') ON CONFLICT DO UPDATE SET "
            "queues = excluded.queues, types = excluded.types, capabilities = excluded.capabilities, "
            "concurrency = excluded.concurrency, seen_us = excluded.seen_us, leaves_us = excluded.leaves_us",
            (
                command.worker,
                None if command.queues is None else _as_text(command.queues).decode(),
                None if command.types is None else _as_text(command.types).decode(),
                _as_text(command.capabilities).decode(),
                command.concurrency,
                time_us,
                time_us,
                time_us + WORKER_LEASES * command.lease_ms * 1000,
            ),
        )

    def dismiss(self, worker: str) -> None:
        """One who is not there may be dismissed."""
        self._connection.execute("DELETE FROM task_worker WHERE id = ?", (worker,))
