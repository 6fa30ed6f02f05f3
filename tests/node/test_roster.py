"""Who may talk to a node once the cluster exists: members, nodes that know more, and nobody with other data."""

from __future__ import annotations

from quorate.node.roster import Roster
from quorate.raft.membership import Configuration, Member, MemberRole
from quorate.storage.directory import KnownPeer
from quorate.transport.contract import Introduction, RefusalCode

A, B, C, D = (f"127.0.0.1:{port}" for port in (8081, 8082, 8083, 8084))
THREE = Configuration((Member(1, A), Member(2, B), Member(3, C)))


def roster(
    configuration: Configuration = THREE,
    index: int = 5,
    *,
    committed: Configuration | None = None,
    known: dict[int, KnownPeer] | None = None,
    connected: set[int] | None = None,
) -> Roster:
    made = Roster(1, 11, {D}, known or {}, connected if connected is not None else set())
    made.go_by(configuration, index, committed or configuration, index)
    return made


def node(node_id: int, address: str, dialled: str | None = None, **announced: object) -> Introduction:
    return Introduction(
        cluster_id="c",
        node_id=node_id,
        address=address,
        incarnation=1,
        dialled=dialled,
        **announced,  # type: ignore[arg-type]
    )


def test_members_are_welcome_and_our_own_id_is_not() -> None:
    one = roster()
    assert one.introduce(node(2, B, store=22)) is None
    assert "two nodes" in (one.introduce(node(1, D)) or one).reason  # type: ignore[union-attr]


def test_a_member_with_other_data_is_refused_until_it_says_that_it_is_being_repaired() -> None:
    one = roster()
    assert one.introduce(node(2, B, store=22)) is None
    refusal = one.introduce(node(2, B, store=23))
    assert refusal is not None
    assert refusal.code is RefusalCode.OTHER_DATA
    assert one.introduce(node(2, B, store=23, repairing=True)) is None
    assert one.claimed_store(2) == 23


def test_the_data_that_the_log_names_counts_more_than_what_was_remembered() -> None:
    members = Configuration((Member(1, A), Member(2, B, store=23), Member(3, C)))
    one = roster(members, known={2: KnownPeer(address=B, store=22)})
    assert one.introduce(node(2, B, store=23)) is None
    assert one.introduce(node(2, B, store=22)) is not None


def test_a_node_that_knows_a_later_configuration_is_not_judged_by_ours() -> None:
    one = roster(known={2: KnownPeer(address=B, store=22)})
    assert one.introduce(node(2, B, store=23, configuration_index=6)) is None
    assert one.introduce(node(4, D, configuration_index=6)) is None
    assert one.admits(4)
    assert one.addresses[4] == D


def test_what_a_guest_says_of_its_data_is_known_when_the_log_has_made_it_a_member() -> None:
    one = Roster(1, 11, {B}, {}, set())
    assert one.introduce(node(2, B, store=22, member=True, repairing=True)) is None
    one.go_by(THREE, 5, THREE, 5)
    assert one.claimed_store(2) == 22


def test_a_guest_stays_one_while_the_log_is_replayed_in_which_it_was_removed_and_came_back() -> None:
    """The leader of today may be missing in a configuration of yesterday; without an answer it could not go on."""
    joining = roster(Configuration(), index=0)
    assert joining.introduce(node(2, D, configuration_index=9)) is None
    for index, members in [
        (3, (Member(2, B),)),
        (5, (Member(3, C),)),
        (7, (Member(1, A), Member(3, C))),
    ]:
        joining.go_by(Configuration(members), index, Configuration(members), index)
        assert joining.admits(2)
        assert joining.addresses[2] == D
    present = Configuration((Member(1, A), Member(3, C)))
    joining.go_by(present, 9, present, 9)
    assert not joining.admits(2)


def test_who_falls_back_to_no_configuration_at_all_still_listens_to_those_it_met() -> None:
    """It was repaired up to a configuration that was not committed, and then replaced."""
    repaired = roster(committed=Configuration())
    assert repaired.introduce(node(2, B)) is None
    repaired.go_by(Configuration(), 0, Configuration(), 0)
    assert repaired.admits(2)
    assert repaired.addresses[2] == B


def test_a_member_is_known_as_a_guest_too_if_it_is_further() -> None:
    one = roster()
    assert one.introduce(node(2, B, configuration_index=12)) is None
    without = Configuration((Member(1, A), Member(3, C)))
    one.go_by(without, 8, without, 8)
    assert one.admits(2)
    assert one.addresses[2] == B


def test_a_second_node_with_a_members_id_is_refused_while_the_first_is_there() -> None:
    connected: set[int] = set()
    one = roster(connected=connected)
    assert one.introduce(node(2, B, store=22)) is None
    connected.add(2)
    refusal = one.introduce(node(2, D, store=29, repairing=True))
    assert refusal is not None
    assert "claims the same id" in refusal.reason


def test_a_node_that_waits_to_be_added_is_told_how() -> None:
    refusal = roster().introduce(node(4, D, member=False))
    assert refusal is not None
    assert refusal.code is RefusalCode.NOT_A_MEMBER
    assert f"quorate members add 4@{D}" in refusal.reason


def test_a_removed_node_is_told_so_but_only_when_that_is_certain() -> None:
    two = Configuration((Member(1, A), Member(2, B)))
    refusal = roster(two).introduce(node(3, C, configuration_index=3))
    assert refusal is not None
    assert refusal.code is RefusalCode.REMOVED
    assert roster(two, committed=THREE).introduce(node(3, C)) is None


def test_a_node_in_repair_that_is_not_known_here_is_not_told_that_it_was_removed() -> None:
    """It may have been removed, emptied and added again, and only the first is known here. (Found by the simulator.)"""
    two = Configuration((Member(1, A), Member(2, B)))
    refusal = roster(two).introduce(node(3, C, repairing=True))
    assert refusal is not None
    assert refusal.code is RefusalCode.NOT_A_MEMBER


def test_a_stranger_with_a_beginning_of_its_own_is_refused() -> None:
    refusal = roster(index=0).introduce(node(9, D))
    assert refusal is not None
    assert refusal.code is RefusalCode.OTHER


def test_who_moves_is_dialled_at_both_addresses_until_the_log_knows() -> None:
    one = roster()
    assert one.introduce(node(2, D)) is None
    assert one.moved(2) == D
    assert one.addresses[2] == D
    assert one.dialled == {B, C, D}
    moved = Configuration((Member(1, A), Member(2, D), Member(3, C)))
    one.go_by(moved, 6, moved, 6)
    assert one.moved(2) is None
    assert one.dialled == {C, D}


def test_an_address_that_answers_with_another_id_is_refused() -> None:
    assert "should be node 2" in (roster().introduce(node(3, B, dialled=B)) or roster()).reason  # type: ignore[union-attr]


def test_a_node_outside_of_the_cluster_looks_for_it_at_the_addresses_it_was_given() -> None:
    nobody = Roster(4, 44, {A, B}, {}, set())
    assert nobody.dialled == {A, B}
    assert nobody.introduce(node(1, A)) is None
    assert nobody.admits(1)


def test_what_is_remembered_of_those_who_left_is_forgotten() -> None:
    one = roster()
    assert one.introduce(node(3, C, store=33)) is None
    assert one.known[3] == KnownPeer(address=C, store=33)
    two = Configuration((Member(1, A), Member(2, B)))
    one.go_by(two, 6, two, 6)
    assert 3 not in one.known
    back = Configuration((*two, Member(3, C, MemberRole.LEARNER)))
    one.go_by(back, 7, back, 7)
    assert one.introduce(node(3, C, store=34)) is None


def test_what_only_an_earlier_configuration_names_is_dialled_but_not_counted_on() -> None:
    """So it is on a node that was recovered by force until its new configuration is committed."""
    one = roster()
    assert one.counts_on(B)
    assert not one.counts_on(D)
    one.go_by(Configuration((Member(1, A),)), 9, one.committed, one.committed_index)
    assert B in one.dialled
    assert not one.counts_on(B)
    joining = roster(Configuration(), index=0)
    assert joining.counts_on(B)
