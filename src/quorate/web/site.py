"""The node's HTTP side put together: models under ``/api``, the members under ``/cluster``, status, health, docs.

The model paths are served straight from ASGI; everything that is called rarely goes through Starlette.
"""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from quorate.app import App
from quorate.errors import NotLeader, QuorateError, StorageFailed
from quorate.models.machine import ModelsMachine
from quorate.models.rest.resource import ModelResource
from quorate.node.node import Node
from quorate.web.asgi import BodyIncomplete, BodyTooLarge, Message, Receive, Scope, Send, read_body, send_response
from quorate.web.docs import docs_routes
from quorate.web.members import MembersPages
from quorate.web.problems import Problem, problem_of
from quorate.web.status import StatusPages

log = logging.getLogger(__name__)

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PREFIX = "/api/"


class Site:
    """An ASGI application for one node."""

    def __init__(
        self,
        node: Node,
        app: App,
        machine: ModelsMachine | None,
        *,
        max_body_bytes: int,
        forward_writes: bool = False,
    ) -> None:
        self._node = node
        self._max_body_bytes = max_body_bytes
        self._forward_writes = forward_writes
        self._resources = {
            schema.resource: ModelResource(schema, machine, node) for schema in app.schemas if machine is not None
        }
        self.closing = False
        """Whether clients are asked to take their connections elsewhere: set while the node is stopping."""
        pages = StatusPages(node, app)
        self._pages = Starlette(
            routes=[
                Route("/", _to_docs),
                Route("/status", pages.status),
                Route("/health", pages.health),
                *MembersPages(node).routes(),
                *docs_routes(app),
            ],
            exception_handlers={HTTPException: _http_problem},
        )
        self._pages.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        if self.closing:
            send = _closing(send)
        path: str = scope["raw_path"].decode("ascii", "replace")
        if not path.startswith(_PREFIX):
            await self._pages(scope, receive, send)
            return
        try:
            await self._serve_model(path[len(_PREFIX) :], scope, receive, send)
        except StorageFailed as error:
            self._node.fail(error)
            await problem_of(error).send(send)
        except NotLeader as error:
            await self._redirect(error, scope, send)
        except QuorateError as error:
            await problem_of(error).send(send)
        except BodyTooLarge:
            limit = self._max_body_bytes
            await Problem(413, f"the body is larger than {limit} bytes", headers=[(b"connection", b"close")]).send(send)
        except BodyIncomplete:
            await Problem(408, "the request's body did not arrive", headers=[(b"connection", b"close")]).send(send)
        except Exception:
            log.exception("%s %s failed", scope["method"], path)
            await Problem(500, "an unexpected error occurred; the node's log tells more").send(send)

    async def _serve_model(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        name, _, tail = path.partition("/")
        resource = self._resources.get(name)
        if resource is None:
            await Problem(404, f"there is no resource {name!r} here").send(send)
            return
        method: str = scope["method"]
        body = b""
        if method in WRITES:
            if not (self._node.is_leader or self._forward_writes):
                raise NotLeader(self._node.leader)
            body = await read_body(scope, receive, self._max_body_bytes)
        response = await resource.handle(method, tail, scope["query_string"], scope["headers"], body)
        await send_response(send, response.status, response.headers, response.body)

    async def _redirect(self, error: NotLeader, scope: Scope, send: Send) -> None:
        """Send the client to the leader, with the same method and body (RFC 9110 §15.4.8)."""
        address = self._node.leader_address
        if address is None or self._node.is_leader:
            await problem_of(error).send(send)
            return
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        location = b"http://" + address.encode() + scope["raw_path"] + query
        headers = [(b"location", location), (b"x-raft-leader", b"%d" % (self._node.leader or 0))]
        await Problem(307, f"node {self._node.leader} at {address} takes writes", headers=headers).send(send)


def _closing(send: Send) -> Send:
    """``send``, with the word that this answer is the connection's last."""

    async def send_last(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        await send(message)

    return send_last


async def _to_docs(request: Request) -> Response:
    """Whoever opens the node's bare address wants to know what is here."""
    return RedirectResponse("/docs")


async def _http_problem(request: Request, error: Exception) -> Response:
    """Starlette's own 404 and 405, as problems."""
    assert isinstance(error, HTTPException)
    headers = [(name.encode(), value.encode()) for name, value in (error.headers or {}).items()]
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return Problem(error.status_code, detail, headers=headers).as_response()
