"""The commands of the tasks machine, as they stand in the log.

All times are stamped where a command is applied (:class:`~quorate.machine.contract.ApplyContext`): what a command
brings along are durations, or moments that its caller named. Payloads and results are JSON, kept as it came.
"""

from __future__ import annotations

from typing import Any

import msgspec

from quorate.tasks.limits import BACKOFF_MS, BACKOFF_MS_MAX, LEASE_MS, RETENTION_MS, RETRIES, TICK_TASKS_MAX


class Spec(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What tasks of one kind have in common; in a batch it is written once."""

    queue: str
    type: str
    capabilities: tuple[str, ...] = ()
    """What a worker must offer, sorted."""
    priority: int = 0
    """0 to 255; higher goes first."""
    timeout_ms: int = 0
    """How long one attempt may take; 0: as long as its lease is kept."""
    max_retries: int = RETRIES
    backoff_ms: int = BACKOFF_MS
    """The pause behind the first failure, doubled with each that follows."""
    backoff_ms_max: int = BACKOFF_MS_MAX
    ttl_ms: int = 0
    """How long after its time a task may still be begun; 0: for ever."""
    retention_ms: int = RETENTION_MS
    schema_version: int = 0
    """Of the payload."""
    exactly_once: bool = False


class New(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One task. ``spec`` is a place in :attr:`Submit.specs`; ``run_at_us`` counts before ``delay_us``."""

    spec: int
    id: str
    payload: bytes
    run_at_us: int = 0
    delay_us: int = 0
    unique_key: str | None = None
    depends_on: tuple[str, ...] = ()


class Submit(msgspec.Struct, frozen=True, array_like=True, tag="submit"):
    """Add all tasks or none. Result: for each its state, and whether it had been submitted before, as a pair.

    A task whose id there is already is the same one, submitted again: nothing is added. Tasks may depend on those
    before them.
    """

    specs: list[Spec]
    tasks: list[New]


class Claim(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one worker asks for: up to ``limit`` tasks of these queues and types (``None``: of all)."""

    worker: str
    limit: int
    queues: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    capabilities: tuple[str, ...] = ()
    lease_ms: int = LEASE_MS


class Claims(msgspec.Struct, frozen=True, array_like=True, tag="claim"):
    """Lease tasks to workers, in this order. Result: a list of leases for each claim; see ``store/claiming``."""

    claims: list[Claim]


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag="heartbeat"):
    """A worker is alive, and so are its leases, given as (task, token). Result: the ids of those that it lost.

    ``health`` is what it says of itself; empty if all is well.
    """

    worker: str
    leases: list[tuple[str, int]]
    lease_ms: int = LEASE_MS
    health: str = ""


class Completed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A task was done."""

    id: str
    token: int
    result: bytes = b"null"


class Failed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A task was tried in vain. ``delay_ms``: try again then, instead of when its back-off says (-1)."""

    id: str
    token: int
    error: str
    may_retry: bool = True
    delay_ms: int = -1


class Released(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A task is given back, and its attempt does not count."""

    id: str
    token: int


class Report(msgspec.Struct, frozen=True, array_like=True, tag="report"):
    """How leases ended. Result: for each of all, in this order, the label of the state or ``"stale"``.

    Whoever reports of a lease again, by which the task was completed or failed, changes nothing and gets the label of
    the state that it is in.

    ``strict``: it is one, and refused with :class:`~quorate.tasks.errors.StaleToken` or
    :class:`~quorate.tasks.errors.DoneBefore` unless it ends the lease: what goes with it must not be done then.
    """

    completed: list[Completed] = []
    failed: list[Failed] = []
    released: list[Released] = []
    strict: bool = False


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag="cancel"):
    """End a task before it is done; one that is running only with ``force``. Result: ``None``."""

    id: str
    force: bool = False


class Retry(msgspec.Struct, frozen=True, array_like=True, tag="retry"):
    """Have a task tried from its first attempt on. Result: ``None``.

    It is as if it had never ended: it has its unique key again, and who has not heard of its end waits on.
    """

    id: str


class RetryAll(msgspec.Struct, frozen=True, array_like=True, tag="retry_all"):
    """Have dead tasks tried, of one queue or all. Result: how many they are; ``limit`` means more.

    Those whose unique key another task has by now stay dead, and do not count.
    """

    queue: str | None = None
    limit: int = TICK_TASKS_MAX


class Purge(msgspec.Struct, frozen=True, array_like=True, tag="purge"):
    """Remove tasks in one of these states, of one queue or all. Result: how many they are; ``limit`` means more.

    Pending tasks are cancelled and then forgotten: others may depend on them.
    """

    states: tuple[int, ...]
    queue: str | None = None
    limit: int = TICK_TASKS_MAX


class Waive(msgspec.Struct, frozen=True, array_like=True, tag="waive"):
    """Have pending tasks, of one queue or all, do without a capability. Result: how many; ``limit`` means more.

    They keep their places in the order. One that is running goes on; should it come back, ask again.
    """

    capability: str
    queue: str | None = None
    limit: int = TICK_TASKS_MAX


class Configure(msgspec.Struct, frozen=True, array_like=True, tag="configure"):
    """Set what is not ``None`` of a queue, which need not exist. Result: ``None``.

    A queue is there as long as it has tasks or settings that are not those of every queue.
    """

    queue: str
    paused: bool | None = None
    pending_max: int | None = None


class RemoveQueue(msgspec.Struct, frozen=True, array_like=True, tag="remove_queue"):
    """Remove a queue, and its tasks that have ended. Result: how many they are; ``limit`` means more.

    One that has others is refused with :class:`~quorate.tasks.errors.QueueInUse`.
    """

    queue: str
    limit: int = TICK_TASKS_MAX


class Enlist(msgspec.Struct, frozen=True, array_like=True, tag="enlist"):
    """A worker comes, or says something else of itself than before. Result: ``None``."""

    worker: str
    queues: tuple[str, ...] | None
    types: tuple[str, ...] | None
    capabilities: tuple[str, ...]
    concurrency: int
    lease_ms: int = LEASE_MS


class Dismiss(msgspec.Struct, frozen=True, array_like=True, tag="dismiss"):
    """A worker goes. Its leases stay until they end. Result: ``None``."""

    worker: str


class Schedule(msgspec.Struct, frozen=True, array_like=True, tag="schedule"):
    """Submit a task at each slot of a cron expression, from ``next_us`` on. Result: ``None``.

    ``owner`` tells schedules that a program declares, and takes back, from others.
    """

    name: str
    cron: str
    timezone: str
    spec: Spec
    payload: bytes
    next_us: int
    owner: str = ""


class Unschedule(msgspec.Struct, frozen=True, array_like=True, tag="unschedule"):
    """Forget a schedule. Result: ``None``."""

    name: str


class Slot(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A schedule's turn. The leader has worked out when the next will be, for time zones change with programs."""

    name: str
    slot_us: int
    next_us: int


class Tick(msgspec.Struct, frozen=True, array_like=True, tag="tick"):
    """Do what is due by now. Result: how many tasks were changed; ``limit`` means that more may be due.

    Slots come first. Then those learn of an end who depend on it, then what else is due is done, the earliest first.
    """

    limit: int = TICK_TASKS_MAX
    slots: list[Slot] = []


Command = (
    Submit
    | Claims
    | Heartbeat
    | Report
    | Cancel
    | Retry
    | RetryAll
    | Purge
    | Waive
    | Configure
    | RemoveQueue
    | Enlist
    | Dismiss
    | Schedule
    | Unschedule
    | Tick
)

_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Command)


def encode_command(command: Command) -> bytes:
    """What stands in the log. Raises :class:`ValueError`, :class:`TypeError` or :class:`OverflowError` for what could
    not be read again.

    A command that is in the log and cannot be read stops every node, so none gets there.
    """
    data = _encode(command)
    _decoder.decode(data)
    return data


def decode_command(data: bytes) -> Command:
    """Raises :class:`msgspec.MsgspecError` for bytes that are no command of ours."""
    command: Command = _decoder.decode(data)
    return command
