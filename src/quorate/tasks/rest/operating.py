"""What operators do: cancel, try again, pause, remove."""

from __future__ import annotations

from quorate.rest.http import Headers, RequestError, Response
from quorate.rest.params import invalid, known_parameters, refuse_parameters
from quorate.tasks.broker import Broker
from quorate.tasks.errors import InvalidTask, NoSuchSchedule, NoSuchTask
from quorate.tasks.lifecycle import BY_LABEL, PENDING, State
from quorate.tasks.rest.bodies import CancelBody, DeadBody, PurgeBody, QueueBody, decoder_of
from quorate.tasks.rest.reading import answered, possible_queue
from quorate.tasks.submission import check_id, check_name

_read_cancel = decoder_of(CancelBody, optional=True)
_read_purge = decoder_of(PurgeBody, optional=True)
_read_dead = decoder_of(DeadBody, optional=True)
_read_queue = decoder_of(QueueBody)

NO_CONTENT = Response(204, [], b"")


def possible_task(task_id: str) -> str:
    """An id that a task may have: none has another. Raises :class:`~quorate.tasks.errors.NoSuchTask`."""
    try:
        return check_id(task_id, "id")
    except InvalidTask:
        raise NoSuchTask(task_id[:200]) from None


class Operating:
    """Changes tasks and queues on demand."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def delete(self, task_id: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``DELETE /tasks/{id}``."""
        force = known_parameters(query, ("force",)).get("force", "false")
        if force not in ("true", "false"):
            raise invalid("force", "bool", "Query parameter should be 'true' or 'false'")
        await self._broker.cancel(possible_task(task_id), force=force == "true")
        return NO_CONTENT

    async def cancel(self, task_id: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /tasks/{id}/cancel``."""
        refuse_parameters(query)
        force = _read_cancel(headers, body).force
        await self._broker.cancel(possible_task(task_id), force=force)
        return NO_CONTENT

    async def retry(self, task_id: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /tasks/{id}/retry``."""
        refuse_parameters(query)
        await self._broker.retry(possible_task(task_id))
        return answered(await self._broker.task(task_id, consistency="eventually"))

    # -- queues ------------------------------------------------------------------------------------------

    async def change_queue(self, name: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``PATCH /queues/{name}``."""
        refuse_parameters(query)
        given = _read_queue(headers, body)
        if given.paused is None and given.pending_max is None:
            raise InvalidTask("", "empty", "should say paused or pending_max, or both")
        return await self._configure(name, given.paused, given.pending_max)

    async def pause(self, name: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /queues/{name}/pause``."""
        refuse_parameters(query)
        return await self._configure(name, True, None)

    async def resume(self, name: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /queues/{name}/resume``."""
        refuse_parameters(query)
        return await self._configure(name, False, None)

    async def _configure(self, name: str, paused: bool | None, pending_max: int | None) -> Response:
        queue = await self._broker.configure(check_name(name, "queue"), paused=paused, pending_max=pending_max)
        return answered(queue)

    async def delete_queue(self, name: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``DELETE /queues/{name}``."""
        refuse_parameters(query)
        await self._broker.remove_queue(possible_queue(name))
        return NO_CONTENT

    async def purge_queue(self, name: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /queues/{name}/purge``."""
        refuse_parameters(query)
        labels = _read_purge(headers, body).status
        states = PENDING if labels is None else _removable(labels)
        return answered({"purged": await self._broker.purge(states, check_name(name, "queue"))})

    # -- dead letters ------------------------------------------------------------------------------------

    async def retry_dead(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /dead-letters/retry``."""
        queue = self._queue_of_dead(query, headers, body)
        return answered({"retried": await self._broker.retry_dead(queue)})

    async def purge_dead(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /dead-letters/purge``."""
        queue = self._queue_of_dead(query, headers, body)
        return answered({"purged": await self._broker.purge([State.DEAD], queue)})

    @staticmethod
    def _queue_of_dead(query: bytes, headers: Headers, body: bytes) -> str | None:
        refuse_parameters(query)
        queue = _read_dead(headers, body).queue
        return None if queue is None else check_name(queue, "queue")

    # -- schedules ---------------------------------------------------------------------------------------

    async def delete_schedule(self, name: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``DELETE /schedules/{name}``."""
        refuse_parameters(query)
        try:
            check_id(name, "name")
        except InvalidTask:
            raise NoSuchSchedule(name[:200]) from None
        await self._broker.unschedule(name)
        return NO_CONTENT


def _removable(labels: list[str]) -> frozenset[State]:
    unknown = next((label for label in labels if label not in BY_LABEL), None)
    if unknown is not None:
        raise InvalidTask("status", "enum", f"{unknown[:32]!r} is none of {', '.join(BY_LABEL)}")
    states = frozenset(BY_LABEL[label] for label in labels)
    if State.RUNNING in states:
        raise RequestError(409, "tasks that are running cannot be purged: cancel them with force")
    return states
