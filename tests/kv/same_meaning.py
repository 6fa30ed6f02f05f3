"""Where Redis leaves open what a reply is, or time has passed: which ones mean the same although they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from quorate.kv.arguments import written
from tests.kv.meeting import Meeting

SLOW_SECONDS = 30
"""So far apart may two answers be that count from the present."""


def in_any_order(meeting: Meeting) -> bool:
    """The same elements."""
    ours, theirs = meeting.both
    return meeting.have_same_shape and sorted(ours) == sorted(theirs)


def in_any_order_if_large(meeting: Meeting) -> bool:
    """The same elements of a hash, whose order Redis keeps only while it is small."""
    ours, theirs = meeting.both
    if meeting.command[0] == b"HGETALL" and isinstance(ours, list):
        ours, theirs = (dict(zip(flat[::2], flat[1::2], strict=True)) for flat in (ours, theirs))
    is_large = meeting.redis.raw(b"OBJECT", b"ENCODING", meeting.command[1]).endswith(b"hashtable\r\n")
    same = ours == theirs if isinstance(ours, dict) else sorted(ours) == sorted(theirs)
    return meeting.have_same_shape and is_large and same


def in_steps(meeting: Meeting) -> bool:
    """Cursors are each server's own: what one gives in several steps, the other may give at once."""
    (our_cursor, ours), (their_cursor, theirs) = meeting.both
    name, from_cursor = meeting.command[0], meeting.command[1 if meeting.command[0] == b"SCAN" else 2]
    if from_cursor != b"0" or our_cursor != b"0":
        return True
    if name in (b"HSCAN", b"ZSCAN"):
        ours, theirs = (list(zip(flat[::2], flat[1::2], strict=True)) for flat in (ours, theirs))
    if name == b"ZSCAN":
        ours, theirs = ([(member, float(score)) for member, score in scored] for scored in (ours, theirs))
    return sorted(ours) == sorted(theirs) if their_cursor == b"0" else set(theirs) <= set(ours)


def about_now(meeting: Meeting) -> bool:
    """The same deadline, but for the time that has passed between the two."""
    ours, theirs = meeting.both
    unit = 1000 if meeting.command[0].startswith(b"P") else 1
    return ours > 0 and theirs > 0 and abs(ours - theirs) <= SLOW_SECONDS * unit


def of_one_type(meeting: Meeting) -> bool:
    """How a value is kept is each server's own."""
    return meeting.ours[:1] == meeting.theirs[:1] and None not in meeting.both


def of_one_length(meeting: Meeting) -> bool:
    """A set that is not sorted: its order is open, and which part of it is given."""
    is_set = meeting.redis.raw(b"TYPE", meeting.command[1]) == b"+set\r\n"
    return is_set and b"BY" in map(bytes.upper, meeting.command) and meeting.have_same_shape


def any_key(meeting: Meeting) -> bool:
    """Each a key that there is."""
    return all(meeting.redis.raw(b"EXISTS", reply) == b":1\r\n" for reply in meeting.both)


def picked(meeting: Meeting) -> bool:
    """As many elements out of the same value; different ones unless the count is negative."""
    ours, theirs = (_picks(meeting, reply) for reply in meeting.both)
    count = int(meeting.command[2]) if len(meeting.command) > 2 else 1
    fits = all(pick in PICKS[meeting.command[0]](meeting.held) for pick in [*ours, *theirs])
    differ = count < 0 or len(set(ours)) == len(set(theirs)) == len(ours) == len(theirs)
    return meeting.ours[:1] == meeting.theirs[:1] and len(ours) == len(theirs) and fits and differ


def _picks(meeting: Meeting, reply: Any) -> list[Any]:
    """The elements, each with its value or score if these were asked for."""
    if not isinstance(reply, list | set):
        return [reply]
    if len(meeting.command) < 4:
        return list(reply)
    if reply and isinstance(reply[0], list):
        return [tuple(pair) for pair in reply]
    return list(zip(reply[::2], reply[1::2], strict=True))


def popped(meeting: Meeting) -> bool:
    """The same for what was taken; puts Redis' back and takes ours, so that both hold the same again."""
    if not picked(meeting):
        return False
    ours, theirs = (_picks(meeting, reply) for reply in meeting.both)
    if meeting.redis.raw(b"EXISTS", meeting.command[1]) == b":1\r\n":
        meeting.redis.raw(b"SADD", meeting.command[1], *theirs)
        meeting.redis.raw(b"SREM", meeting.command[1], *ours)
    return True


def _with_pairs(items: Iterable[tuple[bytes, bytes | float]]) -> set[Any]:
    """Elements alone, and with what belongs to them as it is in RESP2 and RESP3."""
    pairs = list(items)
    texts = {(element, written(value) if isinstance(value, float) else value) for element, value in pairs}
    return {element for element, _ in pairs} | set(pairs) | texts


PICKS: dict[bytes, Callable[[Any], set[Any]]] = {
    b"SPOP": lambda value: set(value.members),
    b"SRANDMEMBER": lambda value: set(value.members),
    b"HRANDFIELD": lambda value: _with_pairs(value.fields.items()),
    b"ZRANDMEMBER": lambda value: _with_pairs(value.scores.items()),
}

ALIKE: dict[bytes, Callable[[Meeting], bool]] = {
    **dict.fromkeys([b"SMEMBERS", b"SUNION", b"SINTER", b"SDIFF", b"KEYS"], in_any_order),
    **dict.fromkeys([b"HGETALL", b"HKEYS", b"HVALS"], in_any_order_if_large),
    **dict.fromkeys([b"SCAN", b"HSCAN", b"SSCAN", b"ZSCAN"], in_steps),
    **dict.fromkeys([b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME"], about_now),
    **dict.fromkeys([b"OBJECT", b"MEMORY"], of_one_type),
    **dict.fromkeys([b"SORT", b"SORT_RO"], of_one_length),
    **dict.fromkeys([b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER"], picked),
    b"SPOP": popped,
    b"RANDOMKEY": any_key,
}
"""For each command whose replies may differ, when they mean the same."""


def have_same_meaning(meeting: Meeting) -> bool:
    """Whether neither is an error, and the difference is one that Redis leaves open."""
    alike = ALIKE.get(meeting.command[0])
    return alike is not None and meeting.are_no_errors and alike(meeting)
