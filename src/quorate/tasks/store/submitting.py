"""How tasks come into being."""

from __future__ import annotations

from typing import NamedTuple

import apsw

from quorate.machine.sqlite import SqliteState
from quorate.tasks.commands import New, Spec, Submit
from quorate.tasks.errors import IdTaken, NotUnique, QueueFull, UnknownDependency
from quorate.tasks.lifecycle import Event, Facts, State, after
from quorate.tasks.store.rows import Options, Rows, broken_by, encode_options
from quorate.tasks.store.tables import ENDED_STATES, Lane, Queue

INLINE_BYTES_MAX = 1024
"""A longer payload has a row of its own: SQLite writes the whole of a row whenever anything of it changes."""

HOLDER = f"SELECT id FROM task WHERE unique_key = ? AND state NOT IN {ENDED_STATES}"
"""Who has a unique key, among those that have not ended."""
_INSERT = (
    "INSERT INTO task (sequence, id, lane, state, priority, next_us, run_at_us, expires_us, attempt, attempts_max, "
    "blockers, submitted_us, unique_key, options, payload_bytes, payload) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?)"
)


class _Kind(NamedTuple):
    """What follows from a spec."""

    spec: Spec
    lane: Lane
    options: bytes


class _Blockers(NamedTuple):
    """The tasks that a new one waits for. ``error``: one of them will not succeed."""

    sequences: tuple[int, ...] = ()
    error: str | None = None


_UNBLOCKED = _Blockers()


class Submitting:
    """Adds tasks."""

    def __init__(self, state: SqliteState, rows: Rows) -> None:
        self._state = state
        self._rows = rows
        self._tables = rows.tables
        self._connection = rows.connection

    def submit(self, command: Submit, time_us: int) -> list[tuple[int, bool]]:
        """See :class:`Submit`. Raises :class:`~quorate.tasks.errors.TaskRefusal`."""
        tasks, kinds = command.tasks, self._kinds(command.specs)
        if self._fit(tasks, kinds) and not any(task.depends_on for task in tasks):
            try:
                with self._state.savepoint():
                    return [(state, False) for state in self._insert(tasks, kinds, {}, time_us)]
            except apsw.ConstraintError:
                pass  # some of them are here already
        return self._submit_new(tasks, kinds, time_us)

    def _kinds(self, specs: list[Spec]) -> list[_Kind]:
        return [
            _Kind(spec, self._tables.lane(spec.queue, spec.type, spec.capabilities), encode_options(Options.of(spec)))
            for spec in specs
        ]

    def _submit_new(self, tasks: list[New], kinds: list[_Kind], time_us: int) -> list[tuple[int, bool]]:
        """As an idempotent request: what is here is left as it is."""
        known: dict[str, int] = {}
        new: dict[str, New] = {}
        positions: list[int] = []
        for position, task in enumerate(tasks):
            state = self._state_of(task, kinds[task.spec], position)
            if state is not None:
                known[task.id] = state
            elif task.id not in new:
                new[task.id] = task
                positions.append(position)
            elif new[task.id] != task:
                raise IdTaken(task.id, position)
        added = list(new.values())
        self._check_unique(added, positions, kinds)
        blockers = self._find_blockers(added, positions)
        self._check_room(added, kinds)
        states = dict(zip(new, self._insert(added, kinds, blockers, time_us), strict=True))
        return [(known[task.id], True) if task.id in known else (states[task.id], False) for task in tasks]

    def _state_of(self, task: New, kind: _Kind, position: int) -> int | None:
        """Of a task that was submitted before."""
        row = self._connection.execute(
            "SELECT state, lane, coalesce(payload, (SELECT payload FROM task_payload WHERE sequence = task.sequence)) "
            "FROM task WHERE id = ?",
            (task.id,),
        ).fetchone()
        if row is None:
            return None
        lane = self._tables.lanes[row[1]]  # perhaps another by now, where a capability was waived
        if (lane.queue, lane.type, row[2]) != (kind.lane.queue, kind.lane.type, task.payload):
            raise IdTaken(task.id, position)
        return int(row[0])

    def _check_unique(self, tasks: list[New], positions: list[int], kinds: list[_Kind]) -> None:
        seen: dict[str, str] = {}
        for position, task in zip(positions, tasks, strict=True):
            if task.unique_key is None:
                continue
            key = _unique(task.unique_key, kinds[task.spec].lane.queue)
            row = self._connection.execute(HOLDER, (key,)).fetchone()
            holder = str(row[0]) if row is not None else seen.setdefault(key, task.id)
            if holder != task.id:
                raise NotUnique(task.unique_key, holder, position)

    # -- room --------------------------------------------------------------------------------------------

    def _check_room(self, tasks: list[New], kinds: list[_Kind]) -> None:
        for queue, count in self._wanted(tasks, kinds):
            if count and queue.pending + count > queue.pending_max:
                raise QueueFull(queue.name, queue.pending_max)

    def _fit(self, tasks: list[New], kinds: list[_Kind]) -> bool:
        return all(queue.pending + count <= queue.pending_max for queue, count in self._wanted(tasks, kinds))

    def _wanted(self, tasks: list[New], kinds: list[_Kind]) -> list[tuple[Queue, int]]:
        """How many are to be added to each queue."""
        if len(kinds) == 1:
            return [(kinds[0].lane.queue, len(tasks))]
        counts: dict[str, int] = {}
        for task in tasks:
            name = kinds[task.spec].spec.queue
            counts[name] = counts.get(name, 0) + 1
        return [(self._tables.queue(name), count) for name, count in counts.items()]

    # -- dependencies ------------------------------------------------------------------------------------

    def _find_blockers(self, tasks: list[New], positions: list[int]) -> dict[str, _Blockers]:
        """By the id of a task that has any; those among the tasks have the sequences that they are going to have."""
        found: dict[str, _Blockers] = {}
        earlier: dict[str, int] = {}
        for sequence, (position, task) in enumerate(
            zip(positions, tasks, strict=True), self._tables.numbers.sequence + 1
        ):
            if task.depends_on:
                blockers = self._blockers_of(task, earlier, position)
                if blockers != _UNBLOCKED:
                    found[task.id] = blockers
            earlier[task.id] = sequence
        return found

    def _blockers_of(self, task: New, earlier: dict[str, int], position: int) -> _Blockers:
        sequences: dict[int, None] = {}
        error: str | None = None
        for target in task.depends_on:
            row = self._rows.find(target)
            if row is None:
                if target not in earlier:
                    raise UnknownDependency(target, position)
                sequences[earlier[target]] = None
            elif row.state in (State.DEAD, State.CANCELLED):
                error = error or broken_by(row.id, State(row.state))
            elif row.state != State.SUCCEEDED:
                sequences[row.sequence] = None
        return _Blockers(tuple(sequences), error)

    # -- inserting ---------------------------------------------------------------------------------------

    def _insert(
        self, tasks: list[New], kinds: list[_Kind], blockers: dict[str, _Blockers], time_us: int
    ) -> list[State]:
        """All of them, which is counted and told only when they are in."""
        sequence = first = self._tables.numbers.sequence
        states: list[State] = []
        rows, long = [], []
        for task in tasks:
            sequence += 1
            spec, lane, options = kinds[task.spec]
            run_at_us = task.run_at_us or (time_us + task.delay_us if task.delay_us else 0)
            waits = blockers.get(task.id, _UNBLOCKED)
            state = after(None, Event.SUBMIT, Facts(waits is not _UNBLOCKED, run_at_us > time_us))
            assert state is not None
            if state is State.READY:
                lane.first = min(lane.first, (-spec.priority, sequence))
            expires_us = max(run_at_us, time_us) + spec.ttl_ms * 1000 if spec.ttl_ms else None
            payload: bytes | None = task.payload
            if len(task.payload) > INLINE_BYTES_MAX:
                long.append((sequence, task.payload))
                payload = None
            rows.append(
                (
                    sequence,
                    task.id,
                    lane.number,
                    int(state),
                    spec.priority,
                    run_at_us if state is State.SCHEDULED else expires_us,
                    run_at_us or None,
                    expires_us,
                    spec.max_retries + 1,
                    len(waits.sequences),
                    time_us,
                    None if task.unique_key is None else _unique(task.unique_key, lane.queue),
                    options,
                    len(task.payload),
                    payload,
                )
            )
            states.append(state)
        self._connection.executemany(_INSERT, rows)
        if long:
            self._connection.executemany("INSERT INTO task_payload VALUES (?, ?)", long)
        self._tables.numbers.sequence = sequence
        self._tell(tasks, kinds, states, time_us)
        if blockers:
            self._block(tasks, blockers, first)
            for position, task in enumerate(tasks):
                error = blockers.get(task.id, _UNBLOCKED).error
                if error is not None:
                    row = self._rows.get(task.id)
                    states[position] = self._rows.end(row, Event.BREAK, time_us, reason="dependency", error=error)
        return states

    def _tell(self, tasks: list[New], kinds: list[_Kind], states: list[State], time_us: int) -> None:
        tell = self._rows.tell
        counts: dict[tuple[int, State], int] = {}
        for task, state in zip(tasks, states, strict=True):
            counts[task.spec, state] = counts.get((task.spec, state), 0) + 1
            tell(task.id, kinds[task.spec].lane, state, 0, time_us, None)
        for (kind, state), count in counts.items():
            self._tables.count(kinds[kind].lane, None, state, count)

    def _block(self, tasks: list[New], blockers: dict[str, _Blockers], first: int) -> None:
        """Note who waits for whom, before any that waits in vain ends: others of them may depend on it."""
        for sequence, task in enumerate(tasks, first + 1):
            waits = blockers.get(task.id, _UNBLOCKED)
            self._connection.executemany(
                "INSERT INTO task_dependency VALUES (?, ?)", [(target, sequence) for target in waits.sequences]
            )
            self._tables.numbers.dependencies += len(waits.sequences)


def _unique(key: str, queue: Queue) -> str:
    """A key counts within its queue."""
    return f"{queue.number}:{key}"


def key_of(stored: str) -> str:
    """The key as its caller knows it."""
    return stored.partition(":")[2]
