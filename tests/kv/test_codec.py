"""Items and replies survive the way through bytes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from quorate.kv.codec import decode_rows, encode_row, encode_rows, from_portable, row_of, to_portable, value_of
from quorate.kv.keyspace import Item
from quorate.kv.replies import NULL_ARRAY, CommandError, Pairs, Push, SetReply, Status, Verbatim
from quorate.kv.values import Hash, Lease, List, Lock, Set, SortedSet, Value, size_of
from quorate.machine.outcome import decode_outcome, encode_outcome

VALUES: list[Value] = [
    b"",
    b"\x00\xff" * 100,
    Hash([(b"z", b"1"), (b"a", b""), (b"\xff", b"2")]),
    List([b"b", b"a", b"b"]),
    Set([b"z", b"", b"a"]),
    SortedSet([(b"one", 1.0), (b"least", float("-inf")), (b"most", float("inf")), (b"zero", -0.0), (b"odd", 0.1)]),
    Lease(2**53 + 1),
    Lease(1_000_000, [(b"z", 2**60 + 1), (b"", 7), (b"\xff", 1)]),
    Lock(b"owner\xff", 2**60 + 1),
]


def contents(value: Value) -> Any:
    """What a value holds, orders included."""
    match value:
        case Hash():
            return list(value.fields.items())
        case List():
            return list(value.elements)
        case Set():
            return list(value.members)
        case SortedSet():
            return list(value.scores.items()), list(value)
        case Lease():
            return value.ttl_us, list(value.keys.items())
        case Lock():
            return value.owner, value.token
        case _:
            return value


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_an_item_comes_back_as_it_was(value: Value) -> None:
    item = Item(value, 2**53 + 1, 1_700_000_000_000_000)
    segment = encode_rows([row_of(b"k\xff", item), msgspec.Raw(encode_row(b"", item)), row_of(b"gone", None)])
    *rows, gone = decode_rows(segment)
    assert gone == (b"gone", None, 0, 0)
    for key, row in zip((b"k\xff", b""), rows, strict=True):
        again = value_of(row[1] or b"")
        assert (type(again), contents(again)) == (type(value), contents(value))
        assert (row[0], *row[2:], size_of(again)) == (key, item.revision, item.expires_us, size_of(value))


def test_a_row_stays_as_it_is_whatever_becomes_of_the_value() -> None:
    value = Hash([(b"f", b"1")])
    row = row_of(b"k", Item(value))
    value.put(b"f", b"2")
    assert encode_rows([row]) == encode_rows([row_of(b"k", Item(Hash([(b"f", b"1")])))])


@pytest.mark.parametrize("rows", [7, [7], [["k", b"v", 1, 2]], [[b"k", b"v", 1]], [[b"k", [1], 1, 2]]])
def test_what_are_no_rows_is_refused(rows: Any) -> None:
    data = msgspec.msgpack.encode(rows)
    for cut in (data, data[:-1]):
        with pytest.raises(msgspec.MsgspecError):
            decode_rows(cut)


def test_a_value_of_no_known_type_is_refused() -> None:
    with pytest.raises(msgspec.MsgspecError, match="type 9"):
        value_of((9, []))


def shape(reply: Any) -> Any:
    """A reply with its types spelled out."""
    if isinstance(reply, list):
        return type(reply), [shape(each) for each in reply]
    if isinstance(reply, dict):
        return {shape(key): shape(value) for key, value in reply.items()}
    return type(reply), reply.line if isinstance(reply, CommandError) else reply


def test_replies_come_back_as_they_were_from_what_is_kept_for_retries() -> None:
    replies = [
        None,
        True,
        7,
        -(2**63),
        1.5,
        b"bytes\xff",
        Status(b"OK"),
        CommandError("WRONGTYPE no"),
        Verbatim(b"text"),
        [b"a", [Status(b"QUEUED"), None]],
        SetReply([b"a", CommandError("ERR x")]),
        Push([b"message", SetReply([])]),
        Pairs([(b"a", 1.5), (b"a", 2.0)]),
        {b"key": [1, Status(b"OK")]},
        [NULL_ARRAY],
    ]
    kept = encode_outcome(to_portable(replies))
    assert shape(from_portable(decode_outcome(kept))) == shape(replies)
