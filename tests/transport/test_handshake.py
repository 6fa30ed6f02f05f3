"""The handshake's rules, without a network."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.errors import FrameError, HandshakeRefused
from quorate.transport import PREFACE, Announcement, Identity, Lane, Refusal, RefusalCode
from quorate.transport.framing import FrameSplitter
from quorate.transport.handshake import (
    HANDSHAKE_BYTES_MAX,
    Hello,
    Welcome,
    check_welcome,
    choose_version,
    decode_handshake,
    encode_handshake,
    hello_from,
    is_ourselves,
    lane_of,
    refusal,
    refusal_in,
    welcome_from,
)

OURS = Identity(cluster_id="c", node_id=1, address="a:1", incarnation=11, software="one")
THEIRS = Identity(cluster_id="c", node_id=2, address="b:2", incarnation=22, software="two")


def body_of(frame: bytes) -> bytes:
    (body,) = FrameSplitter(HANDSHAKE_BYTES_MAX).feed(frame)
    return body


def changed(identity: Identity, **values: Any) -> Identity:
    return Identity(**{name: getattr(identity, name) for name in Identity.__dataclass_fields__} | values)


def test_the_preface_cannot_be_text_or_tls() -> None:
    assert len(PREFACE) == 8
    assert PREFACE[0] >= 0x80
    assert PREFACE[0] != 0x16


@pytest.mark.parametrize("part", [hello_from(OURS, (1, 3)), welcome_from(OURS, 2), refusal("because", 3)])
def test_parts_survive_the_trip(part: Any) -> None:
    assert decode_handshake(body_of(encode_handshake(part))) == part


def test_a_later_version_may_append_fields() -> None:
    hello = [1, 1, 9, "c", 2, "b:2", 22, "two", "", 1, "a:1", 5, 6, False, True, ["kv"], {"new": True}]
    decoded = decode_handshake(msgspec.msgpack.encode(hello))
    announcement = Announcement(store=5, configuration_index=6, member=False, repairing=True)
    theirs = changed(THEIRS, machines=("kv",))
    assert decoded == hello_from(theirs, (1, 9), announcement, lane=Lane.BULK, dialled="a:1")


def test_what_an_earlier_version_does_not_say_has_its_default() -> None:
    hello = decode_handshake(msgspec.msgpack.encode([1, 1, 1, "c", 2, "b:2", 22, "two"]))
    assert hello == hello_from(THEIRS)
    welcome = decode_handshake(msgspec.msgpack.encode([2, 1, 2, "b:2", 22, "two"]))
    assert isinstance(welcome, Welcome)
    assert (welcome.lanes, welcome.store, welcome.member, welcome.repairing) == (1, 0, True, False)
    assert decode_handshake(msgspec.msgpack.encode([3, "no"])) == refusal("no")


def test_a_code_that_is_not_known_is_any_other_reason() -> None:
    assert refusal_in(HandshakeRefused("gone", 2)) == Refusal("gone", RefusalCode.REMOVED)
    assert refusal_in(HandshakeRefused("later", 99)) == Refusal("later", RefusalCode.OTHER)


def test_a_lane_that_is_not_known_is_refused() -> None:
    hello = decode_handshake(msgspec.msgpack.encode([1, 1, 1, "c", 2, "b:2", 22, "two", "", 7]))
    assert isinstance(hello, Hello)
    with pytest.raises(HandshakeRefused, match="lane 7; known are 0 to 1"):
        lane_of(hello)


def test_a_long_dialled_address_is_shortened() -> None:
    part = hello_from(OURS, dialled="x" * 1000)
    assert decode_handshake(body_of(encode_handshake(part))) == part


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [9],
        [1, 1, 1, "c", 2, "b:2", 22],
        [1, 1, 1, "c", -2, "b:2", 22, "two"],
        [1, 1, 1, "c" * 257, 2, "b:2", 22, "two"],
        [1, 1, 70000, "c", 2, "b:2", 22, "two"],
        [3, 5],
    ],
)
def test_what_is_no_handshake_is_a_frame_error(fields: list[Any]) -> None:
    with pytest.raises(FrameError):
        decode_handshake(msgspec.msgpack.encode(fields))


@given(st.binary(max_size=60))
def test_random_bytes_are_a_handshake_or_a_frame_error(body: bytes) -> None:
    try:
        decode_handshake(body)
    except FrameError:
        pass


@pytest.mark.parametrize(
    ("ours", "theirs", "chosen"), [((1, 1), (1, 1), 1), ((1, 3), (2, 5), 3), ((2, 5), (1, 3), 3), ((1, 9), (4, 4), 4)]
)
def test_the_highest_common_version_is_chosen(ours: tuple[int, int], theirs: tuple[int, int], chosen: int) -> None:
    assert choose_version(OURS, hello_from(THEIRS, theirs), ours) == chosen


@pytest.mark.parametrize(("ours", "theirs"), [((2, 3), (1, 1)), ((1, 1), (2, 3)), ((1, 1), (0, 0)), ((1, 1), (1, 0))])
def test_no_common_version_is_refused_with_both_ranges(ours: tuple[int, int], theirs: tuple[int, int]) -> None:
    with pytest.raises(HandshakeRefused, match=f"node 1 speaks {ours[0]} to {ours[1]}, node 2 speaks {theirs[0]}"):
        choose_version(OURS, hello_from(THEIRS, theirs), ours)


def test_another_cluster_is_refused() -> None:
    with pytest.raises(HandshakeRefused, match="this is cluster 'c', not 'd'") as refused:
        choose_version(OURS, hello_from(changed(THEIRS, cluster_id="d")))
    assert refused.value.code == RefusalCode.OTHER_CLUSTER


def test_a_twin_is_refused_by_both_sides_but_we_are_not_our_twin() -> None:
    twin = changed(THEIRS, node_id=1)
    with pytest.raises(HandshakeRefused, match="two nodes are configured with id 1: a:1 and b:2"):
        choose_version(OURS, hello_from(twin))
    with pytest.raises(HandshakeRefused, match="two nodes are configured with id 1: a:1 and b:2"):
        check_welcome(OURS, welcome_from(twin, 1))
    assert choose_version(OURS, hello_from(OURS)) == 1
    check_welcome(OURS, welcome_from(OURS, 1))
    assert is_ourselves(OURS, hello_from(OURS))
    assert not is_ourselves(OURS, hello_from(twin))
    assert not is_ourselves(OURS, hello_from(changed(THEIRS, incarnation=11)))


def test_a_version_that_we_do_not_speak_cannot_be_chosen_for_us() -> None:
    with pytest.raises(HandshakeRefused, match="chose protocol version 2"):
        check_welcome(OURS, welcome_from(THEIRS, 2))


def test_a_long_reason_is_shortened() -> None:
    part = refusal("x" * 100_000)
    assert decode_handshake(body_of(encode_handshake(part))) == part


def test_hello_and_welcome_name_their_sender() -> None:
    hello, welcome = hello_from(OURS), welcome_from(OURS, 1)
    for part in (hello, welcome):
        assert isinstance(part, Hello | Welcome)
        assert (part.node_id, part.address, part.incarnation, part.software) == (1, "a:1", 11, "one")
