"""Ranges of sorted sets, by rank, score or member."""

from __future__ import annotations

from typing import Any, Literal, overload

from quorate.kv.store.calls import Call, Calls
from quorate.kv.store.encoding import Key, Options, flag, limit
from quorate.kv.store.shapes import BYTES_LIST, INT, SCORED, Scored

Bound = str | bytes | int | float
"""A rank; a score, with ``(`` in front to leave it out, ``-inf`` or ``+inf``; or a member behind ``[`` or ``(``, ``-``
or ``+`` for either end."""


def _form(*, desc: bool, byscore: bool, bylex: bool, offset: int | None, num: int | None) -> Options:
    kind = (*flag(b"BYSCORE", byscore), *flag(b"BYLEX", bylex))
    return (*kind, *flag(b"REV", desc), *limit(offset, num))


class SortedSetRanges(Calls):
    """Commands on parts of a sorted set. Bounds are both included unless they say otherwise."""

    def _range(self, name: bytes, key: Key, low: Bound, high: Bound, options: Options, withscores: bool) -> Call[Any]:
        if withscores:
            return self._call(SCORED, name, key, low, high, *options, b"WITHSCORES")
        return self._call(BYTES_LIST, name, key, low, high, *options)

    @overload
    def zrange(
        self,
        key: Key,
        start: Bound,
        end: Bound,
        *,
        desc: bool = False,
        byscore: bool = False,
        bylex: bool = False,
        offset: int | None = None,
        num: int | None = None,
        withscores: Literal[False] = False,
    ) -> Call[list[bytes]]: ...
    @overload
    def zrange(
        self,
        key: Key,
        start: Bound,
        end: Bound,
        *,
        desc: bool = False,
        byscore: bool = False,
        offset: int | None = None,
        num: int | None = None,
        withscores: Literal[True],
    ) -> Call[Scored]: ...
    def zrange(
        self,
        key: Key,
        start: Bound,
        end: Bound,
        *,
        desc: bool = False,
        byscore: bool = False,
        bylex: bool = False,
        offset: int | None = None,
        num: int | None = None,
        withscores: bool = False,
    ) -> Call[Any]:
        """The members from one rank to another, or with ``byscore`` one score, or with ``bylex`` one member.

        With ``desc`` backwards, where scores and members are then given with the higher one first; with ``offset`` and
        ``num`` only a part.
        """
        options = _form(desc=desc, byscore=byscore, bylex=bylex, offset=offset, num=num)
        return self._range(b"ZRANGE", key, start, end, options, withscores)

    def zrangestore(
        self,
        target: Key,
        key: Key,
        start: Bound,
        end: Bound,
        *,
        desc: bool = False,
        byscore: bool = False,
        bylex: bool = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> Call[int]:
        """Store what :meth:`zrange` gives; returns its size."""
        options = _form(desc=desc, byscore=byscore, bylex=bylex, offset=offset, num=num)
        return self._call(INT, b"ZRANGESTORE", target, key, start, end, *options)

    @overload
    def zrevrange(self, key: Key, start: int, end: int, *, withscores: Literal[False] = False) -> Call[list[bytes]]: ...
    @overload
    def zrevrange(self, key: Key, start: int, end: int, *, withscores: Literal[True]) -> Call[Scored]: ...
    def zrevrange(self, key: Key, start: int, end: int, *, withscores: bool = False) -> Call[Any]:
        """The members from one rank to another, counted from the highest score."""
        return self._range(b"ZREVRANGE", key, start, end, (), withscores)

    @overload
    def zrangebyscore(
        self,
        key: Key,
        low: Bound,
        high: Bound,
        *,
        offset: int | None = None,
        num: int | None = None,
        withscores: Literal[False] = False,
    ) -> Call[list[bytes]]: ...
    @overload
    def zrangebyscore(
        self,
        key: Key,
        low: Bound,
        high: Bound,
        *,
        offset: int | None = None,
        num: int | None = None,
        withscores: Literal[True],
    ) -> Call[Scored]: ...
    def zrangebyscore(
        self,
        key: Key,
        low: Bound,
        high: Bound,
        *,
        offset: int | None = None,
        num: int | None = None,
        withscores: bool = False,
    ) -> Call[Any]:
        """The members with scores from one to another."""
        return self._range(b"ZRANGEBYSCORE", key, low, high, limit(offset, num), withscores)

    @overload
    def zrevrangebyscore(
        self,
        key: Key,
        high: Bound,
        low: Bound,
        *,
        offset: int | None = None,
        num: int | None = None,
        withscores: Literal[False] = False,
    ) -> Call[list[bytes]]: ...
    @overload
    def zrevrangebyscore(
        self,
        key: Key,
        high: Bound,
        low: Bound,
        *,
        offset: int | None = None,
        num: int | None = None,
        withscores: Literal[True],
    ) -> Call[Scored]: ...
    def zrevrangebyscore(
        self,
        key: Key,
        high: Bound,
        low: Bound,
        *,
        offset: int | None = None,
        num: int | None = None,
        withscores: bool = False,
    ) -> Call[Any]:
        """The same from the highest on."""
        return self._range(b"ZREVRANGEBYSCORE", key, high, low, limit(offset, num), withscores)

    def zrangebylex(
        self, key: Key, low: Key, high: Key, *, offset: int | None = None, num: int | None = None
    ) -> Call[list[bytes]]:
        """The members from one to another, where all scores are equal: ``zrangebylex("k", "[a", "(b")``."""
        return self._call(BYTES_LIST, b"ZRANGEBYLEX", key, low, high, *limit(offset, num))

    def zrevrangebylex(
        self, key: Key, high: Key, low: Key, *, offset: int | None = None, num: int | None = None
    ) -> Call[list[bytes]]:
        """The same from the last on."""
        return self._call(BYTES_LIST, b"ZREVRANGEBYLEX", key, high, low, *limit(offset, num))

    def zcount(self, key: Key, low: Bound, high: Bound) -> Call[int]:
        """How many members have scores from one to another."""
        return self._call(INT, b"ZCOUNT", key, low, high)

    def zlexcount(self, key: Key, low: Key, high: Key) -> Call[int]:
        """How many members there are from one to another, where all scores are equal."""
        return self._call(INT, b"ZLEXCOUNT", key, low, high)

    def zremrangebyrank(self, key: Key, start: int, end: int) -> Call[int]:
        """Remove the members from one rank to another; returns how many they were."""
        return self._call(INT, b"ZREMRANGEBYRANK", key, start, end)

    def zremrangebyscore(self, key: Key, low: Bound, high: Bound) -> Call[int]:
        """Remove the members with scores from one to another; returns how many they were."""
        return self._call(INT, b"ZREMRANGEBYSCORE", key, low, high)

    def zremrangebylex(self, key: Key, low: Key, high: Key) -> Call[int]:
        """Remove the members from one to another, where all scores are equal; returns how many they were."""
        return self._call(INT, b"ZREMRANGEBYLEX", key, low, high)
