"""Tasks that need not be done where they were to be done: who could have done them is gone."""

from __future__ import annotations

from typing import cast

from quorate.tasks.commands import Waive
from quorate.tasks.lifecycle import PENDING, State
from quorate.tasks.store.rows import Rows
from quorate.tasks.store.tables import NOT_KNOWN, RESTING, Lane

_READY = (
    f"SELECT sequence, id, attempt FROM task WHERE lane = ? AND state = {State.READY:d} "
    "ORDER BY priority DESC, sequence LIMIT ?"
)
_RESTING = (
    f"SELECT sequence, id, attempt FROM task WHERE lane = ? AND state = ? AND {RESTING} ORDER BY sequence LIMIT ?"
)


class Waiving:
    """Moves tasks to the lanes of those that need less."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._tables = rows.tables
        self._connection = rows.connection

    def waive(self, command: Waive, time_us: int) -> int:
        """See :class:`Waive`. Raises :class:`~quorate.tasks.errors.TooMany` for lanes."""
        done = 0
        for lane in [lane for lane in self._tables.lanes.values() if self._is_meant(lane, command)]:
            for state in sorted(PENDING):
                if lane.counts[state] and done < command.limit:
                    done += self._move(lane, state, command, command.limit - done, time_us)
        return done

    @staticmethod
    def _is_meant(lane: Lane, command: Waive) -> bool:
        return command.capability in lane.capabilities and command.queue in (None, lane.queue.name)

    def _move(self, lane: Lane, state: State, command: Waive, limit: int, time_us: int) -> int:
        less = tuple(sorted(lane.capabilities - {command.capability}))
        target = self._tables.lane(lane.queue.name, lane.type, less)
        if state is State.READY:
            found = self._connection.execute(_READY, (lane.number, limit))
        else:
            found = self._connection.execute(_RESTING, (lane.number, int(state), limit))
        tasks = cast("list[tuple[int, str, int]]", list(found))
        self._connection.executemany(
            "UPDATE task SET lane = ? WHERE sequence = ?", [(target.number, sequence) for sequence, _, _ in tasks]
        )
        self._tables.count(lane, state, None, len(tasks))
        self._tables.count(target, None, state, len(tasks))
        if state is State.READY:  # others may do them now: have them look
            target.first = NOT_KNOWN
            for _, task_id, attempt in tasks:
                self._rows.tell(task_id, target, state, attempt, time_us, None, "waived")
        return len(tasks)
