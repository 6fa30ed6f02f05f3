"""The codec: what is registered survives the trip; anything else is refused on one side or the other."""

from __future__ import annotations

from dataclasses import dataclass, fields, make_dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.errors import FrameError
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import AppendEntries, Heartbeat, Message, RequestVote
from quorate.records import encode_entry, encode_record
from quorate.testing.transport_suite import every_message, heartbeat
from quorate.transport import NODE_KINDS_MIN, RAFT_KINDS, Codec, WireMessage
from quorate.transport.codec import LONG_BYTES

CODEC = Codec()
U64 = st.integers(0, 2**64 - 1)
pack = msgspec.msgpack.encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """The kind of message that a node defines for itself."""

    token: int
    proposals: tuple[bytes, ...]
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    text: str
    data: bytes


Many = make_dataclass("Many", [(f"f{number}", bytes) for number in range(14)], frozen=True)


@dataclass(frozen=True)
class Empty:
    pass


@dataclass(frozen=True)
class Loose:
    entries: tuple[Entry, ...]


@st.composite
def messages(draw: st.DrawFn) -> Any:
    message_type = draw(st.sampled_from(sorted(RAFT_KINDS.values(), key=lambda each: each.__name__)))
    values: dict[str, Any] = {
        field.name: draw(st.booleans() if field.type == "bool" else U64)
        for field in fields(message_type)
        if field.name != "entries"
    }
    if message_type is AppendEntries:
        values["previous_index"] = draw(st.integers(0, 2**63))
        contents = draw(st.lists(st.tuples(U64, st.sampled_from(EntryKind), st.binary(max_size=50)), max_size=5))
        values["entries"] = tuple(
            Entry(values["previous_index"] + 1 + n, term, kind, payload)
            for n, (term, kind, payload) in enumerate(contents)
        )
    return message_type(**values)


@given(U64, messages())
def test_messages_survive_the_trip(group: int, message: WireMessage) -> None:
    assert CODEC.decode(CODEC.encode(group, message)) == (group, message)


def test_long_binaries_are_not_copied_into_the_body() -> None:
    long, short = bytes(LONG_BYTES + 1), bytes(LONG_BYTES)
    codec = CODEC.extended({64: Note, 65: Many})
    for payload, count in ((short[30:], 1), (long, 3)):
        entry = Entry(5, 4, EntryKind.COMMANDS, payload)
        append = AppendEntries(term=4, session=1, previous_index=4, previous_term=3, commit=2, entries=(entry,))
        pieces = codec.encode_in_pieces(7, append)
        assert len([pieces] if isinstance(pieces, bytes) else pieces) == count
        assert (pieces if isinstance(pieces, bytes) else b"".join(pieces)) == codec.encode(7, append)
        assert count == 1 or pieces[1] is encode_entry(entry)  # type: ignore[comparison-overlap]
    pieces = codec.encode_in_pieces(7, Note(text="a", data=long))
    assert [len(piece) for piece in pieces] == [10, len(long)], "nothing behind it"
    assert codec.decode(b"".join(pieces)) == (7, Note(text="a", data=long))  # type: ignore[arg-type]
    many = Many(**{f"f{number}": long for number in range(14)})
    assert codec.decode(b"".join(codec.encode_in_pieces(7, many))) == (7, many)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        codec.encode_in_pieces(0, Empty())


def test_every_message_of_the_core_has_a_number() -> None:
    assert set(RAFT_KINDS.values()) == set(Message.__args__)
    assert all(0 < kind < NODE_KINDS_MIN for kind in RAFT_KINDS)


def test_the_wire_format_stays_what_it_is() -> None:
    assert CODEC.encode(3, heartbeat(9)) == pack([5, 3, 1, 2, 9, 3])
    entry = Entry(5, 4, EntryKind.COMMANDS, b"xyz")
    append = AppendEntries(term=4, session=1, previous_index=4, previous_term=3, commit=2, entries=(entry, entry))
    record = encode_record(4, 5, EntryKind.COMMANDS, b"xyz")
    assert CODEC.encode(0, append) == pack([3, 0, 4, 1, 4, 3, 2, record + record, False])


def test_entries_are_encoded_once_and_keep_their_records() -> None:
    entry = Entry(1, 1, EntryKind.COMMANDS, b"payload")
    append = AppendEntries(term=1, session=1, previous_index=0, previous_term=0, commit=0, entries=(entry,))
    body = CODEC.encode(0, append)
    assert entry.record is not None
    assert entry.record in body
    _, decoded = CODEC.decode(body)
    assert isinstance(decoded, AppendEntries)
    assert decoded.entries[0].record == encode_entry(entry)


def test_a_node_adds_messages_of_its_own() -> None:
    codec = CODEC.extended({64: Forward, 255: Empty, 65: Loose})
    for message in (
        Forward(token=1, proposals=(b"a", b"")),
        Forward(token=1, proposals=(), reason="no"),
        Empty(),
        Loose((Entry(5, 1, EntryKind.NOOP, b""), Entry(6, 1, EntryKind.NOOP, b""))),
        heartbeat(1),
    ):
        assert codec.decode(codec.encode(7, message)) == (7, message)
    with pytest.raises(TypeError, match="Forward is not a registered message"):
        CODEC.encode(0, Forward(token=1, proposals=()))
    with pytest.raises(FrameError):
        CODEC.decode(codec.encode(0, Empty()))


@dataclass(frozen=True)
class Floats:
    ratio: float


@dataclass(frozen=True)
class Clash:
    group_: int


@pytest.mark.parametrize(
    ("kinds", "error"),
    [
        ({5: Empty}, ValueError),
        ({64: Heartbeat}, ValueError),
        ({256: Empty}, ValueError),
        ({-1: Empty}, ValueError),
        ({64: Clash}, ValueError),
        ({64: Floats}, TypeError),
        ({64: int}, TypeError),
    ],
)
def test_a_bad_registry_is_refused(kinds: dict[int, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        CODEC.extended(kinds)


VOTE = [1, 0, 7, 5, 4, False, False]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        pack(None),
        pack([]),
        pack({}),
        pack("vote"),
        pack([99, 0]),
        pack([1]),
        pack(VOTE[:-1]),
        pack([*VOTE, 0]),
        pack(VOTE) + b"\x00",
        pack([1, -1, 7, 5, 4, False]),
        pack([1, 0, -7, 5, 4, False]),
        pack([1, 0, 7.0, 5, 4, False]),
        pack([1, 0, True, 5, 4, False]),
        pack([1, 0, "7", 5, 4, False]),
        pack([1, 0, None, 5, 4, False]),
        pack([1, 0, 7, 5, 4, 1]),
        pack([3, 0, 1, 1, 0, 0, 0, "text"]),
        pack([3, 0, 1, 1, 0, 0, 0, b"stray"]),
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
    ],
    ids=lambda body: body[:12].hex() or "nothing",
)
def test_what_is_no_message_is_a_frame_error(body: bytes) -> None:
    with pytest.raises(FrameError):
        CODEC.decode(body)


def test_broken_text_is_a_frame_error() -> None:
    codec = CODEC.extended({64: Forward})
    body = codec.encode(0, Forward(token=1, proposals=(), reason="é"))
    with pytest.raises(FrameError):
        codec.decode(body.replace("é".encode(), b"\xff\xff"))


@pytest.mark.parametrize("indexes", [(6,), (4,), (5, 7), (5, 5), (6, 5), (5, 6, 8)])
def test_entries_must_follow_the_previous_index_without_gaps(indexes: tuple[int, ...]) -> None:
    records = b"".join(encode_record(1, index, EntryKind.COMMANDS, b"x") for index in indexes)
    with pytest.raises(FrameError, match="should be"):
        CODEC.decode(pack([3, 0, 1, 1, 4, 1, 0, records, False]))


APPEND = AppendEntries(
    term=7,
    session=1,
    previous_index=9,
    previous_term=6,
    commit=8,
    entries=(Entry(10, 7, EntryKind.COMMANDS, b"payload"), Entry(11, 7, EntryKind.NOOP, b"")),
)


def test_every_truncation_is_a_frame_error() -> None:
    for message in every_message():
        body = CODEC.encode(1, message)
        for size in range(len(body)):
            with pytest.raises(FrameError):
                CODEC.decode(body[:size])


def test_no_flipped_bit_makes_another_entry_of_an_entry() -> None:
    # Even without the frame's checksum: records have their own, which the log on disk relies on as well.
    body = CODEC.encode(1, APPEND)
    for bit in range(8 * len(body)):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            _, message = CODEC.decode(bytes(damaged))
        except FrameError:
            continue
        if isinstance(message, AppendEntries):
            assert message.entries == APPEND.entries


@given(st.binary(max_size=60))
def test_random_bytes_are_a_message_or_a_frame_error(body: bytes) -> None:
    try:
        group, message = CODEC.decode(body)
    except FrameError:
        return
    assert CODEC.decode(CODEC.encode(group, message)) == (group, message)


@given(st.recursive(st.none() | st.booleans() | st.integers(-5, 2**64 - 1) | st.binary() | st.text(), st.lists))
def test_random_msgpack_is_a_message_or_a_frame_error(value: Any) -> None:
    try:
        group, message = CODEC.decode(pack(value))
    except FrameError:
        return
    assert (group, type(message)) == (value[1], RAFT_KINDS[value[0]])


def test_messages_are_what_was_asked_for() -> None:
    _, message = CODEC.decode(pack(VOTE))
    assert message == RequestVote(term=7, last_index=5, last_term=4)
