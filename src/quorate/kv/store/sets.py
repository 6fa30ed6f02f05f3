"""Sets: members, each once."""

from __future__ import annotations

from typing import overload

from quorate.kv.store.calls import Call, Calls
from quorate.kv.store.encoding import Argument, Key, option
from quorate.kv.store.shapes import BYTES_LIST, BYTES_OR_NONE, BYTES_SET, INT, IS_ONE, bools, step

Members = set[bytes]


class Sets(Calls):
    """Commands on sets."""

    def sadd(self, key: Key, *members: Argument) -> Call[int]:
        """Add members; returns how many are new."""
        return self._call(INT, b"SADD", key, *members)

    def srem(self, key: Key, *members: Argument) -> Call[int]:
        """Remove members; returns how many there were."""
        return self._call(INT, b"SREM", key, *members)

    def smembers(self, key: Key) -> Call[Members]:
        """All members."""
        return self._call(BYTES_SET, b"SMEMBERS", key)

    def sismember(self, key: Key, member: Argument) -> Call[bool]:
        """Whether there is such a member."""
        return self._call(IS_ONE, b"SISMEMBER", key, member)

    def smismember(self, key: Key, *members: Argument) -> Call[list[bool]]:
        """The same of each of several."""
        return self._call(bools, b"SMISMEMBER", key, *members)

    def scard(self, key: Key) -> Call[int]:
        """How many members there are."""
        return self._call(INT, b"SCARD", key)

    @overload
    def spop(self, key: Key) -> Call[bytes | None]: ...
    @overload
    def spop(self, key: Key, count: int) -> Call[Members]: ...
    def spop(self, key: Key, count: int | None = None) -> Call[bytes | None] | Call[Members]:
        """Take a random member, or up to ``count`` of them."""
        if count is None:
            return self._call(BYTES_OR_NONE, b"SPOP", key)
        return self._call(BYTES_SET, b"SPOP", key, count)

    @overload
    def srandmember(self, key: Key) -> Call[bytes | None]: ...
    @overload
    def srandmember(self, key: Key, count: int) -> Call[list[bytes]]: ...
    def srandmember(self, key: Key, count: int | None = None) -> Call[bytes | None] | Call[list[bytes]]:
        """A random member, or ``count`` different ones; if negative, so many that may repeat."""
        if count is None:
            return self._call(BYTES_OR_NONE, b"SRANDMEMBER", key)
        return self._call(BYTES_LIST, b"SRANDMEMBER", key, count)

    def smove(self, source: Key, target: Key, member: Argument) -> Call[bool]:
        """Move a member from one set to another; returns whether it was there."""
        return self._call(IS_ONE, b"SMOVE", source, target, member)

    def sunion(self, *keys: Key) -> Call[Members]:
        """The members of any of several sets."""
        return self._call(BYTES_SET, b"SUNION", *keys)

    def sinter(self, *keys: Key) -> Call[Members]:
        """The members that several sets have in common."""
        return self._call(BYTES_SET, b"SINTER", *keys)

    def sdiff(self, *keys: Key) -> Call[Members]:
        """The members of the first set that no other has."""
        return self._call(BYTES_SET, b"SDIFF", *keys)

    def sunionstore(self, target: Key, *keys: Key) -> Call[int]:
        """Store what :meth:`sunion` gives; returns its size."""
        return self._call(INT, b"SUNIONSTORE", target, *keys)

    def sinterstore(self, target: Key, *keys: Key) -> Call[int]:
        """Store what :meth:`sinter` gives; returns its size."""
        return self._call(INT, b"SINTERSTORE", target, *keys)

    def sdiffstore(self, target: Key, *keys: Key) -> Call[int]:
        """Store what :meth:`sdiff` gives; returns its size."""
        return self._call(INT, b"SDIFFSTORE", target, *keys)

    def sintercard(self, *keys: Key, limit: int = 0) -> Call[int]:
        """How many members several sets have in common; counted up to ``limit``, 0 for all."""
        return self._call(INT, b"SINTERCARD", len(keys), *keys, b"LIMIT", limit)

    def sscan(
        self, key: Key, cursor: int = 0, *, match: Key | None = None, count: int | None = None
    ) -> Call[tuple[int, list[bytes]]]:
        """The next cursor, 0 at the end, and some members."""
        return self._call(step, b"SSCAN", key, cursor, *option(b"MATCH", match), *option(b"COUNT", count))
