"""Who lives where: ids are learned by dialling, never believed twice, and settled once the cluster has begun."""

from __future__ import annotations

from quorate.config import parse_peer
from quorate.node.address_book import AddressBook
from quorate.transport.contract import Introduction, Refusal


def book(*members: str) -> AddressBook:
    return AddressBook(1, map(parse_peer, members))


def node(node_id: int, address: str, dialled: str | None = None) -> Introduction:
    return Introduction(cluster_id="c", node_id=node_id, address=address, incarnation=1, dialled=dialled)


A, B, C, D = (f"127.0.0.1:{port}" for port in (8081, 8082, 8083, 8084))


def test_ids_are_learned_from_what_we_dial() -> None:
    members = book(f"1@{A}", B, C)
    assert members.unknown == [B, C]
    assert members.peer_addresses == [B, C]
    assert members.introduce(node(3, B, dialled=B)) is None
    assert members.introduce(node(2, C, dialled=C)) is None
    assert members.unknown == []
    assert members.members == {1: A, 2: C, 3: B}


def test_nothing_is_learned_from_those_who_dial_us() -> None:
    members = book(f"1@{A}", B, C)
    assert members.introduce(node(2, B)) is None
    assert members.unknown == [B, C]


def test_a_second_address_with_a_known_id_is_refused() -> None:
    members = book(f"1@{A}", B, C)
    assert members.introduce(node(2, B, dialled=B)) is None
    assert members.introduce(node(2, C, dialled=C)) == Refusal(f"node 2 is at {B}; {C} claims the same id")
    assert members.unknown == [C]


def test_another_node_with_our_own_id_is_refused() -> None:
    refusal = book(f"1@{A}", B).introduce(node(1, B, dialled=B))
    assert refusal == Refusal("two nodes are configured with the id 1")


def test_an_address_that_changed_its_id_is_refused() -> None:
    members = book(f"1@{A}", f"2@{B}")
    assert members.introduce(node(3, B, dialled=B)) == Refusal(f"{B} should be node 2, but it says it is node 3")


def test_a_caller_that_is_no_member_is_refused_once_all_members_are_known() -> None:
    members = book(f"1@{A}", B)
    assert members.introduce(node(9, D)) is None
    assert members.introduce(node(2, B, dialled=B)) is None
    assert members.introduce(node(9, D)) == Refusal(f"node 9 at {D} is not a member of this cluster")


def test_a_caller_that_passes_for_a_member_elsewhere_is_refused() -> None:
    members = book(f"1@{A}", f"2@{B}", f"3@{C}")
    assert members.introduce(node(2, B, dialled=B)) is None
    assert members.introduce(node(2, D)) == Refusal(f"node 2 is at {B}; {D} claims the same id")
    assert members.introduce(node(2, B)) is None


def test_a_member_may_announce_another_address_than_we_dial() -> None:
    members = book(f"1@{A}", f"2@{B}")
    assert members.introduce(node(2, "node2.example:80")) is None
    assert members.introduce(node(2, "node2.example:80", dialled=B)) is None
    assert members.introduce(node(2, "node2.example:80")) is None
