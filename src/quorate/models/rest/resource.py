"""The REST resource of one model. Plain calls in, plain answers out; the web layer does the rest.

====================  =================================================================
``GET /``             a page of objects that meet conditions, in an order (:mod:`quorate.models.query`): 200
``POST /``            create one: 201, the stored object, ``Location``
``POST /_bulk``       create all of an array or none: 201, the stored objects
``GET /count``        200, ``{"count": N}``
``GET /_aggregate``   200, counts, sums, averages, least and greatest values of groups of objects
``GET /random-id``    200, ``{"id": …}``; 404 while there is no object
``GET /_watch``       the changes as they come, as server-sent events
``GET /{id}``         200; with ``as_of`` as it was at that moment
``GET /{id}/history`` 200, a page of what has changed of it
``PUT /{id}``         replace all fields: 200, the stored object
``PATCH /{id}``       JSON merge patch (RFC 7396): 200, the stored object
``DELETE /{id}``      204
``POST /{id}/{event}``  call an event's method with a JSON object of arguments: 200, the stored object
====================  =================================================================

An id that no object can have is answered like one that none has: 404.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import unquote_to_bytes

import apsw

from quorate.errors import StorageFailed
from quorate.machine.queries import TooExpensive
from quorate.models.errors import ModelRefusal, NotFound
from quorate.models.machine import ModelsMachine
from quorate.models.query.errors import BadQuery
from quorate.models.rest.history_pages import HistoryPages
from quorate.models.rest.in_force import InForce
from quorate.models.rest.listing import refusal_of
from quorate.models.rest.reading import Reading
from quorate.models.rest.refusals import from_refusal
from quorate.models.rest.serving import Served
from quorate.models.rest.wanted import names_as_of, read_watch
from quorate.models.rest.watching import PATH as WATCH
from quorate.models.rest.watching import Watching
from quorate.models.rest.writing import Writing
from quorate.models.store.columns import SqlValue
from quorate.models.store.schema import ModelSchema
from quorate.node.ports import Engine
from quorate.rest.http import Headers, RequestError, Response, Stream, finding, not_allowed

_Handler = Callable[[bytes, Headers, bytes], Awaitable[Response | Stream]]
_ItemHandler = Callable[[SqlValue, bytes, Headers, bytes], Awaitable[Response | Stream]]


class ModelResource:
    """Serves one model at ``path`` (``/api/<resource>``). ``watching``: the streams of this node, of all models."""

    def __init__(
        self,
        schema: ModelSchema,
        machine: ModelsMachine,
        engine: Engine,
        *,
        prefix: str = "/api",
        watching: Watching | None = None,
        served: Served | None = None,
    ) -> None:
        served = served or Served()
        engine = InForce(engine, machine)
        self.local = served.local_fields(schema)
        """The fields that each node has values of its own for, if there are any."""
        self.schema = schema
        self.path = f"{prefix}/{schema.resource}"
        reading = Reading(schema, machine, engine, self.path, served)
        writing = Writing(schema, machine, engine, self.path, served)
        self._routes: dict[str, dict[str, _Handler]] = {
            "": {"GET": reading.list, "POST": writing.create},
            "_bulk": {"POST": writing.create_many},
            "count": {"GET": reading.count},
            "_aggregate": {"GET": reading.aggregate},
            "random-id": {"GET": reading.random_id},
            WATCH: {"GET": self._watch},
        }
        self._item_routes: dict[str, _ItemHandler] = {
            "GET": self._get,
            "PUT": writing.replace,
            "PATCH": writing.change,
            "DELETE": writing.delete,
        }
        self._reading = reading
        self._past = HistoryPages(schema, machine, engine, prefix)
        self._watching = watching or Watching(machine, engine, [schema])
        self._below_item: dict[str, dict[str, _ItemHandler]] = {
            method.path: {"POST": writing.caller_of(method)} for method in schema.events.values()
        }
        self._below_item.setdefault("history", {})["GET"] = self._past.entries

    async def handle(self, method: str, tail: str, query: bytes, headers: Headers, body: bytes) -> Response | Stream:
        """Answer one request. ``tail`` is the path behind :attr:`path` and a slash, still percent-encoded.

        Raises :class:`RequestError` for every refusal that concerns models, and whatever the engine raises
        for want of a leader, a quorum or time.
        """
        verb = "GET" if method == "HEAD" else method
        try:
            routes = self._routes.get(tail)
            if routes is not None:
                handler = routes.get(verb)
                if handler is None:
                    raise not_allowed(method, routes)
                return await handler(query, headers, body)
            key, slash, name = tail.partition("/")
            item_routes = self._item_routes if not slash else self._routes_below_item(tail, name)
            item_handler = item_routes.get(verb)
            if item_handler is None:
                raise not_allowed(method, item_routes)
            return await item_handler(self._key(key), query, headers, body)
        except ModelRefusal as refusal:
            raise from_refusal(refusal) from None
        except BadQuery as error:
            raise refusal_of(error) from None
        except TooExpensive as error:
            raise RequestError(422, str(error), errors=[finding("", "too_expensive", str(error))]) from None
        except apsw.Error as error:
            raise StorageFailed(f"cannot read {self.schema.resource}: {error}") from error

    def _routes_below_item(self, tail: str, name: str) -> dict[str, _ItemHandler]:
        routes = self._below_item.get(name)
        if routes is None:
            raise RequestError(404, f"there is nothing at {self.path}/{tail[:200]}")
        return routes

    async def _get(self, key: SqlValue, query: bytes, headers: Headers, body: bytes) -> Response | Stream:
        """``GET /{id}``, now or as of a moment."""
        get = self._past.as_of if names_as_of(query) else self._reading.get
        return await get(key, query, headers, body)

    async def _watch(self, query: bytes, headers: Headers, body: bytes) -> Response | Stream:
        """``GET /_watch``."""
        return await self._watching.stream(read_watch(query, headers), self.schema.name)

    def _key(self, tail: str) -> SqlValue:
        try:
            text = unquote_to_bytes(tail).decode()
        except UnicodeDecodeError:
            text = ""
        key = self.schema.parse_key(text)
        if key is None:
            raise NotFound(self.schema.name, tail[:200])
        return key
