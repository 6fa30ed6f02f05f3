"""Where ours differs from Redis 7.0 on purpose, each with its reason; and what cannot be compared at all."""

from __future__ import annotations

import sys

from quorate.kv.arguments import INTEGER_MAX, INTEGER_MIN, lenient_number
from quorate.kv.commands.blocking import SECONDS_MAX
from quorate.kv.commands.expiry import AMOUNT_MAX_US, MILLISECOND_US, UNITS
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import COMMANDS
from quorate.kv.replies import CommandError
from quorate.kv.values import SortedSet
from tests.kv.meeting import Meeting

ARGUMENTS_FIRST = [b"GETEX", b"SETRANGE", b"INCRBYFLOAT", b"LSET", b"ZUNIONSTORE", b"ZINTERSTORE", b"ZDIFFSTORE"]


def arguments_are_looked_at_first(meeting: Meeting) -> bool:
    """What is wrong with a write by itself is said before it gets into the log, and so before the data is looked at."""
    _, theirs = meeting.both
    try:
        COMMANDS[meeting.command[0]].check_arguments(meeting.command)
    except CommandError:
        return meeting.command[0] in ARGUMENTS_FIRST and (meeting.theirs[:1] == b"-" or theirs is None)
    return False


def newer_options(meeting: Meeting) -> bool:
    """ZRANK and ZREVRANK have WITHSCORE, as in Redis 7.2."""
    return meeting.command[0] in (b"ZRANK", b"ZREVRANK") and len(meeting.command) == 4


def zero_has_no_sign(meeting: Meeting) -> bool:
    """Redis keeps -0 as a score in large sorted sets, and not in small ones; here it is 0 in all."""
    ours, theirs = (
        reply.replace(b"$2\r\n-0\r\n", b"$1\r\n0\r\n").replace(b",-0\r\n", b",0\r\n")
        for reply in (meeting.ours, meeting.theirs)
    )
    return COMMANDS[meeting.command[0]].group == "sorted-set" and ours == theirs


def errors_are_text(meeting: Meeting) -> bool:
    """An error repeats what the client sent as UTF-8: other bytes are replaced."""
    return (
        meeting.ours[:1] == meeting.theirs[:1] == b"-"
        and meeting.ours == meeting.theirs.decode(errors="replace").encode()
    )


def timeouts_are_looked_at_first(meeting: Meeting) -> bool:
    """Of two things that are wrong with a blocking command, ours names the timeout; Redis, mostly, the other."""
    return (
        COMMANDS[meeting.command[0]].blocking
        and meeting.ours.startswith(b"-ERR timeout is ")
        and meeting.theirs.startswith(b"-ERR ")
    )


DELIBERATE = (
    arguments_are_looked_at_first,
    timeouts_are_looked_at_first,
    newer_options,
    zero_has_no_sign,
    errors_are_text,
)
"""Where ours is to differ: each says why."""


def is_deliberate(meeting: Meeting) -> bool:
    """Whether a difference is meant to be."""
    return any(rule(meeting) for rule in DELIBERATE)


SOON_US = 100_000_000
UNIT_OF = {
    b"SETEX": b"EX",
    b"PSETEX": b"PX",
    b"EXPIRE": b"EX",
    b"PEXPIRE": b"PX",
    b"EXPIREAT": b"EXAT",
    b"PEXPIREAT": b"PXAT",
}
DEADLINES = {b"SET", b"GETEX", *UNIT_OF}


def is_incomparable(db: Keyspace, command: tuple[bytes, ...]) -> bool:
    """Whether the two may differ in what a command does.

    That are deadlines that pass in the meantime, or are as far away as only Redis can keep them; what overflows in
    Redis' arithmetic, which C leaves open, as long timeouts do; ranges of members where scores are not all the same;
    and, for SORT, scores so small that Redis 7.0 takes reading them for a failure to read the members.
    """
    if any(_is_soon_or_too_far(command, at) for at in range(2, len(command))):
        return True
    if command[0] in (b"LPOS", b"BITFIELD"):
        return b"%d" % INTEGER_MIN in command
    if COMMANDS[command[0]].blocking:
        return any(map(_is_strange_timeout, command[1:]))
    values = (item.value for item in map(db.find, command[1:]) if item is not None)
    scores = [set(value.scores.values()) for value in values if isinstance(value, SortedSet)]
    if command[0].startswith(b"SORT"):
        return any(0 < abs(score) < sys.float_info.min for each in scores for score in each)
    is_by_member = b"LEX" in command[0] or b"BYLEX" in map(bytes.upper, command)
    return is_by_member and any(len(each) > 1 for each in scores)


def _is_strange_timeout(text: bytes) -> bool:
    """Whether a timeout is too long, or none for a double and one for a long double."""
    seconds = lenient_number(text)
    return seconds is not None and (seconds > SECONDS_MAX or lenient_number(text, within_range=True) is None)


def _is_soon_or_too_far(command: tuple[bytes, ...], at: int) -> bool:
    """Whether an argument is a deadline that may pass, or one that Redis accepts, and not ours: log time is in µs."""
    unit = UNIT_OF.get(command[0], b"") if at == 2 else command[at - 1].upper()
    if command[0] not in DEADLINES or unit not in UNITS or not command[at].isdigit():
        return False
    unit_us, absolute = UNITS[unit]
    amount_us = int(command[at]) * unit_us
    is_soon = not absolute and 0 < amount_us < SOON_US
    return is_soon or AMOUNT_MAX_US < amount_us <= INTEGER_MAX * MILLISECOND_US
