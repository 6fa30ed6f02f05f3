"""Commands on lists."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from quorate.kv.arguments import INTEGER_MAX, INTEGER_MIN, integer, keyword, out_of_range, syntax_error
from quorate.kv.commands.options import integer_from, pop_count, pop_many, wrong_arity
from quorate.kv.commands.ranges import between
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import COUNTED_KEYS, Arguments, Keys, command
from quorate.kv.replies import NO_SUCH_KEY, NULL_ARRAY, OK, OUT_OF_RANGE, CommandError, Reply
from quorate.kv.values import List

SIDES = {b"LEFT": True, b"RIGHT": False}
RANK_ZERO = (
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... "
    "or use negative to start from the end of the list"
)


def _push(db: Keyspace, arguments: Arguments, *, left: bool) -> int:
    key = arguments[1]
    value = db.edit_or_create(key, List)
    for element in arguments[2:]:
        value.push(element, left=left)
    db.edited(key, "lpush" if left else "rpush")
    return len(value)


@command("LPUSH", -3, group="list", write=True)
def lpush(db: Keyspace, arguments: Arguments) -> Reply:
    """Add elements at the head, one after the other; answer the length."""
    return _push(db, arguments, left=True)


@command("RPUSH", -3, group="list", write=True)
def rpush(db: Keyspace, arguments: Arguments) -> Reply:
    """Add elements at the tail; answer the length."""
    return _push(db, arguments, left=False)


@command("LPUSHX", -3, group="list", write=True)
def lpushx(db: Keyspace, arguments: Arguments) -> Reply:
    """Add elements at the head of a list that is there."""
    return 0 if db.get(arguments[1], List) is None else _push(db, arguments, left=True)


@command("RPUSHX", -3, group="list", write=True)
def rpushx(db: Keyspace, arguments: Arguments) -> Reply:
    """Add elements at the tail of a list that is there."""
    return 0 if db.get(arguments[1], List) is None else _push(db, arguments, left=False)


def _check_pop(arguments: Arguments) -> None:
    if len(arguments) > 3:
        raise wrong_arity(arguments)
    pop_count(arguments)


def _taken(db: Keyspace, key: bytes, count: int, *, left: bool) -> list[bytes]:
    """Take up to ``count`` elements, one at least, from a list that is there."""
    value = db.edit(key, List)
    assert value is not None
    elements = [value.pop(left=left) for _ in range(min(count, len(value)))]
    db.edited(key, "lpop" if left else "rpop")
    return elements


def _pop(db: Keyspace, arguments: Arguments, *, left: bool) -> Reply:
    _check_pop(arguments)
    key, count = arguments[1], pop_count(arguments)
    if db.get(key, List) is None:
        return None if count is None else NULL_ARRAY
    if count is None:
        return _taken(db, key, 1, left=left)[0]
    return _taken(db, key, count, left=left) if count else []


@command("LPOP", -2, group="list", write=True, freeing=True, check=_check_pop)
def lpop(db: Keyspace, arguments: Arguments) -> Reply:
    """Take the first element, or up to a count of them."""
    return _pop(db, arguments, left=True)


@command("RPOP", -2, group="list", write=True, freeing=True, check=_check_pop)
def rpop(db: Keyspace, arguments: Arguments) -> Reply:
    """Take the last element, or up to a count of them."""
    return _pop(db, arguments, left=False)


@command("LLEN", 2, group="list")
def llen(db: Keyspace, arguments: Arguments) -> Reply:
    """How many elements a list has."""
    value = db.get(arguments[1], List)
    return 0 if value is None else len(value)


def _bounds(arguments: Arguments) -> tuple[int, int]:
    return integer(arguments[2]), integer(arguments[3])


@command("LRANGE", 4, group="list", check=_bounds)
def lrange(db: Keyspace, arguments: Arguments) -> Reply:
    """The elements from one index to another, both included; negative ones count from the end."""
    bounds = _bounds(arguments)
    value = db.get(arguments[1], List)
    return [] if value is None else _slice(value, *between(*bounds, len(value)))


def _slice(value: List, start: int, stop: int) -> list[bytes]:
    size = len(value)
    if start <= size - stop:
        return list(islice(value.elements, start, stop))
    return list(islice(reversed(value.elements), size - stop, size - start))[::-1]


def _index(arguments: Arguments) -> int:
    return integer(arguments[2])


@command("LINDEX", 3, group="list")
def lindex(db: Keyspace, arguments: Arguments) -> Reply:
    """The element at an index; negative ones count from the end."""
    value = db.get(arguments[1], List)
    if value is None:
        return None
    index = _index(arguments)
    return value.elements[index] if -len(value) <= index < len(value) else None


@command("LSET", 4, group="list", write=True, check=_index)
def lset(db: Keyspace, arguments: Arguments) -> Reply:
    """Replace the element at an index."""
    key, index = arguments[1], _index(arguments)
    value = db.get(key, List)
    if value is None:
        raise CommandError(NO_SUCH_KEY)
    if not -len(value) <= index < len(value):
        raise CommandError(OUT_OF_RANGE)
    db.edit(key, List)
    value.set(index, arguments[3])
    db.edited(key, "lset")
    return OK


@command("LREM", 4, group="list", write=True, freeing=True, check=_index)
def lrem(db: Keyspace, arguments: Arguments) -> Reply:
    """Remove elements that equal one: the first so many, the last so many if negative, all if 0."""
    key, count, element = arguments[1], _index(arguments), arguments[3]
    value = db.get(key, List)
    if value is None or element not in value.elements:
        return 0
    db.edit(key, List)
    elements = reversed(value.elements) if count < 0 else iter(value.elements)
    kept = list(_without(elements, element, abs(count) or len(value)))
    removed = len(value) - len(kept)
    value.replace(reversed(kept) if count < 0 else kept)
    db.edited(key, "lrem")
    return removed


def _without(elements: Iterator[bytes], unwanted: bytes, times: int) -> Iterator[bytes]:
    for element in elements:
        if times and element == unwanted:
            times -= 1
        else:
            yield element


@command("LTRIM", 4, group="list", write=True, freeing=True, check=_bounds)
def ltrim(db: Keyspace, arguments: Arguments) -> Reply:
    """Keep only the elements from one index to another."""
    key, bounds = arguments[1], _bounds(arguments)
    value = db.get(key, List)
    if value is None:
        return OK
    start, stop = between(*bounds, len(value))
    if stop - start < len(value):
        db.edit(key, List)
        for _ in range(len(value) - stop):
            value.pop(left=False)
        for _ in range(min(start, len(value))):
            value.pop(left=True)
        db.edited(key, "ltrim")
    return OK


def _check_insert(arguments: Arguments) -> None:
    if keyword(arguments[2]) not in (b"BEFORE", b"AFTER"):
        raise syntax_error()


@command("LINSERT", 5, group="list", write=True, check=_check_insert)
def linsert(db: Keyspace, arguments: Arguments) -> Reply:
    """Insert an element before or after another; answer the length, -1 if the other is not there."""
    _check_insert(arguments)
    _, key, where, pivot, element = arguments
    value = db.get(key, List)
    if value is None:
        return 0
    if pivot not in value.elements:
        return -1
    db.edit(key, List)
    value.insert(value.elements.index(pivot) + (keyword(where) == b"AFTER"), element)
    db.edited(key, "linsert")
    return len(value)


class _Search(msgspec.Struct):
    """The options of LPOS. A ``count`` of ``None`` asks for one alone."""

    rank: int = 1
    count: int | None = None
    compared_max: int = INTEGER_MAX


def _search(arguments: Arguments) -> _Search:
    search = _Search()
    for at in range(3, len(arguments), 2):
        if at + 1 == len(arguments):
            raise syntax_error()
        text = arguments[at + 1]
        match keyword(arguments[at]):
            case b"RANK":
                search.rank = integer(text)
                if search.rank == INTEGER_MIN:
                    raise out_of_range(-INTEGER_MAX, INTEGER_MAX)
                if not search.rank:
                    raise CommandError(RANK_ZERO)
            case b"COUNT":
                search.count = integer_from(text, 0, "ERR COUNT can't be negative") or INTEGER_MAX
            case b"MAXLEN":
                search.compared_max = integer_from(text, 0, "ERR MAXLEN can't be negative") or INTEGER_MAX
            case _:
                raise syntax_error()
    return search


@command("LPOS", -3, group="list", check=_search)
def lpos(db: Keyspace, arguments: Arguments) -> Reply:
    """The index of an element, or of several that equal it."""
    search = _search(arguments)
    value = db.get(arguments[1], List)
    if value is None:
        return None if search.count is None else []
    size, element = len(value), arguments[2]
    elements = value.elements if search.rank > 0 else reversed(value.elements)
    compared = islice(enumerate(elements), min(search.compared_max, size))
    matches = (at if search.rank > 0 else size - 1 - at for at, other in compared if other == element)
    skipped = min(abs(search.rank) - 1, size)
    if search.count is None:
        return next(islice(matches, skipped, None), None)
    return list(islice(matches, skipped, skipped + min(search.count, size)))


def _move(db: Keyspace, source: bytes, target: bytes, *, from_left: bool, to_left: bool) -> bytes | None:
    value = db.get(source, List)
    if value is None:
        return None
    taken, given = ("lpop" if from_left else "rpop"), ("lpush" if to_left else "rpush")
    if source == target:
        db.edit(source, List)
        element = value.pop(left=from_left)
        value.push(element, left=to_left)
        db.edited(source, given, taken)
        return element
    element = value.elements[0 if from_left else -1]
    db.edit_or_create(target, List).push(element, left=to_left)
    db.edited(target, given)
    _taken(db, source, 1, left=from_left)
    return element


def _sides(arguments: Arguments) -> tuple[bool, bool]:
    sides = [SIDES.get(keyword(side)) for side in arguments[3:5]]
    if sides[0] is None or sides[1] is None:
        raise syntax_error()
    return sides[0], sides[1]


@command("LMOVE", 5, group="list", write=True, keys=Keys(1, 2), check=_sides)
def lmove(db: Keyspace, arguments: Arguments) -> Reply:
    """Take an element from one end of a list and adds it at one end of another, or of the same."""
    from_left, to_left = _sides(arguments)
    return _move(db, arguments[1], arguments[2], from_left=from_left, to_left=to_left)


@command("RPOPLPUSH", 3, group="list", write=True, keys=Keys(1, 2))
def rpoplpush(db: Keyspace, arguments: Arguments) -> Reply:
    """Take the last element of a list and adds it at the head of another: LMOVE's older form."""
    return _move(db, arguments[1], arguments[2], from_left=False, to_left=True)


def _pop_many(arguments: Arguments) -> tuple[Arguments, bool, int]:
    return pop_many(arguments, SIDES)


@command("LMPOP", -4, group="list", write=True, freeing=True, keys=COUNTED_KEYS, check=_pop_many)
def lmpop(db: Keyspace, arguments: Arguments) -> Reply:
    """Take elements from the first of several lists that is there."""
    keys, left, count = _pop_many(arguments)
    for key in keys:
        if db.get(key, List) is not None:
            return [key, _taken(db, key, count, left=left)]
    return NULL_ARRAY
