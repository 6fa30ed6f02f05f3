"""Each invariant, shown what it is there to find."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from quorate.raft.configurations import Configurations
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.membership import Configuration
from quorate.raft.messages import AppendEntriesReply, RequestVote, RequestVoteReply
from quorate.raft.output import Floor, HardState, Recovered, Write
from quorate.raft.roles import Role
from quorate.testing.simulation.invariants import Invariants, Violation


def entry(index: int, term: int, payload: bytes = b"x") -> Entry:
    return Entry(index, term, EntryKind.COMMANDS, payload)


class FakeLog:
    """As much of a log as the invariants look at."""

    def __init__(self, entries: list[Entry], committed: int = 0, applied: int = 0, durable: int | None = None) -> None:
        self._entries = entries
        self.committed, self.applied, self.handed_out = committed, applied, applied
        self.last_index = self.written = len(entries)
        self.floor = Floor()
        self.durable = len(entries) if durable is None else durable
        self.configurations = Configurations(Configuration.of((1, 2, 3)), self.floor)
        for each in entries:
            self.configurations.appended(each)

    def term(self, index: int) -> int:
        return self._entries[index - 1].term if index else 0

    def entries(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        return self._entries[low - 1 : high - 1]


def core(node_id: int, term: int, entries: list[Entry] | None = None, role: Role = Role.FOLLOWER, **log: Any) -> Any:
    configuration = Configuration.of((1, 2, 3))
    fake = FakeLog(entries or [], **log)
    config = SimpleNamespace(lease_reads=False)
    return SimpleNamespace(
        node_id=node_id, term=term, role=role, log=fake, configuration=configuration, repairing=False, config=config
    )


class World:
    """Three nodes, and what was found."""

    def __init__(self) -> None:
        self.found: list[BaseException] = []
        self.invariants = Invariants((1, 2, 3), self.found.append)
        self.invariants.known.configurations = [(0, Configuration.of((1, 2, 3)))]

    def durable(self, node_id: int, entries: list[Entry], hard_state: HardState | None = None, ticket: int = 1) -> None:
        write = Write(ticket, hard_state, tuple(entries))
        self.invariants.submitted(node_id, None, write)
        self.invariants.durable(node_id, [write])

    def expect(self, words: str) -> None:
        assert self.found, f"nothing was found, least of all {words!r}"
        assert isinstance(self.found[0], Violation)
        assert words in str(self.found[0])


@pytest.fixture
def world() -> World:
    return World()


LOG = [entry(1, 1), entry(2, 1), entry(3, 2)]


def test_a_healthy_history_is_no_violation(world: World) -> None:
    for node in (1, 2):
        world.durable(node, LOG, HardState(2, 1))
    world.invariants.sending(1, core(1, 2, LOG), 2, RequestVote(term=2, last_index=3, last_term=2))
    world.invariants.changed(core(1, 2, LOG, Role.LEADER, committed=3, applied=2))
    world.invariants.sending(2, core(2, 2, LOG), 1, AppendEntriesReply(term=2, session=1, match_index=3))
    world.invariants.changed(core(2, 2, LOG, committed=3))
    world.invariants.state_seen(1, 2, "digest")
    world.invariants.state_seen(2, 2, "digest")
    assert world.found == []


def test_election_safety(world: World) -> None:
    world.invariants.changed(core(1, 4, role=Role.LEADER))
    world.invariants.changed(core(2, 4, role=Role.LEADER))
    world.expect("election safety")


def test_leader_append_only(world: World) -> None:
    leader = core(1, 2, LOG, Role.LEADER)
    world.durable(1, LOG)
    world.invariants.changed(leader)
    world.invariants.submitted(1, leader, Write(2, None, (entry(3, 2, b"other"),)))
    world.expect("leader append-only")


def test_log_matching(world: World) -> None:
    world.durable(1, [entry(1, 1)])
    world.durable(2, [entry(1, 1, b"another")])
    world.expect("log matching")


def test_log_matching_reaches_back(world: World) -> None:
    world.durable(1, [entry(1, 1), entry(2, 3)])
    world.durable(2, [entry(1, 2), entry(2, 3)])
    world.expect("log matching")


def test_leader_completeness(world: World) -> None:
    for node in (1, 2):
        world.durable(node, LOG)
    world.invariants.changed(core(1, 2, LOG, committed=3))
    world.invariants.changed(core(3, 3, LOG[:2], Role.LEADER, durable=0))
    world.expect("leader completeness")


def test_a_leader_of_the_past_need_not_know_the_future(world: World) -> None:
    for node in (1, 2):
        world.durable(node, LOG)
    world.invariants.changed(core(1, 2, LOG, committed=3))
    world.invariants.changed(core(3, 1, [], Role.LEADER))
    assert world.found == []


def test_state_machine_safety(world: World) -> None:
    for node in (1, 2):
        world.durable(node, LOG)
    world.invariants.changed(core(1, 2, LOG, committed=3))
    world.invariants.changed(core(3, 2, [entry(1, 1), entry(2, 2)], committed=2, durable=0))
    world.expect("state machine safety")


def test_committed_on_a_minority(world: World) -> None:
    world.durable(1, LOG)
    world.invariants.changed(core(1, 2, LOG, committed=3))
    world.expect("durable on a quorum")


@pytest.mark.parametrize(
    "later",
    [
        core(1, 1, LOG, committed=2, applied=1),
        core(1, 2, LOG, committed=1, applied=1),
        core(1, 2, LOG, committed=2),
    ],
)
def test_going_back(world: World, later: Any) -> None:
    for node in (1, 2):
        world.durable(node, LOG)
    world.invariants.changed(core(1, 2, LOG, committed=2, applied=1))
    assert world.found == []
    world.invariants.changed(later)
    world.expect("never backwards")


def test_applied_beyond_committed(world: World) -> None:
    world.durable(1, LOG)
    world.invariants.changed(core(1, 2, LOG, applied=1))
    world.expect("applied ≤ committed")


def test_durable_beyond_the_disk(world: World) -> None:
    world.invariants.changed(core(1, 2, LOG))
    world.expect("takes 3 for durable")


def test_two_votes_in_one_term(world: World) -> None:
    world.durable(1, [], HardState(5, 2))
    world.invariants.sending(1, None, 2, RequestVoteReply(term=5, granted=True))
    world.invariants.sending(1, None, 2, RequestVoteReply(term=5, granted=True))
    assert world.found == []
    world.durable(1, [], HardState(5, 3), ticket=2)
    world.invariants.sending(1, None, 3, RequestVoteReply(term=5, granted=True))
    world.expect("one vote per term")


@pytest.mark.parametrize(
    "message",
    [
        RequestVoteReply(term=5, granted=True),
        RequestVote(term=5, last_index=0, last_term=0),
        AppendEntriesReply(term=4, session=1, match_index=2),
        AppendEntriesReply(term=5, session=1, match_index=1),
    ],
)
def test_a_promise_that_is_not_durable(world: World, message: Any) -> None:
    world.durable(1, [entry(1, 1)], HardState(4, None))
    world.invariants.sending(1, None, 3, message)
    world.expect("promises are durable")


def test_promises_that_bind_nobody(world: World) -> None:
    for message in (
        RequestVoteReply(term=9, granted=False),
        RequestVoteReply(term=9, granted=True, pre_vote=True),
        RequestVote(term=9, last_index=0, last_term=0, pre_vote=True),
        AppendEntriesReply(term=9, session=0, match_index=0, rejected=True),
    ):
        world.invariants.sending(1, None, 2, message)
    assert world.found == []


@pytest.mark.parametrize(
    "found",
    [
        Recovered(HardState(3, 1), 2, ((1, 1),)),
        Recovered(HardState(3, None), 3, ((1, 1), (3, 2))),
        Recovered(HardState(3, 1), 3, ((1, 1), (3, 3))),
        Recovered(HardState(3, 1), 5, ((1, 1), (3, 2))),
    ],
    ids=["entry lost", "vote lost", "entry changed", "entry from nowhere"],
)
def test_a_disk_that_loses_or_invents(world: World, found: Recovered) -> None:
    world.durable(1, LOG, HardState(3, 1))
    world.invariants.recovered(1, found)
    world.expect("what is durable survives")


@pytest.mark.parametrize(
    "found",
    [
        Recovered(HardState(3, 1), 3, ((1, 1), (3, 2))),
        Recovered(HardState(4, None), 3, ((1, 1), (3, 2))),
        Recovered(HardState(4, None), 1, ((1, 1),)),
        Recovered(HardState(4, None), 2, ((1, 1), (2, 4))),
    ],
)
def test_of_what_is_under_way_any_part_may_be_there(world: World, found: Recovered) -> None:
    world.durable(1, LOG, HardState(3, 1))
    world.invariants.submitted(1, None, Write(2, HardState(4, None), (entry(2, 4), entry(3, 4))))
    world.invariants.recovered(1, found)
    assert world.found == []


def test_states_that_differ(world: World) -> None:
    world.invariants.state_seen(1, 7, "one")
    world.invariants.state_seen(2, 8, "another")
    assert world.found == []
    world.invariants.state_seen(2, 7, "another")
    world.expect("equal state")


def configuration(index: int, term: int = 1, voters: tuple[int, ...] = (1, 2, 3)) -> Entry:
    return Entry(index, term, EntryKind.MEMBERSHIP, Configuration.of(voters).encode())


def test_two_configurations_at_once(world: World) -> None:
    configurations = [configuration(1), configuration(2)]
    world.durable(1, configurations)
    world.invariants.changed(core(1, 1, configurations, Role.LEADER))
    world.expect("one configuration at a time")


def test_another_configuration_than_the_latest(world: World) -> None:
    node = core(1, 1, [entry(1, 1), configuration(2)])
    world.durable(1, [entry(1, 1), configuration(2)])
    world.invariants.changed(node)
    assert world.found == []
    node.log.configurations = Configurations(Configuration.of((1, 2, 3)), Floor())
    world.invariants.changed(node)
    world.expect("the latest configuration is in force")


def test_the_same_entry_is_the_same_configuration_everywhere(world: World) -> None:
    for node, entries in ((1, [configuration(1)]), (2, [configuration(1, voters=(1, 2))])):
        world.durable(node, entries)
    world.expect("log matching")


@pytest.mark.parametrize("change", [{"repairing": True}, {"configuration": Configuration.of((2, 3), learners=(1,))}])
def test_who_may_not_lead(world: World, change: dict[str, Any]) -> None:
    leader = core(1, 1, role=Role.LEADER)
    vars(leader).update(change)
    if "configuration" in change:
        leader.log.configurations = Configurations(change["configuration"], Floor())
    else:
        world.invariants.damaged(1)
    world.invariants.changed(leader)
    world.expect("only voters with data lead")


def test_a_vote_in_repair(world: World) -> None:
    voter = core(1, 1)
    voter.repairing = True
    world.durable(1, [], HardState(1, 2))
    world.invariants.sending(1, voter, 2, RequestVoteReply(term=1, granted=True))
    world.expect("a node in repair does not vote")


def test_a_repair_without_a_loss(world: World) -> None:
    world.invariants.recovered(1, Recovered(repairing=True))
    world.expect("only who lost something is repaired")


def test_a_copy_in_repair_does_not_count(world: World) -> None:
    world.durable(1, LOG)
    world.invariants.damaged(2)
    world.invariants.recovered(2, Recovered(repairing=True))
    world.durable(2, LOG)
    world.invariants.changed(core(1, 2, LOG, committed=3))
    world.expect("durable on a quorum")


def test_what_was_acknowledged_before_the_loss_counts(world: World) -> None:
    for node in (1, 2):
        world.durable(node, LOG)
    world.invariants.wiped(2)
    world.invariants.changed(core(1, 2, LOG, committed=3))
    assert world.found == []


def test_an_entry_of_an_earlier_term_is_committed_by_counting(world: World) -> None:
    for node in (1, 2):
        world.durable(node, LOG)
    world.invariants.changed(core(1, 3, LOG, Role.LEADER))
    world.invariants.changed(core(1, 3, LOG, Role.LEADER, committed=3))
    world.expect("own term only")


def test_what_was_replaced_in_memory_is_not_durable(world: World) -> None:
    world.durable(1, LOG)
    world.invariants.changed(core(1, 3, [*LOG[:2], entry(3, 3)]))
    world.expect("takes 3 for durable")


def test_a_witness_has_the_same_entries_without_their_commands(world: World) -> None:
    bare = [Entry(each.index, each.term, EntryKind.WITNESSED, b"") for each in LOG]
    world.durable(1, bare)
    world.durable(2, LOG)
    world.invariants.changed(core(2, 2, LOG, Role.LEADER, committed=3))
    world.invariants.changed(core(1, 2, bare, committed=3))
    assert world.found == []


def test_a_lease_that_has_passed_to_another(world: World) -> None:
    former, present = core(1, 1, LOG, durable=3), core(2, 2, LOG, Role.LEADER, committed=3)
    for node in (1, 2):
        world.durable(node, LOG)
    present.config.lease_reads = True
    reads = SimpleNamespace(_has_lease=lambda commit, now: now < 7)
    former._leadership, present._leadership = SimpleNamespace(reads=reads), None
    world.invariants.known.lease_holders = lambda: [(former, 5), (present, 5)]
    world.invariants.changed(present)
    world.expect("leases are exclusive")


def test_a_snapshot_of_what_was_never_committed(world: World) -> None:
    follower = core(1, 2, LOG, durable=0)
    follower.log.floor = Floor(3, 2)
    world.invariants.changed(follower)
    world.expect("state machine safety")


def test_an_installed_snapshot_counts_as_the_log_that_it_stands_for(world: World) -> None:
    for node in (1, 2):
        world.durable(node, LOG)
    world.invariants.changed(core(1, 2, LOG, committed=3))
    write = Write(1, HardState(2, None), (entry(4, 2),), Floor(3, 2))
    world.invariants.submitted(3, None, write)
    world.invariants.durable(3, [write])
    assert world.invariants.known.evidence[3].terms == [1, 1, 2, 2]
    world.invariants.recovered(3, Recovered(HardState(2, None), 4, ((4, 2),), Floor(3, 2)))
    assert world.found == []
