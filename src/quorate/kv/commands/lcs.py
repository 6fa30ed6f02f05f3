"""LCS: the longest common subsequence of two strings.

What Redis says of it: https://redis.io/docs/latest/commands/lcs/
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from quorate.kv.arguments import integer, keyword, syntax_error
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import Arguments, Keys, command
from quorate.kv.replies import CommandError, Reply

CELLS_MAX = 1 << 20
"""So many pairs of bytes are compared at most: about a quarter of a second."""
TOO_LARGE = "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"


class _Options(msgspec.Struct):
    length_only: bool = False
    ranges: bool = False
    with_lengths: bool = False
    length_min: int = 0


def _options(arguments: Arguments) -> _Options:
    options = _Options()
    rest = deque(arguments[3:])
    while rest:
        match keyword(rest.popleft()):
            case b"LEN":
                options.length_only = True
            case b"IDX":
                options.ranges = True
            case b"WITHMATCHLEN":
                options.with_lengths = True
            case b"MINMATCHLEN" if rest:
                options.length_min = integer(rest.popleft())
            case _:
                raise syntax_error()
    if options.length_only and options.ranges:
        raise CommandError("ERR If you want both the length and indexes, please just use IDX.")
    return options


def _lengths(first: bytes, second: bytes) -> list[list[int]]:
    """How long the longest common subsequence is of so many bytes of the one and so many of the other."""
    row = [0] * (len(second) + 1)
    rows = [row]
    for byte in first:
        above, row = row, [0]
        left = 0
        for at, other in enumerate(second):
            left = above[at] + 1 if byte == other else max(left, above[at + 1])
            row.append(left)
        rows.append(row)
    return rows


def _matches(first: bytes, second: bytes, lengths: list[list[int]]) -> Iterator[tuple[int, int]]:
    """The places of the bytes that make up the subsequence, from its end."""
    at, other = len(first), len(second)
    while at and other:
        if first[at - 1] == second[other - 1]:
            at, other = at - 1, other - 1
            yield at, other
        elif lengths[at - 1][other] > lengths[at][other - 1]:
            at -= 1
        else:
            other -= 1


def _ranges(matches: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Where matches follow each other in both: the first places of each such range, and how long it is."""
    ranges: list[tuple[int, int, int]] = []
    for at, other in matches:
        if ranges and ranges[-1][:2] == (at + 1, other + 1):
            ranges[-1] = (at, other, ranges[-1][2] + 1)
        else:
            ranges.append((at, other, 1))
    return ranges


@command("LCS", -3, group="string", keys=Keys(1, 2))
def lcs(db: Keyspace, arguments: Arguments) -> Reply:
    """The longest bytes that two strings have in common in the same order; or how many they are, or where."""
    items = [db.find(key) for key in arguments[1:3]]
    if any(item is not None and type(item.value) is not bytes for item in items):
        raise CommandError("ERR The specified keys must contain string values")
    options = _options(arguments)
    first, second = (db.get(key, bytes) or b"" for key in arguments[1:3])
    if (len(first) + 1) * (len(second) + 1) > CELLS_MAX:
        raise CommandError(TOO_LARGE)
    lengths = _lengths(first, second)
    if options.length_only:
        return lengths[-1][-1]
    matches = list(_matches(first, second, lengths))
    if not options.ranges:
        return bytes(first[at] for at, _ in reversed(matches))
    shown = [
        [[at, at + length - 1], [other, other + length - 1], *([length] if options.with_lengths else [])]
        for at, other, length in _ranges(matches)
        if length >= options.length_min
    ]
    return {b"matches": shown, b"len": lengths[-1][-1]}
