"""SORT and SORT_RO: in which order elements are given, what of them, and what is stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.kv.keyspace import Keyspace
from quorate.kv.replies import NOT_AN_INTEGER, SYNTAX, WRONG_TYPE
from tests.kv.support import ask, database, events, run

NO_NUMBERS = "ERR One or more scores can't be converted into double"


@pytest.fixture
def prices(db: Keyspace) -> Keyspace:
    run(db, "RPUSH", "prices", "30", "1.5", "-7", "1e2", "1.5")
    return db


@pytest.mark.parametrize(
    ("rest", "order"),
    [
        ("", [b"-7", b"1.5", b"1.5", b"30", b"1e2"]),
        ("DESC", [b"1e2", b"30", b"1.5", b"1.5", b"-7"]),
        ("desc asc", [b"-7", b"1.5", b"1.5", b"30", b"1e2"]),
        ("ALPHA", [b"-7", b"1.5", b"1.5", b"1e2", b"30"]),
        ("LIMIT 1 2", [b"1.5", b"1.5"]),
        ("LIMIT -5 1", [b"-7"]),
        ("LIMIT 3 -1", [b"30", b"1e2"]),
        ("LIMIT 9 1", []),
        ("BY nosort", [b"30", b"1.5", b"-7", b"1e2", b"1.5"]),
        ("BY nosort DESC LIMIT 0 2", [b"1.5", b"1e2"]),
        ("LIMIT 0 1 GET # GET none GET #", [b"-7", None, b"-7"]),
    ],
)
def test_orders(prices: Keyspace, rest: str, order: list[bytes | None]) -> None:
    assert ask(prices, f"SORT prices {rest}") == order
    assert ask(prices, f"SORT_RO prices {rest}") == order


def test_sets_and_sorted_sets(db: Keyspace) -> None:
    ask(db, "SADD t 3 1 2")
    ask(db, "ZADD z 9 1 8 2 7 3")
    assert ask(db, "SORT t") == [b"1", b"2", b"3"]
    assert ask(db, "SORT z") == [b"1", b"2", b"3"]
    assert ask(db, "SORT z BY nosort") == [b"3", b"2", b"1"]
    assert ask(db, "SORT t BY nosort STORE d") == 3
    assert ask(db, "LRANGE d 0 -1") == [b"1", b"2", b"3"]
    assert ask(db, "SORT none") == []


def test_storing(prices: Keyspace) -> None:
    told = events(prices)
    assert ask(prices, "SORT prices LIMIT 0 2 GET # GET none STORE d") == 4
    assert ask(prices, "LRANGE d 0 -1") == [b"-7", b"", b"1.5", b""]
    assert ask(prices, "SORT none STORE d") == 0
    assert ask(prices, "SORT none STORE d") == 0
    assert told == [("sortstore", b"d"), ("del", b"d")]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("SORT prices LIMIT 0", SYNTAX),
        ("SORT prices LIMIT 0 x", NOT_AN_INTEGER),
        ("SORT prices STORE", SYNTAX),
        ("SORT_RO prices STORE d", SYNTAX),
        ("SORT prices BY weight_*", "ERR BY option of SORT denied in cluster mode."),
        ("SORT prices GET name_*", "ERR GET option of SORT denied in cluster mode."),
        ("SORT words", NO_NUMBERS),
        ("SORT huge", NO_NUMBERS),
        ("SORT tiny", NO_NUMBERS),
        ("SORT text", WRONG_TYPE),
    ],
)
def test_what_is_refused(prices: Keyspace, line: str, error: str) -> None:
    for command in ("RPUSH words 1 x", "RPUSH huge 1e400", "RPUSH tiny 1e-400", "SET text 1"):
        ask(prices, command)
    assert ask(prices, line) == error


@given(st.lists(st.integers(-50, 50)), st.booleans())
def test_numbers_are_sorted_as_numbers(numbers: list[int], backwards: bool) -> None:
    db = database()
    if numbers:
        run(db, "RPUSH", "l", *numbers)
    order = [b"%d" % number for number in sorted(numbers, reverse=backwards)]
    assert run(db, "SORT", "l", *["DESC"] * backwards) == order
