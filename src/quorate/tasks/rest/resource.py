"""Tasks as resources. Plain calls in, plain answers out; the web layer does the rest. Paths are below ``/api/v1``.

====================================  ==================================================================
``GET /tasks``                        a page of tasks, newest first; by status, queue, type, worker
``POST /tasks``                       submit one: 201, ``{"task_id", "status"}``; 200 if it had been; with ``cron`` a
                                      schedule
``POST /tasks/_batch``                submit all of an array or none
``GET /tasks/_watch``                 the changes as they come, as server-sent events
``GET /tasks/{id}``                   one; with ``wait`` as soon as it has ended
``DELETE /tasks/{id}``                cancel: 204; one that is running only with ``force=true``
``POST /tasks/{id}/cancel``           the same
``POST /tasks/{id}/retry``            try it again, with all its attempts
``POST /tasks/{id}/complete``         its worker is done with it: with effects on models and keys, all at once
``POST /tasks/{id}/fail``             its worker is not
``GET /stats``                        counts
``GET /queues``                       all queues
``GET``, ``PATCH /queues/{name}``     one; pause or resume it, bound it
``DELETE /queues/{name}``             remove it, once its tasks have ended: 204
``POST /queues/{name}/…``             ``pause``, ``resume``, ``purge``
``GET /dead-letters``                 a page of tasks that will not be tried again
``POST /dead-letters/…``              ``retry``, ``purge``
``GET``, ``POST /schedules``          a page of them; add or replace one
``GET|PUT|DELETE /schedules/{name}``  one
``GET /workers``                      a page of those that were heard of lately
``PUT``, ``DELETE /workers/{id}``     a worker comes, or goes
``POST /workers/{id}/…``              ``claim``, ``heartbeat``, ``report``
====================================  ==================================================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import unquote_to_bytes

import apsw

from quorate.errors import StorageFailed
from quorate.machine.queries import TooExpensive
from quorate.node.ports import Engine
from quorate.rest.http import Headers, RequestError, Response, Stream, finding, not_allowed
from quorate.rest.turns import LARGE_BYTES, Turns
from quorate.tasks.broker import Broker
from quorate.tasks.effects import NoEffects, PossibleEffects
from quorate.tasks.errors import TaskRefusal
from quorate.tasks.rest.operating import Operating
from quorate.tasks.rest.patience import Patience
from quorate.tasks.rest.reading import Pages
from quorate.tasks.rest.refusals import from_refusal
from quorate.tasks.rest.submitting import Submitting
from quorate.tasks.rest.watching import PATH as WATCH
from quorate.tasks.rest.watching import Watching
from quorate.tasks.rest.working import Working

VERSION = "v1"
"""The first part of all paths, below the site's prefix."""

_Handler = Callable[[bytes, Headers, bytes], Awaitable[Response | Stream]]
_OfOne = Callable[[str, bytes, Headers, bytes], Awaitable[Response | Stream]]


class TasksResource:
    """Serves the tasks of one node at ``path``, such as ``/api/v1``."""

    def __init__(
        self,
        broker: Broker,
        engine: Engine,
        *,
        prefix: str = "/api",
        effects: PossibleEffects | None = None,
        watching: Watching | None = None,
    ) -> None:
        self.path = path = f"{prefix}/{VERSION}"
        self._turns = Turns()
        self._patience = patience = Patience()
        submitting, pages, operating = Submitting(broker, path), Pages(broker, patience), Operating(broker)
        working = Working(broker, patience, effects or NoEffects())
        self.watching = watching or Watching(broker.feed, engine, patience)
        self._routes: dict[str, dict[str, _Handler]] = {
            "tasks": {"GET": pages.tasks, "POST": submitting.submit},
            "tasks/_batch": {"POST": submitting.submit_many},
            f"tasks/{WATCH}": {"GET": self.watching.watch},
            "stats": {"GET": pages.stats},
            "queues": {"GET": pages.queues},
            "dead-letters": {"GET": pages.dead_letters},
            "dead-letters/retry": {"POST": operating.retry_dead},
            "dead-letters/purge": {"POST": operating.purge_dead},
            "schedules": {"GET": pages.schedules, "POST": submitting.add_schedule},
            "workers": {"GET": pages.workers},
        }
        self._routes_of_one: dict[tuple[str, str], dict[str, _OfOne]] = {
            ("tasks", ""): {"GET": pages.task, "DELETE": operating.delete},
            ("tasks", "cancel"): {"POST": operating.cancel},
            ("tasks", "retry"): {"POST": operating.retry},
            ("tasks", "complete"): {"POST": working.complete},
            ("tasks", "fail"): {"POST": working.fail},
            ("queues", ""): {
                "GET": pages.queue,
                "PATCH": operating.change_queue,
                "DELETE": operating.delete_queue,
            },
            ("queues", "pause"): {"POST": operating.pause},
            ("queues", "resume"): {"POST": operating.resume},
            ("queues", "purge"): {"POST": operating.purge_queue},
            ("schedules", ""): {
                "GET": pages.schedule,
                "PUT": submitting.put_schedule,
                "DELETE": operating.delete_schedule,
            },
            ("workers", ""): {"PUT": working.enlist, "DELETE": working.dismiss},
            ("workers", "claim"): {"POST": working.claim},
            ("workers", "heartbeat"): {"POST": working.heartbeat},
            ("workers", "report"): {"POST": working.report},
        }

    def close(self) -> None:
        """The node stops: whoever waits or watches is answered now, and goes on at another node. Idempotent."""
        self._patience.end()

    @staticmethod
    def may_be_left(method: str, tail: str) -> bool:
        """Whether a request is given up when its client has gone: it reads, or claims what nobody would do then."""
        return method == "GET" or tail.endswith("/claim")

    async def handle(self, method: str, tail: str, query: bytes, headers: Headers, body: bytes) -> Response | Stream:
        """Answer one request. ``tail`` is the path behind :attr:`path` and a slash, still percent-encoded.

        Raises :class:`RequestError` for every refusal that concerns tasks, and whatever the engine raises for want of
        a leader, a quorum or time.
        """
        if len(body) <= LARGE_BYTES:
            return await self._handle(method, tail, query, headers, body)
        async with self._turns.turn(len(body)):
            return await self._handle(method, tail, query, headers, body)

    async def _handle(self, method: str, tail: str, query: bytes, headers: Headers, body: bytes) -> Response | Stream:
        verb = "GET" if method == "HEAD" else method
        try:
            routes = self._routes.get(tail)
            if routes is not None:
                handler = routes.get(verb)
                if handler is None:
                    raise not_allowed(method, routes)
                return await handler(query, headers, body)
            collection, _, rest = tail.partition("/")
            name, slash, action = rest.partition("/")
            of_one = self._routes_of_one.get((collection, action)) if name and bool(slash) == bool(action) else None
            if of_one is None:
                raise RequestError(404, f"there is nothing at {self.path}/{tail[:200]}")
            handler_of_one = of_one.get(verb)
            if handler_of_one is None:
                raise not_allowed(method, of_one)
            return await handler_of_one(_decoded(name, tail), query, headers, body)
        except TaskRefusal as refusal:
            raise from_refusal(refusal) from None
        except TooExpensive as error:
            raise RequestError(422, str(error), errors=[finding("", "too_expensive", str(error))]) from None
        except apsw.Error as error:
            raise StorageFailed(f"cannot read tasks: {error}") from error


def _decoded(name: str, tail: str) -> str:
    if "%" not in name:
        return name
    try:
        return unquote_to_bytes(name).decode()
    except UnicodeDecodeError:
        raise RequestError(404, f"there is nothing at {tail[:200]}") from None
