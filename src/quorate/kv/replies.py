"""What a command answers, before it is bytes: Python values, and a few types for what those cannot say.

``None``, ``int``, ``bytes``, ``float``, ``bool``, ``list`` and ``dict`` are null, integer, bulk string, double,
boolean, array and map; :class:`Status`, :class:`CommandError`, :class:`SetReply`, :class:`Push` and :class:`Verbatim`
are the rest of RESP3. RESP2 knows fewer types: there a double is a bulk string, a map a flat array, and so on; for what
differs in shape between the two there are :class:`Pairs` and :class:`NullArray`.
Protocol: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from typing import Any, TypeVar


class Status(bytes):
    """A simple string, as ``+OK``."""

    __slots__ = ()


class CommandError(Exception):
    """An error reply: its first word is the code that clients go by, as ``ERR`` or ``WRONGTYPE``.

    Handlers raise it, before they change anything; in the answers to many commands it stands as a value.
    """

    @property
    def line(self) -> str:
        """The text on the wire, without the leading dash."""
        return str(self)


class SetReply(list[Any]):
    """An unordered collection (RESP3 ``~``)."""

    __slots__ = ()


class Pairs(list[tuple[Any, Any]]):
    """Pairs in their order, which may come twice: an array of arrays, flat in RESP2."""

    __slots__ = ()


class Push(list[Any]):
    """A message out of band (RESP3 ``>``); in RESP2 an array like any other."""

    __slots__ = ()


class Several(list[Any]):
    """Replies one after the other to one command, as SUBSCRIBE has them."""

    __slots__ = ()


class Receivers(int):
    """How many clients of this node got a message: what each node answers for itself, and never remembers."""

    __slots__ = ()


class Verbatim(bytes):
    """Text for humans (RESP3 ``=txt:``)."""

    __slots__ = ()


Reply = Any
"""One of these."""

V = TypeVar("V", bytes, bytes | None)

REPLY_BYTES_MAX = 64 << 20
"""So large is a reply at most that names the same over and over. Any other is bounded by the data."""


def bounded(strings: list[V]) -> list[V]:
    """The same strings and nulls, which are no more than that. Raises :class:`CommandError`."""
    if sum(map(len, filter(None, strings))) > REPLY_BYTES_MAX:
        raise CommandError(f"ERR the reply would have more than {REPLY_BYTES_MAX} bytes")
    return strings


def size_of(reply: Reply) -> int:
    """About how many bytes a reply has."""
    match reply:
        case bytes():
            return len(reply) + 16
        case list() | tuple():
            return 16 + sum(map(size_of, reply))
        case dict():
            return 16 + sum(map(size_of, reply.keys())) + sum(map(size_of, reply.values()))
        case _:
            return 16


class NullArray:
    """No array; :data:`NULL_ARRAY` is the only one. Null like any other, except in RESP2."""

    __slots__ = ()


NULL_ARRAY = NullArray()
OK = Status(b"OK")
QUEUED = Status(b"QUEUED")
PONG = Status(b"PONG")

SYNTAX = "ERR syntax error"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
NOT_A_FLOAT = "ERR value is not a valid float"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NO_SUCH_KEY = "ERR no such key"
OUT_OF_RANGE = "ERR index out of range"
