"""Models in Python: objects created, read and changed through a node of the process (design: A1.21–A1.37, A2.7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError, model_validator

from quorate import App, Model, Node, NodeStopped, event, field
from quorate.errors import ConfigError
from quorate.models.errors import Conflict, Immutable, Invalid, NotFound, RuleBroken, VersionMismatch
from quorate.testing import TestCluster


class Category(Model):
    id: UUID = field(primary_key=True)
    name: str = field(unique=True, min_length=1)


class Product(Model):
    id: UUID = field(primary_key=True)
    name: str = field(unique=True, min_length=1)
    price: Decimal = field(ge="0.01", decimal_places=2)
    stock: int = field(default=0, ge=0, indexed=True)
    serial: str = field(default="", immutable=True)
    secret: str = field(default="", expose=False)
    category_id: UUID | None = field(default=None, foreign_key=Category, on_delete="restrict")
    meta: dict[str, Any] = field(default={})

    @event
    def stock_changed(self, delta: int) -> None:
        self.stock += delta


class Stay(Model):
    """Has a rule over two fields."""

    room: str = field(primary_key=True)
    first: int
    last: int
    meta: dict[str, Any] = field(default={})

    @model_validator(mode="after")
    def _in_order(self) -> Stay:
        if self.last < self.first:
            raise ValueError("last lies before first")
        return self


class Counted(Model):
    number: int = field(primary_key=True)


shop = App(models=[Category, Product, Stay, Counted])


@pytest.fixture
async def cluster() -> AsyncIterator[TestCluster]:
    async with TestCluster(3, app=shop) as cluster:
        await cluster.wait_for_leader()
        with cluster.node(2).using():
            yield cluster


@pytest.fixture
async def node(cluster: TestCluster) -> Node:
    return cluster.node(2)


def proposed(node: Node) -> int:
    return node.status.last_index


def causes(node: Node) -> list[tuple[str | None, int]]:
    """Actor and origin of every event."""
    assert node.models is not None
    connection = node.models.tables["Counted"].connection
    return connection.execute("SELECT actor, origin FROM quorate_events ORDER BY sequence").fetchall()


async def test_an_object_is_created_read_changed_and_deleted(cluster: TestCluster) -> None:
    oak = await Product.create(name="Oak", price="19.99", meta={"a": 1})
    assert isinstance(oak, Product)
    assert (oak.name, oak.price, oak.stock, oak.version) == ("Oak", Decimal("19.99"), 0, 1)
    assert oak.id.version == 7
    for other in cluster.nodes:  # every node reads what one has acknowledged
        with other.using():
            read = await Product.get(oak.id)
            assert read == oak
            assert read.version == 1
    assert await oak.update(price=18, meta={"b": 2}) is oak
    assert (oak.price, oak.meta, oak.version) == (Decimal(18), {"b": 2}, 2)
    assert await read.refresh() is read
    assert read == oak
    await oak.delete()
    assert not oak.is_stored
    assert await Product.get_or_none(oak.id) is None
    with pytest.raises(NotFound):
        await Product.get(oak.id)
    with pytest.raises(NotFound):
        await read.refresh()
    with pytest.raises(NotFound):
        await read.update(stock=1)


async def test_what_is_returned_is_what_is_stored(cluster: TestCluster) -> None:
    made = await Product.create(name="Oak", price=Decimal("1.50"), secret="x", category_id=None)
    assert (await Product.get(made.id)).model_dump() == made.model_dump()
    assert made.secret == "x"  # what is not exposed stays in the process, and this is the process


async def test_ids_come_in_any_form_that_names_one(cluster: TestCluster) -> None:
    oak = await Product.create(name="Oak", price=1)
    assert await Product.get(str(oak.id)) == oak
    assert await Product.get(oak.id, consistency="eventually") == oak
    with pytest.raises(ValidationError):
        await Product.get("oak")
    with pytest.raises(ValidationError):
        await Product.get(None)
    await Counted.create(number=7)
    assert (await Counted.get(7)).number == 7
    assert await Counted.get_or_none(8) is None
    assert await Stay.get_or_none("_reserved") is None
    assert await Counted.get_or_none(1 << 63) is None


async def test_bad_values_never_reach_the_log(node: Node) -> None:
    oak = await Product.create(name="Oak", price=1)
    before = proposed(node)
    for bad in ({"name": ""}, {"name": "Elm", "price": "0"}, {"name": "Elm", "price": 1, "colour": "red"}, {}):
        with pytest.raises(ValidationError):
            await Product.create(**bad)
    with pytest.raises(Invalid, match="64 bits"):
        await Product.create(name="Elm", price=1, stock=1 << 63)
    for changes in ({"stock": -1}, {"stock": None}, {"colour": "red"}, {"stock": "many"}):
        with pytest.raises(ValidationError):
            await oak.update(**changes)
    with pytest.raises(Immutable):
        await oak.update(id=uuid4())
    with pytest.raises(ValidationError):
        await oak.stock_changed(delta="many")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Product\.stock_changed\(\): missing a required argument: 'delta'"):
        await oak.stock_changed()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword"):
        await oak.stock_changed(delta=1, by="me")  # type: ignore[call-arg]
    assert proposed(node) == before
    assert oak.stock == 0


async def test_refusals_leave_the_object_at_hand_as_it_was(cluster: TestCluster) -> None:
    oak = await Product.create(name="Oak", price=1, serial="a")
    elm = await Product.create(name="Elm", price=1)
    with pytest.raises(Conflict):
        await elm.update(name="Oak")
    with pytest.raises(Conflict):
        await Product.create(name="Oak", price=1)
    with pytest.raises(Conflict, match="does not exist"):
        await elm.update(category_id=uuid4())
    with pytest.raises(Immutable):
        await oak.update(serial="b")
    assert (elm.name, elm.category_id, oak.serial, elm.version) == ("Elm", None, "a", 2)
    wood = await Category.create(name="Wood")
    await elm.update(category_id=wood.id, id=elm.id)
    with pytest.raises(Conflict, match="still refers"):
        await wood.delete()
    assert wood.is_stored


async def test_a_version_that_is_expected(cluster: TestCluster) -> None:
    """A1.41: the optimistic way to change what was read."""
    mine = await Product.create(name="Oak", price=1)
    theirs = await Product.get(mine.id)
    await theirs.update(stock=5)
    with pytest.raises(VersionMismatch) as refused:
        await mine.update(stock=1, expected_version=mine.version)
    assert refused.value.version == theirs.version
    with pytest.raises(VersionMismatch):
        await mine.delete(expected_version=mine.version)
    await mine.refresh()
    await mine.update(stock=mine.stock + 1, expected_version=mine.version)
    assert (await Product.get(mine.id)).stock == 6
    version = mine.version
    await mine.update(stock=6)
    assert mine.version == version  # nothing has changed


async def test_rules_of_the_whole_object_are_judged_in_the_log(cluster: TestCluster) -> None:
    stay = await Stay.create(room="7", first=1, last=3, meta={"a": {"b": 1}})
    stale = await Stay.get("7")
    with pytest.raises(ValidationError):
        await Stay.create(room="8", first=3, last=1)
    with pytest.raises(Invalid, match="last lies before first"):
        await stay.update(first=4)
    await stay.update(first=3, meta={"c": None})
    assert (stay.first, stay.meta) == (3, {"c": None})  # a value is set, and not merged
    with pytest.raises(Invalid):
        await stale.update(last=2)  # which the stale object would allow


async def test_an_object_made_by_hand_is_not_stored(cluster: TestCluster) -> None:
    oak = Product(name="Oak", price=Decimal(1))
    assert not oak.is_stored
    for refused in (lambda: oak.update(stock=1), oak.delete, oak.refresh):
        with pytest.raises(RuntimeError, match="not stored"):
            await refused()
    with pytest.raises(RuntimeError, match="not stored"):
        _ = oak.version
    oak.stock = 3
    copy = (await Product.create(**oak.model_dump())).model_copy()
    assert not copy.is_stored  # it is another object, and says nothing of the store


async def test_a_stored_object_is_not_changed_by_hand(cluster: TestCluster) -> None:
    oak = await Product.create(name="Oak", price=1)
    with pytest.raises(AttributeError, match=r"a stored Product changes with update\(\)"):
        oak.stock = 3
    assert oak.stock == 0


async def test_concurrent_calls(cluster: TestCluster) -> None:
    oak, *_ = await asyncio.gather(*(Product.create(name=f"{number}", price=1) for number in range(50)))
    await asyncio.gather(*(oak.stock_changed(delta=1) for _ in range(50)))
    assert (await Product.get(oak.id)).stock == 50


async def test_changes_are_told_once_and_in_order(cluster: TestCluster) -> None:
    """A1.47-A1.54: the feed of one model, from another node than the one that was asked."""
    with shop.acting_as("ann"):
        oak = await Product.create(name="Oak", price="1.50", secret="x")
    told = []
    with cluster.node(3).using():
        watch = Product.watch(after=0)
        told.append(await anext(watch))
        waiting = asyncio.ensure_future(anext(watch))
    await Counted.create(number=1)  # of another model
    await oak.stock_changed(delta=2)
    told.append(await waiting)
    await oak.update(price=2)
    await oak.delete()
    told += [await anext(watch), await anext(watch)]
    await watch.aclose()
    assert [(change.kind, change.event, change.version) for change in told] == [
        ("created", "", 1),
        ("updated", "stock_changed", 3),
        ("updated", "", 4),
        ("deleted", "", 5),
    ]
    assert {change.id for change in told} == {oak.id}
    assert (told[0].actor, told[0].node_id, told[1].actor) == ("ann", 2, None)
    assert (told[0].fields["price"], told[0].fields["secret"]) == (Decimal("1.50"), "x")
    assert [dict(change.fields) for change in told[1:]] == [{"stock": 2}, {"price": Decimal(2)}, {}]
    assert told[0].time < told[3].time
    async with aclosing(Product.watch(after=told[1].version)) as watch:  # goes on where one has been
        assert await anext(watch) == told[2]
    for nonsense in (-1, 1 << 63):
        with pytest.raises(ValueError, match="begins behind a version"):
            await anext(Product.watch(after=nonsense))
    async with aclosing(Product.watch()) as watch:
        following = asyncio.ensure_future(anext(watch))
        while not following.done():
            await Product.create(name=str(uuid4()), price=1)  # what comes from now on
        assert (await following).version > told[3].version


# -- where calls go ------------------------------------------------------------------------------------------


async def test_without_a_node_a_call_says_what_is_missing() -> None:
    with pytest.raises(NodeStopped, match="no node that keeps Product runs in this process"):
        await Product.create(name="Oak", price=1)
    with pytest.raises(NodeStopped):
        await Product.get(uuid4())
    with pytest.raises(NodeStopped):
        async with shop.transaction():
            pass


async def test_among_several_nodes_one_is_said() -> None:
    async with TestCluster(3, app=shop) as cluster:
        await cluster.wait_for_leader()
        with pytest.raises(RuntimeError, match=r"node 1, node 2, node 3 keep Counted .*node\.using\(\)"):
            await Counted.create(number=1)
        with cluster.node(1).using():
            await Counted.create(number=1)
            with cluster.node(3).using():
                assert await Counted.get(1)
            await cluster.stop(1)
            with pytest.raises(NodeStopped, match="node 1 is not running"):
                await Counted.get(1)


async def test_the_only_node_that_runs_needs_no_word() -> None:
    class Elsewhere(Model):
        number: int = field(primary_key=True)

    async with TestCluster(1, app=shop) as cluster:
        await cluster.wait_for_leader()
        assert await Counted.create(number=1)
        with pytest.raises(NodeStopped, match="no node that keeps Elsewhere"):
            await Elsewhere.create(number=1)
        with cluster.node(1).using(), pytest.raises(RuntimeError, match="does not keep Elsewhere"):
            await Elsewhere.create(number=1)


async def test_each_task_has_its_own_node(cluster: TestCluster) -> None:
    async def create(number: int) -> str:
        with cluster.node(number).using():
            await Counted.create(number=number)
            await asyncio.sleep(0)
            return (await Counted.get(number)).model_dump_json()

    answers = await asyncio.gather(*map(create, (1, 2, 3)))
    assert answers == ['{"number":1}', '{"number":2}', '{"number":3}']
    assert {origin for _, origin in causes(cluster.node(2))} == {1, 2, 3}


async def test_a_node_without_an_app_has_no_models() -> None:
    async with TestCluster(1, kv=True) as cluster:
        with pytest.raises(ConfigError, match="has no models"), cluster.node(1).using():
            pass


async def test_who_acts_is_in_the_events(cluster: TestCluster) -> None:
    """An event says who caused it."""
    with shop.acting_as("ann"):
        await Counted.create(number=1)
    await Counted.create(number=2)
    assert [actor for actor, _ in causes(cluster.node(2))] == ["ann", None]
    for bad in ("", "x" * 256, "a\nb"):
        with pytest.raises(ValueError, match="an actor is named"), shop.acting_as(bad):
            pass


# -- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["create", "get", "filter", "watch", "update", "delete", "refresh", "version", "is_stored"]
)
def test_fields_cannot_have_the_names_of_methods(name: str) -> None:
    namespace = {"__annotations__": {"id": UUID, name: int}, "id": field(primary_key=True), "__module__": __name__}
    with pytest.raises(ConfigError, match=rf"^Bad\.{name}: no field can have the name"):
        type(Model)("Bad", (Model,), namespace)


async def test_a_rule_that_is_broken_says_which(cluster: TestCluster) -> None:
    oak = await Product.create(name="Oak", price=1, stock=1)
    with pytest.raises(RuleBroken, match="greater than or equal to 0"):
        await oak.stock_changed(delta=-2)
    assert oak.stock == 1
