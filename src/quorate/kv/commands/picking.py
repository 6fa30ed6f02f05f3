"""Random picks out of a collection, the same on every node.

Of Python's generators only ``random()`` gives the same numbers in all its versions; so all else is made of that here.
"""

from __future__ import annotations

from random import Random

from quorate.kv.arguments import INTEGER_MAX, INTEGER_MIN, integer, keyword, out_of_range, syntax_error
from quorate.kv.registry import Arguments
from quorate.kv.replies import CommandError

REPEATED_MAX = 1 << 20
"""So many picks at most when they may repeat: the collection itself is no bound then."""

NO_COUNT = "ERR value is out of range"


def position(random: Random, size: int) -> int:
    """One position of ``size``."""
    return min(int(random.random() * size), size - 1)


def positions(random: Random, size: int, count: int) -> list[int]:
    """``count`` different positions, or all of them, in order; a negative count: so many that may repeat."""
    if count < 0:
        return [position(random, size) for _ in range(-count)]
    if count >= size:
        return list(range(size))
    picked: list[int] = []
    moved: dict[int, int] = {}  # the shuffle of Fisher and Yates, of which only what has moved is written down
    for step in range(count):
        at = step + position(random, size - step)
        picked.append(moved.get(at, at))
        moved[at] = moved.get(step, step)
    return picked


def pick_options(arguments: Arguments, with_word: bytes = b"") -> tuple[int | None, bool]:
    """``KEY [count [WITHVALUES]]``: the count, ``None`` for a single one; and whether ``with_word`` follows."""
    if len(arguments) == 2:
        return None, False
    if len(arguments) > 3 and not with_word:
        raise syntax_error()
    count = integer(arguments[2])
    if count == INTEGER_MIN:
        raise out_of_range(-INTEGER_MAX, INTEGER_MAX)
    if len(arguments) == 3:
        return _bounded(count), False
    if len(arguments) > 4 or keyword(arguments[3]) != with_word:
        raise syntax_error()
    if abs(count) > INTEGER_MAX // 2:
        raise CommandError(NO_COUNT)
    return _bounded(count), True


def _bounded(count: int) -> int:
    if count < -REPEATED_MAX:
        raise CommandError(NO_COUNT)
    return count
