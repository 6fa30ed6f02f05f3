"""Two machines that are fed the same commands end with the same tables and give the same answers."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import apsw
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.models.commands import Create, Delete, MergePatch, Operation, Patch, Replace
from quorate.models.store.columns import DECIMAL

from .shop import Booking, Category, Product
from .support import Replica

KEYS = st.sampled_from([UUID(int=number).bytes for number in range(1, 5)])
NAMES = st.sampled_from(["Oak", "Elm", "Ash"])
CATEGORY = st.none() | KEYS
PRICES = st.sampled_from([DECIMAL.encode(Decimal(text)) for text in ("1", "2.5")])
PRODUCT_VALUES = st.tuples(NAMES, PRICES, st.integers(0, 3), CATEGORY)
PRODUCT_COLUMNS = ("id", "name", "price", "stock", "category_id")
PRODUCT_ROWS = st.builds(lambda key, values: (key, *values), st.none() | KEYS, PRODUCT_VALUES)
BOOKING_ROWS = st.tuples(st.none() | KEYS, st.integers(0, 3), st.integers(3, 5), st.just(""))

OPERATIONS: st.SearchStrategy[Operation] = st.one_of(
    st.builds(lambda key, name: Create("Category", ("id", "name"), [(key, name)]), KEYS, NAMES),
    st.builds(lambda rows: Create("Product", PRODUCT_COLUMNS, rows), st.lists(PRODUCT_ROWS, min_size=1, max_size=4)),
    st.builds(lambda row: Create("Booking", ("id", "first", "last", "note"), [row]), BOOKING_ROWS),
    st.builds(lambda key, values: Replace("Product", key, PRODUCT_COLUMNS[1:], values), KEYS, PRODUCT_VALUES),
    st.builds(lambda key, name: Patch("Product", key, ("name",), (name,)), KEYS, NAMES),
    st.builds(lambda key, category: Patch("Product", key, ("category_id",), (category,)), KEYS, CATEGORY),
    st.builds(lambda key, first: MergePatch("Booking", key, f'{{"first": {first}}}'), KEYS, st.integers(0, 9)),
    st.builds(Delete, st.sampled_from(["Category", "Product", "Booking"]), KEYS),
)


def content(replica: Replica) -> list[object]:
    """Every table of the file, to the last index entry."""
    connection = replica.state.connection
    names = [
        name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    ]
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    return [(name, connection.execute(f'SELECT * FROM "{name}"').fetchall()) for name in names]


@settings(max_examples=60, deadline=None)
@given(commands=st.lists(OPERATIONS, max_size=30))
def test_equal_logs_make_equal_states(commands: list[Operation]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        # The second declares its models in another order: no outcome may depend on that.
        one = Replica(Path(directory) / "one", [Category, Product, Booking])
        two = Replica(Path(directory) / "two", [Booking, Product, Category])
        try:
            for command in commands:
                assert one.outcome(command) == two.outcome(command)
            assert one.rows() == two.rows()
            assert sorted(content(one), key=repr) == sorted(content(two), key=repr)
            for table in one.machine.tables.values():
                assert table.count == len(table.page(1000, 0))
        finally:
            one.close()
            two.close()


def test_every_table_is_strict(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "db", [Category, Product, Booking])
    try:
        strict = replica.state.connection.execute(
            "SELECT strict FROM pragma_table_list WHERE name LIKE 'model\\_%' ESCAPE '\\'"
        ).fetchall()
        assert strict == [(1,)] * 3
        assert isinstance(replica.state.connection, apsw.Connection)
    finally:
        replica.close()
