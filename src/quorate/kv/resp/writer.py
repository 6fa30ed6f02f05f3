"""Replies as bytes, in RESP2 and RESP3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quorate.kv.arguments import written
from quorate.kv.replies import CommandError, NullArray, Pairs, Push, Receivers, SetReply, Several, Status, Verbatim

Encoder = Callable[[Any], bytes]

NULL_2, NULL_ARRAY_2, NULL_3 = b"$-1\r\n", b"*-1\r\n", b"_\r\n"


def _status(reply: bytes) -> bytes:
    return b"+%s\r\n" % reply


def _error(reply: CommandError) -> bytes:
    line = str(reply).replace("\r", " ").replace("\n", " ")
    return b"-%s\r\n" % line.encode(errors="replace")


def _integer(reply: int) -> bytes:
    return b":%d\r\n" % reply


def _bulk(reply: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(reply), reply)


def _array(kind: bytes, encode: Encoder) -> Encoder:
    def encode_array(reply: list[Any]) -> bytes:
        return b"%s%d\r\n%s" % (kind, len(reply), b"".join(map(encode, reply)))

    return encode_array


def encode_2(reply: Any) -> bytes:
    """A reply in RESP2."""
    return _RESP2[type(reply)](reply)


def encode_3(reply: Any) -> bytes:
    """A reply in RESP3."""
    return _RESP3[type(reply)](reply)


def _one_by_one(encode: Encoder) -> Encoder:
    return lambda replies: b"".join(map(encode, replies))


def _map_2(reply: dict[Any, Any]) -> bytes:
    flat = [part for item in reply.items() for part in item]
    return b"*%d\r\n%s" % (len(flat), b"".join(map(encode_2, flat)))


def _map_3(reply: dict[Any, Any]) -> bytes:
    parts = [encode_3(part) for item in reply.items() for part in item]
    return b"%%%d\r\n%s" % (len(reply), b"".join(parts))


def _pairs_2(reply: list[tuple[Any, Any]]) -> bytes:
    return b"*%d\r\n%s" % (2 * len(reply), b"".join([encode_2(part) for pair in reply for part in pair]))


def _pairs_3(reply: list[tuple[Any, Any]]) -> bytes:
    pairs = [b"*2\r\n" + encode_3(first) + encode_3(second) for first, second in reply]
    return b"*%d\r\n%s" % (len(reply), b"".join(pairs))


def _verbatim(reply: bytes) -> bytes:
    return b"=%d\r\ntxt:%s\r\n" % (len(reply) + 4, reply)


_BOTH: dict[type, Encoder] = {Status: _status, CommandError: _error, int: _integer, bytes: _bulk, Receivers: _integer}
_RESP2: dict[type, Encoder] = {
    **_BOTH,
    type(None): lambda reply: NULL_2,
    NullArray: lambda reply: NULL_ARRAY_2,
    bool: lambda reply: b":%d\r\n" % reply,
    float: lambda reply: _bulk(written(reply)),
    list: _array(b"*", encode_2),
    SetReply: _array(b"*", encode_2),
    Push: _array(b"*", encode_2),
    Several: _one_by_one(encode_2),
    Pairs: _pairs_2,
    dict: _map_2,
    Verbatim: _bulk,
}
_RESP3: dict[type, Encoder] = {
    **_BOTH,
    type(None): lambda reply: NULL_3,
    NullArray: lambda reply: NULL_3,
    bool: lambda reply: b"#t\r\n" if reply else b"#f\r\n",
    float: lambda reply: b",%s\r\n" % written(reply),
    list: _array(b"*", encode_3),
    SetReply: _array(b"~", encode_3),
    Push: _array(b">", encode_3),
    Several: _one_by_one(encode_3),
    Pairs: _pairs_3,
    dict: _map_3,
    Verbatim: _verbatim,
}
