"""SORT and SORT_RO: the elements of a list, a set or a sorted set in another order.

``BY`` and ``GET`` may not lead to other keys, as in a Redis cluster: a command names all the keys that it reads.
What Redis says of them: https://redis.io/docs/latest/commands/sort/
"""

from __future__ import annotations

from collections import deque

import msgspec

from quorate.kv.arguments import integer, keyword, lenient_number, syntax_error
from quorate.kv.commands.options import store
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import Arguments, command
from quorate.kv.replies import REPLY_BYTES_MAX, WRONG_TYPE, CommandError, Reply
from quorate.kv.values import List, Set, SortedSet

NO_NUMBERS = "ERR One or more scores can't be converted into double"


class _Options(msgspec.Struct):
    """``gets`` is whether each pattern behind GET stands for the element itself, or for nothing."""

    backwards: bool = False
    by_text: bool = False
    as_it_is: bool = False
    start: int = 0
    count: int = -1
    gets: list[bool] = []
    target: bytes | None = None


def _options(arguments: Arguments) -> _Options:
    options = _Options()
    rest = deque(arguments[2:])
    while rest:
        match keyword(rest.popleft()):
            case b"ASC":
                options.backwards = False
            case b"DESC":
                options.backwards = True
            case b"ALPHA":
                options.by_text = True
            case b"LIMIT" if len(rest) >= 2:
                options.start, options.count = integer(rest.popleft()), integer(rest.popleft())
            case b"STORE" if rest and arguments[0] == b"SORT":
                options.target = rest.popleft()
            case b"BY" if rest:
                _check_pattern(rest.popleft(), "BY")
                options.as_it_is = True
            case b"GET" if rest:
                pattern = rest.popleft()
                _check_pattern(pattern, "GET")
                options.gets.append(pattern == b"#")
            case _:
                raise syntax_error()
    return options


def _check_pattern(pattern: bytes, option: str) -> None:
    """Raises for a pattern that stands for the names of keys."""
    if b"*" in pattern.partition(b"\0")[0]:
        raise CommandError(f"ERR {option} option of SORT denied in cluster mode.")


def _elements(db: Keyspace, key: bytes) -> list[bytes]:
    item = db.find(key)
    match None if item is None else item.value:
        case None:
            return []
        case List() as value:
            return list(value.elements)
        case Set() as value:
            return list(value.members)
        case SortedSet() as value:
            return [member for _, member in value]
        case _:
            raise CommandError(WRONG_TYPE)


def _sorted(elements: list[bytes], options: _Options, *, is_set: bool) -> list[bytes]:
    if options.as_it_is and not (is_set and options.target is not None):
        return elements[::-1] if options.backwards else elements
    if options.by_text or options.as_it_is:
        return sorted(elements, reverse=options.backwards)
    return [element for _, element in sorted(map(_scored, elements), reverse=options.backwards)]


def _scored(element: bytes) -> tuple[float, bytes]:
    score = lenient_number(element, within_range=True)
    if score is None:
        raise CommandError(NO_NUMBERS)
    return score, element


def _limited(elements: list[bytes], options: _Options) -> list[bytes]:
    start = max(options.start, 0)
    return elements[start:] if options.count < 0 else elements[start : start + options.count]


@command("SORT", -2, group="generic", write=True, check=_options)
def sort(db: Keyspace, arguments: Arguments) -> Reply:
    """The elements of a list, a set or a sorted set, sorted as numbers or as text; stored on request."""
    options = _options(arguments)
    item = db.find(arguments[1])
    is_set = item is not None and type(item.value) is Set
    elements = _limited(_sorted(_elements(db, arguments[1]), options, is_set=is_set), options)
    if (sum(map(len, elements)) + 16 * len(elements)) * len(options.gets) > REPLY_BYTES_MAX:
        raise CommandError(f"ERR SORT gets at most {REPLY_BYTES_MAX} bytes")
    if options.gets:
        found = [element if itself else None for element in elements for itself in options.gets]
    else:
        found = [*elements]
    if options.target is None:
        return found
    return store(db, options.target, List(element or b"" for element in found), "sortstore")


@command("SORT_RO", -2, group="generic", check=_options)
def sort_ro(db: Keyspace, arguments: Arguments) -> Reply:
    """The elements of a list, a set or a sorted set, sorted as numbers or as text."""
    return sort(db, arguments)
