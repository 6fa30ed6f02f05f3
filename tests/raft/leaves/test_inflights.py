"""The window of messages under way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quorate.raft.inflights import Inflights


def test_full_by_count_and_free_again() -> None:
    window = Inflights(count_max=2, bytes_max=1000)
    window.add(1, 10)
    assert not window.full
    window.add(2, 10)
    assert window.full
    window.free_to(1)
    assert not window.full
    assert (len(window), window.size_bytes) == (1, 10)


def test_full_by_bytes_and_one_message_may_be_larger_than_the_window() -> None:
    window = Inflights(count_max=100, bytes_max=50)
    assert not window.full
    window.add(3, 200)
    assert window.full
    window.free_to(2)
    assert window.full
    window.free_to(3)
    assert (window.full, window.size_bytes) == (False, 0)


def test_a_free_of_the_past_changes_nothing() -> None:
    window = Inflights(2, 100)
    window.add(5, 1)
    window.free_to(4)
    assert len(window) == 1


@given(st.lists(st.one_of(st.tuples(st.integers(1, 3), st.integers(0, 40)), st.integers(0, 60))))
def test_against_a_plain_list(steps: list[tuple[int, int] | int]) -> None:
    window, model, last = Inflights(4, 100), [], 0
    for step in steps:
        if isinstance(step, tuple):
            last += step[0]
            window.add(last, step[1])
            model.append((last, step[1]))
        elif step == 60:
            window.clear()
            model = []
        else:
            window.free_to(step)
            model = [each for each in model if each[0] > step]
        total = sum(size for _, size in model)
        assert (len(window), window.size_bytes) == (len(model), total)
        assert window.full is (len(model) >= 4 or total >= 100)
