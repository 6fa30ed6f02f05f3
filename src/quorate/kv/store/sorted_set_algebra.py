"""Several sorted sets at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

from quorate.kv.store.calls import Call, Calls
from quorate.kv.store.encoding import Key, Options, option
from quorate.kv.store.shapes import BYTES_LIST, INT, SCORED, Scored

Aggregate = Literal["SUM", "MIN", "MAX"]
Inputs = Sequence[Key] | Mapping[str, float] | Mapping[bytes, float]
"""Keys, or keys with the weights by which their scores are multiplied."""


def _inputs(keys: Inputs, aggregate: Aggregate | None) -> Options:
    if isinstance(keys, str | bytes):
        raise TypeError("keys come in a list, not one alone")
    weights = (b"WEIGHTS", *keys.values()) if isinstance(keys, Mapping) else ()
    return (len(keys), *keys, *weights, *option(b"AGGREGATE", aggregate))


class SortedSetAlgebra(Calls):
    """Commands on several sorted sets. Plain sets take part in them, with 1 for every score."""

    def _combine(self, name: bytes, arguments: Options, withscores: bool) -> Call[Any]:
        if withscores:
            return self._call(SCORED, name, *arguments, b"WITHSCORES")
        return self._call(BYTES_LIST, name, *arguments)

    @overload
    def zunion(
        self, keys: Inputs, *, aggregate: Aggregate | None = None, withscores: Literal[False] = False
    ) -> Call[list[bytes]]: ...
    @overload
    def zunion(
        self, keys: Inputs, *, aggregate: Aggregate | None = None, withscores: Literal[True]
    ) -> Call[Scored]: ...
    def zunion(self, keys: Inputs, *, aggregate: Aggregate | None = None, withscores: bool = False) -> Call[Any]:
        """The members of any, their scores put together: ``zunion({"a": 1, "b": 0.5}, aggregate="MAX")``."""
        return self._combine(b"ZUNION", _inputs(keys, aggregate), withscores)

    @overload
    def zinter(
        self, keys: Inputs, *, aggregate: Aggregate | None = None, withscores: Literal[False] = False
    ) -> Call[list[bytes]]: ...
    @overload
    def zinter(
        self, keys: Inputs, *, aggregate: Aggregate | None = None, withscores: Literal[True]
    ) -> Call[Scored]: ...
    def zinter(self, keys: Inputs, *, aggregate: Aggregate | None = None, withscores: bool = False) -> Call[Any]:
        """The members that all have in common, their scores put together."""
        return self._combine(b"ZINTER", _inputs(keys, aggregate), withscores)

    @overload
    def zdiff(self, keys: Sequence[Key], *, withscores: Literal[False] = False) -> Call[list[bytes]]: ...
    @overload
    def zdiff(self, keys: Sequence[Key], *, withscores: Literal[True]) -> Call[Scored]: ...
    def zdiff(self, keys: Sequence[Key], *, withscores: bool = False) -> Call[Any]:
        """The members of the first that no other has."""
        return self._combine(b"ZDIFF", _inputs(keys, None), withscores)

    def zunionstore(self, target: Key, keys: Inputs, *, aggregate: Aggregate | None = None) -> Call[int]:
        """Store what :meth:`zunion` gives; returns its size."""
        return self._call(INT, b"ZUNIONSTORE", target, *_inputs(keys, aggregate))

    def zinterstore(self, target: Key, keys: Inputs, *, aggregate: Aggregate | None = None) -> Call[int]:
        """Store what :meth:`zinter` gives; returns its size."""
        return self._call(INT, b"ZINTERSTORE", target, *_inputs(keys, aggregate))

    def zdiffstore(self, target: Key, keys: Sequence[Key]) -> Call[int]:
        """Store what :meth:`zdiff` gives; returns its size."""
        return self._call(INT, b"ZDIFFSTORE", target, *_inputs(keys, None))

    def zintercard(self, keys: Sequence[Key], *, limit: int = 0) -> Call[int]:
        """How many members all have in common; counted up to ``limit``, 0 for all."""
        return self._call(INT, b"ZINTERCARD", *_inputs(keys, None), b"LIMIT", limit)
