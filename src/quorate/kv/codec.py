"""What is at a key, and what commands answer, as plain data: for the file, and for retries of a request."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import msgspec

from quorate.kv.keyspace import Item
from quorate.kv.replies import NULL_ARRAY, CommandError, NullArray, Pairs, Push, Receivers, SetReply, Status, Verbatim
from quorate.kv.values import Hash, Lease, List, Lock, Set, SortedSet, Value

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, int, int, bytes | list[bytes | int | float]]).decode

_STRING, _HASH, _LIST, _SET, _SORTED_SET, _LEASE, _LOCK = range(7)


def encode_item(item: Item) -> bytes:
    """For :func:`decode_item`: the type, the revision, the deadline and what the value consists of, as msgpack."""
    value = item.value
    if type(value) is bytes:
        return _encode((_STRING, item.revision, item.expires_us, value))
    kind, parts = _taken_apart(value)
    return _encode((kind, item.revision, item.expires_us, parts))


def decode_item(data: bytes) -> tuple[Value, int, int]:
    """Value, revision and deadline. Raises :class:`msgspec.MsgspecError` for what :func:`encode_item` did not make."""
    kind, revision, expires_us, parts = _decode(data)
    if kind == _STRING:
        return parts, revision, expires_us  # type: ignore[return-value]
    make = _MAKERS.get(kind)
    if make is None:
        raise msgspec.ValidationError(f"no value is of the type {kind}")
    return make(parts), revision, expires_us


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
