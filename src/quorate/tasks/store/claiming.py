"""Leases: who gets which task, and for how long."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from quorate.tasks.commands import Claim, Heartbeat
from quorate.tasks.errors import NoSuchWorker
from quorate.tasks.lifecycle import Event, State, after
from quorate.tasks.limits import CLAIMED_BYTES_MAX, WORKER_LEASES
from quorate.tasks.store.rows import Rows, decode_options
from quorate.tasks.store.tables import Lane

_READY = (
    "SELECT -priority, sequence, lane, id, attempt, payload_bytes FROM task "
    f"WHERE lane = ? AND state = {State.READY:d} "
    "AND (expires_us IS NULL OR expires_us > ?) ORDER BY priority DESC, sequence LIMIT ?"
)
_LEASE = (
    f"UPDATE task SET state = {State.RUNNING:d}, next_us = ?, attempt = ?, token = ?, worker = ?, started_us = ? "
    "WHERE sequence = ?"
)

Names = frozenset[str] | None


class Lease(NamedTuple):
    """A worker has a task until the log's time is ``deadline_us``, unless it puts that off."""

    sequence: int
    id: str
    token: int
    deadline_us: int


class _Ready(NamedTuple):
    """A task that waits for a worker, by its place in the order."""

    before_lower: int
    sequence: int
    lane: int
    id: str
    attempt: int
    payload_bytes: int


class Claiming:
    """Gives leases, and prolongs them."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._tables = rows.tables
        self._connection = rows.connection

    def claim_all(self, claims: Sequence[Claim], time_us: int) -> list[list[Lease]]:
        """One after the other, each up to its ``limit``: of higher priority first, then those that came first, whatever
        their lanes.
        """
        ready = [lane for lane in self._tables.lanes.values() if lane.counts[State.READY]]
        fitting = Fitting(ready)
        return [self._claim(claim, fitting.of(claim), time_us) for claim in claims]

    def _claim(self, claim: Claim, fitting: list[Lane], time_us: int) -> list[Lease]:
        lanes = [lane for lane in fitting if lane.counts[State.READY]]
        assert after(State.READY, Event.CLAIM) is State.RUNNING
        numbers, tell = self._tables.numbers, self._rows.tell
        deadline_us = time_us + claim.lease_ms * 1000
        leases: list[Lease] = []
        updates = []
        size = 0
        for _, sequence, lane_number, task_id, attempt, payload_bytes in self._in_turn(lanes, time_us, claim.limit):
            size += payload_bytes
            if len(leases) >= claim.limit or (leases and size > CLAIMED_BYTES_MAX):
                break
            numbers.token += 1
            leases.append(Lease(sequence, task_id, numbers.token, deadline_us))
            updates.append((deadline_us, attempt + 1, numbers.token, claim.worker, time_us, sequence))
            lane = self._tables.lanes[lane_number]
            self._tables.count(lane, State.READY, State.RUNNING)
            tell(task_id, lane, State.RUNNING, attempt + 1, time_us, claim.worker)
        self._connection.executemany(_LEASE, updates)
        return leases

    def _in_turn(self, lanes: list[Lane], time_us: int, limit: int) -> Iterator[_Ready]:
        """The ready tasks of these lanes, of which up to ``limit`` are taken: whoever asks for the next has counted the
        last as taken. No lane is looked into before it could have the next one.
        """
        turns = [(lane.first, lane.number) for lane in lanes]
        heapify(turns)
        found: dict[int, deque[_Ready]] = {}
        while turns:
            _, number = heappop(turns)
            lane, tasks = self._tables.lanes[number], found.get(number)
            if tasks is None:
                tasks = found[number] = deque(self._ready(lane, time_us, max(limit, 0)))
            else:
                yield tasks.popleft()
            if tasks:
                lane.first = tasks[0][:2]
                heappush(turns, (lane.first, number))

    def _ready(self, lane: Lane, time_us: int, limit: int) -> list[_Ready]:
        return list(map(_Ready._make, self._connection.execute(_READY, (lane.number, time_us, limit))))

    def heartbeat(self, command: Heartbeat, time_us: int) -> list[str]:
        """The ids of the tasks that are not the worker's any more. Raises :class:`NoSuchWorker`."""
        self._connection.execute(
            "UPDATE task_worker SET seen_us = ?, leaves_us = ?, health = ? WHERE id = ?",
            (time_us, time_us + WORKER_LEASES * command.lease_ms * 1000, command.health, command.worker),
        )
        if not self._connection.changes():
            raise NoSuchWorker(command.worker)
        lost = []
        for task_id, token in command.leases:
            if not self._prolong(task_id, token, time_us, command.lease_ms * 1000):
                lost.append(task_id)
        return lost

    def _prolong(self, task_id: str, token: int, time_us: int, lease_us: int) -> bool:
        """Whether the lease still was, and is to be. A task that should have ended by now is taken away."""
        row = self._rows.find(task_id)
        if row is None or row.token != token or row.state != State.RUNNING:
            return False
        deadline_us = time_us + lease_us
        timeout_ms = decode_options(row.options).timeout_ms
        if timeout_ms and row.started_us is not None:
            deadline_us = min(deadline_us, row.started_us + timeout_ms * 1000 + lease_us)
            if deadline_us <= time_us:
                return False
        self._connection.execute("UPDATE task SET next_us = ? WHERE sequence = ?", (deadline_us, row.sequence))
        return True


class Fitting:
    """Which of some lanes may be given to whom. Workers are alike, as a rule, so it is looked up once for many."""

    def __init__(self, lanes: list[Lane]) -> None:
        self._lanes = lanes
        self._found: dict[tuple[object, ...], list[Lane]] = {}

    def of(self, claim: Claim) -> list[Lane]:
        """Those whose tasks the worker may do."""
        offer = (claim.queues, claim.types, claim.capabilities)
        lanes = self._found.get(offer)
        if lanes is None:
            lanes = self._found[offer] = self._look(*map(_set, offer))
        return lanes

    def _look(self, queues: Names, types: Names, capabilities: Names) -> list[Lane]:
        return [
            lane
            for lane in self._lanes
            if not lane.queue.paused
            and (queues is None or lane.queue.name in queues)
            and (types is None or lane.type in types)
            and (not lane.capabilities or lane.capabilities.issubset(capabilities or ()))
        ]


def _set(names: tuple[str, ...] | None) -> Names:
    return None if names is None else frozenset(names)
