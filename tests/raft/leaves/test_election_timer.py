"""When to campaign, and for how long a leader may count on this node."""

from __future__ import annotations

from random import Random

import pytest

from quorate.errors import ConfigError
from quorate.raft.config import CoreConfig
from quorate.raft.election import LAST_RESORT_TIMEOUTS, Campaign, ElectionTimer, patience_ticks
from quorate.raft.membership import Configuration, Member, MemberRole
from quorate.raft.quorum import Quorum, VoteResult

CONFIG = CoreConfig(node_id=1, heartbeat_ticks=5, election_ticks_min=15, election_ticks_max=30)


def timer(seed: int = 0) -> ElectionTimer:
    """A timer that has seen its first tick."""
    made = ElectionTimer(CONFIG, Random(seed))
    made.tick(1)
    return made


def ticks_to_timeout(made: ElectionTimer) -> int:
    for count in range(1, 100):
        if made.tick(1):
            return count
    raise AssertionError("it never fires")


def test_timeouts_spread_over_the_whole_range() -> None:
    drawn = {ticks_to_timeout(timer(seed)) for seed in range(300)}
    assert drawn == set(range(16, 31))


def test_a_restart_draws_anew() -> None:
    made = timer()
    drawn = set()
    for _ in range(300):
        made.restart()
        drawn.add(ticks_to_timeout(made))
    assert drawn == set(range(16, 31))


def test_a_campaign_waits_less_but_not_less_than_a_heartbeat() -> None:
    made = timer()
    drawn = set()
    for _ in range(300):
        made.restart_campaign()
        drawn.add(ticks_to_timeout(made))
    assert drawn == set(range(6, 16))


def test_hearing_a_leader_starts_the_wait_again() -> None:
    made = timer()
    needed = ticks_to_timeout(made)
    made.leader_heard()
    assert not made.tick(1)
    assert not any(made.tick(1) for _ in range(needed - 1))
    assert made.tick(1)


def test_a_leader_may_count_on_the_shortest_timeout() -> None:
    made = timer()
    made.leader_heard()
    made.tick(1)
    assert made.leader_is_recent
    made.tick(14)
    assert made.leader_is_recent
    made.tick(1)
    assert not made.leader_is_recent


def test_ticks_that_passed_before_a_leader_was_heard_do_not_count_after_it() -> None:
    """A stalled process reads its mail first and then learns how late it is."""
    made = timer()
    made.leader_heard()
    made.tick(5)
    for _ in range(14):
        made.tick(1)
    assert made.leader_is_recent


def test_the_promise_outlives_a_new_term_and_a_vote() -> None:
    made = timer()
    made.leader_heard()
    made.tick(1)
    made.tick(10)
    made.restart()
    assert made.leader_is_recent
    made.tick(5)
    assert not made.leader_is_recent


def test_after_a_restart_a_leader_may_still_count_on_what_was_promised_before() -> None:
    made = ElectionTimer(CONFIG, Random(0))
    assert made.leader_is_recent
    made.tick(1000)
    made.tick(14)
    assert made.leader_is_recent
    made.tick(1)
    assert not made.leader_is_recent


def test_the_lease_ends_before_the_promise_does_even_if_clocks_differ() -> None:
    for drift in (0, 20, 50):
        config = CoreConfig(node_id=1, election_ticks_min=100, election_ticks_max=200, lease_drift_percent=drift)
        longest_lease = config.lease_ticks + 1  # begun just after a tick was counted
        shortest_promise = (100 - 1) / (1 + drift / 100)  # ... on a clock that runs fast
        assert longest_lease <= shortest_promise


@pytest.mark.parametrize("timings", [(0, 15, 30), (15, 15, 30), (5, 30, 30), (5, 31, 30)])
def test_timings_must_be_in_order(timings: tuple[int, int, int]) -> None:
    heartbeat, low, high = timings
    with pytest.raises(ConfigError, match="timings must satisfy"):
        CoreConfig(node_id=1, heartbeat_ticks=heartbeat, election_ticks_min=low, election_ticks_max=high)


def test_a_voters_first_answer_stands() -> None:
    campaign = Campaign(Quorum((frozenset({1, 2, 3}),)))
    assert campaign.record(1, True) is VoteResult.PENDING
    assert campaign.record(2, False) is VoteResult.PENDING
    assert campaign.record(2, True) is VoteResult.PENDING
    assert campaign.record(9, True) is VoteResult.PENDING, "a stranger has no vote"
    assert campaign.record(3, True) is VoteResult.WON


@pytest.mark.parametrize(
    ("priorities", "ticks"),
    [
        ({1: 1, 2: 1}, 0),
        ({1: 2, 2: 1}, 0),
        ({1: 1, 2: 2}, 15),
        ({1: 0, 2: 1}, LAST_RESORT_TIMEOUTS * 30),
        ({1: 0, 2: 0}, 0),
        ({2: 1}, 0),
    ],
)
def test_who_is_of_lower_priority_waits_longer(priorities: dict[int, int], ticks: int) -> None:
    electorate = Configuration(tuple(Member(node, priority=priority) for node, priority in priorities.items()))
    assert patience_ticks(CONFIG, electorate) == ticks


def test_nobody_waits_for_a_witness_or_a_learner_of_higher_priority() -> None:
    others = (Member(2, role=MemberRole.WITNESS, priority=5), Member(3, role=MemberRole.LEARNER, priority=5))
    assert patience_ticks(CONFIG, Configuration((Member(1, priority=0), *others, Member(4, priority=0)))) == 0


def test_patience_is_added_to_every_timeout() -> None:
    plain, patient = timer(), timer()
    patient.patience_ticks = 15
    assert ticks_to_timeout(patient) == ticks_to_timeout(plain) + 15
