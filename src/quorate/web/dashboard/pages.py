"""What is served below ``/dashboard``.

=======================  =====================================================================================
``/dashboard``           the page, whose files are below ``/dashboard/static``
``/dashboard/live``      this node's reports, as they come: see :mod:`~quorate.web.dashboard.live`
``/dashboard/about``     what there is to look at: models, tasks, keys; and whether there is an admin token
``/dashboard/keys``      a page of keys; ``/dashboard/keys/one``, one
``/dashboard/site/…``    everything else that this node serves, for pages that another member has served
=======================  =====================================================================================

Pages of other members are let in by CORS (WHATWG Fetch §3.2), and no others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from quorate.app import App
from quorate.config import NODE_ID_MAX
from quorate.errors import QuorateError
from quorate.models.query.fields import QueryFields
from quorate.node.node import Node
from quorate.rest.http import JSON_TYPE, Headers, RequestError, Response, Stream, not_allowed
from quorate.rest.params import invalid, known_parameters, number, whole_number
from quorate.web.admin import AdminRight
from quorate.web.asgi import ASGIApp, Message, Receive, Scope, Send, send_response, send_stream
from quorate.web.dashboard.files import PAGE, content_policy, files
from quorate.web.dashboard.keys import KeyPages
from quorate.web.dashboard.live import Live
from quorate.web.dashboard.others import OTHERS_MAX
from quorate.web.dashboard.report import Reporter
from quorate.web.origins import addresses_of, header, is_of_members
from quorate.web.problems import problem_of
from quorate.web.status import StatusPages

PLACE = "/dashboard"
_SITE = f"{PLACE}/site"
_STATIC = f"{PLACE}/static/"
_NUMBER_MAX = (1 << 63) - 1
_SHARED = b"etag, link, location, retry-after, www-authenticate, x-total-count"


class Dashboard:
    """An ASGI application, for requests below ``/dashboard`` of one node."""

    def __init__(
        self,
        site: ASGIApp,
        node: Node,
        app: App,
        status: StatusPages,
        right: AdminRight,
        *,
        prefix: str,
        tasks_path: str | None,
        keys: bool,
        keys_are_secret: bool,
    ) -> None:
        """``site`` serves all of the node. ``keys_are_secret``: its other clients need a password for them."""
        self._site = site
        self._node = node
        self._app = app
        self._right = right
        self._prefix = prefix
        self._tasks_path = tasks_path
        self._keys_are_secret = keys_are_secret
        self._has_keys = keys
        self._keys = KeyPages(node)
        self._live = Live(node, Reporter(node, status).measure)
        self._files = files()

    def close(self) -> None:
        """The node stops."""
        self._live.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers: Headers = scope["headers"]
        allowed = self._allowed_origin(headers)
        if allowed is not None:
            send = _shared_with(allowed, send)
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        if _is_of_site(path) and scope["method"] != "OPTIONS":
            await self._site(_behind(scope, _SITE), receive, send)
            return
        try:
            answer = await self._answer(scope["method"], path, scope["query_string"], headers, allowed is not None)
        except QuorateError as error:
            answer = problem_of(error).as_answer()
        if isinstance(answer, Stream):
            await send_stream(scope, receive, send, *answer)
        else:
            await send_response(send, *answer)

    async def _answer(
        self, method: str, path: str, query: bytes, headers: Headers, is_shared: bool
    ) -> Response | Stream:
        if method == "OPTIONS":
            return Response(204, _PREFLIGHT if is_shared else [], b"")
        if method not in ("GET", "HEAD"):
            raise not_allowed(method, ["GET"])
        if path.startswith(_STATIC):
            file = self._files.get(path.removeprefix(_STATIC))
            if file is not None and path != f"{_STATIC}{PAGE}":
                return file.answer(headers)
        elif path == PLACE:
            return self._files[PAGE].answer(headers, content_policy(self._origins(headers)), _NO_FRAMES)
        elif path == f"{PLACE}/":
            return Response(308, [(b"location", b"../dashboard")], b"")
        elif path == f"{PLACE}/live":
            values = known_parameters(query, ("after", "of"))
            return self._live.watch(number(values, "after", 0, 0, _NUMBER_MAX), _node_ids(values.get("of", "")))
        elif path == f"{PLACE}/about":
            return _json(self._about())
        elif path in (f"{PLACE}/keys", f"{PLACE}/keys/one"):
            self._check_keys(headers)
            return _json(await (self._keys.page(query) if path == f"{PLACE}/keys" else self._keys.key(query)))
        raise RequestError(404, f"there is nothing at {path[:200]}")

    # -- parts -------------------------------------------------------------------------------------------

    def _about(self) -> dict[str, Any]:
        return {
            "title": self._app.title,
            "cluster_id": self._node.config.cluster_id,
            "node_id": self._node.node_id,
            "prefix": self._prefix,
            "tasks": self._tasks_path,
            "keys": self._has_keys,
            "keys_are_secret": self._keys_are_secret,
            "admin_token": self._right.is_secret,
            "models": [
                {
                    "name": schema.name,
                    "resource": schema.resource,
                    "key": schema.key.name,
                    "fields": list(schema.exposed_names),
                    "history": schema.has_history,
                    "operators": {name: field.operators for name, field in QueryFields(schema).by_name.items()},
                }
                for schema in self._app.schemas
            ],
        }

    def _check_keys(self, headers: Headers) -> None:
        if not self._has_keys:
            raise RequestError(404, "this node has no key-value store")
        if not self._keys_are_secret:
            return
        if not self._right.is_secret:
            raise RequestError(404, "the keys have a password: they are shown here if there is an admin token as well")
        problem = self._right.missing(headers)
        if problem is not None:
            raise RequestError(problem.status, problem.detail, headers=list(problem.headers))

    def _allowed_origin(self, headers: Headers) -> str | None:
        origin = header(headers, b"origin")
        if origin is None or not is_of_members(origin, header(headers, b"host"), addresses_of(self._node)):
            return None
        return origin

    def _origins(self, headers: Headers) -> Iterable[str]:
        """Where the members are, under their own names and under that by which this page was asked for."""
        addresses = addresses_of(self._node)
        name = (header(headers, b"host") or "").rpartition(":")[0]
        under_name = {f"{name}:{address.rpartition(':')[2]}" for address in addresses} if _is_plain(name) else set()
        return {f"http://{address}" for address in addresses | under_name}


_NO_FRAMES = (b"x-frame-options", b"DENY")
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type, if-match"),
    (b"access-control-max-age", b"600"),
]


def _node_ids(text: str) -> set[int]:
    """Those in ``2,3``. Raises :class:`RequestError`."""
    numbers = [whole_number(each, NODE_ID_MAX) for each in text.split(",", OTHERS_MAX)] if text else []
    found = {each for each in numbers if each}
    if len(found) < len(numbers) or len(found) > OTHERS_MAX:
        raise invalid("of", "value", f"Query parameter should be at most {OTHERS_MAX} ids of nodes, as 2,3")
    return found


def _is_of_site(path: str) -> bool:
    return path.startswith(f"{_SITE}/") and not path.startswith(f"{_SITE}{PLACE}")


def _is_plain(name: str) -> bool:
    """Whether a host's name may stand in a header of ours."""
    return bool(name) and name.isascii() and all(character.isalnum() or character in "-._[]:" for character in name)


def _json(document: object) -> Response:
    return Response(200, [JSON_TYPE, (b"cache-control", b"no-store")], msgspec.json.encode(document) + b"\n")


def _behind(scope: Scope, place: str) -> Scope:
    """The request as it would be without ``place`` in its path."""
    raw = scope["raw_path"].replace(place.encode(), b"", 1)
    return {**scope, "path": scope["path"].replace(place, "", 1), "raw_path": raw}


def _shared_with(origin: str, send: Send) -> Send:
    """``send``, with the word that pages of ``origin`` may read the answer."""
    more = [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _SHARED),
        (b"vary", b"origin"),
    ]

    async def send_shared(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *more]
        await send(message)

    return send_shared
