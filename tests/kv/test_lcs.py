"""LCS: the longest common subsequence, its length and its ranges."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.kv.commands.lcs import CELLS_MAX, TOO_LARGE
from quorate.kv.keyspace import Keyspace
from quorate.kv.replies import SYNTAX
from tests.kv.support import ask, database, run


@pytest.fixture
def texts(db: Keyspace) -> Keyspace:
    ask(db, "MSET a ohmytext b mynewtext")
    return db


def test_its_forms(texts: Keyspace) -> None:
    assert ask(texts, "LCS a b") == b"mytext"
    assert ask(texts, "LCS a b LEN") == 6
    assert ask(texts, "LCS a b IDX") == {b"matches": [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], b"len": 6}
    assert ask(texts, "LCS a b idx MINMATCHLEN 3 WITHMATCHLEN") == {b"matches": [[[4, 7], [5, 8], 4]], b"len": 6}
    assert ask(texts, "LCS a none") == b""
    assert ask(texts, "LCS a none IDX") == {b"matches": [], b"len": 0}


def test_what_is_refused(texts: Keyspace) -> None:
    ask(texts, "RPUSH l a")
    assert ask(texts, "LCS a l") == "ERR The specified keys must contain string values"
    assert ask(texts, "LCS a b LEN IDX") == "ERR If you want both the length and indexes, please just use IDX."
    assert ask(texts, "LCS a b MINMATCHLEN") == SYNTAX
    assert ask(texts, "LCS a b WHOLE") == SYNTAX
    run(texts, "SET", "large", bytes(CELLS_MAX // 2))
    assert ask(texts, "LCS large b") == TOO_LARGE


TEXT = st.binary(max_size=8).map(lambda text: bytes(byte % 3 for byte in text))


def longest(first: bytes, second: bytes) -> int:
    """By definition, without a table."""

    @cache
    def of(at: int, other: int) -> int:
        if at == len(first) or other == len(second):
            return 0
        if first[at] == second[other]:
            return 1 + of(at + 1, other + 1)
        return max(of(at + 1, other), of(at, other + 1))

    return of(0, 0)


def is_within(part: bytes, text: bytes) -> bool:
    """Whether the bytes come in the text, in their order."""
    rest = iter(text)
    return all(byte in rest for byte in part)


@given(TEXT, TEXT)
def test_it_is_common_and_the_longest(first: bytes, second: bytes) -> None:
    db = database()
    run(db, "MSET", "a", first, "b", second)
    part = run(db, "LCS", "a", "b")
    assert isinstance(part, bytes)
    assert is_within(part, first)
    assert is_within(part, second)
    assert len(part) == longest(first, second) == run(db, "LCS", "a", "b", "LEN")
    found = run(db, "LCS", "a", "b", "IDX", "WITHMATCHLEN")
    assert isinstance(found, dict)
    pieces = [first[start : end + 1] for (start, end), _, _ in reversed(found[b"matches"])]
    others = [second[start : end + 1] for _, (start, end), _ in reversed(found[b"matches"])]
    assert b"".join(pieces) == b"".join(others) == part
    assert [len(piece) for piece in reversed(pieces)] == [length for _, _, length in found[b"matches"]]
