"""What time does to tasks, and how those learn of an end who depend on it: all in bounded steps."""

from __future__ import annotations

from typing import cast

from quorate.tasks.commands import New, Slot, Spec, Submit, Tick
from quorate.tasks.errors import TaskRefusal
from quorate.tasks.lifecycle import Event, Facts, State
from quorate.tasks.store.rows import Row, Rows, broken_by
from quorate.tasks.store.schedules import Schedules, task_id_of
from quorate.tasks.store.submitting import Submitting

_FIRST = (
    "SELECT min(next_us) FROM (SELECT min(next_us) AS next_us FROM task WHERE next_us IS NOT NULL "
    "UNION ALL SELECT min(leaves_us) FROM task_worker)"
)
_NEWS = "SELECT sequence, succeeded FROM task_news ORDER BY sequence LIMIT 1"


class Upkeep:
    """Does what is due."""

    def __init__(self, rows: Rows, submitting: Submitting, schedules: Schedules) -> None:
        self._rows = rows
        self._tables = rows.tables
        self._connection = rows.connection
        self._submitting = submitting
        self._schedules = schedules

    @property
    def next_us(self) -> int | None:
        """When there is something to do for a :class:`Tick` without slots; ``None``: never, as it is."""
        if self._connection.execute(_NEWS).fetchone() is not None:
            return 0
        row = self._connection.execute(_FIRST).fetchone()
        return None if row is None else cast("int | None", row[0])

    def tick(self, command: Tick, time_us: int) -> int:
        """How many tasks were changed, up to ``limit``."""
        done = sum([self._take_turn(slot, time_us) for slot in command.slots])
        self._connection.execute("DELETE FROM task_worker WHERE leaves_us <= ?", (time_us,))
        done += self._tell_dependents(command.limit, time_us)
        if done < command.limit:
            done += self._do_due(command.limit - done, time_us)
        return done

    # -- what is due -------------------------------------------------------------------------------------

    def _do_due(self, limit: int, time_us: int) -> int:
        due = "next_us IS NOT NULL AND next_us <= ? ORDER BY next_us, sequence LIMIT ?"
        rows = self._rows.where(due, (time_us, limit))
        forgotten: list[Row] = []
        for row in rows:
            state = State(row.state)
            if state.is_ended:
                forgotten.append(row)
            elif state is State.RUNNING:
                self._lose(row, time_us)
            elif row.expires_us is not None and row.expires_us <= time_us:
                self._rows.end(row, Event.EXPIRE, time_us, reason="expired")
            else:
                self._rows.make_ready(row, Event.DUE, time_us, attempt=row.attempt)
        self._rows.forget(forgotten)
        return len(rows)

    def _lose(self, row: Row, time_us: int) -> None:
        """A lease has ended without a word: the next worker gets the task, unless it had its attempts."""
        facts = Facts(may_retry=row.attempt < row.attempts_max)
        if facts.may_retry:
            self._rows.make_ready(row, Event.LOSE, time_us, attempt=row.attempt, reason="lease lost")
        else:
            error = f"the worker {row.worker} was not heard of until its lease was over"
            self._rows.end(row, Event.LOSE, time_us, facts=facts, reason="lease lost", error=error)

    # -- dependents --------------------------------------------------------------------------------------

    def _tell_dependents(self, limit: int, time_us: int) -> int:
        """Go on with the oldest news first."""
        told = 0
        while told < limit and (news := self._connection.execute(_NEWS).fetchone()) is not None:
            target, succeeded = cast("tuple[int, int]", news)
            error = None if succeeded else self._error_of(target)
            found = self._connection.execute(
                "SELECT dependent FROM task_dependency WHERE target = ? ORDER BY dependent LIMIT ?",
                (target, limit - told),
            )
            dependents = [cast("int", dependent) for (dependent,) in found]
            self._connection.executemany(
                "DELETE FROM task_dependency WHERE target = ? AND dependent = ?",
                [(target, dependent) for dependent in dependents],
            )
            self._tables.numbers.dependencies -= len(dependents)
            for dependent in dependents:
                self._tell(dependent, error, time_us)
            if len(dependents) < limit - told:
                self._connection.execute("DELETE FROM task_news WHERE sequence = ?", (target,))
            told += max(1, len(dependents))
        return told

    def _error_of(self, target: int) -> str:
        """No task is forgotten before all have heard of its end who depend on it."""
        (row,) = self._rows.where("sequence = ?", (target,))
        return broken_by(row.id, State(row.state))

    def _tell(self, sequence: int, error: str | None, time_us: int) -> None:
        for row in self._rows.where("sequence = ?", (sequence,)):
            if row.state != State.WAITING:
                continue
            if error is not None:
                self._rows.end(row, Event.BREAK, time_us, reason="dependency", error=error)
            elif row.blockers > 1:
                self._connection.execute("UPDATE task SET blockers = blockers - 1 WHERE sequence = ?", (sequence,))
            else:
                self._rows.make_ready(row, Event.UNBLOCK, time_us, attempt=row.attempt)

    # -- schedules ---------------------------------------------------------------------------------------

    def _take_turn(self, slot: Slot, time_us: int) -> int:
        """Once for each slot: a leader that was succeeded meanwhile comes too late with it."""
        due = self._schedules.due(slot)
        if due is None:
            return 0
        spec, payload = due
        task_id: str | None = task_id_of(slot.name, slot.slot_us)
        assert task_id is not None
        try:
            self._submit(spec, New(0, task_id, payload), time_us)
        except (TaskRefusal, OverflowError):  # the queue is full, as a rule: this turn is left out, and nothing else is
            task_id = None
        self._schedules.took_turn(slot, task_id)
        return 1

    def _submit(self, spec: Spec, task: New, time_us: int) -> None:
        self._submitting.submit(Submit([spec], [task]), time_us)
