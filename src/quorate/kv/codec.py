"""What is at a key, and what commands answer, as plain data: for the file, and for retries of a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import msgspec

from quorate.kv.keyspace import Item
from quorate.kv.replies import NULL_ARRAY, CommandError, NullArray, Pairs, Push, Receivers, SetReply, Status, Verbatim
from quorate.kv.values import Hash, Lease, List, Lock, Set, SortedSet, Value

_encode = msgspec.msgpack.Encoder().encode

_STRING, _HASH, _LIST, _SET, _SORTED_SET, _LEASE, _LOCK = range(7)

Content = bytes | tuple[int, list[bytes | int | float]]
"""A string, or the number of another type and what the value consists of."""
Row = tuple[bytes, Content | None, int, int]
"""A key, what is there, its revision and its deadline. ``None``: nothing is there."""

decode_rows = msgspec.msgpack.Decoder(list[Row]).decode
"""The rows of :func:`encode_rows`. Raises :class:`msgspec.MsgspecError` for what that did not make."""


def row_of(key: bytes, item: Item | None) -> Row:
    """What is at ``key``, as it stays, whatever becomes of the value."""
    if item is None:
        return key, None, 0, 0
    value = item.value
    return key, value if type(value) is bytes else _taken_apart(value), item.revision, item.expires_us


def encode_row(key: bytes, item: Item | None) -> bytes:
    """The row as msgpack."""
    return _encode(row_of(key, item))


def encode_rows(rows: Sequence[Row | msgspec.Raw]) -> bytes:
    """Rows, some of which :func:`encode_row` has made, as one msgpack array."""
    return _encode(rows)


def value_of(content: Content) -> Value:
    """What :func:`row_of` took apart. Raises :class:`msgspec.MsgspecError` where no value is of the type."""
    if isinstance(content, bytes):
        return content
    kind, parts = content
    make = _MAKERS.get(kind)
    if make is None:
        raise msgspec.ValidationError(f"no value is of the type {kind}")
    return make(parts)


def _taken_apart(value: Value) -> tuple[int, list[Any]]:
    match value:
        case Hash():
            return _HASH, list(chain.from_iterable(value.fields.items()))
        case List():
            return _LIST, list(value.elements)
        case Set():
            return _SET, list(value.members)
        case SortedSet():
            return _SORTED_SET, list(chain.from_iterable(value.scores.items()))
        case Lease():
            return _LEASE, [value.ttl_us, *chain.from_iterable(value.keys.items())]
        case Lock():
            return _LOCK, [value.owner, value.token]
        case _:
            return _STRING, [bytes(value)]


def _pairs(parts: list[Any]) -> Any:
    each = iter(parts)
    return zip(each, each, strict=True)


_MAKERS: dict[int, Callable[[Any], Value]] = {
    _HASH: lambda parts: Hash(_pairs(parts)),
    _LIST: List,
    _SET: Set,
    _SORTED_SET: lambda parts: SortedSet(_pairs(parts)),
    _LEASE: lambda parts: Lease(parts[0], _pairs(parts[1:])),
    _LOCK: lambda parts: Lock(*parts),
}

# -- replies ---------------------------------------------------------------------------------------------

_STATUS, _ERROR, _VERBATIM, _SET_REPLY, _PUSH, _NULL_ARRAY, _PAIRS = range(1, 8)


def to_portable(reply: Any) -> Any:
    """A reply, or a list of them, in what msgpack knows; its own types become msgpack's extension types."""
    match reply:
        case CommandError():
            return msgspec.msgpack.Ext(_ERROR, reply.line.encode(errors="surrogateescape"))
        case Status():
            return msgspec.msgpack.Ext(_STATUS, bytes(reply))
        case Receivers():
            return 0
        case Verbatim():
            return msgspec.msgpack.Ext(_VERBATIM, bytes(reply))
        case NullArray():
            return msgspec.msgpack.Ext(_NULL_ARRAY, b"")
        case Pairs():
            return msgspec.msgpack.Ext(_PAIRS, _encode(list(reply)))
        case list():
            parts = [to_portable(each) for each in reply]
            if isinstance(reply, SetReply | Push):
                return msgspec.msgpack.Ext(_SET_REPLY if isinstance(reply, SetReply) else _PUSH, _encode(parts))
            return parts
        case dict():
            return {to_portable(key): to_portable(value) for key, value in reply.items()}
        case _:
            return reply


def from_portable(portable: Any) -> Any:
    """The reply that :func:`to_portable` was given."""
    match portable:
        case msgspec.msgpack.Ext():
            return _FROM_EXTENSION[portable.code](bytes(portable.data))
        case list():
            return [from_portable(each) for each in portable]
        case dict():
            return {from_portable(key): from_portable(value) for key, value in portable.items()}
        case _:
            return portable


def _listed(data: bytes) -> Any:
    return from_portable(msgspec.msgpack.decode(data))


_FROM_EXTENSION: dict[int, Callable[[bytes], Any]] = {
    _ERROR: lambda data: CommandError(data.decode(errors="surrogateescape")),
    _STATUS: Status,
    _VERBATIM: Verbatim,
    _SET_REPLY: lambda data: SetReply(_listed(data)),
    _PUSH: lambda data: Push(_listed(data)),
    _NULL_ARRAY: lambda data: NULL_ARRAY,
    _PAIRS: lambda data: Pairs(map(tuple, msgspec.msgpack.decode(data))),
}
