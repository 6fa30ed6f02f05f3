"""The tables of tasks, and what of them is kept in memory beside the file.

Each question that is asked all the time has an index for it: who is next in a lane, what is due, which task has this
id or this unique key. A *lane* is what tasks of one queue and type that need the same capabilities have in common:
a worker is offered whole lanes, so nothing is ever looked at that it could not do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import apsw
import msgspec

from quorate.tasks.errors import TooMany
from quorate.tasks.lifecycle import ENDED, PENDING, State
from quorate.tasks.limits import LANES_MAX, PENDING_MAX, QUEUES_MAX

ENDED_STATES = f"({', '.join(str(int(state)) for state in sorted(ENDED))})"
"""For texts of SQL: only conditions that are spelled out are those of a partial index."""
RESTING = f"state NOT IN ({State.READY:d}, {State.RUNNING:d})"
"""Which tasks ``task_resting`` has."""

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS task_queue (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    paused INTEGER NOT NULL DEFAULT 0,
    pending_max INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS task_lane (
    number INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    type TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    UNIQUE (queue, type, capabilities)
) STRICT;
CREATE TABLE IF NOT EXISTS task_count (
    lane INTEGER NOT NULL,
    state INTEGER NOT NULL,
    tasks INTEGER NOT NULL,
    PRIMARY KEY (lane, state)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS task_number (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    sequence INTEGER NOT NULL,
    token INTEGER NOT NULL,
    change INTEGER NOT NULL,
    dependencies INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO task_number VALUES (1, 0, 0, 0, 0);
CREATE TABLE IF NOT EXISTS task (
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    lane INTEGER NOT NULL,
    state INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    next_us INTEGER,
    run_at_us INTEGER,
    expires_us INTEGER,
    attempt INTEGER NOT NULL,
    attempts_max INTEGER NOT NULL,
    blockers INTEGER NOT NULL,
    token INTEGER,
    worker TEXT,
    submitted_us INTEGER NOT NULL,
    started_us INTEGER,
    ended_us INTEGER,
    unique_key TEXT,
    reason TEXT,
    error TEXT,
    options BLOB NOT NULL,
    result BLOB,
    payload_bytes INTEGER NOT NULL,
    payload BLOB
) STRICT;
CREATE INDEX IF NOT EXISTS task_ready ON task (lane, priority DESC, sequence, expires_us)
    WHERE state = {State.READY:d};
CREATE INDEX IF NOT EXISTS task_resting ON task (lane, state, sequence) WHERE {RESTING};
CREATE INDEX IF NOT EXISTS task_running ON task (worker) WHERE state = {State.RUNNING:d};
CREATE INDEX IF NOT EXISTS task_due ON task (next_us, sequence) WHERE next_us IS NOT NULL;
CREATE INDEX IF NOT EXISTS task_dead ON task (sequence) WHERE state = {State.DEAD:d};
CREATE UNIQUE INDEX IF NOT EXISTS task_unique ON task (unique_key)
    WHERE unique_key IS NOT NULL AND state NOT IN {ENDED_STATES};
CREATE TABLE IF NOT EXISTS task_payload (
    sequence INTEGER PRIMARY KEY,
    payload BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS task_dependency (
    target INTEGER NOT NULL,
    dependent INTEGER NOT NULL,
    PRIMARY KEY (target, dependent)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS task_dependent ON task_dependency (dependent);
CREATE TABLE IF NOT EXISTS task_news (
    sequence INTEGER PRIMARY KEY,
    succeeded INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS task_worker (
    id TEXT PRIMARY KEY,
    queues TEXT,
    types TEXT,
    capabilities TEXT NOT NULL,
    concurrency INTEGER NOT NULL,
    enlisted_us INTEGER NOT NULL,
    seen_us INTEGER NOT NULL,
    leaves_us INTEGER NOT NULL,
    health TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS task_worker_leaves ON task_worker (leaves_us);
CREATE TABLE IF NOT EXISTS task_schedule (
    name TEXT PRIMARY KEY,
    cron TEXT NOT NULL,
    timezone TEXT NOT NULL,
    owner TEXT NOT NULL,
    spec BLOB NOT NULL,
    payload BLOB NOT NULL,
    next_us INTEGER NOT NULL,
    last_us INTEGER,
    last_task TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS task_schedule_next ON task_schedule (next_us);
"""
"""Times are microseconds since 1970. ``next_us`` is when time does something to a task next, ``state`` tells what.

``task_ready`` has ``expires_us`` so that a claim steps over what has expired without a look at the tasks themselves. A
unique key stays with a task that has ended, and counts again if that is retried. ``task_dependency`` has a row for each
task that a WAITING one has yet to hear of; ``task_news`` are those that have ended and have not told all of theirs.
"""


@dataclass(slots=True)
class Queue:
    """A queue, which is there while it has tasks or settings. ``pending`` are those that count against its bound."""

    number: int
    name: str
    paused: bool = False
    pending_max: int = PENDING_MAX
    pending: int = 0
    lanes: dict[int, Lane] = field(default_factory=dict)
    """By their numbers."""

    @property
    def is_needed(self) -> bool:
        """Whether anything would be lost with it."""
        return bool(self.lanes) or self.paused or self.pending_max != PENDING_MAX


NOT_KNOWN = (-(1 << 63), 0)


class Lane:
    """Tasks of one queue and type that need the same capabilities, as long as there are any; ``counts`` by state.

    None that is ready comes before ``first``, a place in the order of claims: (priority, negative; sequence). It spares
    claims a look into lanes that have nothing to give before others do, and is no part of the state.
    """

    __slots__ = ("capabilities", "counts", "first", "key", "number", "queue", "type")

    def __init__(self, number: int, queue: Queue, kind: str, capabilities: tuple[str, ...]) -> None:
        self.number = number
        self.queue = queue
        self.type = kind
        self.capabilities = frozenset(capabilities)
        self.key = (queue.name, kind, capabilities)
        self.counts = [0] * len(State)
        self.first: tuple[int, int] = NOT_KNOWN


class Numbers(msgspec.Struct):
    """Counters that only go up. A number is never used twice, also not where what had it is gone."""

    sequence: int = 0
    token: int = 0
    change: int = 0
    """Changes of state so far: the number of the last, in the feed."""
    dependencies: int = 0
    """Rows in ``task_dependency``."""


_as_text = msgspec.json.Encoder().encode


class _Journal:
    """What a command has changed of queues and lanes."""

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = msgspec.structs.astuple(numbers)
        """As they were before."""
        self.counts: dict[tuple[int, int], int] = {}
        """As they were before, by lane and state."""
        self.settings: dict[str, tuple[bool, int]] = {}
        """As they were before, by queue."""
        self.lanes_made: list[Lane] = []
        self.lanes_gone: list[Lane] = []
        self.queues_made: list[Queue] = []
        self.queues_gone: list[Queue] = []


class Tables:
    """The open tables, with queues, lanes and counters in memory, which are always what the file says.

    :meth:`begin` before a command, then :meth:`write`, or :meth:`undo` if the file is rolled back instead.

    Lanes without tasks, and queues that nothing is left of, go at the end of the command that leaves them so: inside of
    a command a lane stays what it is. The number of one that is gone may be another's then.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        connection.execute(SCHEMA)
        row = connection.execute("SELECT sequence, token, change, dependencies FROM task_number").fetchone()
        assert row is not None
        self.numbers = Numbers(*row)
        self.queues: dict[str, Queue] = {}
        """By their names, in the order of their numbers, which is that in which they were made."""
        self.lanes: dict[int, Lane] = {}
        """By their numbers, in that order, too."""
        self._lane_of: dict[tuple[str, str, tuple[str, ...]], Lane] = {}
        self._load()
        self.begin()

    def _load(self) -> None:
        by_number: dict[int, Queue] = {}
        for number, name, paused, pending_max in self.connection.execute(
            "SELECT number, name, paused, pending_max FROM task_queue ORDER BY number"
        ):
            self.queues[name] = by_number[number] = Queue(number, name, bool(paused), pending_max)
        for number, queue, kind, capabilities in self.connection.execute("SELECT * FROM task_lane ORDER BY number"):
            self._add_lane(Lane(number, by_number[queue], kind, tuple(msgspec.json.decode(capabilities))))
        for number, state, tasks in self.connection.execute("SELECT lane, state, tasks FROM task_count"):
            lane = self.lanes[number]
            lane.counts[state] = tasks
            if State(state).is_pending:
                lane.queue.pending += tasks

    # -- queues and lanes --------------------------------------------------------------------------------

    def queue(self, name: str) -> Queue:
        """The queue of that name, which is made if there is none. Raises :class:`TooMany`."""
        queue = self.queues.get(name)
        if queue is None:
            if len(self.queues) >= QUEUES_MAX:
                raise TooMany("queues", QUEUES_MAX)
            last = next(reversed(self.queues.values()), None)
            queue = self.queues[name] = Queue(0 if last is None else last.number + 1, name)
            self._journal.queues_made.append(queue)
            self.connection.execute(
                "INSERT INTO task_queue (number, name, pending_max) VALUES (?, ?, ?)",
                (queue.number, name, queue.pending_max),
            )
        return queue

    def lane(self, queue: str, kind: str, capabilities: tuple[str, ...]) -> Lane:
        """The lane of such tasks, which is made if there is none. Raises :class:`TooMany`."""
        lane = self._lane_of.get((queue, kind, capabilities))
        if lane is None:
            if len(self.lanes) >= LANES_MAX:
                raise TooMany("combinations of queues, types and capabilities", LANES_MAX)
            lane = Lane(next(reversed(self.lanes), -1) + 1, self.queue(queue), kind, capabilities)
            self._add_lane(lane)
            self._journal.lanes_made.append(lane)
            self.connection.execute(
                "INSERT INTO task_lane VALUES (?, ?, ?, ?)",
                (lane.number, lane.queue.number, kind, _as_text(capabilities).decode()),
            )
        return lane

    def _add_lane(self, lane: Lane) -> None:
        self.lanes[lane.number] = lane.queue.lanes[lane.number] = self._lane_of[lane.key] = lane

    def _remove_lane(self, lane: Lane) -> None:
        del self.lanes[lane.number], lane.queue.lanes[lane.number], self._lane_of[lane.key]

    def configure(self, name: str, paused: bool | None, pending_max: int | None) -> None:
        """Set what is not ``None`` of a queue, which is made if there is none. Raises :class:`TooMany`."""
        queue = self.queue(name)
        self._journal.settings.setdefault(name, (queue.paused, queue.pending_max))
        if paused is not None:
            queue.paused = paused
        if pending_max is not None:
            queue.pending_max = pending_max
        self.connection.execute(
            "UPDATE task_queue SET paused = ?, pending_max = ? WHERE number = ?",
            (int(queue.paused), queue.pending_max, queue.number),
        )

    # -- counting ----------------------------------------------------------------------------------------

    def count(self, lane: Lane, before: State | None, now: State | None, tasks: int = 1) -> None:
        """So many tasks of the lane were in one state and are in another; ``None``: do not exist."""
        counts = self._journal.counts
        if before is not None:
            counts.setdefault((lane.number, before), lane.counts[before])
            lane.counts[before] -= tasks
            if before in PENDING:
                lane.queue.pending -= tasks
        if now is not None:
            counts.setdefault((lane.number, now), lane.counts[now])
            lane.counts[now] += tasks
            if now in PENDING:
                lane.queue.pending += tasks

    # -- commands ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A command begins."""
        self._journal = _Journal(self.numbers)

    def write(self) -> None:
        """Bring what was counted into the file."""
        numbers = msgspec.structs.astuple(self.numbers)
        if numbers != self._journal.numbers:
            self.connection.execute(
                "UPDATE task_number SET sequence = ?, token = ?, change = ?, dependencies = ?", numbers
            )
        self._clear()
        lanes = self.lanes
        counts = [
            (number, state, lanes[number].counts[state])
            for number, state in sorted(self._journal.counts)
            if number in lanes
        ]
        if counts:
            self.connection.executemany(
                "INSERT INTO task_count VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET tasks = excluded.tasks", counts
            )

    def _clear(self) -> None:
        """Nothing stays of lanes and queues that are not needed any more."""
        journal = self._journal
        touched = {number: self.lanes[number] for number, _ in journal.counts}
        touched |= {lane.number: lane for lane in journal.lanes_made}
        journal.lanes_gone = [lane for lane in touched.values() if not any(lane.counts)]
        for lane in journal.lanes_gone:
            self._remove_lane(lane)
        queues = {lane.queue.name: lane.queue for lane in journal.lanes_gone}
        queues |= {name: self.queues[name] for name in journal.settings}
        journal.queues_gone = [queue for queue in queues.values() if not queue.is_needed]
        for queue in journal.queues_gone:
            del self.queues[queue.name]
        for sql, gone in (
            ("DELETE FROM task_lane WHERE number = ?", journal.lanes_gone),
            ("DELETE FROM task_count WHERE lane = ?", journal.lanes_gone),
            ("DELETE FROM task_queue WHERE number = ?", journal.queues_gone),
        ):
            if gone:
                self.connection.executemany(sql, [(each.number,) for each in gone])

    def undo(self) -> None:
        """Have in memory what was there when the command began, whose :meth:`write` may be done."""
        journal = self._journal
        self.numbers = Numbers(*journal.numbers)
        for queue in journal.queues_gone:
            self.queues[queue.name] = queue
        for lane in journal.lanes_gone:
            self._add_lane(lane)
        for (number, state), tasks in journal.counts.items():
            lane = self.lanes[number]
            if State(state).is_pending:
                lane.queue.pending += tasks - lane.counts[state]
            lane.counts[state] = tasks
            lane.first = NOT_KNOWN
        for name, (paused, pending_max) in journal.settings.items():
            self.queues[name].paused, self.queues[name].pending_max = paused, pending_max
        for lane in journal.lanes_made:
            self._remove_lane(lane)
        for queue in journal.queues_made:
            del self.queues[queue.name]
        if journal.lanes_gone or journal.queues_gone:
            self._put_in_order()
        self.begin()

    def _put_in_order(self) -> None:
        self.lanes = dict(sorted(self.lanes.items()))
        self.queues = dict(sorted(self.queues.items(), key=lambda item: item[1].number))
        for queue in {lane.queue.name: lane.queue for lane in self._journal.lanes_gone}.values():
            queue.lanes = dict(sorted(queue.lanes.items()))
