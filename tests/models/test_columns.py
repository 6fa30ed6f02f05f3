"""Values survive the way to SQLite and back, and the JSON built from a row is pydantic's."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.models.errors import Invalid
from quorate.models.model import schema_of
from quorate.models.store import columns, decimals
from quorate.models.store.decimals import DIGITS_MAX
from quorate.models.store.tables import create_table_sql, literal

from .shop import Colour, Everything, Level, Part, Tag

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20)
MOMENTS = st.datetimes(
    min_value=datetime(2, 1, 1),
    max_value=datetime(9998, 1, 1),
    timezones=st.just(UTC) | st.just(timezone(timedelta(hours=2))),
)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(TEXT_ALPHABET := st.characters(exclude_categories=("Cs",)), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(TEXT_ALPHABET, max_size=9), inner, max_size=3),
    max_leaves=8,
)
THINGS = st.builds(
    Everything,
    id=st.uuids(),
    text=TEXT,
    whole=INT64,
    flag=st.booleans(),
    real=st.floats(allow_nan=False, allow_infinity=False),
    amount=DECIMALS,
    money=st.decimals(places=2, min_value=-(10**9), max_value=10**9),
    link=st.none() | st.uuids(),
    blob=st.binary(max_size=20),
    moment=st.none() | MOMENTS,
    day=st.none() | st.dates(),
    colour=st.sampled_from(Colour),
    level=st.none() | st.sampled_from(Level),
    tags=st.lists(TEXT, max_size=3),
    part=st.none() | st.builds(Part, code=TEXT, weight=DECIMALS),
    meta=st.dictionaries(TEXT, JSON_VALUES, max_size=3),
)
SCHEMA = schema_of(Everything)


@pytest.fixture(scope="module")
def connection() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.execute(create_table_sql(SCHEMA))
    return connection


@given(thing=THINGS)
def test_an_object_survives_the_database_and_json(connection: apsw.Connection, thing: Everything) -> None:
    row = SCHEMA.encode(thing)
    marks = ", ".join("?" * (len(row) + 2))
    connection.execute("DELETE FROM model_everything")
    stored = connection.execute(f"INSERT INTO model_everything VALUES ({marks}) RETURNING *", (*row, 7, 7)).fetchone()
    assert stored == (*row, 7, 7)
    assert SCHEMA.load(row) == thing
    shown = SCHEMA.object_json(row)
    back = Everything.model_validate_json(shown)
    assert SCHEMA.encode(back) == row
    assert back == thing
    # It is pydantic's own shape, but that a Decimal is never in exponent notation.
    assert json.loads(shown) | {"amount": None} == json.loads(back.model_dump_json()) | {"amount": None}


@given(left=THINGS, right=THINGS)
def test_equal_values_have_equal_stored_forms(left: Everything, right: Everything) -> None:
    for column, one, other in zip(SCHEMA.columns, SCHEMA.encode(left), SCHEMA.encode(right), strict=True):
        if not column.codec.is_json:
            assert (one == other) == (getattr(left, column.name) == getattr(right, column.name))


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("amount", Decimal("1.50"), "250015"),
        ("amount", Decimal("-0.00"), "1"),
        ("amount", Decimal("1E+3"), "25031"),
        ("amount", Decimal("1E-3"), "24971"),
        ("amount", Decimal("-19.99"), "04988000:"),
        ("money", Decimal("1.5"), "250015"),
        ("real", -0.0, 0.0),
        ("flag", True, 1),
        ("colour", Colour.BLUE, "blue"),
        ("level", Level.HIGH, 2),
        ("day", date(2024, 2, 29), "2024-02-29"),
        ("moment", datetime(2024, 1, 1), "2024-01-01T00:00:00.000000Z"),
        ("moment", datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2024-01-01T00:00:00.000000Z"),
        ("link", UUID(int=1), bytes(15) + b"\x01"),
        ("part", Part(code="a"), '{"code":"a","weight":"1","ratio":1.0}'),
    ],
)
def test_the_stored_form_is_canonical(name: str, value: Any, stored: object) -> None:
    assert SCHEMA.by_name[name].codec.encode(value) == stored


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("whole", 1 << 63, "int_size"),
        ("whole", -(1 << 63) - 1, "int_size"),
        ("text", "a\0b", "string_nul"),
        ("text", "\ud800", "string_unicode"),
        ("real", float("nan"), "finite_number"),
        ("amount", Decimal("1E+999999"), "decimal_size"),
        ("amount", Decimal("1E-999999"), "decimal_size"),
        ("amount", Decimal("1." + "1" * DIGITS_MAX), "decimal_size"),
        ("amount", Decimal("NaN"), "finite_number"),
        ("part", Part(code="a", ratio=float("inf")), "finite_number"),
        ("meta", {"a": [1.0, {"b": float("nan")}]}, "finite_number"),
        ("moment", datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2))), "datetime_range"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name(name: str, value: Any, reason: str) -> None:
    thing = Everything.model_construct(**{**Everything(id=UUID(int=1)).__dict__, name: value})
    with pytest.raises(Invalid) as refusal:
        SCHEMA.encode(thing)
    assert [error[:2] for error in refusal.value.errors] == [(name, reason)]


@pytest.mark.parametrize("key", ["", "count", "random-id", "_bulk", ".", "..", "a\0", "x" * 513])
def test_a_text_key_is_one_unambiguous_step_of_a_path(key: str) -> None:
    assert schema_of(Tag).parse_key(key) is None
    with pytest.raises(Invalid):
        schema_of(Tag).encode(Tag(word=key))


@given(value=TEXT | INT64 | st.binary(max_size=9) | st.none())
def test_literals_mean_their_values(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    assert apsw.Connection(":memory:").execute(f"SELECT {literal(value)}").fetchone() == (value,)


def test_the_file_can_be_read_by_any_tool(tmp_path: Path) -> None:
    assert create_table_sql(SCHEMA).endswith("STRICT")


@given(left=DECIMALS, right=DECIMALS)
def test_decimals_sort_by_value(left: Decimal, right: Decimal) -> None:
    one, other = columns.DECIMAL.encode(left), columns.DECIMAL.encode(right)
    assert isinstance(one, str)
    assert isinstance(other, str)
    assert (one < other, one == other) == (left < right, left == right)
    assert Decimal(decimals.plain(one)) == left
