"""A migration of many objects: it holds nothing up, and no leader is lost over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from pydantic import create_model

from quorate import Node
from quorate.app import App
from quorate.models import Model, field
from quorate.models.commands import Change, Create, encode_command
from quorate.models.machine import MACHINE, ModelsMachine
from quorate.models.migrations import AddField, ChangeType, RenameField
from quorate.models.store.leftovers import BESIDE_THE_STATE
from quorate.models.store.migrating import Migrator
from quorate.node.events import LeaderElected
from quorate.testing import TestCluster

OBJECTS = 10_000
AT_ONCE = 500
MIGRATIONS = [
    RenameField("Product", "title", "name"),
    ChangeType("Product", "price", convert=lambda price: Decimal(price) / 100),
    AddField("Product", "slug", value=lambda product: product["name"].lower()),
]


def product(**fields: Any) -> type[Model]:
    made: type[Model] = create_model("Product", __base__=Model, id=(int, field(primary_key=True)), **fields)
    return made


def first_app() -> App:
    return App(models=[product(title=(str, field(unique=True, track_history=True)), price=(int, field(audited=True)))])


def second_app() -> App:
    name, price = (str, field(unique=True, track_history=True)), (Decimal, field(audited=True))
    return App(models=[product(name=name, price=price, slug=(str, field(indexed=True)))], migrations=list(MIGRATIONS))


def models_of(node: Node) -> ModelsMachine:
    machine = node._router.machines[MACHINE]
    assert isinstance(machine, ModelsMachine)
    return machine


async def fill(leader: Node) -> None:
    for first in range(0, OBJECTS, AT_ONCE):
        rows = [(number, f"Tree {number * 7919 % OBJECTS}", number) for number in range(first, first + AT_ONCE)]
        change = Change([Create("Product", ("id", "title", "price"), rows)], None, 0)
        await leader.propose(encode_command(change), machine=MACHINE)


@asynccontextmanager
async def counting_turns() -> AsyncIterator[list[int]]:
    """Of the event loop, as somebody else sees them."""
    counted = [0]

    async def count() -> None:
        while True:
            await asyncio.sleep(0)
            counted[0] += 1

    task = asyncio.create_task(count())
    try:
        yield counted
    finally:
        task.cancel()


async def note_elections(node: Node, elected: list[int]) -> None:
    async for event in node.events():
        match event:
            case LeaderElected(term=term):
                elected.append(term)


async def test_many_objects_are_migrated_while_the_cluster_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [0]
    prepare = Migrator.prepare

    def counted(migrator: Migrator) -> Any:
        for _ in prepare(migrator):
            steps[0] += 1
            yield

    monkeypatch.setattr(Migrator, "prepare", counted)
    # Neither is one lost over a machine that is busy with other things.
    settings = {"election_timeout_min_ms": 1_000, "election_timeout_ms": 2_000}
    async with TestCluster(3, app=first_app(), settings=settings) as cluster:
        leader = await cluster.wait_for_leader()
        await cluster.wait_until(lambda: models_of(leader).declarations.are_served)
        await fill(leader)
        await cluster.wait_for_convergence()
        cluster._app = second_app()
        for node_id in (1, 2, 3):
            await cluster.restart(node_id)
        await cluster.wait_until(lambda: steps[0] > 0)
        leader = await cluster.wait_for_leader()
        elected: list[int] = []
        listening = asyncio.create_task(note_elections(leader, elected))
        async with counting_turns() as turns:
            began, answers = steps[0], 0
            while not all(models_of(node).declarations.are_in_force for node in cluster.nodes):
                for node in cluster.nodes:
                    table = models_of(node).tables["Product"]
                    assert len(table.page(5, 0)) == 5
                    assert table.count == OBJECTS
                    assert models_of(node).events.after(0, 1).events
                answers += 1
                await asyncio.sleep(0.01)
            assert steps[0] > 3 * OBJECTS / 500, "it was done in few long steps"
            assert turns[0] >= (steps[0] - began) / 3  # each turn does a step on each of three nodes
            assert answers > 5
        listening.cancel()
        assert not elected
        assert leader.is_leader
        new = Create("Product", ("id", "name", "price", "slug"), [(OBJECTS, "Oak", "1", "oak")])
        await leader.propose(encode_command(Change([new], None, len(MIGRATIONS))), machine=MACHINE)
        await cluster.wait_for_convergence()
        assert len({node._router.digest() for node in cluster.nodes}) == 1
        for node in cluster.nodes:
            machine = models_of(node)
            names = machine.tables["Product"].connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            assert not [name for (name,) in names if name.startswith(BESIDE_THE_STATE)]
            (event,) = machine.events.after(0, 1).events
            assert set(event.columns) == {"id", "name", "price"}
            (entry,) = machine.histories["Product"].of(7, 0, 10)
            assert set(entry.changes) == {"name", "price"}
