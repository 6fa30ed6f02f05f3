"""The runs of terms, against a plain list of every entry's term."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quorate.raft.terms import TermRuns

TERMS = st.lists(st.integers(1, 5), max_size=30).map(sorted)


def runs_of(terms: list[int]) -> TermRuns:
    runs = TermRuns()
    for index, term in enumerate(terms, start=1):
        runs.extend(index, term)
    return runs


def every_term(runs: TermRuns, last_index: int) -> list[int]:
    return [runs.at(index) for index in range(1, last_index + 1)]


@given(TERMS)
def test_every_entry_has_its_term(terms: list[int]) -> None:
    runs = runs_of(terms)
    assert every_term(runs, len(terms)) == terms
    assert runs.last == (terms[-1] if terms else 0)
    assert runs.at(0) == 0
    assert TermRuns(runs.starts).starts == runs.starts


@given(TERMS, st.integers(1, 32))
def test_cutting_the_end_forgets_what_is_there(terms: list[int], index: int) -> None:
    runs = runs_of(terms)
    runs.cut(index)
    assert runs.starts == runs_of(terms[: index - 1]).starts


@given(TERMS, st.integers(1, 30))
def test_cutting_the_beginning_keeps_the_rest(terms: list[int], index: int) -> None:
    runs = runs_of(terms)
    runs.cut_before(index)
    assert every_term(runs, len(terms))[index - 1 :] == terms[index - 1 :]
    assert all(start >= index for start, _ in runs.starts) or index > len(terms)


@given(TERMS, st.integers(0, 30), st.integers(0, 6))
def test_the_last_position_within_a_term(terms: list[int], index: int, term: int) -> None:
    index = min(index, len(terms))
    fitting = [(at, own) for at, own in enumerate(terms[:index], start=1) if own <= term]
    assert runs_of(terms).last_within(index, term) == (fitting[-1] if fitting else (0, 0))
