"""Models whose declarations change while clients go on, on nodes of which some run one program and some another."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from random import Random
from typing import Any
from uuid import UUID

from quorate import App, Model, event, field
from quorate.errors import NotApplied, OutcomeUnknown, RequestIdReused
from quorate.models.machine import MACHINE
from quorate.models.migrations import AddField, RenameField
from quorate.models.store.events import Event, Kind
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.host import Process
from quorate.testing.simulation.models import Answer, SimulatedModels
from quorate.testing.simulation.workloads.contract import Workload, text_of

HEIGHT_MAX = 20
RETENTION = timedelta(seconds=2)


class Growing(Model):
    """What a plant is in every version of the app."""

    id: int = field(primary_key=True)
    height: int = field(default=0, audited=True, retention=RETENTION)

    @event
    def grown(self, cm: int) -> None:
        """It is higher now."""
        if self.height + cm > HEIGHT_MAX:
            raise ValueError("it does not grow any more")
        self.height += cm


def _first() -> App:
    class Plant(Growing):
        title: str = field(unique=True, track_history=True)

    return App(models=[Plant], title="Garden")


def _wider() -> App:
    """What may just be added: a field with a default, a model."""

    class Plant(Growing):
        title: str = field(unique=True, track_history=True)
        colour: str = field(default="green", indexed=True)

    class Note(Model):
        id: UUID = field(primary_key=True)
        plant_id: int | None = field(default=None, foreign_key=Plant, on_delete="cascade")

    return App(models=[Plant, Note], title="Garden")


MIGRATIONS = [
    RenameField("Plant", "title", "name"),
    AddField("Plant", "slug", value=lambda plant: plant["name"].lower()),
    AddField("Plant", "initial", value=lambda plant: plant["name"][:1]),
]


def _renamed() -> App:
    """What takes migrations."""

    class Plant(Growing):
        name: str = field(unique=True, track_history=True)
        colour: str = field(default="green", indexed=True)
        slug: str = ""

    class Note(Model):
        id: UUID = field(primary_key=True)
        plant_id: int | None = field(default=None, foreign_key=Plant, on_delete="cascade")

    return App(models=[Plant, Note], title="Garden", migrations=MIGRATIONS[:2])


def _later() -> App:
    """One more, behind those."""

    class Plant(Growing):
        name: str = field(unique=True, track_history=True)
        colour: str = field(default="green", indexed=True)
        slug: str = ""
        initial: str = ""

    class Note(Model):
        id: UUID = field(primary_key=True)
        plant_id: int | None = field(default=None, foreign_key=Plant, on_delete="cascade")

    return App(models=[Plant, Note], title="Garden", migrations=MIGRATIONS)


GARDEN = (_first(), _wider(), _renamed(), _later())
NOTES_SINCE, NAMED_SINCE, INITIAL_SINCE = 1, 2, 3
"""From these versions on there are notes; a plant's title is its name, and has a slug; and an initial."""

_ROOTS = {
    "plant": ("Plant", Kind.CREATED, ""),
    "rename": ("Plant", Kind.UPDATED, ""),
    "grow": ("Plant", Kind.UPDATED, "grown"),
    "note": ("Note", Kind.CREATED, ""),
    "remove": ("Plant", Kind.DELETED, ""),
}
"""The event of each kind of operation, beside which there may be those that follow from it."""


@dataclass(slots=True)
class Grown:
    """What the events tell of a plant."""

    name: str
    names: list[str]
    height: int
    version: int


class ModelUpgrades(Workload):
    """Clients ask any node, in the words of the program that it runs. What was acknowledged before outlives it all."""

    name = "model upgrades"
    machine = MACHINE
    apps = GARDEN

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self.writes: list[Operation] = []

    async def step(self, client: Client) -> Operation:
        plants: list[int] = client.memory.setdefault("plants", [])
        chance = client.rng.random()
        if not plants or chance < 0.25:
            return await self._plant(client, plants)
        number = client.rng.choice(plants)
        if chance < 0.4:
            return await self._look(client, number)
        if chance < 0.55:
            operation = client.begin("rename", str(number))
            return await self._write(client, operation, "PATCH", f"plants/{number}", {"title": operation.name})
        if chance < 0.8:
            operation = client.begin("grow", str(number), client.rng.randint(1, 9))
            return await self._write(client, operation, "POST", f"plants/{number}/grown", {"cm": operation.argument})
        if chance < 0.93:
            return await self._write(client, client.begin("note", str(number)), "POST", "notes", {"plant_id": number})
        operation = client.begin("remove", str(number))
        return await self._write(client, operation, "DELETE", f"plants/{number}")

    async def _plant(self, client: Client, plants: list[int]) -> Operation:
        operation = client.begin("plant", "")
        number = operation.client * 100_000 + operation.number
        operation.key = str(number)
        body = {"id": number, "title": f"Plant {operation.name}"}
        await self._write(client, operation, "POST", "plants", body)
        if operation.ended is not Ended.NOT_APPLIED:
            plants.append(number)
        return operation

    async def _write(
        self, client: Client, operation: Operation, method: str, path: str, body: dict[str, Any] | None = None
    ) -> Operation:
        async def send(process: Process, request_id: str | None) -> Answer:
            if path == "notes" and process.version < NOTES_SINCE:
                raise NotApplied("this program knows no notes")
            words = _in_words_of(process.version, method, body)
            try:
                return await process.face.ask(method, path, words, request_id=request_id, actor=operation.name)
            except RequestIdReused:  # in the words of another program, by an attempt whose outcome nobody knows
                raise OutcomeUnknown("the request was sent before") from None

        self.writes.append(operation)
        return await client.write(operation, send)

    async def _look(self, client: Client, number: int) -> Operation:
        async def get(process: Process) -> Answer:
            return await process.face.ask("GET", f"plants/{number}")

        return await client.read(client.begin("look", str(number)), get)

    # -- what must be true of it -------------------------------------------------------------------------

    def check(self, process: Process) -> None:
        machine = process.models
        assert machine is not None
        if machine.declarations.in_force[1] != GARDEN[-1].schema_fingerprint:
            self.fail(f"in the end {machine.declarations.in_force} is in force")
        events = machine.events.after(0, 1_000_000).events
        if [each.sequence for each in events] != list(range(1, machine.events.last + 1)):
            self.fail("the numbers of the events have gaps")
        times = self._times(events)
        self.check_applied(times, _ROOTS)
        self.check_order(times, self.writes)
        self._check_plants(machine, events)
        self._check_versions(events)

    def _times(self, events: list[Event]) -> Counter[str]:
        """How often each operation was carried out, in the order of the log."""
        kinds = {operation.name: operation.kind for operation in self.writes}
        times: Counter[str] = Counter()
        for each in events:
            if each.actor in kinds and (each.model, each.kind, each.name) == _ROOTS[kinds[each.actor]]:
                times[each.actor] += 1
        for operation in self.writes:
            if operation.ended is Ended.UNKNOWN and times[operation.name]:
                operation.completed = inf
        return +times

    def _check_plants(self, machine: SimulatedModels, events: list[Event]) -> None:
        """The objects are what the events tell, and grown by what was asked for."""
        wanted = _folded(events, events[-1].sequence if events else 0)
        table = machine.tables["Plant"]
        names = table.schema.names
        rows: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in table.page(100_000, 0)]
        if sorted(wanted) != [row["id"] for row in rows]:
            self.fail(f"by the events there are the plants {sorted(wanted)}, and there are {rows}")
        asked: Counter[int] = Counter()
        for operation in self.of("grow"):
            if not operation.refused:
                asked[int(operation.key)] += operation.argument
        for row in rows:
            plant = wanted[row["id"]]
            stored = table.stored(row["id"])
            is_right = (row["name"], row["height"]) == (plant.name, plant.height) and row["colour"] == "green"
            if not is_right or stored is None or stored.version != plant.version:
                self.fail(f"by the events there is {plant}, and there is {row}")
            if row["slug"] not in [name.lower() for name in plant.names]:
                self.fail(f"{row['slug']} was made of no name of {plant}")
            if row["initial"] not in [name[:1] for name in plant.names]:
                self.fail(f"{row['initial']} was made of no name of {plant}")
            if not asked[row["id"]] <= row["height"] <= HEIGHT_MAX:
                self.fail(f"{row} had grown by {asked[row['id']]}")
        for _, plant_id in machine.tables["Note"].page(100_000, 0):
            if plant_id not in wanted:
                self.fail(f"there is a note on the plant {plant_id!r}, and no such plant")
        for entry in (entry for key in sorted(wanted) for entry in machine.histories["Plant"].of(key, 0, 1000)):
            told = dict(zip(events[entry.sequence - 1].columns, events[entry.sequence - 1].values, strict=True))
            if any(told.get(name) != change.new for name, change in entry.changes.items()):
                self.fail(f"the history has {entry}, and the events have {told}")

    def _check_versions(self, events: list[Event]) -> None:
        """Answers carry the number of their change, and looks show what there was behind it."""
        for operation in self.history:
            if operation.ended is not Ended.OK or not isinstance(operation.result, Answer):
                continue
            answer: Answer = operation.result
            if answer.version is None:
                continue
            told = events[answer.version - 1]
            if operation.kind == "look":
                plant = _folded(events[: answer.version], answer.version).get(int(operation.key))
                shown = (answer.body.get("name", answer.body.get("title")), answer.body["height"])
                if plant is None or (plant.name, plant.height, plant.version) != (*shown, answer.version):
                    self.fail(f"{text_of(operation)}: by the events there was {plant}")
            elif told.actor != operation.name:
                self.fail(f"{text_of(operation)}: that is the number of {told}")


def _in_words_of(version: int, method: str, body: dict[str, Any] | None) -> dict[str, Any] | None:
    if body is None or "title" not in body or version < NAMED_SINCE:
        return body
    name = body["title"]
    words = {**body, "name": name}
    del words["title"]
    if method == "POST":
        words["slug"] = name.lower()
        if version >= INITIAL_SINCE:
            words["initial"] = name[:1]
    return words


def _folded(events: list[Event], end: int) -> dict[int, Grown]:
    """The plants behind change number ``end``."""
    plants: dict[int, Grown] = {}
    for each in events:
        if each.model != "Plant" or each.sequence > end:
            continue
        values: dict[str, Any] = dict(zip(each.columns, each.values, strict=True))
        key: Any = each.key
        if each.kind is Kind.DELETED:
            del plants[key]
            continue
        plant = plants.setdefault(key, Grown("", [], 0, 0))
        plant.name = values.get("name", plant.name)
        plant.names.append(plant.name)
        plant.height = values.get("height", plant.height)
        plant.version = each.sequence
    return plants
