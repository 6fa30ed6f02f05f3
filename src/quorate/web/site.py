"""The node's HTTP side put together: models under ``/api``, tasks under ``/api/v1``, the members under ``/cluster``,
status, health, docs.

Requests for models, tasks and reports are answered by a call, by way of ASGI only if they need it. Those are what is
asked of most nodes; the other pages are made, of Starlette, when somebody first asks for one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from quorate.app import App
from quorate.effects import AppEffects
from quorate.errors import ConfigError, NotLeader, QuorateError, StorageFailed
from quorate.models.local import LocalFields, LocalStore
from quorate.models.machine import ModelsMachine
from quorate.node.node import Node
from quorate.rest.http import Headers, Stream
from quorate.rest.http import Response as Answer
from quorate.rest.requests import Requests
from quorate.tasks.broker import Broker
from quorate.tasks.rest.resource import VERSION, TasksResource
from quorate.web.admin import AdminRight
from quorate.web.asgi import (
    ASGIApp,
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
from quorate.web.elsewhere import Elsewhere
from quorate.web.held import Held
from quorate.web.origins import header
from quorate.web.problems import Problem, problem_of
from quorate.web.status import StatusPages

if TYPE_CHECKING:
    from quorate.embedded import Node as EmbeddedNode
    from quorate.kv.server.service import Service
    from quorate.models.rest.transactions import TransactionResource
    from quorate.models.rest.watching import Watching
    from quorate.web.dashboard.pages import Dashboard
    from quorate.web.injected import InjectedFaults
    from quorate.web.metrics import MetricsPage
    from quorate.web.model_resources import Resource

T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 * 1024 * 1024
SHORT_BYTES = 64 * 1024
"""Answers no longer than this are given however much is held for clients already."""

DASHBOARD = "/dashboard"
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
        faults: InjectedFaults | None = None,
        prefix: str = "/api",
        redirects: bool = True,
        outgoing: Held | None = None,
        tasks: Broker | None = None,
        keys: bool = True,
        resp: Service | None = None,
        keys_are_secret: bool = False,
        admin_token: str | None = None,
    ) -> None:
        """``prefix`` is the whole path below which the models are, wherever the application is mounted.

        ``redirects``: the nodes serve HTTP where their peers reach them, so clients can be sent to another one.
        ``outgoing``: what is held for clients that do not take it, where that is known. ``tasks``: those of this node,
        if it has queues; ``keys``: it has a key-value store, on which tasks may have effects. ``faults``: those that
        may be injected into it, if some may. ``keys_are_secret``: clients need a password for them.
        ``resp``: what serves them to clients of the Redis protocol. ``admin_token``: see :mod:`quorate.web.admin`.
        """
        self._node = node
        self._redirects = redirects
        self._prefix = f"{prefix}/"
        self._prefix_bytes = self._prefix.encode()
        self.max_body_bytes = max_body_bytes
        self._forward_writes = forward_writes
        self._watching: Watching | None = None
        self._resources: Mapping[str, Resource] = {}
        self._local: Mapping[str, LocalFields] = {}
        self._elsewhere: Elsewhere | None = None
        transactions: TransactionResource | None = None
        if machine is not None:
            from quorate.web.model_resources import ModelResources  # a node without models does without it

            models = ModelResources(app, machine, node, local or LocalStore(), prefix)
            self._resources, self._local, self._watching = models.all, models.local, models.watching
            transactions = models.transactions
            self._elsewhere = Elsewhere(node, machine, app.schema)
        self._tasks_prefix = f"{prefix}/{VERSION}/"
        self._tasks: TasksResource | None = None
        if tasks is not None:
            if VERSION in self._resources:
                raise ConfigError(f"a model's resource cannot be {VERSION!r}: tasks are below {prefix}/{VERSION}")
            effects = AppEffects(transactions, keys=keys)
            self._tasks = TasksResource(tasks, node, prefix=prefix, effects=effects)
        self._outgoing = outgoing or Held(0)
        self._closing = False
        status = self._status = StatusPages(node, app, machine)
        status.faults = faults
        self._faults = faults
        self._reports: Mapping[str, Callable[[Headers], Awaitable[Answer]]] = {
            "/status": lambda _: status.status(),
            "/health": lambda _: status.health(),
            "/metrics": self._measured,
        }
        self._report_urls = frozenset(path.encode() for path in self._reports)
        self.statistics = status.statistics
        """What went through this node."""
        self.requests = Requests()
        """What was asked of it here."""
        self._sql_of = machine if admin_sql else None
        self._app = app
        self._making = asyncio.Lock()
        """Held while pages are made, which several requests may be the first to ask for."""
        self._pages: ASGIApp | None = None
        self._right = AdminRight(node, admin_token)
        self._dashboard: Dashboard | None = None
        self._machine = machine
        self._resp = resp
        self._metrics: MetricsPage | None = None
        self._keys, self._keys_are_secret = keys, keys_are_secret

    @classmethod
    def of(
        cls,
        node: EmbeddedNode,
        *,
        prefix: str = "/api",
        max_body_bytes: int = MAX_BODY_BYTES,
        admin_token: str | None = None,
    ) -> Site:
        """The application for a node of a program of one's own, such as ``api.mount("/api", Site.of(node))``.

        Mounted at another path, the models' whole path is to be given as ``prefix``. Every node takes writes, and
        passes them on to the leader; tasks are below ``v1`` there, if the node has some. ``admin_token``: see
        :mod:`quorate.web.admin`, for a site that is mounted at ``/``, where the members and the dashboard are, too.
        Raises :class:`~quorate.errors.ConfigError` if the node has no app.
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
            admin_token=admin_token,
        )

    def send_away(self) -> None:
        """The node is stopping: clients are asked to take their connections elsewhere, and streams end."""
        self._closing = True
        if self._watching is not None:
            self._watching.close()
        if self._tasks is not None:
            self._tasks.close()
        if self._dashboard is not None:
            self._dashboard.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        if self._closing:
            send = _closing(send)
        path: str = scope["raw_path"].decode("ascii", "replace")
        if not path.startswith(self._prefix):
            await self._page(scope, receive, send)
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

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"].removeprefix(scope.get("root_path", ""))
        if path in self._reports:
            answer = await self._report(method, path, scope["headers"])
            await send_response(send, answer.status, answer.headers, answer.body)
            return
        send = self._noting(send, method)
        refusal = self._right.refusal(method, path, scope["headers"])
        if refusal is not None:
            await refusal.send(send)
        elif path == DASHBOARD or path.startswith(f"{DASHBOARD}/"):
            dashboard = await self._the_dashboard()
            if self._closing:
                dashboard.close()
            await dashboard(scope, receive, send)
        else:
            await (await self._the_pages())(scope, receive, send)

    async def _report(self, method: str, path: str, headers: Headers) -> Answer:
        """The answer to a request for a report; raises nothing."""
        began = monotonic()
        if method in ("GET", "HEAD"):
            try:
                answer = await self._reports[path](headers)
            except Exception as error:
                answer = self._problem_of(error, method, path).as_answer()
        else:
            problem = Problem(405, f"{method} {path}: Method Not Allowed", headers=[(b"allow", b"GET, HEAD")])
            answer = problem.as_answer()
        self.requests.answered("reports", method, answer.status, monotonic() - began)
        return answer

    def _noting(self, send: Send, method: str) -> Send:
        """``send``, for a page: its answer is counted when that begins."""
        began = monotonic()

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.requests.answered("pages", method, message["status"], monotonic() - began)
            await send(message)

        return send_and_note

    async def _the_dashboard(self) -> Dashboard:
        async with self._making:
            if self._dashboard is None:
                self._dashboard = await asyncio.to_thread(self._make_dashboard)
            return self._dashboard

    async def _the_pages(self) -> ASGIApp:
        async with self._making:
            if self._pages is None:
                self._pages = await asyncio.to_thread(self._make_pages)
            return self._pages

    def _make_pages(self) -> ASGIApp:
        """Not on the event loop, for it takes as long as an election nearly does."""
        from quorate.web.pages import pages_of

        tasks_path = self._tasks.path if self._tasks is not None else None
        return pages_of(self._node, self._app, self._sql_of, tasks_path, self._faults)

    async def _measured(self, headers: Headers) -> Answer:
        if self._metrics is None:
            self._metrics = await asyncio.to_thread(self._make_metrics)
        return await self._metrics.answer(header(headers, b"accept") or "")

    def _make_metrics(self) -> MetricsPage:
        from quorate.web.metrics import MetricsPage

        return MetricsPage(self._node, self._app, self._machine, self.statistics, self.requests, self._resp)

    def _make_dashboard(self) -> Dashboard:
        from quorate.web.dashboard.pages import Dashboard

        return Dashboard(
            self,
            self._node,
            self._app,
            self._status,
            self._right,
            prefix=self._prefix.rstrip("/"),
            tasks_path=self._tasks.path if self._tasks is not None else None,
            keys=self._keys,
            keys_are_secret=self._keys_are_secret,
        )

    # -- requests that need no ASGI ----------------------------------------------------------------------

    def serves(self, url: bytes) -> bool:
        """Whether a request for this target may be one for :meth:`answer`, which leaves the connection open."""
        if self._closing:
            return False
        return url.startswith(self._prefix_bytes) or url.partition(b"?")[0] in self._report_urls

    def may_be_left(self, method: str, path: str) -> bool:
        """Whether a request is given up when its client has gone."""
        return self._tasks is not None and path.startswith(self._tasks_prefix) and self._tasks.may_be_left(method, path)

    async def answer(self, method: str, path: str, query: bytes, headers: Headers, read: ReadBody) -> Answer | Stream:
        """The answer, of whatever kind; raises nothing. ``read`` gets the body."""
        if path in self._reports:
            return await self._report(method, path, headers)
        began = monotonic()
        answer: Answer | Stream
        try:
            answer = await self._answer(method, path, query, headers, read)
            if self._outgoing.is_too_much and method == "GET" and _is_long(answer):
                answer = Problem(503, "the node holds too much for clients that do not take their answers").as_answer()
        except Exception as error:
            answer = self._problem_of(error, method, path, query).as_answer()
        is_task = self._tasks is not None and path.startswith(self._tasks_prefix)
        waited = is_task and _is_waiting(path, query)
        self.requests.answered("tasks" if is_task else "models", method, answer.status, monotonic() - began, waited)
        return answer

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
            local = self._local.get(name) if method == "PATCH" else None
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

    def _problem_of(self, error: Exception, method: str, path: str, query: bytes = b"") -> Problem:
        if isinstance(error, StorageFailed):
            self._node.fail(error)
        if isinstance(error, NotLeader):
            return self._problem_of_follower(error, path, query)
        if isinstance(error, QuorateError):
            return problem_of(error)
        if isinstance(error, BodyTooLarge):
            detail = f"the body is larger than {self.max_body_bytes} bytes"
            return Problem(413, detail, headers=[(b"connection", b"close")])
        if isinstance(error, BodyIncomplete):
            return Problem(408, "the request's body did not arrive", headers=[(b"connection", b"close")])
        log.error("%s %s failed", method, path, exc_info=error)
        return Problem(500, "an unexpected error occurred; the node's log tells more")

    def _problem_of_follower(self, error: NotLeader, path: str, query: bytes) -> Problem:
        """Send the client to the leader, with the same method and body (RFC 9110 §15.4.8)."""
        address = self._node.leader_address
        for_tasks = self._tasks is not None and path.startswith(self._tasks_prefix)  # every node takes those
        if address is None or self._node.is_leader or not self._redirects or for_tasks:
            return problem_of(error)
        leader = (b"x-raft-leader", b"%d" % (self._node.leader or 0))
        return _redirection(address, path, query, f"node {self._node.leader} at {address} takes writes", leader)


def _is_waiting(path: str, query: bytes) -> bool:
    """Whether a request about tasks is answered only when something happens, so that its time says nothing."""
    return path.endswith("/claim") or b"wait=" in query


def _is_long(answer: Answer | Stream) -> bool:
    return isinstance(answer, Stream) or len(answer.body) > SHORT_BYTES


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
