"""Revisions, leases and locks: the commands. What keeps a lease or a lock by itself is in ``holding``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quorate.kv.replies import NullArray
from quorate.kv.store.calls import Call, Calls
from quorate.kv.store.encoding import Argument, Key, Moment, Seconds, flag, lifetime, milliseconds, option
from quorate.kv.store.shapes import INT, INT_OR_NONE, INTS, IS_ONE, is_done, nothing


@dataclass(frozen=True, slots=True)
class Versioned:
    """A string and its key's revision, which every change of the key makes higher."""

    value: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who holds a lock, and for how many more seconds. A higher ``token`` came later."""

    owner: bytes
    token: int
    ttl: float


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """A lease: for how many seconds from each renewal on it lives, how many are left, and its keys."""

    ttl: float
    left: float
    keys: list[bytes]


def _versioned(reply: Any) -> Versioned | None:
    return None if isinstance(reply, NullArray) else Versioned(reply[0], reply[1])


def _holder(reply: Any) -> LockHolder | None:
    return None if isinstance(reply, NullArray) else LockHolder(reply[0], reply[1], reply[2] / 1000)


def _lease(reply: Any) -> LeaseInfo | None:
    return None if isinstance(reply, NullArray) else LeaseInfo(reply[0] / 1000, reply[1] / 1000, reply[2])


class Coordination(Calls):
    """Commands that programs agree by."""

    # -- revisions ---------------------------------------------------------------------------------------

    def get_versioned(self, key: Key) -> Call[Versioned | None]:
        """A string with its revision, for :meth:`compare_and_set`."""
        return self._call(_versioned, b"QUORATE.GET", key)

    def revisions(self, *keys: Key) -> Call[list[int]]:
        """When each key, of any type, was changed last; 0 for one that is not there."""
        return self._call(INTS, b"QUORATE.REVISION", *keys)

    def compare_and_set(
        self,
        key: Key,
        revision: int,
        value: Argument,
        *,
        ex: Seconds | None = None,
        px: int | None = None,
        exat: Moment | None = None,
        pxat: int | None = None,
        keepttl: bool = False,
        lease: Key | None = None,
    ) -> Call[int | None]:
        """Set a string that still has this revision (0: is not there); returns the new one, ``None`` if it has not.

        It lives as :meth:`set` says, and no longer than the ``lease``, if one is named.
        """
        options = (*lifetime(ex=ex, px=px, exat=exat, pxat=pxat), *flag(b"KEEPTTL", keepttl), *option(b"LEASE", lease))
        return self._call(INT_OR_NONE, b"QUORATE.CAS", key, revision, value, *options)

    def compare_and_delete(self, key: Key, revision: int) -> Call[bool]:
        """Delete a key, of any type, that still has this revision; returns whether it was deleted."""
        return self._call(IS_ONE, b"QUORATE.CAD", key, revision)

    # -- leases ------------------------------------------------------------------------------------------

    def lease_grant(self, name: Key, ttl: Seconds) -> Call[None]:
        """Make a lease that lives for so long from each renewal on. Raises :class:`KvError` if there is one."""
        return self._call(nothing, b"QUORATE.LEASE", "GRANT", name, milliseconds(ttl))

    def lease_keepalive(self, name: Key) -> Call[bool]:
        """Renew a lease; returns whether it was still there."""
        return self._call(is_done, b"QUORATE.LEASE", "KEEPALIVE", name)

    def lease_revoke(self, name: Key) -> Call[bool]:
        """End a lease, and delete its keys; returns whether it was still there."""
        return self._call(IS_ONE, b"QUORATE.LEASE", "REVOKE", name)

    def lease_attach(self, name: Key, *keys: Key) -> Call[int]:
        """Have keys that are there end with a lease, unless they are changed; returns how many they are."""
        return self._call(INT, b"QUORATE.LEASE", "ATTACH", name, *keys)

    def lease_detach(self, name: Key, *keys: Key) -> Call[int]:
        """Have keys outlive a lease; returns how many belonged to it."""
        return self._call(INT, b"QUORATE.LEASE", "DETACH", name, *keys)

    def lease_info(self, name: Key) -> Call[LeaseInfo | None]:
        """A lease as it is now."""
        return self._call(_lease, b"QUORATE.LEASED", name)

    # -- locks -------------------------------------------------------------------------------------------

    def lock_take(self, name: Key, owner: Key, ttl: Seconds) -> Call[int | None]:
        """Take a lock, or renew one that this owner has; returns its token, ``None`` while another has it."""
        return self._call(INT_OR_NONE, b"QUORATE.LOCK", name, owner, milliseconds(ttl))

    def lock_renew(self, name: Key, token: int, ttl: Seconds) -> Call[bool]:
        """Hold a lock for so long from now on; returns whether it was still held with this token."""
        return self._call(IS_ONE, b"QUORATE.RENEW", name, token, milliseconds(ttl))

    def lock_release(self, name: Key, token: int) -> Call[bool]:
        """Give a lock back; returns whether it was still held with this token."""
        return self._call(IS_ONE, b"QUORATE.UNLOCK", name, token)

    def lock_holder(self, name: Key) -> Call[LockHolder | None]:
        """Who holds a lock."""
        return self._call(_holder, b"QUORATE.LOCKED", name)
