"""Keys, whatever they hold: how long they live, what they are called, and going through them."""

from __future__ import annotations

from typing import Literal

from quorate.kv.store.calls import Call, Calls
from quorate.kv.store.encoding import Key, Moment, Options, Seconds, flag, limit, milliseconds, moment_ms, option
from quorate.kv.store.shapes import BYTES_LIST, BYTES_OR_NONE, INT, INT_OR_NONE, IS_ONE, TEXT, nothing, step

Kind = Literal["string", "hash", "list", "set", "zset", "lock", "lease"]


def _conditions(*, nx: bool, xx: bool, gt: bool, lt: bool) -> Options:
    return (*flag(b"NX", nx), *flag(b"XX", xx), *flag(b"GT", gt), *flag(b"LT", lt))


class Keys(Calls):
    """Commands on keys."""

    def delete(self, *keys: Key) -> Call[int]:
        """Delete keys; returns how many there were."""
        return self._call(INT, b"DEL", *keys)

    def unlink(self, *keys: Key) -> Call[int]:
        """The same."""
        return self._call(INT, b"UNLINK", *keys)

    def exists(self, *keys: Key) -> Call[int]:
        """How many of the keys are there."""
        return self._call(INT, b"EXISTS", *keys)

    def touch(self, *keys: Key) -> Call[int]:
        """The same."""
        return self._call(INT, b"TOUCH", *keys)

    def type(self, key: Key) -> Call[str]:
        """``string``, ``hash``, ``list``, ``set``, ``zset``, ``lock`` or ``lease``; ``none`` if nothing is there."""
        return self._call(TEXT, b"TYPE", key)

    def rename(self, key: Key, target: Key) -> Call[None]:
        """Give a key another name, whatever had it. Raises :class:`KvError` if it is not there."""
        return self._call(nothing, b"RENAME", key, target)

    def renamenx(self, key: Key, target: Key) -> Call[bool]:
        """Give a key another name if nothing has it; returns whether it was done."""
        return self._call(IS_ONE, b"RENAMENX", key, target)

    def copy(self, key: Key, target: Key, *, replace: bool = False) -> Call[bool]:
        """Have a key's value and deadline at another as well; returns whether it was done."""
        return self._call(IS_ONE, b"COPY", key, target, *flag(b"REPLACE", replace))

    def keys(self, pattern: Key = "*") -> Call[list[bytes]]:
        """All keys that are like a pattern, at once; see ``scan_iter`` for many."""
        return self._call(BYTES_LIST, b"KEYS", pattern)

    def scan(
        self, cursor: int = 0, *, match: Key | None = None, count: int | None = None, kind: Kind | None = None
    ) -> Call[tuple[int, list[bytes]]]:
        """The next cursor, 0 at the end, and about ``count`` keys; a key that stays is found, and once."""
        options = (*option(b"MATCH", match), *option(b"COUNT", count), *option(b"TYPE", kind))
        return self._call(step, b"SCAN", cursor, *options)

    def randomkey(self) -> Call[bytes | None]:
        """Some key."""
        return self._call(BYTES_OR_NONE, b"RANDOMKEY")

    def dbsize(self) -> Call[int]:
        """How many keys there are."""
        return self._call(INT, b"DBSIZE")

    def flushdb(self) -> Call[None]:
        """Delete all keys."""
        return self._call(nothing, b"FLUSHDB")

    def flushall(self) -> Call[None]:
        """The same: there is one database."""
        return self._call(nothing, b"FLUSHALL")

    def sort(
        self, key: Key, *, desc: bool = False, alpha: bool = False, offset: int | None = None, num: int | None = None
    ) -> Call[list[bytes]]:
        """The elements of a list, a set or a sorted set, sorted as numbers, or as text with ``alpha``."""
        options = (*flag(b"DESC", desc), *flag(b"ALPHA", alpha), *limit(offset, num))
        return self._call(BYTES_LIST, b"SORT_RO", key, *options)

    def sort_store(
        self,
        key: Key,
        target: Key,
        *,
        desc: bool = False,
        alpha: bool = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> Call[int]:
        """Store what :meth:`sort` gives; returns how many they are."""
        options = (*flag(b"DESC", desc), *flag(b"ALPHA", alpha), *limit(offset, num))
        return self._call(INT, b"SORT", key, *options, b"STORE", target)

    def object_encoding(self, key: Key) -> Call[bytes | None]:
        """How Redis would keep the value."""
        return self._call(BYTES_OR_NONE, b"OBJECT", "ENCODING", key)

    def memory_usage(self, key: Key) -> Call[int | None]:
        """About how many bytes a key and its value take."""
        return self._call(INT_OR_NONE, b"MEMORY", "USAGE", key)

    # -- deadlines ---------------------------------------------------------------------------------------

    def expire(
        self, key: Key, time: Seconds, *, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Call[bool]:
        """Have a key live for so long from now; returns whether that was set.

        Only where it has no deadline (``nx``), has one (``xx``), or has an earlier (``gt``) or a later one (``lt``).
        """
        return self.pexpire(key, milliseconds(time), nx=nx, xx=xx, gt=gt, lt=lt)

    def pexpire(
        self, key: Key, milliseconds: int, *, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Call[bool]:
        """The same in milliseconds."""
        return self._call(IS_ONE, b"PEXPIRE", key, milliseconds, *_conditions(nx=nx, xx=xx, gt=gt, lt=lt))

    def expireat(
        self, key: Key, when: Moment, *, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Call[bool]:
        """Have a key live until then; conditions as those of :meth:`expire`."""
        return self.pexpireat(key, moment_ms(when), nx=nx, xx=xx, gt=gt, lt=lt)

    def pexpireat(
        self, key: Key, milliseconds: int, *, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> Call[bool]:
        """The same in milliseconds since 1970."""
        return self._call(IS_ONE, b"PEXPIREAT", key, milliseconds, *_conditions(nx=nx, xx=xx, gt=gt, lt=lt))

    def persist(self, key: Key) -> Call[bool]:
        """Have a key live for ever; returns whether it had a deadline."""
        return self._call(IS_ONE, b"PERSIST", key)

    def ttl(self, key: Key) -> Call[int]:
        """For how many seconds a key lives; -1 for ever, -2 if it is not there."""
        return self._call(INT, b"TTL", key)

    def pttl(self, key: Key) -> Call[int]:
        """The same in milliseconds."""
        return self._call(INT, b"PTTL", key)

    def expiretime(self, key: Key) -> Call[int]:
        """Until when a key lives, in seconds since 1970; -1 for ever, -2 if it is not there."""
        return self._call(INT, b"EXPIRETIME", key)

    def pexpiretime(self, key: Key) -> Call[int]:
        """The same in milliseconds."""
        return self._call(INT, b"PEXPIRETIME", key)
