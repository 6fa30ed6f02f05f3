"""Lists of objects in Python: conditions, order, pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from quorate import App, Model, field
from quorate.models.objects import query
from quorate.models.query.errors import BadQuery
from quorate.testing import TestCluster


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Product(Model):
    id: UUID = field(primary_key=True)
    name: str = field(unique=True, min_length=1)
    price: Decimal = field(ge="0.01", indexed=True)
    stock: int | None = field(default=None, ge=0)
    colour: Colour = Colour.RED
    size: Literal["s", "m"] = "s"
    secret: str = field(default="", expose=False)
    meta: dict[str, Any] = field(default={})


class Device(Model):
    """Has fields that each node keeps for itself."""

    name: str = field(primary_key=True)
    room: str = ""
    seen: int = field(default=0, ge=0, replicate=False)
    load: float | None = field(default=None, memory_only=True)


app = App(models=[Product, Device])


@pytest.fixture
async def cluster() -> AsyncIterator[TestCluster]:
    async with TestCluster(3, app=app) as cluster:
        await cluster.wait_for_leader()
        with cluster.node(1).using():
            yield cluster


@pytest.fixture
async def products(cluster: TestCluster) -> list[Product]:
    async with app.transaction():
        return [
            await Product.create(name="Oak", price="19.99", stock=5, secret="x"),
            await Product.create(name="Elm", price="9.50", stock=None, colour="blue"),
            await Product.create(name="Ash", price="100", stock=0, size="m"),
            await Product.create(name="Yew", price="9.50", stock=7),
        ]


async def names(found: query.Query[Product]) -> list[str]:
    return [product.name for product in await found]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, "Ash Elm Oak Yew"),
        ({"name": "Oak"}, "Oak"),
        ({"price__gte": 10}, "Ash Oak"),
        ({"price__gt": "9.50", "price__lt": Decimal("100.00")}, "Oak"),
        ({"price": 9.5}, "Elm Yew"),
        ({"stock": None}, "Elm"),
        ({"stock__ne": None}, "Ash Oak Yew"),
        ({"stock__isnull": False}, "Ash Oak Yew"),
        ({"stock__ne": 5}, "Ash Elm Yew"),
        ({"name__in": ["Oak", "Yew", "Fir"]}, "Oak Yew"),
        ({"name__in": ()}, ""),
        ({"name__startswith": "O"}, "Oak"),
        ({"name__contains": "e"}, "Yew"),
        ({"name__endswith": "k"}, "Oak"),
        ({"colour": Colour.BLUE}, "Elm"),
        ({"colour": "blue"}, "Elm"),
        ({"size__in": ["m"]}, "Ash"),
        ({"secret": "x"}, "Oak"),  # what is hidden from clients is not hidden from the program
        ({"stock__gt": -1}, "Ash Oak Yew"),  # outside the field's own limits, and a fine thing to compare with
    ],
)
async def test_conditions(products: list[Product], conditions: dict[str, Any], expected: str) -> None:
    found = Product.filter(**conditions).order_by("name")
    assert " ".join(await names(found)) == expected
    assert await found.count() == len(expected.split())
    first = await found.first()
    assert (first.name if first else "") == expected[:3]


async def test_ids_and_a_chain_of_conditions(products: list[Product]) -> None:
    oak, elm, *_ = products
    assert await Product.filter(id=str(oak.id)) == [oak]
    assert {each.name for each in await Product.filter(id__in=[oak.id, elm.id, uuid4()])} == {"Oak", "Elm"}
    narrow = Product.filter(price__gte=9).filter(price__lt=20).filter(stock__isnull=False)
    assert await names(narrow.order_by("-price")) == ["Oak", "Yew"]
    assert await names(narrow.order_by("-price").order_by("price")) == ["Yew", "Oak"]


async def test_order_limit_and_offset(products: list[Product]) -> None:
    everything = Product.filter().order_by("price", "-name")
    assert await names(everything) == ["Yew", "Elm", "Oak", "Ash"]
    assert await names(everything.limit(2)) == ["Yew", "Elm"]
    assert await names(everything.offset(1).limit(2)) == ["Elm", "Oak"]
    assert await names(everything.limit(0)) == []
    assert await everything.offset(3).count() == 1
    assert await everything.limit(2).count() == 2
    assert await everything.offset(9).count() == 0
    assert await everything.offset(9).first() is None
    assert await everything.limit(0).first() is None
    assert await names(Product.filter().order_by("-stock").eventually()) == ["Yew", "Oak", "Ash", "Elm"]
    ids = sorted(product.id for product in products)
    assert [product.id for product in await Product.filter()] == ids


async def test_what_is_found_is_stored_and_can_be_changed(products: list[Product]) -> None:
    (oak,) = await Product.filter(name="Oak")
    assert oak == products[0]
    assert oak.version == products[0].version
    await oak.update(stock=1, expected_version=oak.version)
    assert await Product.filter(stock=1).count() == 1


async def test_any_number_can_be_gone_through(cluster: TestCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async with app.transaction():
        for number in range(40):
            await Product.create(name=f"{number:02}", price=1 + number % 3)
    monkeypatch.setattr(query, "PAGE_ROWS", 7)
    ordered = Product.filter().order_by("-price", "name")
    expected = await names(ordered)
    assert len(expected) == 40
    assert [product.name async for product in ordered] == expected
    assert [product.name async for product in ordered.offset(3).limit(20)] == expected[3:23]
    assert [product.name async for product in ordered.limit(0)] == []
    assert [product.name async for product in ordered.offset(39)] == expected[39:]
    monkeypatch.setattr(query, "LIST_MAX", 39)
    with pytest.raises(BadQuery, match="more than 39: give a limit, or read them by async for"):
        await ordered
    assert len(await ordered.limit(39)) == 39
    with pytest.raises(BadQuery):
        await ordered.limit(40)
    monkeypatch.setattr(query, "LIST_BYTES_MAX", 100)
    with pytest.raises(BadQuery, match="give a limit"):
        await ordered


async def test_what_cannot_be_asked_is_told_at_once(cluster: TestCluster) -> None:
    for conditions in (
        {"colur": 1},
        {"price__around": 1},
        {"meta": {}},
        {"name__in": "Oak"},
        {"name__in": 7},
        {"name__in": ["x"] * 101},
        {"stock": 1 << 63},
        {"name": "a\0b"},
    ):
        with pytest.raises(BadQuery):
            Product.filter(**conditions)
    for conditions in ({"price": "dear"}, {"stock": "1.5"}, {"id": "oak"}, {"colour": "green"}, {"stock__gt": None}):
        with pytest.raises(ValidationError):
            Product.filter(**conditions)
    for order in ("colur", "meta", "-", ""):
        with pytest.raises(BadQuery):
            Product.filter().order_by(order)
    for count in (-1, "1", True, 1 << 63):
        with pytest.raises(BadQuery):
            Product.filter().limit(count)  # type: ignore[arg-type]
        with pytest.raises(BadQuery):
            Product.filter().offset(count)  # type: ignore[arg-type]


# -- fields that each node keeps for itself ------------------------------------------------------------------


async def test_local_fields_are_those_of_the_node(cluster: TestCluster, tmp_path: Path) -> None:
    """A2.17: replicate and memory_only, from Python as over HTTP."""
    lamp = await Device.create(name="lamp", room="hall", seen=3, load=0.5)
    assert (lamp.seen, lamp.load) == (3, 0.5)
    assert (await Device.get("lamp")) == lamp
    assert await Device.filter(room="hall") == [lamp]
    with cluster.node(2).using():
        other = await Device.get("lamp")
        assert (other.room, other.seen, other.load) == ("hall", 0, None)
        before = cluster.node(2).status.last_index
        await other.update(seen=9)  # needs no log
        assert cluster.node(2).status.last_index == before
        assert (await Device.get("lamp")).seen == other.seen == 9
        await other.update(load=0.25)
        await other.update(room="cellar", seen=10)
        async with app.transaction():
            with pytest.raises(RuntimeError, match="seen: each node keeps this for itself"):
                await other.update(room="attic", seen=11)
            with pytest.raises(RuntimeError, match="cannot be set in a transaction"):
                await Device.create(name="radio", load=1.0)
        assert (other.room, other.seen, other.load) == ("cellar", 10, 0.25)
    await lamp.refresh()
    assert (lamp.room, lamp.seen, lamp.load) == ("cellar", 3, 0.5)
    with pytest.raises(ValidationError):
        await lamp.update(seen=-1)
