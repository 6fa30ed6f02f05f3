"""Sorted sets: members with scores, ordered by score and then by member."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload

from quorate.kv.store.calls import Call, Calls
from quorate.kv.store.encoding import Argument, K, Key, Options, flag, option
from quorate.kv.store.shapes import (
    BYTES_LIST,
    BYTES_OR_NONE,
    FLOAT,
    FLOAT_OR_NONE,
    FLOATS_OR_NONES,
    INT,
    INT_OR_NONE,
    SCORED,
    Scored,
    first_scored,
    ranked,
    step_of_scored,
    taken_scored,
)


def _conditions(*, nx: bool, xx: bool, gt: bool, lt: bool) -> Options:
    return (*flag(b"NX", nx), *flag(b"XX", xx), *flag(b"GT", gt), *flag(b"LT", lt))


class SortedSets(Calls):
    """Commands on the members of sorted sets."""

    def zadd(
        self,
        key: Key,
        scores: Mapping[K, float],
        *,
        nx: bool = False,
        xx: bool = False,
        gt: bool = False,
        lt: bool = False,
        ch: bool = False,
    ) -> Call[int]:
        """Add members, or change their scores: ``zadd("board", {"ann": 7})``; returns how many are new.

        With ``nx`` members are only added, with ``xx`` only changed, and to a higher (``gt``) or lower (``lt``) score.
        With ``ch`` those that were changed are counted, too.
        """
        scored = tuple(part for member, score in scores.items() for part in (score, member))
        options = (*_conditions(nx=nx, xx=xx, gt=gt, lt=lt), *flag(b"CH", ch))
        return self._call(INT, b"ZADD", key, *options, *scored)

    def zadd_incr(
        self,
        key: Key,
        member: Argument,
        amount: float,
        *,
        nx: bool = False,
        xx: bool = False,
        gt: bool = False,
        lt: bool = False,
    ) -> Call[float | None]:
        """Add to the score of a member, on the conditions of :meth:`zadd`; returns the sum, ``None`` without one."""
        options = (*_conditions(nx=nx, xx=xx, gt=gt, lt=lt), b"INCR")
        return self._call(FLOAT_OR_NONE, b"ZADD", key, *options, amount, member)

    def zincrby(self, key: Key, amount: float, member: Argument) -> Call[float]:
        """Add to the score of a member, 0 if it is not there; returns the sum."""
        return self._call(FLOAT, b"ZINCRBY", key, amount, member)

    def zscore(self, key: Key, member: Argument) -> Call[float | None]:
        """The score of a member."""
        return self._call(FLOAT_OR_NONE, b"ZSCORE", key, member)

    def zmscore(self, key: Key, *members: Argument) -> Call[list[float | None]]:
        """The scores of several members."""
        return self._call(FLOATS_OR_NONES, b"ZMSCORE", key, *members)

    def zrem(self, key: Key, *members: Argument) -> Call[int]:
        """Remove members; returns how many there were."""
        return self._call(INT, b"ZREM", key, *members)

    def zcard(self, key: Key) -> Call[int]:
        """How many members there are."""
        return self._call(INT, b"ZCARD", key)

    def zrank(self, key: Key, member: Argument) -> Call[int | None]:
        """The place of a member, from 0, counted from the lowest score."""
        return self._call(INT_OR_NONE, b"ZRANK", key, member)

    def zrevrank(self, key: Key, member: Argument) -> Call[int | None]:
        """The place of a member, from 0, counted from the highest score."""
        return self._call(INT_OR_NONE, b"ZREVRANK", key, member)

    def zrank_withscore(self, key: Key, member: Argument) -> Call[tuple[int, float] | None]:
        """The place and the score of a member."""
        return self._call(ranked, b"ZRANK", key, member, b"WITHSCORE")

    def zrevrank_withscore(self, key: Key, member: Argument) -> Call[tuple[int, float] | None]:
        """The place of a member counted from the highest score, and its score."""
        return self._call(ranked, b"ZREVRANK", key, member, b"WITHSCORE")

    @overload
    def zpopmin(self, key: Key) -> Call[tuple[bytes, float] | None]: ...
    @overload
    def zpopmin(self, key: Key, count: int) -> Call[Scored]: ...
    def zpopmin(self, key: Key, count: int | None = None) -> Call[tuple[bytes, float] | None] | Call[Scored]:
        """Take the member with the lowest score, or up to ``count`` of them."""
        return self._pop_scored(b"ZPOPMIN", key, count)

    @overload
    def zpopmax(self, key: Key) -> Call[tuple[bytes, float] | None]: ...
    @overload
    def zpopmax(self, key: Key, count: int) -> Call[Scored]: ...
    def zpopmax(self, key: Key, count: int | None = None) -> Call[tuple[bytes, float] | None] | Call[Scored]:
        """Take the member with the highest score, or up to ``count`` of them."""
        return self._pop_scored(b"ZPOPMAX", key, count)

    def _pop_scored(self, name: bytes, key: Key, count: int | None) -> Call[tuple[bytes, float] | None] | Call[Scored]:
        if count is None:
            return self._call(first_scored, name, key)
        return self._call(SCORED, name, key, count)

    def zmpop(self, *keys: Key, highest: bool = False, count: int | None = None) -> Call[tuple[bytes, Scored] | None]:
        """Take members from the first of several sorted sets that is there; returns its key and them."""
        side = b"MAX" if highest else b"MIN"
        return self._call(taken_scored, b"ZMPOP", len(keys), *keys, side, *option(b"COUNT", count))

    @overload
    def zrandmember(self, key: Key) -> Call[bytes | None]: ...
    @overload
    def zrandmember(self, key: Key, count: int, *, withscores: Literal[False] = False) -> Call[list[bytes]]: ...
    @overload
    def zrandmember(self, key: Key, count: int, *, withscores: Literal[True]) -> Call[Scored]: ...
    def zrandmember(self, key: Key, count: int | None = None, *, withscores: bool = False) -> Call[Any]:
        """A random member, or ``count`` different ones; if negative, so many that may repeat."""
        if count is None:
            return self._call(BYTES_OR_NONE, b"ZRANDMEMBER", key)
        if withscores:
            return self._call(SCORED, b"ZRANDMEMBER", key, count, b"WITHSCORES")
        return self._call(BYTES_LIST, b"ZRANDMEMBER", key, count)

    def zscan(
        self, key: Key, cursor: int = 0, *, match: Key | None = None, count: int | None = None
    ) -> Call[tuple[int, Scored]]:
        """The next cursor, 0 at the end, and some members with their scores."""
        return self._call(step_of_scored, b"ZSCAN", key, cursor, *option(b"MATCH", match), *option(b"COUNT", count))
