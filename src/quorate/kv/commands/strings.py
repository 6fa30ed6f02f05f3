"""Strings: bytes, whole or in part.

What Redis says of them: https://redis.io/docs/latest/commands/?group=string
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache

import msgspec

from quorate.kv.arguments import integer, keyword, pairs, syntax_error
from quorate.kv.commands.expiry import UNITS, Expiry, expiry
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import ALL_KEYS, Arguments, Keys, command
from quorate.kv.replies import OK, CommandError, Reply, bounded
from quorate.kv.weights import copying

STRING_BYTES_MAX = 16 << 20
"""As much as one command carries."""
TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"

USUAL_WORDS_MAX = 4
"""So few options are read once and remembered: the same come again and again."""

PAIRED = Keys(1, -1, 2)


class Options(msgspec.Struct, frozen=True):
    """What may follow a key and its value. ``condition`` is ``NX``, ``XX`` or nothing; ``keep`` keeps the deadline."""

    condition: bytes = b""
    get: bool = False
    keep: bool = False
    expiry: Expiry | None = None


def set_options(arguments: Arguments) -> Options:
    """The options of ``SET``. Raises what is wrong with them."""
    words = arguments[3:]
    return _usual_options(*words) if len(words) <= USUAL_WORDS_MAX else _options(words)


def _options(words: Arguments) -> Options:
    condition, get, keep = b"", False, False
    unit, amount = b"", b""
    at = 0
    while at < len(words):
        option = keyword(words[at])
        if option in (b"NX", b"XX") and condition in (b"", option):
            condition = option
        elif option == b"GET":
            get = True
        elif option == b"KEEPTTL" and not unit:
            keep = True
        elif option in UNITS and not keep and unit in (b"", option) and at + 1 < len(words):
            unit, amount = option, words[at + 1]
            at += 1
        else:
            raise syntax_error()
        at += 1
    return Options(condition, get, keep, expiry(unit, amount, "set") if unit else None)


@lru_cache(maxsize=1024)
def _usual_options(*words: bytes) -> Options:
    return _options(words)


def check_set(arguments: Arguments) -> None:
    """Raises what is wrong with the options of ``SET``."""
    if len(arguments) > 3:
        set_options(arguments)


@command("SET", -3, group="string", write=True, check=check_set)
def set_(db: Keyspace, arguments: Arguments) -> Reply:
    """Set the string value of a key, whatever was there."""
    if len(arguments) == 3:
        db.put(arguments[1], arguments[2], "set")
        return OK
    key, options = arguments[1], set_options(arguments)
    old = db.get(key, bytes) if options.get else None
    if options.condition and (db.find(key) is None) == (options.condition == b"XX"):
        return old
    if options.expiry is not None:
        put_until(db, key, arguments[2], options.expiry)
    else:
        db.put(key, arguments[2], "set", expires_us=None if options.keep else 0)
    return old if options.get else OK


def put_until(db: Keyspace, key: bytes, value: bytes, expiry: Expiry) -> None:
    """Set a value with a deadline; one that has passed leaves nothing there."""
    expires_us = expiry.at(db.time_us)
    if expires_us <= db.time_us:
        db.check_plain(key)
        db.delete(key)
    else:
        db.put(key, value, "set", "expire", expires_us=expires_us)


@command("GET", 2, group="string")
def get(db: Keyspace, arguments: Arguments) -> Reply:
    """The string value of a key."""
    return db.get(arguments[1], bytes)


@command("GETDEL", 2, group="string", write=True, freeing=True)
def getdel(db: Keyspace, arguments: Arguments) -> Reply:
    """The string value of a key, which is deleted."""
    value = db.get(arguments[1], bytes)
    if value is not None:
        db.delete(arguments[1])
    return value


def getex_expiry(arguments: Arguments) -> Expiry | None:
    """The deadline that ``GETEX`` asks for, if any. Raises what is wrong with its options."""
    persist, unit, amount = False, b"", b""
    rest = deque(arguments[2:])
    while rest:
        option = keyword(rest.popleft())
        if option == b"PERSIST" and not unit:
            persist = True
        elif option in UNITS and not persist and unit in (b"", option) and rest:
            unit, amount = option, rest.popleft()
        else:
            raise syntax_error()
    return expiry(unit, amount, "getex") if unit else None


@command("GETEX", -2, group="string", write=True, check=getex_expiry)
def getex(db: Keyspace, arguments: Arguments) -> Reply:
    """The string value of a key, whose deadline is set or taken away."""
    key, wanted = arguments[1], getex_expiry(arguments)
    value = db.get(key, bytes)
    if value is None or len(arguments) == 2:
        return value
    if wanted is None:
        item = db.find(key)
        if item is not None and item.expires_us:
            db.set_deadline(key, 0, "persist")
    elif wanted.at(db.time_us) <= db.time_us:
        db.delete(key)
    else:
        db.set_deadline(key, wanted.at(db.time_us), "expire")
    return value


@command("GETSET", 3, group="string", write=True)
def getset(db: Keyspace, arguments: Arguments) -> Reply:
    """Set the string value of a key and return the one before."""
    old = db.get(arguments[1], bytes)
    db.put(arguments[1], arguments[2], "set")
    return old


@command("SETNX", 3, group="string", write=True)
def setnx(db: Keyspace, arguments: Arguments) -> Reply:
    """Set the string value of a key only if it is not there."""
    if db.find(arguments[1]) is not None:
        return 0
    db.put(arguments[1], arguments[2], "set")
    return 1


def setex_expiry(arguments: Arguments) -> Expiry:
    """The deadline of ``SETEX`` and ``PSETEX``. Raises what is wrong with it."""
    name = keyword(arguments[0])
    return expiry(b"EX" if name == b"SETEX" else b"PX", arguments[2], name.decode().lower())


@command("SETEX", 4, group="string", write=True, check=setex_expiry)
def setex(db: Keyspace, arguments: Arguments) -> Reply:
    """Set the string value of a key and for how many seconds it lives."""
    put_until(db, arguments[1], arguments[3], setex_expiry(arguments))
    return OK


@command("PSETEX", 4, group="string", write=True, check=setex_expiry)
def psetex(db: Keyspace, arguments: Arguments) -> Reply:
    """Set the string value of a key and for how many milliseconds it lives."""
    return setex(db, arguments)


@command("MGET", -2, group="string", keys=ALL_KEYS)
def mget(db: Keyspace, arguments: Arguments) -> Reply:
    """The string values of many keys, null for those that hold none."""
    items = map(db.find, arguments[1:])
    return bounded([item.value if item is not None and type(item.value) is bytes else None for item in items])


def check_pairs(arguments: Arguments) -> None:
    """Raises if a value is missing."""
    if len(arguments) % 2 == 0:
        raise CommandError(f"ERR wrong number of arguments for '{arguments[0].decode().lower()}' command")


@command("MSET", -3, group="string", write=True, keys=PAIRED, check=check_pairs)
def mset(db: Keyspace, arguments: Arguments) -> Reply:
    """Set the string values of many keys at once."""
    db.check_plain(*arguments[1::2])
    for key, value in pairs(arguments[1:]):
        db.put(key, value, "set")
    return OK


@command("MSETNX", -3, group="string", write=True, keys=PAIRED, check=check_pairs)
def msetnx(db: Keyspace, arguments: Arguments) -> Reply:
    """Set the string values of many keys at once, only if none of them is there."""
    if any(db.find(key) is not None for key in arguments[1::2]):
        return 0
    mset(db, arguments)
    return 1


@command("APPEND", 3, group="string", write=True, weigh=copying())
def append(db: Keyspace, arguments: Arguments) -> Reply:
    """Add to the end of a string; returns its length."""
    key, tail = arguments[1], arguments[2]
    old = db.get(key, bytes)
    if old is None:
        db.put(key, tail, "append")
        return len(tail)
    if len(old) + len(tail) > STRING_BYTES_MAX:
        raise CommandError(TOO_LONG)
    if tail:
        db.put(key, old + tail, "append", expires_us=None)
    return len(old) + len(tail)


@command("STRLEN", 2, group="string")
def strlen(db: Keyspace, arguments: Arguments) -> Reply:
    """The length of a string; 0 if there is none."""
    return len(db.get(arguments[1], bytes) or b"")


def is_crossed(first: int, last: int) -> bool:
    """Whether both ends of a range are counted from the end, and the second lies before the first."""
    return first < 0 and last < 0 and first > last


def span(first: int, last: int, length: int) -> tuple[int, int]:
    """From where to where (exclusive) a range with both ends included goes, negative ends counted from the end.

    As in Redis, an end before the first byte counts as the first.
    """
    first = max(first + length, 0) if first < 0 else first
    last = max(last + length, 0) if last < 0 else last
    return first, max(first, min(last + 1, length))


def check_range(arguments: Arguments) -> None:
    """Raises if an end is no integer."""
    integer(arguments[2])
    integer(arguments[3])


@command("GETRANGE", 4, group="string", check=check_range)
def getrange(db: Keyspace, arguments: Arguments) -> Reply:
    """Part of a string, both ends included; negative ones count from the end."""
    value = db.get(arguments[1], bytes) or b""
    first, last = integer(arguments[2]), integer(arguments[3])
    if is_crossed(first, last):
        return b""
    first, end = span(first, last, len(value))
    return value[first:end]


@command("SUBSTR", 4, group="string", check=check_range)
def substr(db: Keyspace, arguments: Arguments) -> Reply:
    """Part of a string; the old name of GETRANGE."""
    return getrange(db, arguments)


def check_setrange(arguments: Arguments) -> None:
    """Raises if the place is none, or beyond what a string may be."""
    offset = integer(arguments[2])
    if offset < 0:
        raise CommandError("ERR offset is out of range")
    if arguments[3] and offset + len(arguments[3]) > STRING_BYTES_MAX:
        raise CommandError(TOO_LONG)


def _setrange_end(arguments: Arguments) -> int:
    return integer(arguments[2])


@command("SETRANGE", 4, group="string", write=True, check=check_setrange, weigh=copying(end=_setrange_end))
def setrange(db: Keyspace, arguments: Arguments) -> Reply:
    """Overwrite part of a string, filled up with zero bytes before it; returns its length."""
    key, offset, part = arguments[1], integer(arguments[2]), arguments[3]
    old = db.get(key, bytes) or b""
    if not part:
        return len(old)
    new = old[:offset].ljust(offset, b"\0") + part + old[offset + len(part) :]
    db.put(key, new, "setrange", expires_us=None)
    return len(new)
