"""Queries walk indexes: what SQLite means to do is looked at."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from quorate.models import Model, field
from quorate.models.model import schema_of
from quorate.models.query.cursors import Cursors
from quorate.models.query.fields import QueryFields
from quorate.models.rest.listing import read_list
from quorate.models.store.schema import Row

from .support import serving


class Shelf(Model, resource="shelves"):
    id: UUID = field(primary_key=True)


class Book(Model):
    id: UUID = field(primary_key=True)
    title: str = field(indexed=True)
    isbn: str = field(unique=True)
    price: int = field(indexed=True)
    rating: int | None = field(default=None, indexed=True)
    shelf_id: UUID | None = field(default=None, foreign_key=Shelf)
    note: str = ""


BOOKS = QueryFields(schema_of(Book))
SHELF = str(UUID(int=5))


def plans(path: Path, query: str, *, after: tuple[object, ...] | None = None) -> list[list[str]]:
    """What SQLite would do for each statement of a page, behind a place in its order or at the beginning."""
    wanted = read_list(BOOKS, query.encode())
    with serving(path, Shelf, Book) as (_, books):
        connection = books.engine.replica.state.connection
        return [
            [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text} LIMIT 100", bindings)]
            for text, bindings in wanted.selection.statements(after)  # type: ignore[arg-type]
        ]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("price=5", "model_book__price (price=?)"),
        ("price__gte=5&price__lt=9", "model_book__price (price>? AND price<?)"),
        ("price__in=1,2", "model_book__price (price=?)"),
        ("isbn=x", "model_book__isbn (isbn=?)"),
        ("isbn__in=x,y", "model_book__isbn (isbn=?)"),
        (f"shelf_id={SHELF}", "model_book__shelf_id (shelf_id=?)"),
        ("shelf_id__isnull=true", "model_book__shelf_id (shelf_id=?)"),
        ("title__startswith=ab", "model_book__title (title>? AND title<?)"),
        (f"id={SHELF}", "sqlite_autoindex_model_book_1 (id=?)"),
        (f"id__gt={SHELF}", "sqlite_autoindex_model_book_1 (id>?)"),
    ],
)
def test_a_filter_on_an_indexed_field_searches_its_index(tmp_path: Path, query: str, index: str) -> None:
    """A1.39 indexed."""
    ((first, *_),) = plans(tmp_path / "db", query)
    assert first == f"SEARCH model_book USING INDEX {index}"


@pytest.mark.parametrize("query", ["", "order_by=id", "order_by=-id"])
def test_the_order_of_the_ids_is_that_of_their_index(tmp_path: Path, query: str) -> None:
    assert plans(tmp_path / "db", query) == [["SCAN model_book USING INDEX sqlite_autoindex_model_book_1"]]


@pytest.mark.parametrize("query", ["order_by=price", "order_by=-price", "order_by=rating", "order_by=-rating"])
def test_an_indexed_order_needs_no_sorting(tmp_path: Path, query: str) -> None:
    """A1.39 indexed."""
    name = query.removeprefix("order_by=").removeprefix("-")
    assert plans(tmp_path / "db", query) == [[f"SCAN model_book USING INDEX model_book__{name}"]]


def test_a_unique_order_needs_no_sorting(tmp_path: Path) -> None:
    assert plans(tmp_path / "db", "order_by=-isbn,price") == [["SCAN model_book USING INDEX model_book__isbn"]]


def test_one_value_of_an_indexed_field_comes_in_the_order_of_ids(tmp_path: Path) -> None:
    for query in ("price=5", "price=5&order_by=-id", "shelf_id__isnull=true"):
        ((plan, *more),) = plans(tmp_path / "db", query)
        assert plan.startswith("SEARCH")
        assert more == []


@pytest.mark.parametrize(
    ("query", "value", "searches"),
    [
        ("order_by=price", 5, ["(price=? AND id>?)", "(price>?)"]),
        ("order_by=-price", 5, ["(price=? AND id<?)", "(price<?)"]),
        ("order_by=rating", 5, ["(rating=? AND id>?)", "(rating>?)"]),
        ("order_by=rating", None, ["(rating=? AND id>?)", "(rating>?)"]),
        ("order_by=-rating", 5, ["(rating=? AND id<?)", "(rating<?)", "(rating=?)"]),
        ("order_by=-rating", None, ["(rating=? AND id<?)"]),
    ],
)
def test_the_next_page_is_found_by_the_index_too(
    tmp_path: Path, query: str, value: object, searches: list[str]
) -> None:
    name = query.removeprefix("order_by=").removeprefix("-")
    found = plans(tmp_path / "db", query, after=(value, UUID(int=1).bytes))
    assert found == [[f"SEARCH model_book USING INDEX model_book__{name} {search}"] for search in searches]


def test_a_cursor_holds_where_the_page_ended_and_nothing_else() -> None:
    wanted = read_list(BOOKS, b"order_by=-price")
    row: Row = tuple({"id": UUID(int=1).bytes, "price": 7}.get(name, "x") for name in schema_of(Book).names)
    cursor = wanted.cursors.behind(row)
    assert wanted.cursors.read(cursor) == (7, UUID(int=1).bytes)
    assert isinstance(wanted.cursors, Cursors)
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
