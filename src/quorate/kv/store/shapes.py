"""Replies as Python values: what each command's reply is, for the type checker, and where needed another shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from quorate.kv.replies import NullArray, Pairs, SetReply, Status

T = TypeVar("T")
Shape = Callable[[Any], T]
Scored = list[tuple[bytes, float]]
"""Members and their scores."""


def _unchanged(reply: Any) -> Any:
    return reply


INT: Shape[int] = _unchanged
INT_OR_NONE: Shape[int | None] = _unchanged
INTS: Shape[list[int]] = _unchanged
INTS_OR_NONES: Shape[list[int | None]] = _unchanged
FLOAT: Shape[float] = float
FLOAT_OR_NONE: Shape[float | None] = _unchanged
FLOATS_OR_NONES: Shape[list[float | None]] = _unchanged
BYTES: Shape[bytes] = _unchanged
BYTES_OR_NONE: Shape[bytes | None] = _unchanged
BYTES_LIST: Shape[list[bytes]] = _unchanged
BYTES_OR_NONES: Shape[list[bytes | None]] = _unchanged
BYTES_DICT: Shape[dict[bytes, bytes]] = _unchanged
BYTES_SET: Shape[set[bytes]] = set
BYTES_PAIRS: Shape[list[tuple[bytes, bytes]]] = list
SCORED: Shape[Scored] = list
IS_ONE: Shape[bool] = bool
"""1 or 0."""
TEXT: Shape[str] = bytes.decode


def is_done(reply: Any) -> bool:
    """OK, or null where a condition was not met."""
    return reply is not None


def nothing(reply: Any) -> None:
    """Of a command that can only succeed."""


def bools(reply: list[int]) -> list[bool]:
    """1 or 0, of each."""
    return [bool(each) for each in reply]


def listed(reply: Any) -> list[bytes]:
    """Elements; none where there was nothing to take them from."""
    return [] if reply is None or isinstance(reply, NullArray) else list(reply)


def first_scored(reply: list[Any]) -> tuple[bytes, float] | None:
    """A member and its score one behind the other, or nothing."""
    return (reply[0], reply[1]) if reply else None


def ranked(reply: Any) -> tuple[int, float] | None:
    """A rank and a score."""
    return None if isinstance(reply, NullArray) else (reply[0], reply[1])


def taken(reply: Any) -> tuple[bytes, list[bytes]] | None:
    """From which key, and what."""
    return None if isinstance(reply, NullArray) else (reply[0], reply[1])


def taken_scored(reply: Any) -> tuple[bytes, Scored] | None:
    """From which key, and which members with their scores."""
    return None if isinstance(reply, NullArray) else (reply[0], [(member, score) for member, score in reply[1]])


def step(reply: Any) -> tuple[int, list[bytes]]:
    """A cursor and elements."""
    return int(reply[0]), reply[1]


def step_of_pairs(reply: Any) -> tuple[int, dict[bytes, bytes]]:
    """A cursor and what comes in pairs."""
    return int(reply[0]), dict(_two_by_two(reply[1]))


def step_of_scored(reply: Any) -> tuple[int, Scored]:
    """A cursor, and members with their scores."""
    return int(reply[0]), [(member, float(score)) for member, score in _two_by_two(reply[1])]


def _two_by_two(parts: list[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return zip(parts[::2], parts[1::2], strict=True)


def plain(reply: Any) -> Any:
    """Any reply, without the types that only the protocol needs. Errors in it stay."""
    match reply:
        case NullArray():
            return None
        case Status():
            return bytes(reply)
        case SetReply():
            return set(reply)
        case Pairs():
            return list(reply)
        case list():
            return [plain(each) for each in reply]
        case _:
            return reply
