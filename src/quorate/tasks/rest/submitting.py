"""Tasks and schedules come."""

from __future__ import annotations

import msgspec

from quorate.rest.heads import write_head
from quorate.rest.http import JSON_TYPE, Headers, RequestError, Response
from quorate.rest.params import refuse_parameters
from quorate.tasks.broker import Broker
from quorate.tasks.errors import InvalidTask, TaskRefusal
from quorate.tasks.rest.bodies import BatchBody, ScheduleBody, SubmitBody, TaskBody, check_type, decoded, decoder_of
from quorate.tasks.rest.payloads import checked_json
from quorate.tasks.rest.refusals import from_refusal
from quorate.tasks.submission import check_id, new_id

_decode_submit = msgspec.json.Decoder(SubmitBody).decode
_decode_task = msgspec.json.Decoder(TaskBody).decode
_read_batch = decoder_of(BatchBody)
_read_schedule = decoder_of(ScheduleBody)
_encode = msgspec.json.Encoder().encode


class Accepted(msgspec.Struct, frozen=True):
    """A task was added, or had been by an earlier request: it is committed."""

    task_id: str
    status: str


class Submitting:
    """Takes tasks, one by one, many at a time, or by a schedule."""

    def __init__(self, broker: Broker, path: str) -> None:
        """``path`` is that of all of tasks, such as ``/api/v1``."""
        self._broker = broker
        self._tasks_path = f"{path}/tasks/".encode()
        self._schedules_path = f"{path}/schedules/".encode()

    async def submit(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /tasks``."""
        refuse_parameters(query)
        check_type(headers)
        key = _key(headers)
        request = decoded(_decode_submit, body)
        await checked_json(request.payload, "payload")
        if request.id is None:
            request.id = key
        if request.cron is not None:
            name, request.id = request.id or new_id(), None
            return await self._schedule(201, name, request.cron, request.timezone, request)
        submitted = await self._broker.submit(request)
        location = (b"location", self._tasks_path + submitted.task_id.encode())
        told = _encode(Accepted(submitted.task_id, submitted.status))
        return Response(200 if submitted.duplicate else 201, [JSON_TYPE, location], told)

    async def submit_many(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /tasks/_batch``."""
        refuse_parameters(query)
        if write_head(headers).request_id is not None:
            raise RequestError(400, "an Idempotency-Key is for one task: give each task of a batch an id instead")
        given = _read_batch(headers, body).tasks
        requests = [await _task(raw, position) for position, raw in enumerate(given)]
        try:
            submitted = await self._broker.submit_many(requests)
        except TaskRefusal as refusal:
            raise from_refusal(refusal, in_batch=True) from None
        return Response(201, [JSON_TYPE], b'{"tasks":%b}' % _encode(submitted))

    # -- schedules ---------------------------------------------------------------------------------------

    async def add_schedule(self, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /schedules``."""
        refuse_parameters(query)
        key = _key(headers)
        given = _read_schedule(headers, body)
        await checked_json(given.payload, "payload")
        return await self._schedule(201, given.name or key or new_id(), given.cron, given.timezone, given)

    async def put_schedule(self, name: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``PUT /schedules/{name}``."""
        refuse_parameters(query)
        given = _read_schedule(headers, body)
        if given.name not in (None, name):
            raise InvalidTask("name", "immutable", "should be the one in the URL")
        await checked_json(given.payload, "payload")
        return await self._schedule(200, name, given.cron, given.timezone, given)

    async def _schedule(self, status: int, name: str, cron: str, timezone: str, request: TaskBody) -> Response:
        record = await self._broker.schedule(name, cron, request, timezone=timezone)
        location = (b"location", self._schedules_path + record.name.encode())
        return Response(status, [JSON_TYPE, location], _encode(record))


def _key(headers: Headers) -> str | None:
    """What stands for the id where none is given, and so is one."""
    key = write_head(headers).request_id
    return None if key is None else check_id(key, "Idempotency-Key")


async def _task(raw: msgspec.Raw, position: int) -> TaskBody:
    try:
        request = decoded(_decode_task, raw)
    except RequestError as error:
        errors = [{"position": position, **each} for each in error.errors]
        raise RequestError(error.status, f"task {position}: {error.detail}", errors=errors) from None
    await checked_json(request.payload, "payload", position)
    return request
