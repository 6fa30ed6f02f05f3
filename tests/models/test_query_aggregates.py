"""Counts, sums and averages of groups, against Python's exact arithmetic."""

from __future__ import annotations

import asyncio
import json
import tempfile
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .query_support import POOLS, Item, as_json, document
from .shop import Category, Product
from .support import serving

GROUPS = ("colour", "flag", "whole", "text")
EXACT = Context(prec=600)


def expected(rows: list[dict[str, Any]], group: str) -> list[dict[str, Any]]:
    """What the groups are, computed the slow way."""
    keys = {row[group] for row in rows}
    order = sorted(keys, key=lambda key: (key is not None, "" if key is None else as_json(key)))
    return [_group([row for row in rows if row[group] == key], {group: as_json(key)}) for key in order]


def _group(rows: list[dict[str, Any]], key: dict[str, Any]) -> dict[str, Any]:
    wholes = [row["whole"] for row in rows if row["whole"] is not None]
    amounts = [row["amount"] for row in rows if row["amount"] is not None]
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return {
        **key,
        "count": len(rows),
        "sum_whole": sum(wholes) if wholes else None,
        "sum_amount": plain(total) if amounts else None,
        "avg_whole": sum(wholes) / len(wholes) if wholes else None,
        "avg_amount": plain(Context(prec=28).divide(total, Decimal(len(amounts)))) if amounts else None,
        "min_amount": plain(min(amounts)) if amounts else None,
        "max_whole": max(wholes) if wholes else None,
    }


def plain(value: Decimal) -> str:
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("", "-0") else text


async def _agree(rows: list[dict[str, Any]], group: str) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "db", Item) as (items,):
        await items.json("POST", "_bulk", [document(row) for row in rows])
        query = f"group_by={group}&count&sum=whole,amount&avg=whole,amount&min=amount&max=whole"
        assert await items.json("GET", "_aggregate", query=query) == expected(rows, group)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                **{name: st.none() | st.sampled_from(POOLS[name]) for name in GROUPS},
                "amount": st.none()
                | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=9),
            }
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(GROUPS),
)
def test_groups_agree_with_python(rows: list[dict[str, Any]], group: str) -> None:
    asyncio.run(_agree([{"id": number, **row} for number, row in enumerate(rows)], group))


async def test_sums_are_exact_beyond_64_bits_and_in_every_digit(tmp_path: Path) -> None:
    largest, fine = (1 << 63) - 1, "0.0000000000000000000000000000000000000001"
    rows = [{"id": 1, "whole": largest, "amount": "1E+40"}, {"id": 2, "whole": largest, "amount": fine}]
    with serving(tmp_path / "db", Item) as (items,):
        await items.json("POST", "_bulk", rows)
        (found,) = await items.json("GET", "_aggregate", query="sum=whole,amount&avg=whole,amount&max=amount")
    assert found["sum_whole"] == 2 * largest
    assert found["sum_amount"] == "1" + "0" * 40 + fine[1:]
    assert found["avg_whole"] == float(largest)
    assert found["avg_amount"] == "5" + "0" * 39  # to 28 digits


async def test_what_a_group_is_called_and_how_decimals_look(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Item) as (items,):
        await items.json("POST", "_bulk", [{"id": n, "money": "1.5", "moment": "2024-01-01T00:00:00Z"} for n in (1, 2)])
        found = await items.json("GET", "_aggregate", query="group_by=moment,money&count&sum=money&avg=money")
    assert found == [
        {"moment": "2024-01-01T00:00:00Z", "money": "1.50", "count": 2, "sum_money": "3.00", "avg_money": "1.5"}
    ]


async def test_of_nothing_there_is_one_empty_group_or_none(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Item) as (items,):
        assert await items.json("GET", "_aggregate", query="count&sum=whole,real") == [
            {"count": 0, "sum_whole": None, "sum_real": None}
        ]
        assert await items.json("GET", "_aggregate", query="group_by=whole&count") == []


async def test_groups_are_filtered_and_paged(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Item) as (items,):
        await items.json("POST", "_bulk", [{"id": number, "whole": number % 5} for number in range(20)])
        page = await items.send("GET", "_aggregate", query="group_by=whole&count&whole__gt=0&limit=3")
        assert json.loads(page.body) == [{"whole": whole, "count": 4} for whole in (1, 2, 3)]
        link = dict(page.headers)[b"link"]
        assert link == b'</api/items/_aggregate?group_by=whole&count=&whole__gt=0&limit=3&offset=3>; rel="next"'
        query = "group_by=whole&count=&whole__gt=0&limit=3&offset=3"
        last = await items.send("GET", "_aggregate", query=query)
        assert json.loads(last.body) == [{"whole": 4, "count": 4}]
        assert dict(last.headers)[b"link"].endswith(b'offset=0>; rel="prev"')


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "group_by"),
        ("group_by=tags", "group_by"),
        ("group_by=secret&count", "group_by"),
        ("sum=text", "sum"),
        ("sum=flag", "sum"),
        ("avg=level", "avg"),
        ("sum=secret", "sum"),
        ("max=secret", "max"),
        ("sum=whole,whole", "sum"),
        ("count=5", "count"),
        ("count&limit=0", "limit"),
        ("count&order_by=whole", "order_by"),
        ("count&cursor=x", "cursor"),
        ("count&nothing=1", "nothing"),
    ],
)
async def test_a_wrong_parameter_is_refused_by_its_name(tmp_path: Path, query: str, parameter: str) -> None:
    with serving(tmp_path / "db", Item) as (items,):
        error = await items.refused("GET", "_aggregate", query=query)
        assert (error.status, error.errors[0]["field"]) == (422, parameter)


async def test_a_foreign_key_is_a_group(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Category, Product) as (categories, products):
        wood = (await categories.json("POST", "", {"name": "Wood"}))["id"]
        await products.json(
            "POST", "_bulk", [{"name": n, "price": "1.10", "stock": 2, "category_id": wood} for n in "ab"]
        )
        await products.json("POST", "", {"name": "c", "price": "3"})
        found = await products.json("GET", "_aggregate", query="group_by=category_id&count&sum=stock,price")
    assert found == [
        {"category_id": None, "count": 1, "sum_stock": 0, "sum_price": "3"},
        {"category_id": wood, "count": 2, "sum_stock": 4, "sum_price": "2.2"},
    ]
