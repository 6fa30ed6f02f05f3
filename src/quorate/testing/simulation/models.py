"""The declared models of a simulated node: the real machine, what a server does for it, and how clients reach it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from types import GeneratorType
from typing import Any, NamedTuple

from quorate.app import App
from quorate.machine.contract import ApplyContext, Steps
from quorate.machine.sqlite import SqliteState
from quorate.models.commands import Change, Check, Declare, Retain, decode_command, encode_command
from quorate.models.declaring import Declaring
from quorate.models.errors import NotInForce
from quorate.models.machine import ModelsMachine
from quorate.models.rest.event_pages import PATH as EVENT_PAGES
from quorate.models.rest.event_pages import EventPages
from quorate.models.rest.resource import ModelResource
from quorate.models.rest.transactions import PATH as TRANSACTION
from quorate.models.rest.transactions import TransactionResource
from quorate.models.rest.watching import Watching
from quorate.models.upkeep import Upkeep
from quorate.node.node import Node
from quorate.rest.http import JSON_TYPE, Response, Stream
from quorate.web.elsewhere import Elsewhere

PRUNED = "event logs pruned"
RETAINED = "history deleted"
DECLARED = "declarations put in force"
MIGRATED = "migrations of tables with objects"
STEPS = "steps of migrations"
INSTALLED = "snapshots with models installed"
OUTDATED = "nodes told that their program is too old"
UPGRADED = "nodes started with a newer program"
TAKEN_BACK = "nodes started with an older program"
EVENTS = (PRUNED, RETAINED, DECLARED, MIGRATED, STEPS, INSTALLED, OUTDATED, UPGRADED, TAKEN_BACK)
"""What must have happened in many runs: whatever goes wrong with it could not show otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsPlan:
    """How the machines of a run keep their events."""

    events_kept: int = 100_000


class SimulatedModels(ModelsMachine):
    """A :class:`ModelsMachine` that counts what happens to it."""

    def __init__(self, app: App, plan: ModelsPlan, spend: Callable[[], None]) -> None:
        """``spend`` is called for each command: applying takes time, sometimes a lot."""
        super().__init__(app.schemas, migrations=app.migrations, events_kept=plan.events_kept)
        self.app = app
        self.events_kept = plan.events_kept
        self._spend = spend
        self._opened_before = False
        self.fired: Counter[str] = Counter()
        """How often what of :data:`EVENTS` has happened."""

    def open(self, state: SqliteState) -> None:
        super().open(state)
        if self._opened_before and self.events.last:
            self.fired[INSTALLED] += 1
        self._opened_before = True

    def apply(self, command: bytes, context: ApplyContext) -> object:
        self._spend()
        first, version = self.events.first, self.declarations.in_force[0]
        result = super().apply(command, context)
        if isinstance(result, GeneratorType):
            return self._in_steps(result, version)
        self.fired[PRUNED] += self.events.first > first
        match decode_command(command):
            case Retain():
                self.fired[RETAINED] += bool(result)
            case Declare():
                self._declared(version)
        return result

    def _in_steps(self, steps: Steps, version: int) -> Steps:
        with closing(steps):
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    self._declared(version)
                    return end.value
                self.fired[STEPS] += 1
                yield

    def _declared(self, version_before: int) -> None:
        self.fired[DECLARED] += 1
        self.fired[MIGRATED] += self.events.last > 0 and self.declarations.in_force[0] > version_before

    @property
    def harmless(self) -> bytes:
        """A command that changes nothing, and is refused."""
        declarations = self.declarations
        return encode_command(Change([Check(declarations.schemas[0].name, -1)], None, declarations.version))


class Answer(NamedTuple):
    """What came back for a request; ``version`` by the ETag, and ``body`` from JSON."""

    status: int
    version: int | None
    body: Any


class ModelsFace:
    """What a server is for clients, minus the sockets, and what it does for the models beside their requests."""

    def __init__(self, node: Node, machine: SimulatedModels, now_us: Callable[[], int]) -> None:
        app = machine.app
        self.machine = machine
        self._elsewhere = Elsewhere(node, machine, app.schema)
        self._watching = Watching(machine, node, app.schemas)
        self._transactions = TransactionResource(app.schemas, machine, node)
        self._resources: dict[str, ModelResource | TransactionResource | EventPages] = {
            TRANSACTION: self._transactions,
            EVENT_PAGES: EventPages(machine, node, app.schemas),
        }
        for schema in app.schemas:
            self._resources[schema.resource] = ModelResource(schema, machine, node, watching=self._watching)
        Declaring(machine, app.schema).begin(node)
        Upkeep(app.schemas, machine).begin(node, lambda: node.is_leader, now_us)

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: str = "",
        request_id: str | None = None,
        actor: str | None = None,
        expected: int | None = None,
    ) -> Answer:
        """One request. ``path`` is that behind ``/api/``.

        Raises what :meth:`ModelResource.handle` raises, and :class:`NotInForce` where a client is sent elsewhere.
        """
        self._check_served(writes=method != "GET")
        headers = [JSON_TYPE]
        if request_id is not None:
            headers.append((b"idempotency-key", request_id.encode()))
        if actor is not None:
            headers.append((b"x-actor", actor.encode()))
        if expected is not None:
            headers.append((b"if-match", b'"%d"' % expected))
        data = b"" if body is None else json.dumps(body).encode()
        resource, _, tail = path.partition("/")
        response = await self._resources[resource].handle(method, tail, query.encode(), headers, data)
        assert isinstance(response, Response)  # nothing here asks for a stream
        tag = dict(response.headers).get(b"etag")
        return Answer(
            response.status, None if tag is None else int(tag.strip(b'"')), json.loads(response.body or b"null")
        )

    def command(self, operations: object) -> bytes:
        """What carries operations out as a part of a joint command. Raises likewise."""
        self._check_served(writes=True)
        return self._transactions.command(json.dumps({"operations": operations}).encode())

    async def watch(self, after: int | None) -> Stream:
        """The changes of all models behind number ``after``, or from now on. Raises likewise."""
        self._check_served(writes=False)
        headers = [] if after is None else [(b"last-event-id", b"%d" % after)]
        return await self._watching.handle("GET", "", b"", headers, b"")

    def _check_served(self, *, writes: bool) -> None:
        if self._elsewhere.is_needed(writes=writes):
            raise NotInForce(self.machine.declarations.version)
