"""Each attribute does what it says, asked through the resource."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from quorate.models import Model, field

from .shop import Category, Product
from .support import MERGE_PATCH, serving

OAK = {"name": "Oak", "price": "19.99"}


class Account(Model):
    """Every rule that the named validators and pydantic know."""

    id: UUID = field(primary_key=True)
    owner: str = field(validate="non_empty", immutable=True)
    label: str = field(default="a", validate=["non_empty"], max_length=5, pattern="^[a-z]+$")
    limit: Decimal = field(default=Decimal(1), validate="min_value(0.01)", le="1000", max_digits=6)
    seats: int | None = field(default=None, validate="min_value(1)", lt=100, multiple_of=2)
    origin: dict[str, int] = field(default={}, immutable=True)


async def test_a_missing_uuid_key_is_stamped_as_uuid7(tmp_path: Path) -> None:
    """A1.38 primary_key."""
    with serving(tmp_path / "db", Product, Category) as (products, _):
        first, second = [await products.json("POST", "", OAK | {"name": name}) for name in ("Oak", "Elm")]
        ids = [UUID(item["id"]) for item in (first, second)]
        assert [key.version for key in ids] == [7, 7]
        assert ids[0] < ids[1]


async def test_the_client_may_choose_the_key_once(tmp_path: Path) -> None:
    """A1.38 primary_key."""
    with serving(tmp_path / "db", Product, Category) as (products, _):
        key = str(uuid4())
        assert (await products.json("POST", "", OAK | {"id": key}))["id"] == key
        error = await products.refused_by_log("POST", "", {"id": key, "name": "Elm", "price": 1})
        assert (error.status, error.errors[0]["field"], error.errors[0]["reason"]) == (409, "id", "unique")
        assert (await products.refused("PUT", key, OAK | {"id": str(uuid4())})).status == 422
        assert (await products.refused("PATCH", key, {"id": str(uuid4())})).status == 422
        assert (await products.json("PATCH", key, {"id": key, "stock": 2}))["stock"] == 2


async def test_an_indexed_field_has_an_index_that_queries_use(tmp_path: Path) -> None:
    """A1.39 indexed."""
    with serving(tmp_path / "db", Category, Product) as (_, products):
        connection = products.engine.replica.state.connection
        for column in ("stock", "category_id", "name", "id"):
            plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT * FROM model_product WHERE {column} = ?", (1,))
            assert "USING INDEX" in plan.fetchall()[0][3]


async def test_unique_holds_for_create_put_patch_and_bulk(tmp_path: Path) -> None:
    """A1.40, A2.14 unique."""
    with serving(tmp_path / "db", Product, Category) as (products, _):
        await products.json("POST", "", OAK)
        elm = (await products.json("POST", "", OAK | {"name": "Elm"}))["id"]
        for request in (
            ("POST", "", OAK),
            ("PUT", elm, OAK),
            ("PATCH", elm, {"name": "Oak"}),
        ):
            error = await products.refused_by_log(*request)
            assert (error.status, error.errors[0]["field"]) == (409, "name")
            assert error.detail == "another Product has the name 'Oak'"
        error = await products.refused_by_log("POST", "_bulk", [OAK | {"name": "Ash"}, OAK | {"name": "Ash"}])
        assert (error.status, error.errors[0]["row"]) == (409, 1)
        assert (await products.json("GET", "count"))["count"] == 2
        assert (await products.json("PUT", elm, OAK | {"name": "Elm"}))["name"] == "Elm"


async def test_none_is_equal_to_nothing(tmp_path: Path) -> None:
    """A1.40, A2.14 unique."""

    class Badge(Model):
        id: UUID = field(primary_key=True)
        code: str | None = field(default=None, unique=True)

    with serving(tmp_path / "db", Badge) as (badges,):
        for _ in range(2):
            assert (await badges.send("POST", "", {})).status == 201


async def test_equal_decimals_and_moments_are_equal_however_they_are_written(tmp_path: Path) -> None:
    class Reading(Model):
        id: UUID = field(primary_key=True)
        amount: Decimal | None = field(default=None, unique=True)
        at: datetime | None = field(default=None, unique=True)

    with serving(tmp_path / "db", Reading) as (readings,):
        await readings.json("POST", "", {"amount": "1.10", "at": "2024-01-01T00:00:00Z"})
        assert (await readings.refused_by_log("POST", "", {"amount": "1.1"})).status == 409
        assert (await readings.refused_by_log("POST", "", {"amount": "110E-2"})).status == 409
        assert (await readings.refused_by_log("POST", "", {"at": "2024-01-01T02:00:00+02:00"})).status == 409


async def test_immutable_fields_keep_their_first_value(tmp_path: Path) -> None:
    """A2.13 immutable."""
    with serving(tmp_path / "db", Account) as (accounts,):
        created = await accounts.json("POST", "", {"owner": "ada", "origin": {"a": 1, "b": 2}})
        key = created["id"]
        for request in (
            ("PUT", key, {"owner": "bob", "origin": {"a": 1, "b": 2}}),
            ("PATCH", key, {"owner": "bob"}),
            ("PATCH", key, {"origin": {"a": 5}}),
            ("PUT", key, {"owner": "ada"}),
        ):
            error = await accounts.refused(*request)
            assert (error.status, error.errors[0]["reason"]) == (422, "immutable")
        same = {"owner": "ada", "origin": {"b": 2, "a": 1}, "label": "b"}
        assert (await accounts.json("PUT", key, same))["label"] == "b"
        assert (await accounts.json("PATCH", key, {"owner": "ada", "label": "c"}))["label"] == "c"


async def test_immutable_is_decided_in_the_log(tmp_path: Path) -> None:
    """A2.13 immutable. With a request id the node does not look first, so the machine itself must refuse."""
    with serving(tmp_path / "db", Account) as (accounts,):
        key = (await accounts.json("POST", "", {"owner": "ada"}))["id"]
        headers = [(b"content-type", b"application/json"), (b"idempotency-key", b"1")]
        error = await accounts.refused_by_log("PATCH", key, {"owner": "bob"}, headers=headers)
        assert (error.status, error.errors[0]["field"]) == (422, "owner")


async def test_a_foreign_key_must_exist_and_restricts_deletion(tmp_path: Path) -> None:
    """A2.25 foreign keys."""
    with serving(tmp_path / "db", Category, Product) as (categories, products):
        wood = (await categories.json("POST", "", {"name": "Wood"}))["id"]
        oak = (await products.json("POST", "", OAK | {"category_id": wood}))["id"]
        nowhere = str(uuid4())
        for request in (
            ("POST", "", {"name": "Elm", "price": 1, "category_id": nowhere}),
            ("PATCH", oak, {"category_id": nowhere}),
            ("PUT", oak, OAK | {"category_id": nowhere}),
        ):
            error = await products.refused_by_log(*request)
            assert (error.status, error.errors[0]["field"]) == (409, "category_id")
            assert nowhere in error.detail
        error = await categories.refused_by_log("DELETE", wood)
        assert (error.status, error.errors[0]["reason"]) == (409, "referenced")
        assert error.detail == f"Product.category_id still refers to the Category {wood}"
        await products.json("PATCH", oak, {"category_id": None})
        assert (await categories.send("DELETE", wood)).status == 204


@pytest.mark.parametrize(
    ("change", "field_name", "reason"),
    [
        ({"owner": ""}, "owner", "string_too_short"),
        ({"owner": None}, "owner", "string_type"),
        ({"label": ""}, "label", "string_too_short"),
        ({"label": "abcdef"}, "label", "string_too_long"),
        ({"label": "A"}, "label", "string_pattern_mismatch"),
        ({"limit": "0.001"}, "limit", "greater_than_equal"),
        ({"limit": "1000.1"}, "limit", "less_than_equal"),
        ({"limit": "1.000001"}, "limit", "decimal_max_digits"),
        ({"seats": 0}, "seats", "greater_than_equal"),
        ({"seats": 100}, "seats", "less_than"),
        ({"seats": 3}, "seats", "multiple_of"),
        ({"seats": "many"}, "seats", "int_parsing"),
        ({"colour": "red"}, "colour", "extra_forbidden"),
    ],
)
async def test_a_broken_constraint_is_named_with_its_field(
    tmp_path: Path, change: dict[str, object], field_name: str, reason: str
) -> None:
    """A1.42 validate."""
    with serving(tmp_path / "db", Account) as (accounts,):
        key = (await accounts.json("POST", "", {"owner": "ada"}))["id"]
        for request in (
            ("POST", "", {"owner": "ada"} | change),
            ("PUT", key, {"owner": "ada"} | change),
            ("PATCH", key, change),
        ):
            error = await accounts.refused(*request)
            assert (error.status, error.errors[0]["field"], error.errors[0]["reason"]) == (422, field_name, reason)
            assert error.errors[0]["message"]
        error = await accounts.refused("POST", "_bulk", [{"owner": "eve"}, {"owner": "ada"} | change])
        assert error.errors[0] == {"row": 1, **error.errors[0]}
        assert error.errors[0]["field"] == field_name


async def test_validators_apply_to_a_merge_patch_too(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Account) as (accounts,):
        key = (await accounts.json("POST", "", {"owner": "ada"}))["id"]
        error = await accounts.refused("PATCH", key, {"origin": {"a": "x"}}, headers=[MERGE_PATCH])
        assert (error.status, error.errors[0]["field"]) == (422, "origin.a")
