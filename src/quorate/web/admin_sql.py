"""``POST /admin/sql``: SQL that only reads, for who runs the node. Served where the setting ``admin_sql`` allows it."""

from __future__ import annotations

from typing import Any

import apsw
import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from quorate.app import App
from quorate.errors import QuorateError, StorageFailed
from quorate.machine.queries import TooExpensive
from quorate.models.machine import ModelsMachine
from quorate.models.query.adhoc import SQL_CHARACTERS_MAX, BadSql, Visible, ask, prepare_for
from quorate.node.node import Node
from quorate.node.reads import Consistency
from quorate.rest.http import RequestError, finding
from quorate.web.problems import problem_of

BODY_BYTES_MAX = 1024 * 1024
PARAMETERS_MAX = 1000

Value = None | bool | int | float | str


class SqlQuestion(BaseModel):
    """The body. ``params`` are bound by position or by name; what is read is strong unless it says otherwise."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sql: str = Field(min_length=1, max_length=SQL_CHARACTERS_MAX)
    params: list[Value] | dict[str, Value] = Field(default=[], max_length=PARAMETERS_MAX)
    consistency: Consistency = "strong"


class AdminSql:
    """Answers it from one node's state, what was applied there included."""

    def __init__(self, node: Node, machine: ModelsMachine, app: App) -> None:
        self._node = node
        self._machine = machine
        self._prepare = prepare_for(Visible(app.schemas))

    def routes(self) -> list[Route]:
        """What is served."""
        return [Route("/admin/sql", self._serve, methods=["POST"])]

    async def _serve(self, request: Request) -> Response:
        try:
            answer = await self._answer(await _read(request))
        except apsw.Error as error:
            failure = StorageFailed(f"cannot read the state: {error}")
            self._node.fail(failure)
            return problem_of(failure).as_response()
        except QuorateError as error:
            return problem_of(error).as_response()
        return Response(answer, media_type="application/json")

    async def _answer(self, asked: SqlQuestion) -> bytes:
        await self._node.read_barrier(consistency=asked.consistency)
        self._node.flush()
        try:
            result = await self._machine.queries.in_thread(
                lambda connection: msgspec.json.encode(ask(connection, asked.sql, asked.params)._asdict()),
                self._prepare,
            )
        except BadSql as error:
            raise RequestError(422, str(error), errors=[finding("sql", "sql", str(error))]) from None
        except TooExpensive as error:
            raise RequestError(422, str(error), errors=[finding("sql", "too_expensive", str(error))]) from None
        return result + b"\n"


async def _read(request: Request) -> SqlQuestion:
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                raise RequestError(413, f"the body is larger than {BODY_BYTES_MAX} bytes")
    except ClientDisconnect:
        raise RequestError(408, "the request's body did not arrive") from None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RequestError(415, "the body should be application/json", headers=[(b"accept", b"application/json")])
    try:
        return SqlQuestion.model_validate_json(body)
    except ValidationError as error:
        found: list[Any] = error.errors(include_url=False, include_context=False, include_input=False)
        if found[0]["type"] == "json_invalid":
            raise RequestError(400, found[0]["msg"]) from None
        errors = [finding(".".join(map(str, each["loc"])), each["type"], each["msg"]) for each in found]
        raise RequestError(422, "the body is not a valid question", errors=errors) from None
