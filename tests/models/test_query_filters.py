"""Filters, order and pages of lists, against the same question asked of plain Python values."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.models import Model, field

from .query_support import (
    FIELDS,
    NEXT,
    POOLS,
    Condition,
    Item,
    document,
    in_order,
    matching,
    pages,
    query_of,
)
from .shop import Category, Product
from .support import Client, serving

ORDERED = [name for name in FIELDS.ordered if name in POOLS]


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    values = st.fixed_dictionaries({name: st.none() | st.sampled_from(pool) for name, pool in POOLS.items()})
    drawn = draw(st.lists(values, max_size=12))
    ids = draw(st.permutations(range(len(drawn))))
    return [{"id": number, **row} for number, row in zip(ids, drawn, strict=True)]


@st.composite
def a_condition(draw: st.DrawFn) -> Condition:
    name = draw(st.sampled_from(sorted(POOLS)))
    operator = draw(st.sampled_from(FIELDS.by_name[name].operators)).value
    if operator == "isnull":
        return (name, operator, draw(st.booleans()))
    values = [value for value in POOLS[name] if not (operator == "in" and isinstance(value, str) and "," in value)]
    if operator == "in":
        return (name, operator, draw(st.lists(st.sampled_from(values), min_size=1, max_size=4)))
    return (name, operator, draw(st.sampled_from(values)))


@st.composite
def conditions(draw: st.DrawFn) -> list[Condition]:
    drawn = draw(st.lists(a_condition(), max_size=3, unique_by=lambda each: each[:2]))
    nulls = {name for name, operator, given in drawn if operator == "isnull" and given}
    return [each for each in drawn if each[1] == "isnull" or each[0] not in nulls]


@st.composite
def orders(draw: st.DrawFn) -> list[str]:
    names = draw(st.lists(st.sampled_from(ORDERED), max_size=3, unique=True))
    return [draw(st.sampled_from(["", "-"])) + name for name in names]


async def _agree(given_rows: list[dict[str, Any]], asked: list[Condition], terms: list[str], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "db", Item) as (items,):
        if given_rows:
            await items.json("POST", "_bulk", [document(row) for row in given_rows])
        expected = in_order(matching(given_rows, asked), terms)
        query = query_of(asked, terms, limit=limit)
        found = await pages(items, query)
        assert [item["id"] for page in found for item in page] == expected
        assert all(len(page) == limit for page in found[:-1])
        by_offset = await items.json("GET", query=query_of(asked, terms, offset=len(expected) // 2))
        assert [item["id"] for item in by_offset] == expected[len(expected) // 2 :]
        first = await items.send("GET", query=query)
        assert dict(first.headers)[b"x-total-count"] == b"%d" % len(expected)
        assert await items.json("GET", "count", query=query_of(asked)) == {"count": len(expected)}


@settings(max_examples=75)
@given(rows(), conditions(), orders(), st.integers(1, 5))
def test_filters_order_and_cursors_agree_with_python(
    given_rows: list[dict[str, Any]], asked: list[Condition], terms: list[str], limit: int
) -> None:
    asyncio.run(_agree(given_rows, asked, terms, limit))


@pytest.mark.parametrize("name", sorted(POOLS))
async def test_every_operator_of_every_type_agrees_with_python(tmp_path: Path, name: str) -> None:
    rows = [{"id": number, name: value} for number, value in enumerate([None, *POOLS[name], None])]
    with serving(tmp_path / "db", Item) as (items,):
        await items.json("POST", "_bulk", [document(row) for row in rows])
        for operator in FIELDS.by_name[name].operators:
            for value in [True, False] if operator == "isnull" else POOLS[name]:
                if operator == "in" and isinstance(value, str) and "," in value:
                    continue
                asked = [(name, operator.value, [value] if operator == "in" else value)]
                found = await items.json("GET", query=query_of(asked))
                assert [item["id"] for item in found] == [row["id"] for row in matching(rows, asked)], asked


async def test_a_bare_name_means_eq_and_a_value_outside_the_fields_limits_is_fine(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Product, Category) as (products, _):
        await products.json("POST", "_bulk", [{"name": name, "price": 2} for name in ("Oak", "Elm")])
        assert len(await products.json("GET", query="name=Oak")) == 1
        assert len(await products.json("GET", query="price__gt=0")) == 2  # which no price may be
        assert len(await products.json("GET", query="name__contains=oak")) == 0  # texts are compared as they are
        assert len(await products.json("GET", query="name__ne=Oak&price__lte=2.0")) == 1


REFUSED = [
    ("colour=green", "colour", "enum"),
    ("whole=x", "whole", "int_parsing"),
    ("whole=9223372036854775808", "whole", "int_size"),
    ("whole__in=1,x", "whole__in", "int_parsing"),
    ("real=nan", "real", "finite_number"),
    ("flag__isnull=maybe", "flag__isnull", "bool_parsing"),
    ("amount=1e999999", "amount", "decimal_size"),
    ("text=%00", "text", "string_nul"),
    ("moment__gt=yesterday", "moment__gt", "datetime_from_date_parsing"),
    ("nothing=1", "nothing", "unknown_parameter"),
    ("whole__near=1", "whole__near", "unknown_operator"),
    ("whole__contains=1", "whole__contains", "unknown_operator"),
    ("tags=x", "tags", "unknown_operator"),
    ("flag__gt=true", "flag__gt", "unknown_operator"),
    ("secret=secret", "secret", "unknown_parameter"),
    ("secret__isnull=true", "secret__isnull", "unknown_parameter"),
    ("order_by=secret", "order_by", "unknown_field"),
    ("order_by=tags", "order_by", "unknown_field"),
    ("order_by=", "order_by", "unknown_field"),
    ("order_by=text,-text", "order_by", "repeated_field"),
    ("fields=secret", "fields", "unknown_field"),
    ("fields=id,id", "fields", "repeated_field"),
    ("whole=1&whole=2", "whole", "repeated_parameter"),
    ("whole=1&whole__eq=1", "whole__eq", "repeated_parameter"),
    ("whole__isnull=true&whole__gt=1", "whole__gt", "contradiction"),
    ("limit=0", "limit", "range"),
    ("limit=1001", "limit", "range"),
    ("limit=all&offset=1", "offset", "contradiction"),
    ("cursor=", "cursor", "cursor"),
    ("cursor=AAAAAAAAAAAA", "cursor", "cursor"),
    ("whole__in=" + ",".join(["1"] * 101), "whole__in", "too_long"),
    ("consistency=maybe", "consistency", "enum"),
]


@pytest.mark.parametrize(("query", "parameter", "reason"), REFUSED)
async def test_a_wrong_parameter_is_refused_by_its_name(
    tmp_path: Path, query: str, parameter: str, reason: str
) -> None:
    with serving(tmp_path / "db", Item) as (items,):
        error = await items.refused("GET", query=query)
        assert (error.status, error.errors[0]["field"], error.errors[0]["reason"]) == (422, parameter, reason)
        assert "secret" not in str(error.errors[0]["message"])


async def test_fields_are_chosen(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Item) as (items,):
        await items.json("POST", "", {"id": 1, "text": "x"})
        assert await items.json("GET", query="fields=text,id") == [{"text": "x", "id": 1}]
        assert "secret" not in (await items.json("GET"))[0]


@pytest.fixture
def twelve(tmp_path: Path) -> Any:
    with serving(tmp_path / "db", Item) as (items,):
        documents = [{"id": number, "whole": number % 3 or None, "text": f"t{number}"} for number in range(12)]
        asyncio.run(items.json("POST", "_bulk", documents))
        yield items


async def _cursor(items: Client, query: str) -> str:
    response = await items.send("GET", query=query)
    found = NEXT.search(dict(response.headers)[b"link"].decode())
    assert found is not None
    return found[1]


def test_links_carry_all_other_parameters_and_a_cursor_instead_of_an_offset(twelve: Client) -> None:
    query = asyncio.run(_cursor(twelve, "whole__gt=0&order_by=-whole&fields=id&limit=3&consistency=eventually"))
    assert query.startswith("whole__gt=0&order_by=-whole&fields=id&limit=3&consistency=eventually&cursor=")
    again = asyncio.run(_cursor(twelve, query))
    assert again.startswith("whole__gt=0&order_by=-whole&fields=id&limit=3&consistency=eventually&cursor=")
    assert again != query


def test_a_cursor_of_another_query_is_refused(twelve: Client) -> None:
    cursor = asyncio.run(_cursor(twelve, "order_by=whole&limit=3")).partition("cursor=")[2]
    flipped = ("B" if cursor[0] != "B" else "C") + cursor[1:]
    for query in (
        f"order_by=-whole&limit=3&cursor={cursor}",
        f"order_by=whole&whole__gt=0&cursor={cursor}",
        f"limit=3&cursor={cursor}",
        f"order_by=whole&cursor={flipped}",
        f"order_by=whole&cursor={cursor[:-4]}",
        f"order_by=whole&cursor={cursor}%ff",
    ):
        error = asyncio.run(twelve.refused("GET", query=query))
        assert error.status == 422, query
    error = asyncio.run(twelve.refused("GET", query=f"order_by=whole&cursor={cursor}&offset=0"))
    assert error.errors[0]["reason"] == "contradiction"
    asyncio.run(twelve.send("GET", query=f"order_by=whole&limit=7&fields=id&cursor={cursor}"))  # these may differ


def test_pages_stand_still_while_objects_come_and_go(twelve: Client) -> None:
    """What was there from the first page to the last is found once, whatever else was created and deleted."""

    async def walk() -> list[int]:
        query, found, number = "order_by=whole&limit=2&fields=id", [], 100
        while query:
            response = await twelve.send("GET", query=query)
            page = [item["id"] for item in json.loads(response.body)]
            found += page
            for whole in (None, 1, 2):
                await twelve.json("POST", "", {"id": number, "whole": whole})
                await twelve.json("POST", "", {"id": -number, "whole": whole})
                number += 1
            await twelve.send("DELETE", str(page[-1]), headers=[])
            if len(found) > 40:
                break
            onward = NEXT.search(dict(response.headers).get(b"link", b"").decode())
            query = onward[1] if onward else ""
        return found

    found = asyncio.run(walk())
    assert len(found) == len(set(found))
    assert found[:4] == [0, 3, 6, 9]


async def test_an_object_too_long_for_a_cursor_is_said_so(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Item) as (items,):
        await items.json("POST", "_bulk", [{"id": number, "text": "x" * 5000} for number in range(3)])
        error = await items.refused("GET", query="order_by=text&limit=1")
        assert (error.status, error.errors[0]["field"]) == (422, "order_by")
        page = await items.send("GET", query="order_by=text&limit=1&offset=0")
        assert b'offset=1>; rel="next"' in dict(page.headers)[b"link"]


async def test_a_field_may_have_the_name_of_a_parameter(tmp_path: Path) -> None:
    class Odd(Model, resource="odd"):
        id: int = field(primary_key=True)
        limit: int = 0
        size: int = 0
        size__gt: int = 0

    with serving(tmp_path / "db", Odd) as (odd,):
        await odd.json("POST", "_bulk", [{"id": n, "limit": n, "size": n, "size__gt": -n} for n in range(4)])
        assert await odd.json("GET", query="limit=1&limit__eq=2&fields=id") == [{"id": 2}]
        assert await odd.json("GET", query="size__gt=-3&fields=id") == [{"id": 3}]
        assert await odd.json("GET", query="size__gte=3&fields=id") == [{"id": 3}]
