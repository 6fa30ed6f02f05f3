"""Commands on the members of sorted sets. Ranges of them, and several sets at once, have modules of their own."""

from __future__ import annotations

from collections.abc import Collection
from math import isnan

import msgspec

from quorate.kv.arguments import keyword, number, pairs, syntax_error, written
from quorate.kv.commands.elements import check_cursor, parse_scan
from quorate.kv.commands.options import pop_count, pop_many, wrong_arity
from quorate.kv.commands.picking import pick_options, position, positions
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import COUNTED_KEYS, Arguments, command
from quorate.kv.replies import NULL_ARRAY, CommandError, Pairs, Reply, bounded
from quorate.kv.values import SortedSet

CONFLICT = "ERR XX and NX options at the same time are not compatible"
CONFLICTS = "ERR GT, LT, and/or NX options at the same time are not compatible"
ONE_INCREMENT = "ERR INCR option supports a single increment-element pair"
NAN = "ERR resulting score is not a number (NaN)"


def scores(db: Keyspace, key: bytes) -> dict[bytes, float]:
    """Members and scores of the sorted set at a key, if there is one."""
    value = db.get(key, SortedSet)
    return {} if value is None else value.scores


def remove(db: Keyspace, key: bytes, members: Collection[bytes], event: str) -> int:
    """Remove members that are there; returns how many they are."""
    if members and (value := db.edit(key, SortedSet)) is not None:
        for member in members:
            value.remove(member)
        db.edited(key, event)
    return len(members)


_OPTIONS = {b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"}


class _Addition(msgspec.Struct, frozen=True):
    """What ZADD is to do, and with which scores."""

    options: frozenset[bytes]
    scored: list[tuple[float, bytes]]

    def score(self, old: float | None, given: float) -> float | None:
        """What the score of a member becomes; ``None`` leaves it as it is, or leaves it out."""
        if old is None:
            return None if b"XX" in self.options else given
        if b"NX" in self.options:
            return None
        new = old + given if b"INCR" in self.options else given
        if isnan(new):
            raise CommandError(NAN)
        if (b"GT" in self.options and new <= old) or (b"LT" in self.options and new >= old):
            return None
        return new


def _addition(arguments: Arguments) -> _Addition:
    at = 2
    while at < len(arguments) and keyword(arguments[at]) in _OPTIONS:
        at += 1
    options, rest = frozenset(map(keyword, arguments[2:at])), arguments[at:]
    if not rest or len(rest) % 2:
        raise syntax_error()
    if {b"NX", b"XX"} <= options:
        raise CommandError(CONFLICT)
    if len(options & {b"NX", b"GT", b"LT"}) > 1:
        raise CommandError(CONFLICTS)
    if b"INCR" in options and len(rest) > 2:
        raise CommandError(ONE_INCREMENT)
    return _Addition(options, [(number(score), member) for score, member in pairs(rest)])


@command("ZADD", -4, group="sorted-set", write=True, check=_addition)
def zadd(db: Keyspace, arguments: Arguments) -> Reply:
    """Add members with scores, or change their scores; answer how many are new."""
    addition = _addition(arguments)
    key, there = arguments[1], scores(db, arguments[1])
    changes: dict[bytes, float] = {}
    added = changed = 0
    new: float | None = None
    for given, member in addition.scored:
        old = changes.get(member, there.get(member))
        new = addition.score(old, given)
        if new is not None and new != old:
            added += old is None
            changed += 1
            changes[member] = new
    _put(db, key, changes, "zincr" if b"INCR" in addition.options else "zadd")
    if b"INCR" in addition.options:
        return new
    return changed if b"CH" in addition.options else added


def _put(db: Keyspace, key: bytes, changes: dict[bytes, float], event: str) -> None:
    if changes:
        value = db.edit_or_create(key, SortedSet)
        for member, score in changes.items():
            value.put(member, score + 0.0)  # no -0, which Redis' small sorted sets do not keep
        db.edited(key, event)


@command("ZINCRBY", 4, group="sorted-set", write=True, check=lambda arguments: number(arguments[2]))
def zincrby(db: Keyspace, arguments: Arguments) -> Reply:
    """Add to the score of a member, 0 if it is not there; answer the sum."""
    _, key, increment, member = arguments
    old = scores(db, key).get(member)
    new = number(increment) + (-0.0 if old is None else old)
    if isnan(new):
        raise CommandError(NAN)
    if new != old:
        _put(db, key, {member: new}, "zincr")
    return new


@command("ZSCORE", 3, group="sorted-set")
def zscore(db: Keyspace, arguments: Arguments) -> Reply:
    """The score of a member."""
    return scores(db, arguments[1]).get(arguments[2])


@command("ZMSCORE", -3, group="sorted-set")
def zmscore(db: Keyspace, arguments: Arguments) -> Reply:
    """The scores of several members."""
    there = scores(db, arguments[1])
    return [there.get(member) for member in arguments[2:]]


@command("ZREM", -3, group="sorted-set", write=True, freeing=True)
def zrem(db: Keyspace, arguments: Arguments) -> Reply:
    """Remove members; answer how many were there."""
    key = arguments[1]
    there = scores(db, key)
    return remove(db, key, [member for member in dict.fromkeys(arguments[2:]) if member in there], "zrem")


@command("ZCARD", 2, group="sorted-set")
def zcard(db: Keyspace, arguments: Arguments) -> Reply:
    """How many members a sorted set has."""
    return len(scores(db, arguments[1]))


def _check_rank(arguments: Arguments) -> None:
    if len(arguments) > 4:
        raise wrong_arity(arguments)
    if len(arguments) == 4 and keyword(arguments[3]) != b"WITHSCORE":
        raise syntax_error()


def _rank(db: Keyspace, arguments: Arguments, *, backwards: bool) -> Reply:
    _check_rank(arguments)
    with_score = len(arguments) == 4
    value = db.get(arguments[1], SortedSet)
    score = None if value is None else value.scores.get(arguments[2])
    if value is None or score is None:
        return NULL_ARRAY if with_score else None
    rank = value.order.bisect_left((score, arguments[2]))
    rank = len(value) - 1 - rank if backwards else rank
    return [rank, score] if with_score else rank


@command("ZRANK", -3, group="sorted-set", check=_check_rank)
def zrank(db: Keyspace, arguments: Arguments) -> Reply:
    """The place of a member, counted from the lowest score."""
    return _rank(db, arguments, backwards=False)


@command("ZREVRANK", -3, group="sorted-set", check=_check_rank)
def zrevrank(db: Keyspace, arguments: Arguments) -> Reply:
    """The place of a member, counted from the highest score."""
    return _rank(db, arguments, backwards=True)


def _check_pop(arguments: Arguments) -> None:
    if len(arguments) > 3:
        raise syntax_error()
    pop_count(arguments)


def _taken(db: Keyspace, key: bytes, count: int, *, highest: bool) -> Pairs:
    value = db.get(key, SortedSet)
    if value is None or not count:
        return Pairs()
    size = len(value)
    start, stop = (max(size - count, 0), size) if highest else (0, min(count, size))
    taken = Pairs((member, score) for score, member in value.order.islice(start, stop, reverse=highest))
    remove(db, key, [member for member, _ in taken], "zpopmax" if highest else "zpopmin")
    return taken


def _pop(db: Keyspace, arguments: Arguments, *, highest: bool) -> Reply:
    _check_pop(arguments)
    count = pop_count(arguments)
    taken = _taken(db, arguments[1], 1 if count is None else count, highest=highest)
    return [part for pair in taken for part in pair] if count is None else taken


@command("ZPOPMIN", -2, group="sorted-set", write=True, freeing=True, check=_check_pop)
def zpopmin(db: Keyspace, arguments: Arguments) -> Reply:
    """Take the member with the lowest score, or up to a count of them."""
    return _pop(db, arguments, highest=False)


@command("ZPOPMAX", -2, group="sorted-set", write=True, freeing=True, check=_check_pop)
def zpopmax(db: Keyspace, arguments: Arguments) -> Reply:
    """Take the member with the highest score, or up to a count of them."""
    return _pop(db, arguments, highest=True)


def _pop_many(arguments: Arguments) -> tuple[Arguments, bool, int]:
    return pop_many(arguments, {b"MIN": False, b"MAX": True})


@command("ZMPOP", -4, group="sorted-set", write=True, freeing=True, keys=COUNTED_KEYS, check=_pop_many)
def zmpop(db: Keyspace, arguments: Arguments) -> Reply:
    """Take members with the lowest or the highest scores from the first of several sorted sets that is there."""
    keys, highest, count = _pop_many(arguments)
    for key in keys:
        if taken := _taken(db, key, count, highest=highest):
            return [key, [list(pair) for pair in taken]]
    return NULL_ARRAY


def _pick(arguments: Arguments) -> tuple[int | None, bool]:
    return pick_options(arguments, b"WITHSCORES")


@command("ZRANDMEMBER", -2, group="sorted-set", check=_pick)
def zrandmember(db: Keyspace, arguments: Arguments) -> Reply:
    """One random member or several, with their scores on request."""
    count, with_scores = _pick(arguments)
    value = db.get(arguments[1], SortedSet)
    if value is None:
        return None if count is None else []
    if count is None:
        return value.order[position(db.random, len(value))][1]
    picked = [value.order[at] for at in positions(db.random, len(value), count)]
    bounded([member for _, member in picked])
    return Pairs((member, score) for score, member in picked) if with_scores else [member for _, member in picked]


@command("ZSCAN", -3, group="sorted-set", check=check_cursor)
def zscan(db: Keyspace, arguments: Arguments) -> Reply:
    """Go through the members of a sorted set and their scores in steps."""
    there = scores(db, arguments[1])
    if not there:
        return [b"0", []]
    cursor, given = parse_scan(arguments).step(there)
    return [cursor, [part for member in given for part in (member, written(there[member]))]]
