"""Commands on several sorted sets at once. Plain sets take part in them, with 1 for every score."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from math import isnan

import msgspec

from quorate.kv.arguments import integer, keyword, number, syntax_error
from quorate.kv.commands.options import cardinality_limit, store
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import COUNTED_KEYS, Arguments, Keys, command
from quorate.kv.replies import WRONG_TYPE, CommandError, Pairs, Reply
from quorate.kv.values import Set, SortedSet

STORED = Keys(1, 1, counted=2)

Scores = dict[bytes, float]
Aggregate = Callable[[float, float], float]


def _sum(first: float, second: float) -> float:
    total = first + second
    return 0.0 if isnan(total) else total


_AGGREGATES: dict[bytes, Aggregate] = {b"SUM": _sum, b"MIN": min, b"MAX": max}


class _Options(msgspec.Struct):
    """``numkeys key … [WEIGHTS …] [AGGREGATE …] [WITHSCORES]``."""

    keys: list[bytes]
    weights: list[float] = []
    aggregate: Aggregate = _sum
    with_scores: bool = False


def _counted(arguments: Arguments, at: int) -> tuple[list[bytes], list[bytes]]:
    """The keys that the argument ``at`` counts, and what is behind them."""
    count = integer(arguments[at])
    if count < 1:
        name = arguments[0].decode().lower()
        raise CommandError(f"ERR at least 1 input key is needed for '{name}' command")
    if count > len(arguments) - at - 1:
        raise syntax_error()
    return list(arguments[at + 1 : at + 1 + count]), list(arguments[at + 1 + count :])


def _options(arguments: Arguments) -> _Options:
    stores, weighted = arguments[0].endswith(b"STORE"), not arguments[0].startswith(b"ZDIFF")
    keys, behind = _counted(arguments, 1 + stores)
    rest = deque(behind)
    options = _Options(keys, [1.0] * len(keys))
    while rest:
        option = keyword(rest.popleft())
        if option == b"WEIGHTS" and weighted and len(rest) >= len(keys):
            options.weights = [number(rest.popleft(), "ERR weight value is not a float") for _ in keys]
        elif option == b"AGGREGATE" and weighted and rest and keyword(rest[0]) in _AGGREGATES:
            options.aggregate = _AGGREGATES[keyword(rest.popleft())]
        elif option == b"WITHSCORES" and not stores:
            options.with_scores = True
        else:
            raise syntax_error()
    return options


def _input(db: Keyspace, key: bytes) -> Scores:
    item = db.find(key)
    if item is None:
        return {}
    if isinstance(item.value, SortedSet):
        return item.value.scores
    if isinstance(item.value, Set):
        return dict.fromkeys(item.value.members, 1.0)
    raise CommandError(WRONG_TYPE)


def _operands(db: Keyspace, arguments: Arguments) -> tuple[list[Scores], _Options]:
    """The sorted sets, and what is to be done with them: in the order in which Redis looks at what may be wrong."""
    keys, _ = _counted(arguments, 1 + arguments[0].endswith(b"STORE"))
    inputs = [_input(db, key) for key in keys]
    return inputs, _options(arguments)


def _weighted(score: float, weight: float) -> float:
    product = score * weight
    return 0.0 if isnan(product) else product


def _smallest_first(inputs: list[Scores], options: _Options) -> list[tuple[Scores, float]]:
    """With their weights. The order decides how sums are rounded."""
    return sorted(zip(inputs, options.weights, strict=True), key=lambda pair: len(pair[0]))


def _union(inputs: list[Scores], options: _Options) -> SortedSet:
    result: Scores = {}
    for scores, weight in _smallest_first(inputs, options):
        for member, score in scores.items():
            here, old = _weighted(score, weight), result.get(member)
            result[member] = here if old is None else options.aggregate(old, here)
    return SortedSet(result.items())


def _intersection(inputs: list[Scores], options: _Options) -> SortedSet:
    (first, first_weight), *others = _smallest_first(inputs, options)
    result: Scores = {}
    for member, score in first.items():
        if all(member in other for other, _ in others):
            total = _weighted(score, first_weight)
            for other, weight in others:
                total = options.aggregate(total, other[member] * weight)  # what is no number makes a sum 0, as in Redis
            result[member] = total
    return SortedSet(result.items())


def _difference(inputs: list[Scores], options: _Options) -> SortedSet:
    first, *others = inputs
    return SortedSet(item for item in first.items() if not any(item[0] in other for other in others))


_Operation = Callable[[list[Scores], _Options], SortedSet]


def _answer(db: Keyspace, arguments: Arguments, operation: _Operation) -> Reply:
    inputs, options = _operands(db, arguments)
    result = operation(inputs, options)
    if options.with_scores:
        return Pairs((member, score) for score, member in result)
    return [member for _, member in result]


def _store(db: Keyspace, arguments: Arguments, operation: _Operation) -> int:
    result = SortedSet((member, score + 0.0) for score, member in operation(*_operands(db, arguments)))
    return store(db, arguments[1], result, arguments[0].decode().lower())


def _check_counted(arguments: Arguments) -> None:
    _counted(arguments, 1)


@command("ZUNION", -3, group="sorted-set", keys=COUNTED_KEYS, check=_check_counted)
def zunion(db: Keyspace, arguments: Arguments) -> Reply:
    """The members of any of several sorted sets, their scores put together."""
    return _answer(db, arguments, _union)


@command("ZINTER", -3, group="sorted-set", keys=COUNTED_KEYS, check=_check_counted)
def zinter(db: Keyspace, arguments: Arguments) -> Reply:
    """The members that several sorted sets have in common, their scores put together."""
    return _answer(db, arguments, _intersection)


@command("ZDIFF", -3, group="sorted-set", keys=COUNTED_KEYS, check=_check_counted)
def zdiff(db: Keyspace, arguments: Arguments) -> Reply:
    """The members of the first sorted set that no other has."""
    return _answer(db, arguments, _difference)


@command("ZUNIONSTORE", -4, group="sorted-set", write=True, keys=STORED, check=_options)
def zunionstore(db: Keyspace, arguments: Arguments) -> Reply:
    """Store the union of several sorted sets; answer its size."""
    return _store(db, arguments, _union)


@command("ZINTERSTORE", -4, group="sorted-set", write=True, keys=STORED, check=_options)
def zinterstore(db: Keyspace, arguments: Arguments) -> Reply:
    """Store what several sorted sets have in common; answer its size."""
    return _store(db, arguments, _intersection)


@command("ZDIFFSTORE", -4, group="sorted-set", write=True, keys=STORED, check=_options)
def zdiffstore(db: Keyspace, arguments: Arguments) -> Reply:
    """Store what the first of several sorted sets has alone; answer its size."""
    return _store(db, arguments, _difference)


@command("ZINTERCARD", -3, group="sorted-set", keys=COUNTED_KEYS, check=_check_counted)
def zintercard(db: Keyspace, arguments: Arguments) -> Reply:
    """How many members several sorted sets have in common, counted up to a limit."""
    keys, rest = _counted(arguments, 1)
    first, *others = sorted([_input(db, key) for key in keys], key=len)
    limit = cardinality_limit(rest)
    common = (member for member in first if all(member in other for other in others))
    return sum(1 for _ in islice(common, limit))
