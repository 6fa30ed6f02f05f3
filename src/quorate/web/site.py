"""The node's HTTP side put together: models under ``/api``, tasks under ``/api/v1``, the members under ``/cluster``,
status, health, docs.

Requests for models and tasks are answered by a call, by way of ASGI only if they need it; everything else goes through
Starlette.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from quorate.app import App
from quorate.embedded import Node as EmbeddedNode
from quorate.errors import ConfigError, NotLeader, QuorateError, StorageFailed
from quorate.models.local import LocalStore
from quorate.models.machine import ModelsMachine
from quorate.models.rest.event_pages import PATH as EVENTS
from quorate.models.rest.event_pages import EventPages
from quorate.models.rest.resource import ModelResource
from quorate.models.rest.serving import Served
from quorate.models.rest.transactions import PATH as TRANSACTION
from quorate.models.rest.transactions import TransactionResource
from quorate.models.rest.watching import PATH as WATCH
from quorate.models.rest.watching import Watching
from quorate.node.node import Node
from quorate.rest.http import Headers, Stream
from quorate.rest.http import Response as Answer
from quorate.tasks.broker import Broker
from quorate.tasks.rest import openapi as tasks_openapi
from quorate.tasks.rest.resource import VERSION, TasksResource
from quorate.web.admin_sql import AdminSql
from quorate.web.asgi import (
    BodyIncomplete,
    BodyTooLarge,
    Message,
    Receive,
    Scope,
    Send,
    read_body,
    send_response,
    send_stream,
    unless_left,
)
from quorate.web.direct import ReadBody
from quorate.web.docs import docs_routes
from quorate.web.effects import AppEffects
from quorate.web.elsewhere import Elsewhere
from quorate.web.held import Held
from quorate.web.members import MembersPages
from quorate.web.openapi import SQL_OPERATION
from quorate.web.problems import Problem, problem_of
from quorate.web.status import StatusPages

T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 * 1024 * 1024
SHORT_BYTES = 64 * 1024
"""Answers no longer than this are given however much is held for clients already."""

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


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
        local: LocalStore | None = None,
        admin_sql: bool = False,
        prefix: str = "/api",
        redirects: bool = True,
        outgoing: Held | None = None,
        tasks: Broker | None = None,
        keys: bool = True,
    ) -> None:
        """``prefix`` is the whole path below which the models are, wherever the application is mounted.

        ``redirects``: the nodes serve HTTP where their peers reach them, so clients can be sent to another one.
        ``outgoing``: what is held for clients that do not take it, where that is known. ``tasks``: those of this node,
        if it has queues; ``keys``: it has a key-value store, on which tasks may have effects.
        """
        self._node = node
        self._redirects = redirects
        self._prefix = f"{prefix}/"
        self._prefix_bytes = self._prefix.encode()
        self.max_body_bytes = max_body_bytes
        self._forward_writes = forward_writes
        self._resources: dict[str, ModelResource | TransactionResource | EventPages | Watching] = {}
        self._watching: Watching | None = None
        self._elsewhere = None if machine is None else Elsewhere(node, machine, app.schema)
        transactions: TransactionResource | None = None
        if machine is not None:
            self._watching = watching = Watching(machine, node, app.schemas)
            self._resources[WATCH] = watching
            self._resources[EVENTS] = EventPages(machine, node, app.schemas, prefix=prefix)
            served = Served(app.read_consistency, local or LocalStore())
            self._resources[TRANSACTION] = transactions = TransactionResource(app.schemas, machine, node, served)
            for schema in app.schemas:
                self._resources[schema.resource] = ModelResource(
                    schema, machine, node, watching=watching, served=served, prefix=prefix
                )
        self._tasks_prefix = f"{prefix}/{VERSION}/"
        self._tasks: TasksResource | None = None
        if tasks is not None:
            if VERSION in self._resources:
                raise ConfigError(f"a model's resource cannot be {VERSION!r}: tasks are below {prefix}/{VERSION}")
            effects = AppEffects(transactions, keys=keys)
            self._tasks = TasksResource(tasks, node, prefix=prefix, effects=effects)
        self._outgoing = outgoing or Held(0)
        self._closing = False
        sql = AdminSql(node, machine, app) if admin_sql and machine is not None else None
        pages = StatusPages(node, app, machine)
        self.statistics = pages.statistics
        """What went through this node."""
        self._pages = Starlette(
            routes=[
                Route("/", _to_docs),
                Route("/status", pages.status),
                Route("/health", pages.health),
                *MembersPages(node).routes(),
                *docs_routes(
                    app,
                    (SQL_OPERATION if sql is not None else {})
                    | (tasks_openapi.paths(self._tasks.path) if self._tasks is not None else {}),
                    tasks_openapi.schemas() if self._tasks is not None else {},
                ),
                *(sql.routes() if sql is not None else [Route("/admin/sql", _sql_is_off, methods=["GET", "POST"])]),
            ],
            exception_handlers={HTTPException: _http_problem},
        )
        self._pages.router.redirect_slashes = False

    @classmethod
    def of(cls, node: EmbeddedNode, *, prefix: str = "/api", max_body_bytes: int = MAX_BODY_BYTES) -> Site:
        """The application for a node of a program of one's own, such as ``api.mount("/api", Site.of(node))``.

        Mounted at another path, the models' whole path is to be given as ``prefix``. Every node takes writes, and
        passes them on to the leader; tasks are below ``v1`` there, if the node has some. Raises
        :class:`~quorate.errors.ConfigError` if the node has no app.
        """
        if node.app is None:
            raise ConfigError("this node has no models: make it with app=…")
        return cls(
            node,
            node.app,
            node.models,
            max_body_bytes=max_body_bytes,
            forward_writes=True,
            local=None if node.upkeep is None else node.upkeep.local,
            prefix=prefix.rstrip("/"),
            redirects=False,
            tasks=_if_there(lambda: node.tasks),
            keys=_if_there(lambda: node.kv) is not None,
        )

    def send_away(self) -> None:
        """The node is stopping: clients are asked to take their connections elsewhere, and streams end."""
        self._closing = True
        if self._watching is not None:
            self._watching.close()
        if self._tasks is not None:
            self._tasks.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        if self._closing:
            send = _closing(send)
        path: str = scope["raw_path"].decode("ascii", "replace")
        if not path.startswith(self._prefix):
            await self._pages(scope, receive, send)
            return
        read = partial(read_body, scope, receive, self.max_body_bytes)
        method = scope["method"]
        if self.may_be_left(method, path):
            answer = await unless_left(
                lambda read: self.answer(method, path, scope["query_string"], scope["headers"], read),
                receive,
                read,
                has_body=method in WRITES,
            )
            if answer is None:
                return
        else:
            answer = await self.answer(method, path, scope["query_string"], scope["headers"], read)
        if isinstance(answer, Stream):
            await self.stream(answer, scope, receive, send)
        else:
            await send_response(send, answer.status, answer.headers, answer.body)

    # -- requests for models -----------------------------------------------------------------------------

    def serves(self, url: bytes) -> bool:
        """Whether a request for this target is for models, and its answer may leave the connection open."""
        return url.startswith(self._prefix_bytes) and not self._closing

    def may_be_left(self, method: str, path: str) -> bool:
        """Whether a request is given up when its client has gone."""
        return self._tasks is not None and path.startswith(self._tasks_prefix) and self._tasks.may_be_left(method, path)

    async def answer(self, method: str, path: str, query: bytes, headers: Headers, read: ReadBody) -> Answer | Stream:
        """The answer to a request for models, of whatever kind; raises nothing. ``read`` gets the body."""
        try:
            answer = await self._answer(method, path, query, headers, read)
            if not self._outgoing.is_too_much or method != "GET":
                return answer
            if isinstance(answer, Stream) or len(answer.body) <= SHORT_BYTES:
                return answer
            problem = Problem(503, "the node holds too much for clients that do not take their answers")
        except StorageFailed as error:
            self._node.fail(error)
            problem = problem_of(error)
        except NotLeader as error:
            problem = self._problem_of_follower(error, path, query)
        except QuorateError as error:
            problem = problem_of(error)
        except BodyTooLarge:
            detail = f"the body is larger than {self.max_body_bytes} bytes"
            problem = Problem(413, detail, headers=[(b"connection", b"close")])
        except BodyIncomplete:
            problem = Problem(408, "the request's body did not arrive", headers=[(b"connection", b"close")])
        except Exception:
            log.exception("%s %s failed", method, path)
            problem = Problem(500, "an unexpected error occurred; the node's log tells more")
        return problem.as_answer()

    async def _answer(self, method: str, path: str, query: bytes, headers: Headers, read: ReadBody) -> Answer | Stream:
        name, _, tail = path[len(self._prefix) :].partition("/")
        if name == VERSION and self._tasks is not None:
            return await self._tasks.handle(method, tail, query, headers, await read() if method in WRITES else b"")
        resource = self._resources.get(name)
        if resource is None:
            return Problem(404, f"there is no resource {name!r} here").as_answer()
        writes = method in WRITES
        if self._elsewhere is not None and self._elsewhere.is_needed(writes=writes):
            address = await self._elsewhere.address(writes=writes)
            if address is not None and self._redirects:
                detail = f"the node at {address} serves what is in force"
                return _redirection(address, path, query, detail).as_answer()
        body = b""
        if writes:
            local = resource.local if method == "PATCH" and isinstance(resource, ModelResource) else None
            if local is None:
                self._check_takes_writes()
            body = await read()
            if local is not None and not local.is_all_of(body):
                self._check_takes_writes()
        return await resource.handle(method, tail, query, headers, body)

    def _check_takes_writes(self) -> None:
        if not (self._node.is_leader or self._forward_writes):
            raise NotLeader(self._node.leader)

    async def stream(self, stream: Stream, scope: Scope, receive: Receive, send: Send) -> None:
        """Send an answer bit by bit. Where that fails it is too late for a problem: uvicorn closes the connection."""
        try:
            await send_stream(scope, receive, send, stream.status, stream.headers, stream.chunks)
        except StorageFailed as error:
            self._node.fail(error)
        except (QuorateError, TimeoutError) as error:
            log.warning("%s was not answered to its end: %s", scope["path"], error or "the client took no more of it")

    def _problem_of_follower(self, error: NotLeader, path: str, query: bytes) -> Problem:
        """Send the client to the leader, with the same method and body (RFC 9110 §15.4.8)."""
        address = self._node.leader_address
        for_tasks = self._tasks is not None and path.startswith(self._tasks_prefix)  # every node takes those
        if address is None or self._node.is_leader or not self._redirects or for_tasks:
            return problem_of(error)
        leader = (b"x-raft-leader", b"%d" % (self._node.leader or 0))
        return _redirection(address, path, query, f"node {self._node.leader} at {address} takes writes", leader)


def _if_there(part: Callable[[], T]) -> T | None:
    try:
        return part()
    except ConfigError:
        return None


def _redirection(address: str, path: str, query: bytes, detail: str, *headers: tuple[bytes, bytes]) -> Problem:
    location = f"http://{address}{path}".encode("ascii", "replace") + (b"?" + query if query else b"")
    return Problem(307, detail, headers=[(b"location", location), *headers])


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


async def _sql_is_off(request: Request) -> Response:
    """Whoever looks for it knows of it: what is missing is no secret."""
    return Problem(404, "a node with models answers SQL if it is started with --admin-sql").as_response()


async def _http_problem(request: Request, error: Exception) -> Response:
    """Starlette's own 404 and 405, as problems."""
    assert isinstance(error, HTTPException)
    headers = [(name.encode(), value.encode()) for name, value in (error.headers or {}).items()]
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return Problem(error.status_code, detail, headers=headers).as_response()
