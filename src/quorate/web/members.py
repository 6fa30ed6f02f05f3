"""``/cluster``: the members of the cluster, and who leads it. Any node takes every request; the leader does the work.

A node that does not lead passes a change on by itself, so no redirect is needed. ``GET`` names the configuration
that it shows in its ``ETag``; a change with that in ``If-Match`` is made only if nobody made another one since.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from quorate.config import NODE_ID_MAX
from quorate.errors import ConfigError, MembershipConflict, QuorateError, ReadUnavailable
from quorate.node.node import Node
from quorate.node.operations import PRIORITY_MAX
from quorate.node.status import MembershipStatus
from quorate.rest.http import RequestError, finding
from quorate.web.answers import JSONLine
from quorate.web.problems import NOT_APPLIED, Problem, problem_of

BODY_BYTES_MAX = 64 * 1024
CATCH_UP_SECONDS = 1.0
"""How long an answer waits for this node to have heard of the change that the leader made."""

_ETAG = re.compile(r'"(\d{1,18})"')

Handler = Callable[[Request], Awaitable[Response]]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewMember(_Body):
    """The body of ``POST /cluster/members``. A voter begins as a learner, and votes once it has caught up."""

    node_id: int = Field(ge=1, le=NODE_ID_MAX)
    address: str = Field(min_length=1, max_length=255)
    role: Literal["voter", "learner", "witness"] = "voter"
    priority: int = Field(default=1, ge=0, le=PRIORITY_MAX)


class MemberChange(_Body):
    """The body of ``PATCH /cluster/members/{id}``."""

    address: str | None = Field(default=None, min_length=1, max_length=255)
    priority: int | None = Field(default=None, ge=0, le=PRIORITY_MAX)


class NewLeader(_Body):
    """The body of ``POST /cluster/leader``. Without a ``node_id`` the fittest takes over."""

    node_id: int | None = Field(default=None, ge=1, le=NODE_ID_MAX)


B = TypeVar("B", bound=_Body)


class MembersPages:
    """Serves ``/cluster`` for one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def routes(self) -> list[Route]:
        """What is served, by path and method."""
        members, one = "/cluster/members", "/cluster/members/{id:int}"
        return [
            _route(members, GET=self._list, POST=self._add),
            _route(one, GET=self._get, PATCH=self._update, DELETE=self._remove),
            _route(f"{one}/promote", POST=self._promote),
            _route(f"{one}/demote", POST=self._demote),
            _route("/cluster/leader", GET=self._leader, POST=self._transfer),
            _route("/cluster/snapshot", POST=self._snapshot),
        ]

    # -- looking -----------------------------------------------------------------------------------------

    def _membership(self) -> MembershipStatus:
        membership = self._node.status.membership
        if membership is None:
            raise ReadUnavailable("the cluster is not formed yet")
        return membership

    def _report(self) -> dict[str, Any]:
        membership = self._membership()
        report = asdict(membership)
        report["leader"] = self._node.leader
        report["leader_address"] = self._node.leader_address
        report["cluster_id"] = self._node.config.cluster_id
        if membership.warning is not None:
            report["warning"] = membership.warning
        return report

    async def _list(self, request: Request) -> Response:
        return _tagged(self._report())

    async def _get(self, request: Request) -> Response:
        node_id = request.path_params["id"]
        report = self._report()
        found = [member for member in report["members"] if member["node_id"] == node_id]
        if not found:
            raise RequestError(404, f"node {node_id} is not a member")
        return _tagged(found[0], report["configuration_index"])

    async def _leader(self, request: Request) -> Response:
        leader = self._node.leader
        return JSONLine({"leader": leader, "leader_address": self._node.leader_address})

    # -- changing ----------------------------------------------------------------------------------------

    async def _add(self, request: Request) -> Response:
        body = await _read(request, NewMember)
        change = self._node.members.add
        index = await self._change(request, change, body.node_id, body.address, role=body.role, priority=body.priority)
        return await self._changed(index, 201, {"location": f"/cluster/members/{body.node_id}"})

    async def _update(self, request: Request) -> Response:
        body = await _read(request, MemberChange)
        return await self._change_member(
            request, self._node.members.update, address=body.address, priority=body.priority
        )

    async def _remove(self, request: Request) -> Response:
        return await self._change_member(request, self._node.members.remove)

    async def _promote(self, request: Request) -> Response:
        return await self._change_member(request, self._node.members.promote)

    async def _demote(self, request: Request) -> Response:
        return await self._change_member(request, self._node.members.demote)

    async def _transfer(self, request: Request) -> Response:
        body = await _read(request, NewLeader, may_be_empty=True)
        leader = await self._node.members.transfer(body.node_id)
        address = next((member.address for member in self._node.members if member.node_id == leader), None)
        return JSONLine({"leader": leader, "leader_address": address})

    async def _snapshot(self, request: Request) -> Response:
        """``POST /cluster/snapshot``: of this node alone, unlike all others here."""
        await self._node.take_snapshot()
        status = self._node.status
        names = ("node_id", "snapshot_index", "log_first_index", "last_index", "log_bytes")
        return JSONLine({name: getattr(status, name) for name in names})

    async def _change(
        self, request: Request, change: Callable[..., Awaitable[int]], *arguments: Any, **named: Any
    ) -> int:
        expected = _expected_index(request)
        try:
            return await change(*arguments, expected_index=expected, **named)
        except MembershipConflict as error:
            await self._catch_up()
            if expected is not None and expected != self._node.members.index:
                raise RequestError(412, str(error)) from None
            raise

    async def _change_member(self, request: Request, change: Callable[..., Awaitable[int]], **named: Any) -> Response:
        """Do something with the member in the path."""
        node_id: int = request.path_params["id"]
        try:
            index = await self._change(request, change, node_id, **named)
        except ConfigError:
            await self._catch_up()
            if node_id not in self._node.members.configuration:
                raise RequestError(404, f"node {node_id} is not a member") from None
            raise
        return await self._changed(index)

    async def _changed(self, index: int, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        """The members as they are now. ``changed_by`` is the log entry of the change."""
        await self._catch_up()
        return _tagged({"changed_by": index, **self._report()}, status=status, headers=headers)

    async def _catch_up(self) -> None:
        """Let this node hear of what the leader knows, if that does not take long."""
        with suppress(ReadUnavailable):
            await self._node.read_barrier(timeout=CATCH_UP_SECONDS)


def _tagged(
    document: dict[str, Any], index: int | None = None, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    tag = document["configuration_index"] if index is None else index
    return JSONLine(document, status, {"etag": f'"{tag}"', **(headers or {})})


def _expected_index(request: Request) -> int | None:
    """The configuration that the client has looked at, if it says so in ``If-Match``."""
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return None
    match = _ETAG.fullmatch(given.strip())
    if match is None:
        raise RequestError(400, f'If-Match takes one ETag of GET /cluster/members, as "17", not {given!r}')
    return int(match[1])


async def _read(request: Request, kind: type[B], *, may_be_empty: bool = False) -> B:
    """The request's body. Raises :class:`RequestError`."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise RequestError(413, f"the body is larger than {BODY_BYTES_MAX} bytes", headers=[_CLOSE])
    if may_be_empty and not body.strip():
        return kind()
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in ("application/json", "application/merge-patch+json"):
        raise RequestError(415, "the body must be application/json")
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        problems = error.errors()
        if any(problem["type"] == "json_invalid" for problem in problems):
            raise RequestError(400, f"the body is not valid JSON: {problems[0]['ctx']['error']}") from None
        findings = [
            finding(".".join(map(str, problem["loc"])), problem["type"], problem["msg"]) for problem in problems
        ]
        told = "; ".join(f"{each['field'] or 'body'}: {each['message']}" for each in findings)
        raise RequestError(422, told, errors=findings) from None


_CLOSE = (b"connection", b"close")


def _route(path: str, **handlers: Handler) -> Route:
    """One for all methods of a path, so that a refusal of another one can name them."""
    guarded = {method: _guarded(handler) for method, handler in handlers.items()}

    async def serve(request: Request) -> Response:
        return await guarded["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, serve, methods=list(handlers))


def _guarded(handler: Handler) -> Handler:
    """``handler`` with every expected failure as a problem."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except ConfigError as error:
            return Problem(422, str(error), members=NOT_APPLIED).as_response()
        except QuorateError as error:
            return problem_of(error).as_response()
        except ClientDisconnect:
            return Problem(408, "the request's body did not arrive", headers=[_CLOSE]).as_response()

    return guarded
