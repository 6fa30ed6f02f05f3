"""Operations: what a caller hands over to a cluster of daemons, and how the handing over goes.

An operation is a task whose id is the operation's. Its replication has states of its own, which end where the task's
life begins (:mod:`quorate.tasks.lifecycle`)::

    PENDING ──replicate──► REPLICATED ──commit──► COMMITTED
       │  ▲                    │                      ▲
     fail └──────retry──────┐ fail                    │
       └────────────────► FAILED ────────learn────────┘
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

import msgspec

from quorate.tasks.durations import Duration
from quorate.tasks.errors import InvalidTask
from quorate.tasks.submission import TaskRequest, check_capabilities, check_id, check_name

Choice = TypeVar("Choice", bound=StrEnum)

DEFAULT_QUEUE = "operations"
RESERVED = "daemon."
"""Types that begin so are what managers ask daemons for, and not for callers."""


class Scope(StrEnum):
    """Who carries an operation out."""

    LOCAL = "local"
    """A daemon of the node that took it, and no other: should that node be gone, it waits for its return."""
    LEADER = "leader"
    """A daemon of the node that leads by the time that it is begun."""
    GLOBAL = "global"
    """Any daemon that can, as its :class:`Placement` says."""


class Placement(StrEnum):
    """How a daemon is chosen for an operation of GLOBAL scope. Should it be gone, whoever is free comes in."""

    FIRST_FREE = "first_free"
    """None is: the first that has room takes it."""
    ROUND_ROBIN = "round_robin"
    """In turn, as far as this manager is concerned."""
    LEAST_LOADED = "least_loaded"
    """That with the fewest operations, running or placed there, for its concurrency."""
    HASH = "hash"
    """By the operation's ``key``: the same for the same key, as long as that node is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What is to be done, once. With the same ``id`` it may be handed over again, to any node."""

    id: str
    type: str
    payload: Any = None
    """Anything that JSON has."""
    daemon_id: str = ""
    """Who asks for it; by default the daemon that is asked."""
    timestamp: datetime | None = None
    """When it was asked for; by default now."""
    scope: Scope = Scope.GLOBAL
    placement: Placement = Placement.FIRST_FREE
    key: str | None = None
    """What ``Placement.HASH`` goes by; by default the id."""
    capabilities: tuple[str, ...] = ()
    """What a daemon must offer beside knowing the type."""
    schema_version: int = 1
    """Of the payload. Only handlers of this version, or of a later one, get it."""
    priority: int = 0
    timeout: Duration | None = None
    """How long one attempt may take."""
    max_retries: int | None = None
    ttl: Duration | None = None
    """How long it may wait to be begun; then it is dead."""
    retention: Duration | None = None
    """How long it is known, with its result, once it has ended; so long its id is not carried out a second time."""
    exactly_once: bool | None = None
    """Its effects on keys and models come about together with its result, or not at all."""


class OperationState(StrEnum):
    """How far the handing over is."""

    PENDING = "pending"
    """It is on its way to the leader, and into the log."""
    REPLICATED = "replicated"
    """A majority has it, so it cannot be lost."""
    COMMITTED = "committed"
    """It is in the state of the cluster: it will be carried out."""
    FAILED = "failed"
    """It was refused, or there is no word of it; retry it with the same id."""


class OperationEvent(StrEnum):
    """What happens to it."""

    SUBMIT = "submit"
    REPLICATE = "replicate"
    COMMIT = "commit"
    FAIL = "fail"
    RETRY = "retry"
    LEARN = "learn"
    """It was taken for failed, but it is there."""


class Transition(NamedTuple):
    """One row of the table; ``before`` is ``None`` where nothing is known of the operation."""

    before: OperationState | None
    event: OperationEvent
    after: OperationState


TRANSITIONS: tuple[Transition, ...] = (
    Transition(None, OperationEvent.SUBMIT, OperationState.PENDING),
    Transition(OperationState.PENDING, OperationEvent.REPLICATE, OperationState.REPLICATED),
    Transition(OperationState.PENDING, OperationEvent.FAIL, OperationState.FAILED),
    Transition(OperationState.REPLICATED, OperationEvent.COMMIT, OperationState.COMMITTED),
    Transition(OperationState.REPLICATED, OperationEvent.FAIL, OperationState.FAILED),
    Transition(OperationState.FAILED, OperationEvent.RETRY, OperationState.PENDING),
    Transition(OperationState.FAILED, OperationEvent.LEARN, OperationState.COMMITTED),
)

_AFTER = {(transition.before, transition.event): transition.after for transition in TRANSITIONS}


def after(state: OperationState | None, event: OperationEvent) -> OperationState:
    """The state behind an event. Raises :class:`LookupError` for what cannot happen."""
    return _AFTER[state, event]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationResult:
    """An operation was handed over. ``duplicate``: it had been before, and nothing was added.

    ``log_index`` and ``term`` are those of the entry by which that is certain.
    """

    operation_id: str
    replicated: bool
    committed: bool
    log_index: int
    term: int
    status: str
    """Of the task that it is."""
    duplicate: bool = False


class Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """The payload of an operation's task."""

    daemon_id: str
    timestamp: datetime
    payload: Any = None


_decode_envelope = msgspec.json.Decoder(Envelope).decode


def checked(given: Operation | Mapping[str, Any]) -> Operation:
    """An operation, also of a mapping of its fields. Raises :class:`InvalidTask`."""
    try:
        operation = given if isinstance(given, Operation) else Operation(**given)
    except TypeError as error:
        raise InvalidTask("", "operation", f"no operation can be made of that: {error}") from None
    operation = replace(
        operation,
        scope=_member(Scope, operation.scope, "scope"),
        placement=_member(Placement, operation.placement, "placement"),
    )
    _check_types(operation)
    check_id(operation.id, "id")
    check_name(operation.type, "type")
    if operation.type.startswith(RESERVED):
        raise InvalidTask("type", "reserved", f"types that begin with {RESERVED!r} are for the managers")
    check_capabilities(operation.capabilities)
    if operation.schema_version < 1:
        raise InvalidTask("schema_version", "range", "should be 1 or more")
    if operation.timestamp is not None and operation.timestamp.tzinfo is None:
        raise InvalidTask("timestamp", "timezone", "should say its time zone")
    if operation.placement is not Placement.FIRST_FREE and operation.scope is not Scope.GLOBAL:
        raise InvalidTask("placement", "contradiction", f"an operation of scope {operation.scope} has its place")
    return operation


def _member(kind: type[Choice], value: str, field: str) -> Choice:
    try:
        return kind(value)
    except ValueError:
        message = f"should be one of {', '.join(kind)}, not {str(value)[:64]!r}"
        raise InvalidTask(field, "enum", message) from None


def _check_types(operation: Operation) -> None:
    kinds = {
        "id": str,
        "type": str,
        "daemon_id": str,
        "timestamp": datetime | None,
        "key": str | None,
        "schema_version": int,
        "priority": int,
        "max_retries": int | None,
        "exactly_once": bool | None,
    }
    for name, kind in kinds.items():
        if not isinstance(getattr(operation, name), kind):
            raise InvalidTask(name, "type", f"should not be {type(getattr(operation, name)).__name__}")
    if isinstance(operation.capabilities, str) or not all(isinstance(each, str) for each in operation.capabilities):
        raise InvalidTask("capabilities", "type", "should be names")


def version_capability(operation_type: str, version: int) -> str:
    """What a handler of that version offers."""
    return f"{operation_type}:v{version}"


def as_request(operation: Operation, queue: str, place: str | None, daemon_id: str, now: datetime) -> TaskRequest:
    """The task that an operation is; ``place`` is a capability that only who shall do it offers."""
    needed = list(operation.capabilities)
    if place is not None:
        needed.append(place)
    if operation.schema_version > 1:
        needed.append(version_capability(operation.type, operation.schema_version))
    envelope = Envelope(operation.daemon_id or daemon_id, operation.timestamp or now, operation.payload)
    try:
        payload = msgspec.json.encode(envelope)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidTask("payload", "json", f"cannot be had in JSON: {error}") from None
    return TaskRequest(
        type=operation.type,
        payload=msgspec.Raw(payload),
        id=operation.id,
        queue=queue,
        priority=operation.priority,
        timeout=operation.timeout,
        max_retries=operation.max_retries,
        ttl=operation.ttl,
        retention=operation.retention,
        capabilities=needed,
        schema_version=operation.schema_version,
        exactly_once=operation.exactly_once,
    )


def is_same(operation: Operation, task_type: str, schema_version: int, payload: bytes) -> bool:
    """Whether a task is this operation, handed over before: when, by whom and where to make no difference."""
    try:
        envelope = _decode_envelope(payload)
    except msgspec.ValidationError:
        return False  # a task of somebody else
    wanted = msgspec.json.decode(msgspec.json.encode(operation.payload))
    return (task_type, schema_version, envelope.payload) == (operation.type, operation.schema_version, wanted)
