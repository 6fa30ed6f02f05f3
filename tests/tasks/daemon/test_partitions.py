from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.tasks.daemon.partitions import CUT_OFF, Evidence, PartitionDetector, PartitionState, Verdict

DETECTION, RECOVERY, LOOK = 3.0, 0.5, 0.25
MEMBERS = frozenset({2, 3, 4, 5})
WELL = Evidence(True, MEMBERS, frozenset())


def detector() -> PartitionDetector:
    return PartitionDetector(DETECTION, RECOVERY, LOOK)


def missing(*lost: int) -> Evidence:
    return Evidence(True, MEMBERS, frozenset(lost))


def alone(*lost: int) -> Evidence:
    return Evidence(False, MEMBERS, frozenset(lost))


def watch(one: PartitionDetector, evidence: Evidence, seconds: float, step: float = LOOK) -> list[Verdict]:
    found: list[Verdict] = []
    for _ in range(round(seconds / step)):
        found += one.look(evidence, step)
    return found


def test_a_member_that_stays_away_is_lost_when_the_bound_is_over_and_not_before() -> None:
    one = detector()
    assert watch(one, missing(3), DETECTION) == []
    assert one.state is PartitionState.SUSPECTED
    assert watch(one, missing(3), LOOK) == [Verdict(3, True)]
    assert (one.state, one.lost) == (PartitionState.PARTITIONED, frozenset({3}))
    assert watch(one, missing(3), 60) == [], "told once"


def test_it_is_back_when_it_has_stayed_for_a_while() -> None:
    one = detector()
    watch(one, missing(3), 4)
    assert watch(one, WELL, RECOVERY) == []
    assert one.state is PartitionState.PARTITIONED
    assert watch(one, WELL, LOOK) == [Verdict(3, False)]
    assert (one.state, one.lost) == (PartitionState.HEALTHY, frozenset())


def test_a_link_that_comes_and_goes_is_no_news_either_way() -> None:
    one = detector()
    for _ in range(50):
        assert watch(one, missing(3), DETECTION - LOOK) == []
        assert watch(one, WELL, LOOK) == []
    watch(one, missing(3), 4)
    for _ in range(50):
        assert watch(one, WELL, RECOVERY - LOOK) == []
        assert watch(one, missing(3), LOOK) == []


def test_a_node_without_a_quorum_speaks_of_itself_alone() -> None:
    one = detector()
    assert watch(one, alone(2, 3, 4), 10) == [Verdict(CUT_OFF, True)]
    assert (one.state, one.lost) == (PartitionState.MINORITY, frozenset())
    assert watch(one, missing(4), RECOVERY + LOOK) == [Verdict(CUT_OFF, False)]
    assert one.state is PartitionState.SUSPECTED, "what it cannot reach now, it doubts from now on"
    assert watch(one, missing(4), DETECTION) == [Verdict(4, True)]


def test_who_sees_no_majority_cannot_tell_who_is_lost_though_it_has_a_leader() -> None:
    one = detector()
    assert watch(one, Evidence(True, MEMBERS, frozenset({3, 4, 5}), sees_majority=False), 10) == []
    assert one.state is PartitionState.HEALTHY
    watch(one, missing(3), 4)
    assert watch(one, Evidence(True, MEMBERS, frozenset({3, 4, 5}), sees_majority=False), 10) == []
    assert one.lost == {3}, "what it has told stays told"


def test_what_was_lost_before_comes_back_also_to_a_node_that_is_cut_off() -> None:
    one = detector()
    watch(one, missing(2), 4)
    watch(one, alone(2, 3, 4, 5), 4)
    assert one.state is PartitionState.MINORITY
    assert watch(one, WELL, 1) == [Verdict(CUT_OFF, False), Verdict(2, False)]


def test_a_member_that_was_removed_is_not_lost_any_more() -> None:
    one = detector()
    watch(one, missing(3), 4)
    assert watch(one, Evidence(True, MEMBERS - {3}, frozenset()), 1) == []
    assert one.state is PartitionState.HEALTHY


def test_a_pause_of_the_whole_process_is_no_silence_of_the_others() -> None:
    one = detector()
    one.look(missing(2, 3, 4, 5), LOOK)
    assert one.look(missing(2, 3, 4, 5), 3_600) == []
    assert one.look(WELL, LOOK) == []
    assert one.state is PartitionState.HEALTHY


@given(
    st.lists(
        st.tuples(
            st.sampled_from([WELL, missing(2), missing(2, 3), alone(2), alone(2, 3, 4, 5)]),
            st.floats(min_value=0.01, max_value=10),
        ),
        max_size=60,
    )
)
def test_nothing_is_told_of_what_was_never_amiss_for_so_long(looks: list[tuple[Evidence, float]]) -> None:
    """Against the definition: the seconds for which something was seen, look after look, by the looks' own time."""
    one = detector()
    bad: dict[int, float] = {}
    told: set[int] = set()
    for evidence, elapsed in looks:
        elapsed = min(elapsed, 2 * LOOK)
        wrong = evidence.lost if evidence.has_quorum else {CUT_OFF}
        bad = {what: bad[what] + elapsed if what in bad else 0.0 for what in wrong}
        for verdict in one.look(evidence, elapsed):
            if verdict.is_lost:
                assert verdict.node_id not in told
                assert bad[verdict.node_id] >= DETECTION - 1e-9
                told.add(verdict.node_id)
            else:
                told.remove(verdict.node_id)
        for what, seconds in bad.items():
            assert what in told or seconds < DETECTION + 1e-9
    assert one.lost == told - {CUT_OFF}


@pytest.mark.parametrize(
    ("evidence", "state"),
    [(WELL, "healthy"), (missing(2), "partitioned"), (alone(), "minority"), (alone(2, 3, 4, 5), "minority")],
)
def test_what_lasts_has_one_name(evidence: Evidence, state: str) -> None:
    one = detector()
    watch(one, evidence, 10)
    assert one.state.value == state
