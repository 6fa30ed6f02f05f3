"""What there is of tasks, queues, workers and schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import msgspec

from quorate.node.reads import Consistency
from quorate.rest.http import JSON_TYPE, Headers, Response
from quorate.rest.params import (
    LIMIT_DEFAULT,
    LIMIT_MAX,
    consistency_of,
    invalid,
    known_parameters,
    number,
    read_consistency,
    whole_number,
)
from quorate.tasks.broker import Broker
from quorate.tasks.durations import microseconds
from quorate.tasks.errors import InvalidTask, NoSuchQueue
from quorate.tasks.lifecycle import BY_LABEL, State
from quorate.tasks.reading import TaskFilter
from quorate.tasks.rest.patience import Patience
from quorate.tasks.submission import check_name

WAIT_SECONDS_MAX = 60.0
"""So long a request for a task waits for its end at most."""

_encode = msgspec.json.Encoder().encode


def answered(document: object, status: int = 200) -> Response:
    """A struct, or several, as JSON."""
    return Response(status, [JSON_TYPE], _encode(document))


class Pages:
    """Answers from this node's state, as fresh as is asked for."""

    def __init__(self, broker: Broker, patience: Patience) -> None:
        self._broker = broker
        self._patience = patience

    async def task(self, task_id: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /tasks/{id}``."""
        values = known_parameters(query, ("wait", "consistency")) if query else {}
        consistency = consistency_of(values)
        seconds = _wait_seconds(values)
        if seconds:
            record = await self._patience.wait(self._broker.wait(task_id, seconds))
            if record is not None:
                return answered(record)
        return answered(await self._broker.task(task_id, consistency=consistency))

    async def tasks(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /tasks``."""
        known = ("status", "queue", "type", "worker", "limit", "after", "consistency")
        values = known_parameters(query, known)
        return await self._page(values, _states(values))

    async def dead_letters(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /dead-letters``."""
        values = known_parameters(query, ("queue", "type", "limit", "after", "consistency"))
        return await self._page(values, (State.DEAD,))

    async def _page(self, values: Mapping[str, str], states: tuple[State, ...]) -> Response:
        before = whole_number(values["after"]) if "after" in values else None
        if before is None and "after" in values:
            raise invalid("after", "position", "Query parameter should be the 'next' of a page")
        wanted = TaskFilter(
            states=states,
            queue=values.get("queue"),
            type=values.get("type"),
            worker=values.get("worker"),
            before=before,
            limit=number(values, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX),
        )
        return answered(await self._broker.tasks(wanted, consistency=consistency_of(values)))

    async def stats(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /stats``."""
        return answered(await self._broker.stats(consistency=read_consistency(query)))

    async def queues(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /queues``."""
        return answered({"queues": await self._broker.queues(consistency=read_consistency(query))})

    async def queue(self, name: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /queues/{name}``."""
        return answered(await self._broker.queue(possible_queue(name), consistency=read_consistency(query)))

    async def workers(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /workers``."""
        return answered(await self._broker.worker_page(**_paged(query)))

    async def schedules(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /schedules``."""
        return answered(await self._broker.schedule_page(**_paged(query)))

    async def schedule(self, name: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``GET /schedules/{name}``."""
        return answered(await self._broker.schedule_named(name, consistency=read_consistency(query)))


def possible_queue(name: str) -> str:
    """A name that a queue may have: none has another. Raises :class:`~quorate.tasks.errors.NoSuchQueue`."""
    try:
        return check_name(name, "queue")
    except InvalidTask:
        raise NoSuchQueue(name[:200]) from None


def _wait_seconds(values: Mapping[str, str]) -> float:
    text = values.get("wait", "0")
    try:
        seconds = microseconds(text) / 1_000_000
    except ValueError as error:
        raise invalid("wait", "duration", f"Query parameter {error}") from None
    if seconds > WAIT_SECONDS_MAX:
        raise invalid("wait", "range", f"Query parameter should be at most {WAIT_SECONDS_MAX:g} seconds")
    return seconds


def _states(values: Mapping[str, str]) -> tuple[State, ...]:
    """``status=ready,running``; all of them if it is not given."""
    if "status" not in values:
        return ()
    labels = values["status"].split(",")
    if not all(label in BY_LABEL for label in labels):
        raise invalid("status", "enum", f"Query parameter should be of {', '.join(BY_LABEL)}, by commas")
    return tuple(dict.fromkeys(BY_LABEL[label] for label in labels))


class _Paged(TypedDict):
    after: str
    limit: int
    consistency: Consistency


def _paged(query: bytes) -> _Paged:
    values = known_parameters(query, ("limit", "after", "consistency"))
    return {
        "after": values.get("after", ""),
        "limit": number(values, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX),
        "consistency": consistency_of(values),
    }
