"""Lists of elements, with two ends."""

from __future__ import annotations

from typing import Literal, overload

from quorate.kv.store.calls import Call, Calls
from quorate.kv.store.encoding import Argument, Key, option
from quorate.kv.store.shapes import BYTES_LIST, BYTES_OR_NONE, INT, INT_OR_NONE, INTS, listed, nothing, taken

Side = Literal["LEFT", "RIGHT"]


class Lists(Calls):
    """Commands on lists."""

    def lpush(self, key: Key, *elements: Argument) -> Call[int]:
        """Add elements at the head, one after the other; returns the length."""
        return self._call(INT, b"LPUSH", key, *elements)

    def rpush(self, key: Key, *elements: Argument) -> Call[int]:
        """Add elements at the tail; returns the length."""
        return self._call(INT, b"RPUSH", key, *elements)

    def lpushx(self, key: Key, *elements: Argument) -> Call[int]:
        """Add elements at the head of a list that is there; returns the length."""
        return self._call(INT, b"LPUSHX", key, *elements)

    def rpushx(self, key: Key, *elements: Argument) -> Call[int]:
        """Add elements at the tail of a list that is there; returns the length."""
        return self._call(INT, b"RPUSHX", key, *elements)

    @overload
    def lpop(self, key: Key) -> Call[bytes | None]: ...
    @overload
    def lpop(self, key: Key, count: int) -> Call[list[bytes]]: ...
    def lpop(self, key: Key, count: int | None = None) -> Call[bytes | None] | Call[list[bytes]]:
        """Take the first element, or up to ``count`` of them."""
        return self._pop(b"LPOP", key, count)

    @overload
    def rpop(self, key: Key) -> Call[bytes | None]: ...
    @overload
    def rpop(self, key: Key, count: int) -> Call[list[bytes]]: ...
    def rpop(self, key: Key, count: int | None = None) -> Call[bytes | None] | Call[list[bytes]]:
        """Take the last element, or up to ``count`` of them."""
        return self._pop(b"RPOP", key, count)

    def _pop(self, name: bytes, key: Key, count: int | None) -> Call[bytes | None] | Call[list[bytes]]:
        if count is None:
            return self._call(BYTES_OR_NONE, name, key)
        return self._call(listed, name, key, count)

    def lmpop(
        self, *keys: Key, direction: Side = "LEFT", count: int | None = None
    ) -> Call[tuple[bytes, list[bytes]] | None]:
        """Take elements from the first of several lists that is there; returns its key and them."""
        return self._call(taken, b"LMPOP", len(keys), *keys, direction, *option(b"COUNT", count))

    def llen(self, key: Key) -> Call[int]:
        """How many elements there are."""
        return self._call(INT, b"LLEN", key)

    def lrange(self, key: Key, start: int = 0, end: int = -1) -> Call[list[bytes]]:
        """The elements from one index to another, both included; negative ones count from the end."""
        return self._call(BYTES_LIST, b"LRANGE", key, start, end)

    def lindex(self, key: Key, index: int) -> Call[bytes | None]:
        """The element at an index."""
        return self._call(BYTES_OR_NONE, b"LINDEX", key, index)

    def lset(self, key: Key, index: int, element: Argument) -> Call[None]:
        """Replace the element at an index. Raises :class:`KvError` if there is none."""
        return self._call(nothing, b"LSET", key, index, element)

    def lrem(self, key: Key, count: int, element: Argument) -> Call[int]:
        """Remove the first ``count`` that equal ``element``, the last so many if negative, all if 0.

        Returns how many they were.
        """
        return self._call(INT, b"LREM", key, count, element)

    def ltrim(self, key: Key, start: int, end: int) -> Call[None]:
        """Keep only the elements from one index to another."""
        return self._call(nothing, b"LTRIM", key, start, end)

    def linsert(self, key: Key, where: Literal["BEFORE", "AFTER"], pivot: Argument, element: Argument) -> Call[int]:
        """Insert an element beside another; returns the length, -1 if that is not there, 0 if there is no list."""
        return self._call(INT, b"LINSERT", key, where, pivot, element)

    @overload
    def lpos(self, key: Key, element: Argument, *, rank: int = 1, maxlen: int = 0) -> Call[int | None]: ...
    @overload
    def lpos(self, key: Key, element: Argument, *, count: int, rank: int = 1, maxlen: int = 0) -> Call[list[int]]: ...
    def lpos(
        self, key: Key, element: Argument, *, count: int | None = None, rank: int = 1, maxlen: int = 0
    ) -> Call[int | None] | Call[list[int]]:
        """The index of an element, or the indexes of up to ``count`` that equal it (0: of all).

        From the ``rank``-th match on, from the end if negative; ``maxlen`` elements are looked at (0: all).
        """
        options = (b"RANK", rank, b"MAXLEN", maxlen)
        if count is None:
            return self._call(INT_OR_NONE, b"LPOS", key, element, *options)
        return self._call(INTS, b"LPOS", key, element, *options, b"COUNT", count)

    def lmove(self, source: Key, target: Key, src: Side = "LEFT", dest: Side = "RIGHT") -> Call[bytes | None]:
        """Take an element from one end of a list, and add it at one end of another, or of the same."""
        return self._call(BYTES_OR_NONE, b"LMOVE", source, target, src, dest)

    def rpoplpush(self, source: Key, target: Key) -> Call[bytes | None]:
        """Take the last element, and add it at the head of another list: the older form of :meth:`lmove`."""
        return self._call(BYTES_OR_NONE, b"RPOPLPUSH", source, target)
