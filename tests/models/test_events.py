"""Domain events: methods that run inside the log (A1.47-A1.54), declared, called, refused, described."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from quorate import App, ApplyContext, ConfigError, Model, event, field
from quorate.models.domain_events import DomainEvent
from quorate.models.errors import Immutable, Invalid, NotFound, RuleBroken
from quorate.models.model import schema_of
from quorate.models.rest.openapi import describe
from quorate.testing import TestCluster

from .support import JSON, serving


class Stocked:
    """A mixin: not a model, and yet its events are."""

    stock: int

    @event
    def stock_changed(self, delta: int) -> None:
        """Goods came in or went out."""
        self.stock += delta


class Product(Stocked, Model):
    id: UUID = field(primary_key=True)
    name: str = field(min_length=1, immutable=True)
    stock: int = field(default=0, ge=0)
    price: Decimal = field(default="1", ge="0.01")
    sold_at: datetime | None = None
    tags: list[str] = field(default=[])

    @event
    def sold(self, context: ApplyContext, quantity: int = 1, *, price: Decimal | None = None) -> None:
        if quantity > self.stock:
            raise ValueError(f"only {self.stock} are left")
        self.stock_changed(delta=-quantity)
        self.sold_at = context.time
        if price is not None:
            self.price = price

    @event
    def renamed(self, name: str) -> None:
        self.name = name

    @event
    def tagged(self, tag: str) -> None:
        self.tags.append(tag)

    @event
    def broken(self) -> None:
        raise KeyError("secret")

    @event
    def became_another(self, id: UUID) -> None:
        self.id = id

    @event
    def touched(self) -> None:
        pass


class Book(Product):
    isbn: str = ""

    @event
    def stock_changed(self, delta: int) -> None:
        super().stock_changed(delta=2 * delta)

    def touched(self) -> None:  # type: ignore[override]
        """An event no more."""


shop = App(models=[Product, Book])


@pytest.fixture
async def cluster() -> AsyncIterator[TestCluster]:
    async with TestCluster(3, app=shop) as cluster:
        await cluster.wait_for_leader()
        with cluster.node(1).using():
            yield cluster


async def test_the_object_has_its_new_values_behind_the_call(cluster: TestCluster) -> None:
    oak = await Product.create(name="Oak", stock=3)
    assert await oak.stock_changed(5) is oak
    assert (oak.stock, oak.version) == (8, 2)
    await oak.sold(quantity=2, price=Decimal("2.50"))
    assert (oak.stock, oak.price) == (6, Decimal("2.50"))
    assert oak.sold_at is not None
    assert oak.sold_at.tzinfo is not None
    await oak.tagged(tag="wood")
    await oak.tagged("hard")
    assert oak.tags == ["wood", "hard"]
    await cluster.wait_for_convergence()
    for node in cluster.nodes:
        with node.using():
            assert await Product.get(oak.id, consistency="eventually") == oak


async def test_events_meet_in_the_log_and_none_is_lost(cluster: TestCluster) -> None:
    oak = await Product.create(name="Oak")

    async def sell(node_id: int) -> None:
        with cluster.node(node_id).using():
            mine = await Product.get(oak.id)
            await asyncio.gather(*(mine.stock_changed(delta=1) for _ in range(10)))

    await asyncio.gather(*map(sell, (1, 2, 3)))
    assert (await oak.refresh()).stock == 30


async def test_a_refusal_changes_nothing(cluster: TestCluster) -> None:
    oak = await Product.create(name="Oak", stock=1)
    for refused, kind, message in (
        (oak.sold(quantity=2), RuleBroken, "only 1 are left"),
        (oak.stock_changed(delta=-2), RuleBroken, "stock: Input should be greater than or equal to 0"),
        (oak.broken(), RuleBroken, "^broken failed: KeyError$"),  # nothing of what may differ between nodes
        (oak.renamed(name="Elm"), Immutable, "name is immutable"),
        (oak.became_another(id=uuid4()), Immutable, "id is immutable"),
        (oak.stock_changed(delta=1 << 63), Invalid, "64 bits"),
    ):
        with pytest.raises(kind, match=message):
            await refused
    with pytest.raises(ValidationError):
        await oak.sold(quantity="many")  # type: ignore[arg-type]
    assert (oak.stock, oak.version) == (1, 1)
    gone = await Product.get(oak.id)
    await oak.delete()
    with pytest.raises(NotFound):
        await gone.touched()


async def test_an_event_that_changes_nothing_is_one_nevertheless(cluster: TestCluster) -> None:
    oak = await Product.create(name="Oak")
    await oak.touched()
    assert oak.version == 2


@pytest.mark.parametrize("headers", [[], [JSON]])
async def test_a_call_that_needs_no_arguments_needs_no_body(tmp_path: Path, headers: list[tuple[bytes, bytes]]) -> None:
    with serving(tmp_path / "state.sqlite", Product) as (client,):
        oak = (await client.json("POST", body={"name": "Oak", "stock": 1}))["id"]
        assert (await client.json("POST", f"{oak}/touched", headers=headers))["stock"] == 1
        assert (await client.json("POST", f"{oak}/sold", headers=headers))["stock"] == 0
        refused = await client.refused("POST", f"{oak}/renamed", headers=headers)
        assert refused.status == (400 if headers else 415)
    paths = describe(shop.schemas, title="Shop", version="1")["paths"]
    required = {
        name: paths[f"/api/products/{{id}}/{name}"]["post"]["requestBody"]["required"] for name in ("sold", "renamed")
    }
    assert required == {"sold": False, "renamed": True}


async def test_events_are_inherited_and_overridden(cluster: TestCluster) -> None:
    assert list(schema_of(Product).events) == [
        "stock_changed", "sold", "renamed", "tagged", "broken", "became_another", "touched",
    ]  # fmt: skip
    assert "touched" not in schema_of(Book).events
    dune = await Book.create(name="Dune")
    await dune.stock_changed(delta=2)
    assert dune.stock == 4
    assert isinstance(Product.sold, DomainEvent)
    assert Product.sold.__name__ == "sold"


def test_a_rule_can_be_tested_without_a_node() -> None:
    oak = Product(name="Oak", stock=1)
    waiting = oak.stock_changed(delta=2)
    assert oak.stock == 3
    with pytest.raises(RuntimeError, match="stock_changed has changed an object that is not stored"):
        asyncio.run(_await(waiting))
    with pytest.raises(ValueError, match="only 3 are left"):
        Product.sold.function(oak, ApplyContext(1, 1, 1_700_000_000_000_000), quantity=4)


async def _await(waiting: Any) -> None:
    await waiting


# -- declarations --------------------------------------------------------------------------------------------


class Undefined:
    pass


def _async() -> Any:
    async def bad(self: Any) -> None:
        pass

    return bad


def _generator() -> Any:
    def bad(self: Any) -> Any:
        yield

    return bad


def _badly_named() -> Any:
    def Bad(self: Any) -> None:  # noqa: N802
        pass

    return Bad


def without_self() -> None: ...
def untyped(self, delta) -> None: ...  # type: ignore[no-untyped-def]
def collecting(self: Any, *deltas: int) -> None: ...
def collecting_named(self: Any, **deltas: int) -> None: ...
def positional(self: Any, delta: int, /) -> None: ...
def returning(self: Any) -> int: ...  # type: ignore[empty-body]
def unfit_default(self: Any, delta: int = "many") -> None: ...  # type: ignore[assignment]
def strange_type(self: Any, what: Undefined) -> None: ...
def strange_type_deep(self: Any, what: list[Callable[[], None]]) -> None: ...
def unordered(self: Any, names: set[str]) -> None: ...
def undefined_type(self: Any, what: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def underscored(self: Any, _delta: int) -> None: ...


@pytest.mark.parametrize(
    ("method", "complaint"),
    [
        (_async(), "it runs inside the log and cannot wait"),
        (_generator(), "it runs inside the log and cannot wait"),
        (without_self, "its first parameter is self"),
        (untyped, "the parameter delta has no type"),
        (collecting, "deltas should be a parameter with a name"),
        (collecting_named, "deltas should be a parameter with a name"),
        (positional, "delta should be a parameter with a name"),
        (returning, "an event returns None"),
        (unfit_default, "delta: Input should be a valid integer"),
        (strange_type, "the type of what is not supported; use str, int"),
        (strange_type_deep, "the type of what is not supported"),
        (unordered, "the type of names is not supported"),  # its order may differ between nodes
        (undefined_type, "'Nowhere' is not defined"),
        (underscored, "the parameter _delta should not begin with _"),
    ],
)
def test_a_bad_signature_fails_at_import(method: Any, complaint: str) -> None:
    method.__name__ = "moved"
    namespace = {
        "__module__": __name__,
        "__annotations__": {"id": UUID},
        "id": field(primary_key=True),
        "moved": event(method),
    }
    with pytest.raises(ConfigError) as error:
        type(Model)("Bad", (Model,), namespace)
    assert str(error.value).startswith("Bad.moved: ")
    assert complaint in str(error.value)


@pytest.mark.parametrize("name", ["update", "delete", "version", "model_dump", "json", "copy", "get", "filter"])
def test_an_event_cannot_have_the_name_of_what_every_model_has(name: str) -> None:
    def method(self: Any) -> None: ...

    method.__name__ = name
    with pytest.raises(ConfigError, match=rf"^Bad\.{name}: no event can have the name"):
        type(Model)("Bad", (Model,), {"__module__": __name__, "__annotations__": {}, name: event(method)})


@pytest.mark.parametrize("name", ["Moved", "moved_", "_moved", "__moved__", "moved__far"])
def test_an_event_is_named_in_snake_case(name: str) -> None:
    method = _badly_named()
    method.__name__ = name
    namespace = {"__module__": __name__, "__annotations__": {"id": UUID}, "id": field(primary_key=True)}
    with pytest.raises(ConfigError, match=rf"Bad\.{name}: .*snake_case"):
        type(Model)("Bad", (Model,), {**namespace, name: event(method)})


def test_only_plain_methods_are_events() -> None:
    for thing in (staticmethod(without_self), classmethod(untyped), property(untyped), Undefined, 7):
        with pytest.raises(ConfigError, match="an event is a plain method"):
            event(thing)  # type: ignore[call-overload]


# -- over HTTP -----------------------------------------------------------------------------------------------


def test_openapi_describes_every_event() -> None:
    """A path per event, with its arguments; 409 for broken rules."""
    document = describe(shop.schemas, title="Shop", version="1")
    operation = document["paths"]["/api/products/{id}/stock-changed"]["post"]
    assert operation["summary"] == "Goods came in or went out."
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/ProductStockChanged"}
    schema = document["components"]["schemas"]["ProductStockChanged"]
    assert schema["required"] == ["delta"]
    assert schema["properties"]["delta"]["type"] == "integer"
    assert schema["additionalProperties"] is False
    assert "breaks a rule" in operation["responses"]["409"]["description"]
    assert operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/Product")
    assert "context" not in document["components"]["schemas"]["ProductSold"]["properties"]
    assert "/api/books/{id}/touched" not in document["paths"]
    called = document["components"]["schemas"]["Transaction"]["properties"]["operations"]["items"]["anyOf"]
    names = {each["properties"]["event"]["const"] for each in called if "event" in each["properties"]}
    assert "stock-changed" in names
