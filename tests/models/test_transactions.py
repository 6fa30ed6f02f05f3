"""Transactions: operations on objects of several models, all of them or none, over HTTP and in Python."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from quorate import App, Model, event, field
from quorate.models.errors import (
    Conflict,
    Immutable,
    InTransaction,
    ModelRefusal,
    RuleBroken,
    VersionMismatch,
)
from quorate.models.model import schema_of
from quorate.models.objects.transaction import OPERATIONS_MAX
from quorate.models.rest.bodies import BodyReader
from quorate.models.rest.transactions import TransactionResource
from quorate.rest.http import RequestError, Response
from quorate.testing import TestCluster

from .shop import Booking, Counter
from .support import JSON, LocalEngine, Replica


class Category(Model):
    id: UUID = field(primary_key=True)
    name: str = field(unique=True, min_length=1)


class Product(Model):
    id: UUID = field(primary_key=True)
    name: str = field(unique=True, min_length=1)
    price: Decimal = field(default="1", ge="0.01")
    stock: int = field(default=0, ge=0)
    serial: str = field(default="", immutable=True)
    secret: str = field(default="hidden", expose=False)
    category_id: UUID | None = field(default=None, foreign_key=Category)

    @event
    def stock_changed(self, delta: int) -> None:
        self.stock += delta


class Device(Model):
    name: str = field(primary_key=True)
    room: str = ""
    load: float = field(default=0.0, memory_only=True)


app = App(models=[Category, Product, Booking, Counter, Device])


# -- over HTTP -----------------------------------------------------------------------------------------------


class Transactions:
    """Sends transactions to one replica."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.engine = LocalEngine(replica)
        self.resource = TransactionResource(app.schemas, replica.machine, self.engine)

    async def send(self, *operations: Any, body: bytes | None = None, **more: Any) -> Response:
        body = json.dumps({"operations": operations}).encode() if body is None else body
        headers = more.get("headers", [JSON])
        return await self.resource.handle(more.get("method", "POST"), "", more.get("query", b""), headers, body)

    async def results(self, *operations: Any, **more: Any) -> Any:
        return json.loads((await self.send(*operations, **more)).body)["results"]

    async def refused(self, *operations: Any, **more: Any) -> RequestError:
        """The refusal, which left everything as it was."""
        before = self.replica.rows(), self.replica.machine.events.last
        with pytest.raises(RequestError) as refusal:
            await self.send(*operations, **more)
        assert (self.replica.rows(), self.replica.machine.events.last) == before
        return refusal.value

    async def refused_before_the_log(self, *operations: Any, **more: Any) -> RequestError:
        proposed = self.engine.proposed
        error = await self.refused(*operations, **more)
        assert self.engine.proposed == proposed
        return error


@pytest.fixture
def transactions(tmp_path: Path) -> Iterator[Transactions]:
    replica = Replica(tmp_path / "state.db", app.models)
    yield Transactions(replica)
    replica.close()


def create(resource: str, **body: Any) -> dict[str, Any]:
    return {"op": "create", "resource": resource, "body": body}


def on(op: str, id: Any, resource: str = "products", **more: Any) -> dict[str, Any]:
    return {"op": op, "resource": resource, "id": str(id), **more}


async def test_all_kinds_of_operations_in_one_entry(transactions: Transactions) -> None:
    wood, oak, elm = uuid4(), uuid4(), uuid4()
    results = await transactions.results(
        create("categories", id=str(wood), name="Wood"),
        create("products", id=str(oak), name="Oak", category_id=str(wood)),
        create("products", id=str(elm), name="Elm"),
        on("update", oak, body={"stock": 3}),
        on("call", oak, event="stock-changed", arguments={"delta": 2}),
        on("replace", elm, body={"name": "Ash", "price": 2}),
        on("check", oak, version=5),
        on("delete", elm),
        create("products", name="Yew"),
    )
    assert transactions.engine.proposed == 1
    assert [result["version"] for result in results] == [1, 2, 3, 4, 5, 6, 5, None, 8]
    assert results[0]["object"] == {"id": str(wood), "name": "Wood"}
    assert results[4]["object"]["stock"] == 5
    assert results[5]["object"]["name"] == "Ash"
    assert (results[6]["object"], results[7]["object"]) == (None, None)
    assert UUID(results[8]["object"]["id"]).version == 7  # stamped by the log
    assert "secret" not in results[8]["object"]
    rows = transactions.replica.rows()
    assert [len(rows[name]) for name in ("Category", "Product")] == [1, 2]


@pytest.mark.parametrize(
    ("operation", "status", "found"),
    [
        (create("products", name="Oak"), 409, ("name", "unique")),
        (create("products", name="Elm", category_id=str(uuid4())), 409, ("category_id", "foreign_key")),
        (on("delete", uuid4()), 404, ("", "refused")),
        (on("update", "{oak}", body={"serial": "2"}), 422, ("serial", "immutable")),
        (on("update", "{oak}", body={"stock": 1}, version=7), 412, ("", "refused")),
        (on("check", "{oak}", version=0), 412, ("", "refused")),
        (on("delete", "{oak}", version=2), 412, ("", "refused")),
        (on("call", "{oak}", event="stock-changed", arguments={"delta": -1}), 409, ("stock_changed", "rule")),
        (on("update", "{stay}", "bookings", body={"last": 0}), 422, ("", "value_error")),
    ],
)
async def test_a_refusal_undoes_all_and_says_which_it_was(
    transactions: Transactions, operation: dict[str, Any], status: int, found: tuple[str, str]
) -> None:
    oak, stay = uuid4(), uuid4()
    await transactions.results(
        create("products", id=str(oak), name="Oak"), create("bookings", id=str(stay), first=1, last=2)
    )
    text = json.dumps([create("products", name="Ash"), operation, create("products", name="Yew")])
    operations = json.loads(text.replace("{oak}", str(oak)).replace("{stay}", str(stay)))
    error = await transactions.refused(*operations)
    assert error.status == status
    assert [(each["operation"], each["field"], each["reason"]) for each in error.errors] == [(1, *found)]
    assert error.detail.startswith("operation 1: ")
    alone = await transactions.refused(operations[1])
    assert (alone.status, alone.errors[0]["operation"]) == (status, 0)


@pytest.mark.parametrize(
    ("operation", "status", "found"),
    [
        ({"op": "explode", "resource": "products"}, 422, ("op", "malformed")),
        ({"resource": "products"}, 422, ("", "malformed")),
        ([], 422, ("", "malformed")),
        (create("nothings", name="x"), 404, ("resource", "unknown")),
        ({"op": "create", "resource": "products"}, 422, ("", "malformed")),
        ({**create("products", name="x"), "version": 1}, 422, ("", "malformed")),
        (create("products", name=""), 422, ("name", "string_too_short")),
        (create("products", name="x", colour="red"), 422, ("colour", "extra_forbidden")),
        (on("update", uuid4(), body={"stock": -1}), 422, ("stock", "greater_than_equal")),
        (on("update", uuid4(), body={"id": str(uuid4())}), 422, ("id", "immutable")),
        (on("update", uuid4()), 422, ("", "malformed")),
        (on("update", uuid4(), body={}, version="1"), 422, ("version", "malformed")),
        (on("update", uuid4(), body={}, version=-1), 422, ("version", "malformed")),
        (on("update", uuid4(), body={}, version=1 << 63), 422, ("version", "malformed")),
        (on("update", uuid4(), body={}, version=10**30), 422, ("version", "malformed")),
        (on("delete", 10**30, "counters"), 404, ("", "refused")),
        ({"op": "delete", "resource": "counters", "id": 10**30}, 404, ("", "refused")),
        ({"op": "delete", "resource": "counters", "id": 1.5}, 422, ("id", "malformed")),
        (on("delete", "oak"), 404, ("", "refused")),
        (on("call", uuid4(), event="sold"), 404, ("event", "unknown")),
        (create("devices", name="lamp", load=1.5), 422, ("load", "local_field")),
        (on("update", "lamp", "devices", body={"load": 1.5}), 422, ("load", "local_field")),
        (on("update", "lamp", "devices", body=[]), 422, ("", "model_type")),
        (on("call", uuid4(), event="stock-changed"), 422, ("delta", "missing")),
        (on("call", uuid4(), event="stock-changed", arguments={"delta": "many"}), 422, ("delta", "int_parsing")),
    ],
)
async def test_what_is_wrong_never_reaches_the_log(
    transactions: Transactions, operation: Any, status: int, found: tuple[str, str]
) -> None:
    error = await transactions.refused_before_the_log(create("products", name="Ash"), operation)
    assert error.status == status, error.detail
    assert [(each["operation"], each["field"], each["reason"]) for each in error.errors] == [(1, *found)]


async def test_the_body_as_a_whole(transactions: Transactions) -> None:
    for body, status in (
        (b"", 400),
        (b"{", 400),
        (b'{"operations": [], "operations": []}', 400),
        (b'{"operations": [{"op": "create", "resource": "products", "body": {"name": "a", "name": "b"}}]}', 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"operations": []}', 422),
        (b'{"operations": 1}', 422),
        (b'{"operations": [1], "more": 1}', 422),
        (b'{"operations": [' + b"1," * 1000 + b"1]}", 422),
    ):
        assert (await transactions.refused_before_the_log(body=body)).status == status, body[:60]
    good = create("products", name="Oak")
    for more, status in (
        ({"headers": []}, 415),
        ({"headers": [JSON, (b"if-match", b'"1"')]}, 400),
        ({"headers": [JSON, (b"if-match", b"*")]}, 400),
        ({"query": b"a=1"}, 422),
        ({"method": "GET"}, 405),
    ):
        assert (await transactions.refused_before_the_log(good, **more)).status == status, more
    with pytest.raises(RequestError) as refusal:
        await transactions.resource.handle("POST", "more", b"", [JSON], b"{}")
    assert refusal.value.status == 404


async def test_a_thousand_operations_are_the_most(transactions: Transactions) -> None:
    counters = [create("counters", number=number) for number in range(1000)]
    assert len(await transactions.results(*counters)) == 1000
    error = await transactions.refused_before_the_log(*counters, create("counters", number=1000))
    assert error.errors[0]["field"] == "operations"


async def test_fields_that_a_node_keeps_for_itself_are_shown(transactions: Transactions) -> None:
    (created,) = await transactions.results(create("devices", name="lamp", room="hall"))
    assert created["object"] == {"name": "lamp", "room": "hall", "load": 0.0}


async def test_a_number_in_a_body_keeps_its_digits(transactions: Transactions) -> None:
    body = json.dumps({"operations": [create("products", name="Oak", price=1)]}).replace(
        "1}", "0.10000000000000000001}"
    )
    (result,) = await transactions.results(body=body.encode())
    alone = BodyReader(schema_of(Product)).object_row(b'{"name": "Oak", "price": 0.10000000000000000001}')
    shown = schema_of(Product).object_json(alone)
    assert result["object"]["price"] == json.loads(shown)["price"]  # as it is in a request of its own


async def test_a_key_in_the_head_makes_a_retry_safe(transactions: Transactions) -> None:
    headers = [JSON, (b"idempotency-key", b"once"), (b"x-actor", b"ann")]
    first = await transactions.send(create("products", name="Oak"), headers=headers)
    again = await transactions.send(create("products", name="Oak"), headers=headers)
    assert again.body == first.body
    assert len(transactions.replica.rows()["Product"]) == 1
    connection = transactions.replica.state.connection
    assert connection.execute("SELECT actor FROM quorate_events").fetchall() == [("ann",)]


# -- in Python -----------------------------------------------------------------------------------------------


@pytest.fixture
async def cluster() -> AsyncIterator[TestCluster]:
    async with TestCluster(3, app=app) as cluster:
        await cluster.wait_for_leader()
        with cluster.node(2).using():
            yield cluster


async def test_what_is_awaited_in_the_block_is_one_entry(cluster: TestCluster) -> None:
    node = cluster.node(2)
    oak = await Product.create(name="Oak")
    old = await Product.create(name="Old")
    before = node.status.last_index
    async with app.transaction():
        wood = await Category.create(name="Wood")
        assert wood.id.version == 7
        await oak.update(price="18.50", category_id=wood.id)
        await oak.stock_changed(delta=5)
        await wood.update(name="Timber")
        elm = await Product.create(name="Elm", category_id=wood.id)
        await elm.stock_changed(delta=1)
        await old.delete()
        assert node.status.last_index == before
        # Reads see the state before, and objects at hand are as they were.
        assert await Category.get_or_none(wood.id) is None
        assert (await Product.get(oak.id)).stock == oak.stock == 0
        assert old.is_stored
        with pytest.raises(RuntimeError, match="has a version when its transaction has ended"):
            _ = elm.version
    assert node.status.last_index == before + 1
    assert (oak.price, oak.stock, oak.category_id) == (Decimal("18.50"), 5, wood.id)
    assert (wood.name, elm.stock, old.is_stored) == ("Timber", 1, False)
    for thing in (oak, wood, elm):
        stored = await type(thing).get(thing.id)
        assert stored == thing
        assert stored.version == thing.version


async def test_an_exception_proposes_nothing(cluster: TestCluster) -> None:
    oak = await Product.create(name="Oak")
    before = cluster.node(2).status.last_index
    created: list[Product] = []

    async def fail() -> None:
        async with app.transaction():
            await oak.update(stock=1)
            created.append(await Product.create(name="Elm"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert cluster.node(2).status.last_index == before
    assert not created[0].is_stored
    assert oak.stock == 0
    async with app.transaction():
        pass
    assert cluster.node(2).status.last_index == before
    await Product.create(name="Elm")  # outside again: at once


async def test_a_refusal_says_which_operation_and_undoes_all(cluster: TestCluster) -> None:
    oak = await Product.create(name="Oak")
    created: list[Product] = []

    async def take_the_name() -> None:
        async with app.transaction():
            await oak.stock_changed(delta=1)
            created.append(await Product.create(name="Oak"))

    with pytest.raises(InTransaction) as refused:
        await take_the_name()
    assert refused.value.position == 1
    assert isinstance(refused.value.refusal, Conflict)
    assert not created[0].is_stored
    assert oak.stock == (await Product.get(oak.id)).stock == 0
    for kind, refuse in (
        (RuleBroken, lambda: oak.stock_changed(delta=-1)),
        (Conflict, lambda: Product.create(name="x", category_id=uuid4())),
        (Immutable, lambda: oak.update(serial="x")),
    ):
        with pytest.raises(kind):  # one operation alone is refused as ever
            async with app.transaction():
                await refuse()


async def test_optimistic_transactions_refuse_what_has_changed(cluster: TestCluster) -> None:
    """What was read has to be as it was."""
    mine = await Product.create(name="Oak", stock=1)
    theirs = await Product.get(mine.id)
    await theirs.stock_changed(delta=1)
    for change in (lambda: mine.update(stock=5), lambda: mine.stock_changed(delta=1), mine.delete):
        with pytest.raises(VersionMismatch):
            async with app.transaction(optimistic=True):
                await change()
    await mine.refresh()
    async with app.transaction(optimistic=True):
        await mine.update(stock=mine.stock + 10)
        await mine.stock_changed(delta=1)  # the first change has made it of another version
        new = await Product.create(name="Elm")
        await new.stock_changed(delta=1)
    assert ((await Product.get(mine.id)).stock, new.stock) == (13, 1)


async def test_an_object_that_is_only_looked_at_can_be_checked(cluster: TestCluster) -> None:
    oak, elm = await Product.create(name="Oak"), await Product.create(name="Elm")

    async def change_one_if_the_other_is_the_same() -> None:
        async with app.transaction() as transaction:
            await elm.stock_changed(delta=1)
            transaction.check(oak)

    await change_one_if_the_other_is_the_same()
    await (await Product.get(oak.id)).stock_changed(delta=1)
    with pytest.raises(InTransaction) as refused:
        await change_one_if_the_other_is_the_same()
    assert isinstance(refused.value.refusal, VersionMismatch)
    assert refused.value.position == 1
    assert (await Product.get(elm.id)).stock == 1


async def test_money_is_neither_made_nor_lost(cluster: TestCluster) -> None:
    """Transfers between objects from all nodes at once, each of them read, decided and written as one."""
    names = ["a", "b", "c"]
    ids = [(await Product.create(name=name, stock=10)).id for name in names]

    async def transfer(node_id: int, round_: int) -> None:
        with cluster.node(node_id).using():
            source, target = ids[(node_id + round_) % 3], ids[(node_id + round_ + 1) % 3]
            while True:
                giver, taker = await asyncio.gather(Product.get(source), Product.get(target))
                try:
                    async with app.transaction(optimistic=True):
                        await giver.update(stock=giver.stock - 1)
                        await taker.update(stock=taker.stock + 1)
                    return
                except ModelRefusal as refusal:
                    inner = refusal.refusal if isinstance(refusal, InTransaction) else refusal
                    assert isinstance(inner, VersionMismatch)

    await asyncio.gather(*(transfer(node_id, round_) for node_id in (1, 2, 3) for round_ in range(5)))
    stocks = [(await Product.get(id)).stock for id in ids]
    assert sum(stocks) == 30


async def test_a_retry_with_the_same_id_is_applied_once(cluster: TestCluster) -> None:
    oak = await Product.create(name="Oak")
    for _ in range(2):
        async with app.transaction(request_id="payment 4711"):
            await oak.stock_changed(delta=5)
    assert oak.stock == (await Product.get(oak.id)).stock == 5


async def test_transactions_of_tasks_are_their_own(cluster: TestCluster) -> None:
    inside, outside = asyncio.Event(), asyncio.Event()

    async def other() -> None:
        await inside.wait()
        await Counter.create(number=2)  # not part of it
        outside.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(other())
        async with app.transaction():
            await Counter.create(number=1)
            inside.set()
            await outside.wait()
            assert await Counter.get(2)
            assert await Counter.get_or_none(1) is None
            # Those that are started in the block are part of it.
            await asyncio.gather(Counter.create(number=3), Counter.create(number=4))
            assert await Counter.get_or_none(3) is None
    assert await asyncio.gather(*map(Counter.get, (1, 2, 3, 4)))


async def test_misuse_is_told(cluster: TestCluster) -> None:
    class Stranger(Model):
        number: int = field(primary_key=True)

    late = asyncio.Event()

    async def create_late() -> None:
        await late.wait()
        await Counter.create(number=1)

    async with app.transaction() as transaction:
        with pytest.raises(RuntimeError, match="open here already"):
            async with app.transaction():
                pass
        with pytest.raises(RuntimeError, match="Stranger is not a model of the app"):
            await Stranger.create(number=1)
        for number in range(OPERATIONS_MAX):
            await Counter.create(number=number)
        with pytest.raises(RuntimeError, match="at most 1000 operations"):
            await Counter.create(number=OPERATIONS_MAX)
        task = asyncio.create_task(create_late())
    late.set()
    with pytest.raises(RuntimeError, match="the transaction has ended"):
        await task
    with pytest.raises(RuntimeError, match="entered once"):
        async with transaction:
            pass
    assert schema_of(Counter).name == "Counter"
    assert await Counter.get(OPERATIONS_MAX - 1)
