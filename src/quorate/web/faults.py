"""``/admin/faults``: what is to go wrong with this node for a while, where ``--allow-faults`` lets it.

``PUT`` sets all faults at once and takes back those before, ``GET`` tells of them, ``DELETE`` ends them; ``POST
/admin/faults/crash`` and ``…/stop`` end the process. Who may do so is decided in front of these pages.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from quorate.config import NODE_ID_MAX
from quorate.rest.http import RequestError, finding
from quorate.transport.faults import Direction
from quorate.web.injected import InjectedFaults, LinkFault, Wanted
from quorate.web.problems import Problem, problem_of

PATH = "/admin/faults"
BODY_BYTES_MAX = 64 * 1024
SECONDS_MAX = 600
PAUSE_MS_MAX = 60_000
DELAY_MS_MAX = 60_000
OFFSET_MS_MAX = 10 * 365 * 86_400_000
LINKS_MAX = 64

_STRICT = ConfigDict(extra="forbid", strict=True)

DelayMs = Annotated[int, Field(ge=0, le=DELAY_MS_MAX)]


class Link(BaseModel):
    """Messages to or from a peer, or all peers, are lost or late."""

    model_config = _STRICT

    peer: Annotated[int, Field(ge=1, le=NODE_ID_MAX)] | None = None
    direction: Literal["outgoing", "incoming", "both"] = "both"
    drop: float = Field(default=0.0, ge=0, le=1)
    delay_ms: DelayMs = 0


class Disk(BaseModel):
    """Syncs of the log take longer, or writes of it fail for want of room."""

    model_config = _STRICT

    delay_ms: DelayMs = 0
    full: bool = False


class Faults(BaseModel):
    """The body of ``PUT``: all that is to be wrong, for ``seconds``."""

    model_config = _STRICT

    links: list[Link] = Field(default=[], max_length=LINKS_MAX)
    disk: Disk = Disk()
    clock_offset_ms: int = Field(default=0, ge=-OFFSET_MS_MAX, le=OFFSET_MS_MAX)
    pause_ms: int = Field(default=0, ge=0, le=PAUSE_MS_MAX)
    seconds: float = Field(gt=0, le=SECONDS_MAX)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.links or self.disk != Disk() or self.clock_offset_ms or self.pause_ms):
            raise ValueError("it names no fault: give links, disk, clock_offset_ms or pause_ms")
        return self

    @property
    def wanted(self) -> Wanted:
        """It in seconds."""
        links = [
            LinkFault(
                peer=link.peer,
                direction=Direction[link.direction.upper()],
                drop=link.drop,
                delay_seconds=link.delay_ms / 1000,
            )
            for link in self.links
        ]
        return Wanted(
            links=links,
            disk_delay_seconds=self.disk.delay_ms / 1000,
            disk_full=self.disk.full,
            clock_offset_ms=self.clock_offset_ms,
            pause_seconds=self.pause_ms / 1000,
            seconds=self.seconds,
        )


class FaultPages:
    """Serves them for one node."""

    def __init__(self, faults: InjectedFaults) -> None:
        self._faults = faults

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route(PATH, self._serve, methods=["GET", "PUT", "DELETE"]),
            Route(f"{PATH}/crash", self._crash, methods=["POST"]),
            Route(f"{PATH}/stop", self._stop, methods=["POST"]),
        ]

    async def _serve(self, request: Request) -> Response:
        if request.method == "PUT":
            try:
                asked = await _read(request)
            except RequestError as error:
                return problem_of(error).as_response()
            self._faults.put(asked.wanted)
        elif request.method == "DELETE":
            self._faults.clear()
        return _json(self._faults.report())

    async def _crash(self, request: Request) -> Response:
        self._faults.crash()
        return _json({"ends": "at once"}, 202)

    async def _stop(self, request: Request) -> Response:
        self._faults.stop()
        return _json({"ends": "in order"}, 202)


def refused_routes() -> list[Route]:
    """What is served in their place by a node without the flag."""
    methods = ["GET", "PUT", "POST", "DELETE"]
    return [Route(path, _not_allowed, methods=methods) for path in (PATH, f"{PATH}/{{rest:path}}")]


async def _not_allowed(request: Request) -> Response:
    return Problem(404, "faults are injected only into a node that is started with --allow-faults").as_response()


def _json(document: dict[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(document) + b"\n", status, media_type="application/json")


async def _read(request: Request) -> Faults:
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                raise RequestError(413, f"the body is larger than {BODY_BYTES_MAX} bytes")
    except ClientDisconnect:
        raise RequestError(408, "the request's body did not arrive") from None
    try:
        return Faults.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        if found[0]["type"] == "json_invalid":
            raise RequestError(400, found[0]["msg"]) from None
        errors = [finding(".".join(map(str, each["loc"])), each["type"], each["msg"]) for each in found]
        told = "; ".join(f"{each['field'] or 'body'}: {each['message']}" for each in errors)
        raise RequestError(422, told, errors=errors) from None
