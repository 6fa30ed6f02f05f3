"""Hashes: fields and their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload

from quorate.kv.store.calls import Call, Calls
from quorate.kv.store.encoding import Argument, K, Key, option, pairs
from quorate.kv.store.shapes import (
    BYTES_DICT,
    BYTES_LIST,
    BYTES_OR_NONE,
    BYTES_OR_NONES,
    BYTES_PAIRS,
    FLOAT,
    INT,
    IS_ONE,
    nothing,
    step_of_pairs,
)


class Hashes(Calls):
    """Commands on hashes."""

    @overload
    def hset(self, key: Key, field: Key, value: Argument, /) -> Call[int]: ...
    @overload
    def hset(self, key: Key, fields: Mapping[K, Argument], /) -> Call[int]: ...
    def hset(self, key: Key, field: Key | Mapping[K, Argument], value: Argument = b"", /) -> Call[int]:
        """Set one field, or several: ``hset("user", "name", "Ann")``, ``hset("user", {"name": "Ann"})``.

        Returns how many are new.
        """
        given = pairs(field.items()) if isinstance(field, Mapping) else (field, value)
        return self._call(INT, b"HSET", key, *given)

    def hmset(self, key: Key, fields: Mapping[K, Argument]) -> Call[None]:
        """The older form of :meth:`hset`."""
        return self._call(nothing, b"HMSET", key, *pairs(fields.items()))

    def hsetnx(self, key: Key, field: Key, value: Argument) -> Call[bool]:
        """Set a field that is not there; returns whether it was set."""
        return self._call(IS_ONE, b"HSETNX", key, field, value)

    def hget(self, key: Key, field: Key) -> Call[bytes | None]:
        """The value of a field."""
        return self._call(BYTES_OR_NONE, b"HGET", key, field)

    def hmget(self, key: Key, *fields: Key) -> Call[list[bytes | None]]:
        """The values of several fields."""
        return self._call(BYTES_OR_NONES, b"HMGET", key, *fields)

    def hgetall(self, key: Key) -> Call[dict[bytes, bytes]]:
        """All fields and their values."""
        return self._call(BYTES_DICT, b"HGETALL", key)

    def hdel(self, key: Key, *fields: Key) -> Call[int]:
        """Delete fields; returns how many there were."""
        return self._call(INT, b"HDEL", key, *fields)

    def hexists(self, key: Key, field: Key) -> Call[bool]:
        """Whether there is such a field."""
        return self._call(IS_ONE, b"HEXISTS", key, field)

    def hlen(self, key: Key) -> Call[int]:
        """How many fields there are."""
        return self._call(INT, b"HLEN", key)

    def hstrlen(self, key: Key, field: Key) -> Call[int]:
        """The length of a field's value."""
        return self._call(INT, b"HSTRLEN", key, field)

    def hkeys(self, key: Key) -> Call[list[bytes]]:
        """All fields."""
        return self._call(BYTES_LIST, b"HKEYS", key)

    def hvals(self, key: Key) -> Call[list[bytes]]:
        """All values."""
        return self._call(BYTES_LIST, b"HVALS", key)

    def hincrby(self, key: Key, field: Key, amount: int = 1) -> Call[int]:
        """Add to the integer in a field, 0 if there is none; returns the sum."""
        return self._call(INT, b"HINCRBY", key, field, amount)

    def hincrbyfloat(self, key: Key, field: Key, amount: float) -> Call[float]:
        """Add to the decimal in a field, 0 if there is none; returns the sum."""
        return self._call(FLOAT, b"HINCRBYFLOAT", key, field, amount)

    @overload
    def hrandfield(self, key: Key) -> Call[bytes | None]: ...
    @overload
    def hrandfield(self, key: Key, count: int, *, withvalues: Literal[False] = False) -> Call[list[bytes]]: ...
    @overload
    def hrandfield(self, key: Key, count: int, *, withvalues: Literal[True]) -> Call[list[tuple[bytes, bytes]]]: ...
    def hrandfield(self, key: Key, count: int | None = None, *, withvalues: bool = False) -> Call[Any]:
        """A random field, or ``count`` different ones; if negative, so many that may repeat."""
        if count is None:
            return self._call(BYTES_OR_NONE, b"HRANDFIELD", key)
        if withvalues:
            return self._call(BYTES_PAIRS, b"HRANDFIELD", key, count, b"WITHVALUES")
        return self._call(BYTES_LIST, b"HRANDFIELD", key, count)

    def hscan(
        self, key: Key, cursor: int = 0, *, match: Key | None = None, count: int | None = None
    ) -> Call[tuple[int, dict[bytes, bytes]]]:
        """The next cursor, 0 at the end, and some fields with their values."""
        return self._call(step_of_pairs, b"HSCAN", key, cursor, *option(b"MATCH", match), *option(b"COUNT", count))
