"""What the workloads of declared models have in common: how clients ask, and what the log says they must be told."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Any

import msgspec

from quorate.models.machine import MACHINE
from quorate.models.store.columns import SqlValue
from quorate.models.store.events import Event
from quorate.models.store.history import Entry as Past
from quorate.models.store.schema import ModelSchema
from quorate.node.reads import Consistency
from quorate.rest.http import RequestError
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.host import Process
from quorate.testing.simulation.models import Answer, SimulatedModels
from quorate.testing.simulation.workloads.contract import Workload, text_of
from quorate.testing.simulation.workloads.reference import Carried, Reference, Refused, Values
from quorate.testing.simulation.workloads.shop import OVERDRAFT, SHOP

STATUS = {"": (200, 201, 204), "NotFound": (404,), "Conflict": (409,), "RuleBroken": (409,),
          "VersionMismatch": (412,), "Immutable": (422,)}  # fmt: skip
"""How refusals are answered."""
SCHEMAS = {schema.name: schema for schema in SHOP.schemas}


def _moved(values: Values, arguments: Mapping[str, Any], context: Any) -> Values:
    balance = int(values["balance"] or 0) + int(arguments["amount"])
    if balance < -OVERDRAFT:
        raise Refused("RuleBroken")
    return {**values, "balance": balance, "moved_at": context.index}


RULES = {("Wallet", "moved"): _moved}


@dataclass(frozen=True, slots=True)
class Sight:
    """What a read of one object was answered: its version and what was in it, or that it is not there."""

    operation: Operation
    model: str
    key: SqlValue
    strong: bool
    version: int
    body: Any


class ModelsWorkload(Workload):
    """Every change names its operation as its actor, so the log and the events say which it was."""

    machine = MACHINE
    apps = (SHOP,)

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self.writes: list[Operation] = []
        self.sights: list[Sight] = []
        self.asked: dict[str, set[int]] = {}
        """By the names of writes, the nodes that they were sent to."""

    # -- what clients do ---------------------------------------------------------------------------------

    async def write(
        self, client: Client, operation: Operation, method: str, path: str, body: object = None,
        *, expected: int | None = None,
    ) -> Operation:  # fmt: skip
        """Send a request; the operation's result is the :class:`Answer`, or the :class:`RequestError`."""
        asked = self.asked.setdefault(operation.name, set())

        async def send(process: Process, request_id: str | None) -> Answer:
            asked.add(process.host.node_id)
            return await process.face.ask(
                method, path, body, request_id=request_id, actor=operation.name, expected=expected
            )

        self.writes.append(operation)
        return await client.write(operation, send)

    async def look(self, client: Client, model: str, key: int) -> Operation:
        """Read one object. The version and what was in it are remembered for this client, by model and key."""
        schema = SCHEMAS[model]
        how = client.rng.choice(("strong", "strong", "eventually"))

        async def get(process: Process) -> Answer:
            return await process.face.ask("GET", f"{schema.resource}/{key}", query=f"consistency={how}")

        operation = await client.read(client.begin(f"look, {how}", f"{schema.resource}/{key}"), get)
        if operation.ended is Ended.OK:
            found = operation.result
            if operation.refused:
                if not isinstance(found, RequestError) or found.status != 404:
                    self.fail(f"{text_of(operation)}: a read was refused")
                found = Answer(404, 0, None)
            client.memory[f"{model} {key}"] = found
            self.sights.append(Sight(operation, model, key, how == "strong", found.version, found.body))
        return operation

    async def everything(self, client: Client, model: str, consistency: Consistency) -> Operation:
        """Read all objects of a model at once."""
        path = f"{SCHEMAS[model].resource}/"

        async def get(process: Process) -> list[Any]:
            answer = await process.face.ask("GET", path, query=f"limit=1000&consistency={consistency}")
            objects: list[Any] = answer.body
            return objects

        return await client.read(client.begin(f"list, {consistency}", path), get)

    def seen(self, client: Client, model: str, key: int) -> Answer | None:
        """What a client saw of an object last, if it was there."""
        found: Answer | None = client.memory.get(f"{model} {key}")
        return None if found is None or not found.version else found

    # -- what must be true of it -------------------------------------------------------------------------

    def check(self, process: Process) -> None:
        machine = process.models
        assert machine is not None
        reference = Reference(SCHEMAS, RULES).run(process.host.invariants.known.committed)
        self._check_state(machine, reference)
        self.check_applied(reference.times, {operation.kind for operation in self.writes})
        for operation in self.writes:
            self._check_answer(operation, reference)
        self.check_order(reference.carried, self.writes)
        self._check_sights(reference)
        self.judge(reference)

    @abstractmethod
    def judge(self, reference: Reference) -> None:
        """Judge the history, of which every write has an outcome by now. Raises :class:`Violation`."""

    def _check_state(self, machine: SimulatedModels, reference: Reference) -> None:
        for name, table in machine.tables.items():
            objects, names = reference.objects[name], table.schema.names
            rows: dict[Any, Any] = {row[table.schema.key_position]: row for row in table.page(100_000, 0)}
            if table.count != len(rows):
                self.fail(f"there are {len(rows)} {name}, and {table.count} are counted")
            there = {key: (dict(zip(names, row, strict=True)), _version(machine, name, key))
                     for key, row in rows.items()}  # fmt: skip
            wanted = {key: (held.values, held.version) for key, held in objects.items()}
            self._compare(name, there, wanted)
        events = machine.events
        first = min(events.first, events.last + 1)
        kept = [_plain(each) for each in events.after(first - 1, 1_000_000).events]
        self._compare("events", kept, [_plain(each) for each in reference.events[first - 1 :]])
        if first > max(1, events.last - machine.events_kept + 1):
            self.fail(f"of {machine.events_kept} events to be kept the oldest are gone: {first} of {events.last}")
        for name, past in reference.pasts.items():
            wanted_past = {each.sequence: each for each in past}
            found = _history(machine, name, reference)
            self._compare(f"history of {name}", found, wanted_past)

    def _compare(self, what: str, found: Any, wanted: Any) -> None:
        if found == wanted:
            return
        if isinstance(found, list):
            found, wanted = dict(enumerate(found)), dict(enumerate(wanted))
        for key in sorted({*found, *wanted}, key=repr):
            if found.get(key) != wanted.get(key):
                self.fail(f"{what}: there is {found.get(key)}, and by the log {wanted.get(key)}")

    def _check_answer(self, operation: Operation, reference: Reference) -> None:
        carried = reference.carried.get(operation.name)
        if carried is not None and carried.origin not in self.asked[operation.name]:
            self.fail(f"{operation} was sent to {self.asked[operation.name]}, and counts as node {carried.origin}'s")
        if operation.ended is Ended.UNKNOWN:
            # What the client never learned the log knows, though not when it happened.
            if carried is None:
                operation.ended = Ended.NOT_APPLIED
            else:
                operation.ended = Ended.NOT_APPLIED if carried.refusal else Ended.OK
                operation.completed, operation.result = inf, None
        elif operation.ended is Ended.NOT_APPLIED:
            if carried is not None:
                self.fail(f"{text_of(operation)}: by the log it is {carried}")
        elif operation.ended is Ended.OK:
            if carried is None:
                self._check_not_found(operation, reference)
            elif _status(operation) not in STATUS[carried.refusal]:
                self.fail(f"{text_of(operation)}: by the log it is {carried}")
            elif not carried.refusal:
                self._check_told(operation, carried)

    def _check_told(self, operation: Operation, carried: Carried) -> None:
        answer: Answer = operation.result
        held = carried.results[0]
        if answer.version is not None and (held is None or answer.version != held.version):
            self.fail(f"{text_of(operation)}: by the log the version is {held}")
        if isinstance(answer.body, dict) and "results" in answer.body:
            versions = [result["version"] for result in answer.body["results"]]
            if versions != [None if each is None else each.version for each in carried.results]:
                self.fail(f"{text_of(operation)}: by the log it is {carried}")

    def _check_not_found(self, operation: Operation, reference: Reference) -> None:
        """Only what is not there is refused without a word of the log."""
        resource, _, tail = operation.key.partition("/")
        schema = next(each for each in SCHEMAS.values() if each.resource == resource)
        if _status(operation) != 404:
            self.fail(f"{text_of(operation)} is not in the log")
        self._check_absent(schema.name, schema.parse_key(tail), operation, reference)

    def _check_sights(self, reference: Reference) -> None:
        for sight in self.sights:
            if not sight.version:
                if sight.strong:
                    self._check_absent(sight.model, sight.key, sight.operation, reference)
                continue
            number, values = reference.at(sight.model, sight.key, sight.version)
            if number != sight.version or values is None or _shown(SCHEMAS[sight.model], values) != sight.body:
                self.fail(f"{text_of(sight)} was never there")
            least, _ = reference.at(sight.model, sight.key, self._acknowledged(sight.operation, reference))
            if sight.strong and number < least:
                self.fail(f"a strong read had to see version {least}: {text_of(sight)}")

    def _check_absent(self, model: str, key: SqlValue, operation: Operation, reference: Reference) -> None:
        since = self._acknowledged(operation, reference)
        states = [reference.at(model, key, since), *reference.states.get((model, key), ())]
        if not any(values is None for number, values in states if number >= states[0][0]):
            self.fail(f"{text_of(operation)}: it was there all the time")

    def _acknowledged(self, operation: Operation, reference: Reference) -> int:
        """The number of the last change that clients had heard of when ``operation`` began."""
        ended = (
            reference.carried[write.name].sequence
            for write in self.writes
            if write.ended is Ended.OK and write.completed < operation.invoked and write.name in reference.carried
        )
        return max(ended, default=0)


def _version(machine: SimulatedModels, name: str, key: SqlValue) -> int | None:
    stored = machine.tables[name].stored(key)
    return None if stored is None else stored.version


def _plain(event: Event) -> Event:
    """The event with its columns in the order of their names, for that is not promised."""
    pairs = sorted(zip(event.columns, event.values, strict=True))
    return event._replace(columns=tuple(name for name, _ in pairs), values=tuple(value for _, value in pairs))


def _history(machine: SimulatedModels, name: str, reference: Reference) -> dict[int, Past]:
    keys = {key for model, key in reference.states if model == name}
    history = machine.histories[name]
    return {each.sequence: each for key in keys for each in history.of(key, 0, 1_000_000)}


def _shown(schema: ModelSchema, values: Values) -> Any:
    return msgspec.json.decode(schema.object_json(tuple(values[name] for name in schema.names)))


def _status(operation: Operation) -> int:
    result = operation.result
    return result.status if isinstance(result, Answer | RequestError) else 0
