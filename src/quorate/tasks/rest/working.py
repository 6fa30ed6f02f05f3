"""What workers do: say who they are, claim tasks, keep their leases, tell how those ended."""

from __future__ import annotations

import msgspec

from quorate.rest.http import Headers, RequestError, Response, finding
from quorate.rest.params import refuse_parameters
from quorate.tasks.broker import Broker
from quorate.tasks.commands import Claim, Completed, Enlist, Failed, Heartbeat, Released, Report
from quorate.tasks.effects import PossibleEffects
from quorate.tasks.errors import InvalidTask, NoSuchWorker, StaleToken
from quorate.tasks.lifecycle import State
from quorate.tasks.limits import ERROR_CHARACTERS_MAX, LATER_US_MAX, RESULT_BYTES_MAX
from quorate.tasks.rest.bodies import (
    LEASES_MAX,
    NULL,
    ClaimBody,
    CompleteBody,
    EnlistBody,
    FailBody,
    FailedBody,
    HeartbeatBody,
    ReportBody,
    check_names,
    decoder_of,
    lease_ms_of,
    seconds_of,
)
from quorate.tasks.rest.operating import NO_CONTENT, possible_task
from quorate.tasks.rest.patience import Patience
from quorate.tasks.rest.payloads import checked_json
from quorate.tasks.rest.reading import answered
from quorate.tasks.store.reporting import STALE
from quorate.tasks.submission import check_capabilities, check_name

CLAIM_SECONDS_MAX = 30.0
"""So long a claim waits for tasks at most."""

_read_enlist = decoder_of(EnlistBody, optional=True)
_read_claim = decoder_of(ClaimBody, optional=True)
_read_heartbeat = decoder_of(HeartbeatBody, optional=True)
_read_report = decoder_of(ReportBody)
_read_complete = decoder_of(CompleteBody)
_read_fail = decoder_of(FailBody)


class Working:
    """Serves workers."""

    def __init__(self, broker: Broker, patience: Patience, effects: PossibleEffects) -> None:
        self._broker = broker
        self._patience = patience
        self._effects = effects

    async def enlist(self, worker: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``PUT /workers/{id}``."""
        refuse_parameters(query)
        given = _read_enlist(headers, body)
        enlist = Enlist(
            check_name(worker, "worker"),
            check_names(given.queues, "queues"),
            check_names(given.types, "types"),
            check_capabilities(given.capabilities),
            given.concurrency,
            lease_ms_of(given.lease),
        )
        await self._broker.enlist(enlist)
        return NO_CONTENT

    async def dismiss(self, worker: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``DELETE /workers/{id}``."""
        refuse_parameters(query)
        await self._broker.dismiss(check_name(worker, "worker"))
        return NO_CONTENT

    async def claim(self, worker: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /workers/{id}/claim``."""
        refuse_parameters(query)
        given = _read_claim(headers, body)
        claim = Claim(
            check_name(worker, "worker"),
            given.limit,
            check_names(given.queues, "queues"),
            check_names(given.types, "types"),
            check_capabilities(given.capabilities),
            lease_ms_of(given.lease),
        )
        seconds = seconds_of(given.wait, "wait", CLAIM_SECONDS_MAX)
        return answered({"tasks": await self._patience.wait(self._broker.claim(claim, seconds)) or []})

    async def heartbeat(self, worker: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /workers/{id}/heartbeat``."""
        refuse_parameters(query)
        given = _read_heartbeat(headers, body)
        try:
            check_name(worker, "worker")
        except InvalidTask:
            raise NoSuchWorker(worker[:200]) from None
        leases = [(lease.task_id, lease.token) for lease in given.leases]
        heartbeat = Heartbeat(worker, leases, lease_ms_of(given.lease), given.health)
        return answered({"lost": await self._broker.heartbeat(heartbeat)})

    # -- how leases end ----------------------------------------------------------------------------------

    async def report(self, worker: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /workers/{id}/report``."""
        refuse_parameters(query)
        given = _read_report(headers, body)
        check_name(worker, "worker")
        count = len(given.completed) + len(given.failed) + len(given.released)
        if count > LEASES_MAX:
            raise InvalidTask("", "too_many", f"a report is about {LEASES_MAX} leases at most, not {count}")
        if not count:
            return answered({"outcomes": []})
        report = Report(
            [Completed(each.task_id, each.token, await _result(each.result)) for each in given.completed],
            [_failed(each.task_id, each) for each in given.failed],
            [Released(each.task_id, each.token) for each in given.released],
        )
        return answered({"outcomes": await self._broker.report(report)})

    async def complete(self, task_id: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /tasks/{id}/complete``."""
        refuse_parameters(query)
        given = _read_complete(headers, body)
        completed = Completed(possible_task(task_id), given.token, await _result(given.result))
        effects = [] if given.effects == NULL else self._effects.parts(await checked_json(given.effects, "effects"))
        await self._broker.complete_with(completed, effects)
        return answered({"status": State.SUCCEEDED.label})

    async def fail(self, task_id: str, query: bytes, headers: Headers, body: bytes) -> Response:
        """``POST /tasks/{id}/fail``."""
        refuse_parameters(query)
        given = _read_fail(headers, body)
        (outcome,) = await self._broker.report(Report(failed=[_failed(possible_task(task_id), given)]))
        if outcome == STALE:
            raise StaleToken(task_id, given.token)
        return answered({"status": outcome})


def _failed(task_id: str, given: FailedBody | FailBody) -> Failed:
    delay_ms = -1 if given.delay is None else round(seconds_of(given.delay, "delay", LATER_US_MAX / 1e6) * 1000)
    return Failed(task_id, given.token, given.error[:ERROR_CHARACTERS_MAX], given.retry, delay_ms)


async def _result(result: msgspec.Raw) -> bytes:
    if len(bytes(result)) > RESULT_BYTES_MAX:
        message = f"has {len(bytes(result))} bytes of JSON, the most is {RESULT_BYTES_MAX}"
        raise RequestError(413, f"result: {message}", errors=[finding("result", "too_large", message)])
    return await checked_json(result, "result")
