"""Errors as ``application/problem+json`` (RFC 9457): one place decides which error is which status.

A write that failed on its way says in ``outcome`` what became of it: ``not_applied`` (retry freely), ``unknown`` (it
may yet be applied; only an ``Idempotency-Key`` makes a retry safe) or ``done_in_part`` (what is replicated is applied,
as ``version``; what the node was to keep for itself is not: ``fields``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from quorate.errors import (
    CommandFailed,
    MembershipConflict,
    NotApplied,
    OutcomeUnknown,
    ProposalTooLarge,
    QuorateError,
    ReadUnavailable,
    RequestIdReused,
)
from quorate.models.errors import DoneInPart, ModelRefusal
from quorate.models.rest.refusals import from_refusal
from quorate.rest.heads import etag
from quorate.rest.http import RequestError
from quorate.rest.http import Response as Answer
from quorate.tasks.errors import TaskRefusal
from quorate.tasks.rest.refusals import from_refusal as from_task_refusal
from quorate.web.asgi import Send, send_response

if TYPE_CHECKING:
    from starlette.responses import Response

PROBLEM_JSON = b"application/problem+json"
RETRY_AFTER_SECONDS = b"1"
NOT_APPLIED: Mapping[str, Any] = {"outcome": "not_applied"}

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal to be sent. ``members`` are the extension members of RFC 9457 §3.2."""

    status: int
    detail: str
    title: str = ""
    members: Mapping[str, Any] = field(default_factory=dict)
    headers: Headers = ()

    def body(self) -> bytes:
        """The JSON document, and the end of its line: for who reads it with curl."""
        title = self.title or HTTPStatus(self.status).phrase
        document = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail, **self.members}
        return msgspec.json.encode(document) + b"\n"

    async def send(self, send: Send) -> None:
        """Send it as the response."""
        await send_response(send, self.status, self._all_headers(), self.body())

    def http_response(self) -> bytes:
        """It as the last response of a connection, for where no request was understood that could be answered."""
        body = self.body()
        headers = [*self._all_headers(), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        status_line = f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}".encode()
        return b"\r\n".join([status_line, *(b"%s: %s" % header for header in headers), b"", body])

    def as_answer(self) -> Answer:
        """It as the answer of a resource."""
        return Answer(self.status, self._all_headers(), self.body())

    def as_response(self) -> Response:
        """It as Starlette's kind of response."""
        from starlette.responses import Response

        headers = {name.decode(): value.decode() for name, value in self._all_headers()}
        return Response(self.body(), self.status, headers)

    def _all_headers(self) -> list[tuple[bytes, bytes]]:
        headers = [(b"content-type", PROBLEM_JSON), *self.headers]
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append((b"retry-after", RETRY_AFTER_SECONDS))
        return headers


def problem_of(error: QuorateError) -> Problem:
    """The problem that tells a client of ``error``."""
    match error:
        case RequestError():
            members = error.members | ({"errors": error.errors} if error.errors else {})
            return Problem(error.status, error.detail, error.title, members, error.headers)
        case ModelRefusal():
            return problem_of(from_refusal(error))
        case TaskRefusal():
            return problem_of(from_task_refusal(error))
        case RequestIdReused():
            return Problem(422, str(error), members=NOT_APPLIED)
        case CommandFailed():
            return Problem(409, str(error), members=NOT_APPLIED)
        case ProposalTooLarge():
            return Problem(413, str(error), members=NOT_APPLIED)
        case MembershipConflict():
            return Problem(409, str(error), members=NOT_APPLIED)
        case NotApplied():
            return Problem(503, str(error), members=NOT_APPLIED)
        case OutcomeUnknown():
            return Problem(504, str(error), "Outcome unknown", {"outcome": "unknown"})
        case DoneInPart(version=version, ids=ids, fields=fields):
            done = {"outcome": "done_in_part", "version": version, "ids": ids, "fields": fields}
            return Problem(500, str(error), "Done in part", done, [etag(version)])
        case ReadUnavailable():
            return Problem(503, str(error))
        case _:
            return Problem(500, str(error))
