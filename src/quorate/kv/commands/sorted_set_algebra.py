"""Commands on several sorted sets at once. Plain sets take part in them, with 1 for every score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from math import isnan

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


@dataclass(slots=True)
class _Options:
    """``numkeys key … [WEIGHTS …] [AGGREGATE …] [WITHSCORES]``."""

    keys: list[bytes]
    weights: list[float] = field(default_factory=list)
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
    keys, rest = _counted(arguments, 1 + stores)
    options = _Options(keys, [1.0] * len(keys))
    while rest:
        option = keyword(rest.pop(0))
        if option == b"WEIGHTS" and weighted and len(rest) >= len(keys):
            options.weights = [number(weight, "ERR weight value is not a float") for weight in rest[: len(keys)]]
            del rest[: len(keys)]
        elif option == b"AGGREGATE" and weighted and rest and keyword(rest[0]) in _AGGREGATES:
            options.aggregate = _AGGREGATES[keyword(rest.pop(0))]
        elif option == b"WITHSCORES" and not stores:
            options.with_scores = True
        else:
            raise syntax_error()
    return options


def _inputs(db: Keyspace, keys: list[bytes]) -> list[Scores]:
    return [_input(db, key) for key in keys]


def _input(db: Keyspace, key: bytes) -> Scores:
    item = db.find(key)
    if item is None:
        return {}
    if isinstance(item.value, SortedSet):
        return item.value.scores
    if isinstance(item.value, Set):
        return dict.fromkeys(item.value.members, 1.0)
    raise CommandError(WRONG_TYPE)


def _weighted(score: float, weight: float) -> float:
    product = score * weight
    return 0.0 if isnan(product) else product


def _union(db: Keyspace, options: _Options) -> SortedSet:
    result: Scores = {}
    for scores, weight in zip(_inputs(db, options.keys), options.weights, strict=True):
        for member, score in scores.items():
            here, old = _weighted(score, weight), result.get(member)
            result[member] = here if old is None else options.aggregate(old, here)
    return SortedSet(result.items())


def _intersection(db: Keyspace, options: _Options) -> SortedSet:
    inputs = _inputs(db, options.keys)
    result: Scores = {}
    for member in min(inputs, key=len):
        if all(member in scores for scores in inputs):
            total, *others = [
                _weighted(scores[member], weight) for scores, weight in zip(inputs, options.weights, strict=True)
            ]
            for other in others:
                total = options.aggregate(total, other)
            result[member] = total
    return SortedSet(result.items())


def _difference(db: Keyspace, options: _Options) -> SortedSet:
    first, *others = _inputs(db, options.keys)
    return SortedSet(item for item in first.items() if not any(item[0] in other for other in others))


def _reply(value: SortedSet, options: _Options) -> Reply:
    if options.with_scores:
        return Pairs((member, score) for score, member in value)
    return [member for _, member in value]


@command("ZUNION", -3, group="sorted-set", keys=COUNTED_KEYS, check=_options)
def zunion(db: Keyspace, arguments: Arguments) -> Reply:
    """The members of any of several sorted sets, their scores put together."""
    options = _options(arguments)
    return _reply(_union(db, options), options)


@command("ZINTER", -3, group="sorted-set", keys=COUNTED_KEYS, check=_options)
def zinter(db: Keyspace, arguments: Arguments) -> Reply:
    """The members that several sorted sets have in common, their scores put together."""
    options = _options(arguments)
    return _reply(_intersection(db, options), options)


@command("ZDIFF", -3, group="sorted-set", keys=COUNTED_KEYS, check=_options)
def zdiff(db: Keyspace, arguments: Arguments) -> Reply:
    """The members of the first sorted set that no other has."""
    options = _options(arguments)
    return _reply(_difference(db, options), options)


@command("ZUNIONSTORE", -4, group="sorted-set", write=True, keys=STORED, check=_options)
def zunionstore(db: Keyspace, arguments: Arguments) -> Reply:
    """Store the union of several sorted sets; answer its size."""
    return store(db, arguments[1], _union(db, _options(arguments)), "zunionstore")


@command("ZINTERSTORE", -4, group="sorted-set", write=True, keys=STORED, check=_options)
def zinterstore(db: Keyspace, arguments: Arguments) -> Reply:
    """Store what several sorted sets have in common; answer its size."""
    return store(db, arguments[1], _intersection(db, _options(arguments)), "zinterstore")


@command("ZDIFFSTORE", -4, group="sorted-set", write=True, keys=STORED, check=_options)
def zdiffstore(db: Keyspace, arguments: Arguments) -> Reply:
    """Store what the first of several sorted sets has alone; answer its size."""
    return store(db, arguments[1], _difference(db, _options(arguments)), "zdiffstore")


def _cardinality(arguments: Arguments) -> tuple[list[bytes], int]:
    keys, rest = _counted(arguments, 1)
    return keys, cardinality_limit(rest)


@command("ZINTERCARD", -3, group="sorted-set", keys=COUNTED_KEYS, check=_cardinality)
def zintercard(db: Keyspace, arguments: Arguments) -> Reply:
    """How many members several sorted sets have in common, counted up to a limit."""
    keys, limit = _cardinality(arguments)
    first, *others = sorted(_inputs(db, keys), key=len)
    common = (member for member in first if all(member in other for other in others))
    return sum(1 for _ in islice(common, limit))
