"""Strings: bytes, whole or in part, numbers in them, and bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from quorate.kv.store.calls import Call, Calls
from quorate.kv.store.encoding import Argument, K, Key, Moment, Seconds, flag, lifetime, milliseconds, pairs
from quorate.kv.store.shapes import (
    BYTES,
    BYTES_OR_NONE,
    BYTES_OR_NONES,
    FLOAT,
    INT,
    INTS,
    INTS_OR_NONES,
    IS_ONE,
    is_done,
    nothing,
)

BitUnit = Literal["BYTE", "BIT"]


class Strings(Calls):
    """Commands on strings."""

    def get(self, key: Key) -> Call[bytes | None]:
        """The value, ``None`` if there is none."""
        return self._call(BYTES_OR_NONE, b"GET", key)

    def set(
        self,
        key: Key,
        value: Argument,
        *,
        ex: Seconds | None = None,
        px: int | None = None,
        exat: Moment | None = None,
        pxat: int | None = None,
        nx: bool = False,
        xx: bool = False,
        keepttl: bool = False,
    ) -> Call[bool]:
        """Set a value, whatever was there; returns whether it was set.

        It lives for ``ex`` seconds or ``px`` milliseconds, or until ``exat`` or ``pxat``; for ever without any; as
        long as before with ``keepttl``. With ``nx`` it is set only where nothing is, with ``xx`` only where something
        is.
        """
        return self._call(
            is_done,
            b"SET",
            key,
            value,
            *lifetime(ex=ex, px=px, exat=exat, pxat=pxat),
            *flag(b"NX", nx),
            *flag(b"XX", xx),
            *flag(b"KEEPTTL", keepttl),
        )

    def getset(self, key: Key, value: Argument) -> Call[bytes | None]:
        """Set a value; returns the one before."""
        return self._call(BYTES_OR_NONE, b"GETSET", key, value)

    def getdel(self, key: Key) -> Call[bytes | None]:
        """Delete a string; returns what it was."""
        return self._call(BYTES_OR_NONE, b"GETDEL", key)

    def getex(
        self,
        key: Key,
        *,
        ex: Seconds | None = None,
        px: int | None = None,
        exat: Moment | None = None,
        pxat: int | None = None,
        persist: bool = False,
    ) -> Call[bytes | None]:
        """The value, which from now on lives as long as said (see :meth:`set`), or with ``persist`` for ever."""
        given = lifetime(ex=ex, px=px, exat=exat, pxat=pxat)
        return self._call(BYTES_OR_NONE, b"GETEX", key, *given, *flag(b"PERSIST", persist))

    def setnx(self, key: Key, value: Argument) -> Call[bool]:
        """Set a value where nothing is; returns whether it was set."""
        return self._call(IS_ONE, b"SETNX", key, value)

    def setex(self, key: Key, seconds: Seconds, value: Argument) -> Call[None]:
        """Set a value that lives for so long."""
        return self.psetex(key, milliseconds(seconds), value)

    def psetex(self, key: Key, milliseconds: int, value: Argument) -> Call[None]:
        """Set a value that lives for so many milliseconds."""
        return self._call(nothing, b"PSETEX", key, milliseconds, value)

    def mget(self, *keys: Key) -> Call[list[bytes | None]]:
        """Several values, ``None`` for each that is no string."""
        return self._call(BYTES_OR_NONES, b"MGET", *keys)

    def mset(self, values: Mapping[K, Argument]) -> Call[None]:
        """Set several values at once."""
        return self._call(nothing, b"MSET", *pairs(values.items()))

    def msetnx(self, values: Mapping[K, Argument]) -> Call[bool]:
        """Set several values if nothing is at any of these keys; returns whether they were set."""
        return self._call(IS_ONE, b"MSETNX", *pairs(values.items()))

    def append(self, key: Key, value: Argument) -> Call[int]:
        """Add to the end; returns the length."""
        return self._call(INT, b"APPEND", key, value)

    def strlen(self, key: Key) -> Call[int]:
        """The length, 0 if there is no value."""
        return self._call(INT, b"STRLEN", key)

    def getrange(self, key: Key, start: int, end: int) -> Call[bytes]:
        """Part of a value, both ends included; negative ones count from the end."""
        return self._call(BYTES, b"GETRANGE", key, start, end)

    def substr(self, key: Key, start: int, end: int) -> Call[bytes]:
        """The older name of :meth:`getrange`."""
        return self._call(BYTES, b"SUBSTR", key, start, end)

    def setrange(self, key: Key, offset: int, value: Argument) -> Call[int]:
        """Overwrite part of a value, filled up with zero bytes before it; returns the length."""
        return self._call(INT, b"SETRANGE", key, offset, value)

    def lcs(self, key: Key, other: Key) -> Call[bytes]:
        """The longest bytes that two values have in common in the same order."""
        return self._call(BYTES, b"LCS", key, other)

    def lcs_len(self, key: Key, other: Key) -> Call[int]:
        """How many they are."""
        return self._call(INT, b"LCS", key, other, b"LEN")

    def incr(self, key: Key, amount: int = 1) -> Call[int]:
        """Add to an integer, 0 if there is none; returns the sum."""
        return self._call(INT, b"INCR", key) if amount == 1 else self.incrby(key, amount)

    def incrby(self, key: Key, amount: int) -> Call[int]:
        """The same."""
        return self._call(INT, b"INCRBY", key, amount)

    def decr(self, key: Key, amount: int = 1) -> Call[int]:
        """Subtract from an integer, 0 if there is none; returns the difference."""
        return self._call(INT, b"DECR", key) if amount == 1 else self.decrby(key, amount)

    def decrby(self, key: Key, amount: int) -> Call[int]:
        """The same."""
        return self._call(INT, b"DECRBY", key, amount)

    def incrbyfloat(self, key: Key, amount: float) -> Call[float]:
        """Add to a decimal, 0 if there is none; returns the sum."""
        return self._call(FLOAT, b"INCRBYFLOAT", key, amount)


class Bits(Calls):
    """Strings as rows of bits: bit 0 is the highest of the first byte, and beyond the end all are 0."""

    def setbit(self, key: Key, offset: int, bit: int) -> Call[int]:
        """Set or clear a bit; returns what it was."""
        return self._call(INT, b"SETBIT", key, offset, bit)

    def getbit(self, key: Key, offset: int) -> Call[int]:
        """One bit."""
        return self._call(INT, b"GETBIT", key, offset)

    def bitcount(self, key: Key, start: int = 0, end: int = -1, unit: BitUnit = "BYTE") -> Call[int]:
        """How many bits are set between two bytes, or bits, both included."""
        return self._call(INT, b"BITCOUNT", key, start, end, unit)

    def bitpos(self, key: Key, bit: int, start: int = 0, end: int | None = None, unit: BitUnit = "BYTE") -> Call[int]:
        """Where the first bit of that kind is; -1 if there is none. Without an ``end``, zeros follow the last byte."""
        ends = () if end is None else (end, unit)
        return self._call(INT, b"BITPOS", key, bit, start, *ends)

    def bitop(self, operation: Literal["AND", "OR", "XOR", "NOT"], target: Key, *keys: Key) -> Call[int]:
        """Combine strings bit by bit, and set ``target`` to the result; returns its length."""
        return self._call(INT, b"BITOP", operation, target, *keys)

    def bitfield(self, key: Key, *operations: Argument) -> Call[list[int | None]]:
        """Integers of any width within a string: ``bitfield("k", "INCRBY", "u8", "#3", 1)``."""
        return self._call(INTS_OR_NONES, b"BITFIELD", key, *operations)

    def bitfield_ro(self, key: Key, *operations: Argument) -> Call[list[int]]:
        """The same for reading alone: ``bitfield_ro("k", "GET", "u8", 0)``."""
        return self._call(INTS, b"BITFIELD_RO", key, *operations)
