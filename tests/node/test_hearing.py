"""Who is silent: ticks that were counted tell, of those that ought to answer."""

from __future__ import annotations

from quorate.node.hearing import Hearing

SILENT_TICKS = 300


def test_who_ought_to_answer_and_does_not_for_long_is_silent_until_it_is_heard() -> None:
    hearing = Hearing(SILENT_TICKS)
    hearing.look({2, 3}, 100)
    hearing.heard(2, 200)
    assert not hearing.look({2, 3}, 100 + SILENT_TICKS)
    assert hearing.look({2, 3}, 101 + SILENT_TICKS)
    assert hearing.silent == {3}
    assert not hearing.look({2, 3}, 102 + SILENT_TICKS)
    hearing.heard(3, 103 + SILENT_TICKS)
    assert hearing.look({2, 3}, 104 + SILENT_TICKS)
    assert hearing.silent == frozenset()


def test_who_ought_to_answer_only_from_now_on_has_all_the_time() -> None:
    hearing = Hearing(SILENT_TICKS)
    hearing.heard(2, 5)
    hearing.look((), 10)
    for ticks in (1000, 1000 + SILENT_TICKS):
        assert not hearing.look({2}, ticks)
    assert hearing.look({2}, 1001 + SILENT_TICKS)


def test_after_a_change_of_leaders_everyone_has_all_the_time() -> None:
    hearing = Hearing(SILENT_TICKS)
    hearing.look({2}, 100)
    hearing.begin(90 + SILENT_TICKS)
    assert not hearing.look({2}, 101 + SILENT_TICKS)
    assert hearing.look({2}, 91 + 2 * SILENT_TICKS)
