"""Keys, whatever they hold: deleting, renaming, copying and going through them.

What Redis says of them: https://redis.io/docs/latest/commands/?group=generic
"""

from __future__ import annotations

from collections import deque

import msgspec

from quorate.kv.arguments import (
    INTEGER_32_MAX,
    INTEGER_32_MIN,
    checked_pattern,
    glob,
    integer,
    keyword,
    out_of_range,
    scan_cursor,
    syntax_error,
)
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import ALL_KEYS, NO_KEYS, Arguments, Keys, command
from quorate.kv.replies import NO_SUCH_KEY, OK, CommandError, Reply, Status
from quorate.kv.slots import SLOTS
from quorate.kv.values import copy_of, type_name

RANDOM_TRIES_MAX = 100


@command("DEL", -2, group="generic", write=True, freeing=True, keys=ALL_KEYS)
def del_(db: Keyspace, arguments: Arguments) -> Reply:
    """Delete keys; returns how many there were."""
    return sum(map(db.delete, arguments[1:]))


@command("UNLINK", -2, group="generic", write=True, freeing=True, keys=ALL_KEYS)
def unlink(db: Keyspace, arguments: Arguments) -> Reply:
    """Delete keys; returns how many there were."""
    return del_(db, arguments)


@command("EXISTS", -2, group="generic", keys=ALL_KEYS)
def exists(db: Keyspace, arguments: Arguments) -> Reply:
    """How many of the keys are there; one that is named twice counts twice."""
    return sum(db.find(key) is not None for key in arguments[1:])


@command("TOUCH", -2, group="generic", keys=ALL_KEYS)
def touch(db: Keyspace, arguments: Arguments) -> Reply:
    """How many of the keys are there; when they were used is not kept."""
    return exists(db, arguments)


@command("TYPE", 2, group="generic")
def type_(db: Keyspace, arguments: Arguments) -> Reply:
    """What kind of value a key holds, none if it is not there."""
    item = db.find(arguments[1])
    return Status(type_name(item.value).encode() if item is not None else b"none")


def rename_to(db: Keyspace, key: bytes, target: bytes) -> None:
    """Have what is at ``key``, with its deadline, at ``target`` instead."""
    db.check_plain(key, target)
    item = db.take(key, "rename_from")
    db.put(target, item.value, "rename_to", expires_us=item.expires_us)


@command("RENAME", 3, group="generic", write=True, freeing=True, keys=Keys(1, 2))
def rename(db: Keyspace, arguments: Arguments) -> Reply:
    """Give what is at a key another name, whatever had it."""
    key, target = arguments[1], arguments[2]
    if db.find(key) is None:
        raise CommandError(NO_SUCH_KEY)
    if key != target:
        rename_to(db, key, target)
    return OK


@command("RENAMENX", 3, group="generic", write=True, keys=Keys(1, 2))
def renamenx(db: Keyspace, arguments: Arguments) -> Reply:
    """Give what is at a key another name, only if nothing has it."""
    key, target = arguments[1], arguments[2]
    if db.find(key) is None:
        raise CommandError(NO_SUCH_KEY)
    if db.find(target) is not None:
        return 0
    rename_to(db, key, target)
    return 1


def copy_replaces(arguments: Arguments) -> bool:
    """Whether ``COPY`` may replace what is there. Raises what is wrong with its options."""
    replace = False
    rest = deque(arguments[3:])
    while rest:
        option = keyword(rest.popleft())
        if option == b"REPLACE":
            replace = True
        elif option == b"DB" and rest:
            number = integer(rest.popleft())
            if not INTEGER_32_MIN <= number <= INTEGER_32_MAX:
                raise out_of_range(INTEGER_32_MIN, INTEGER_32_MAX)
            if number != 0:
                raise CommandError("ERR DB index is out of range")
        else:
            raise syntax_error()
    if arguments[1] == arguments[2]:
        raise CommandError("ERR source and destination objects are the same")
    return replace


@command("COPY", -3, group="generic", write=True, keys=Keys(1, 2), check=copy_replaces)
def copy(db: Keyspace, arguments: Arguments) -> Reply:
    """Have what is at a key, with its deadline, at another as well."""
    item, target = db.find(arguments[1]), arguments[2]
    if item is None or (db.find(target) is not None and not copy_replaces(arguments)):
        return 0
    db.check_plain(arguments[1])
    db.put(target, copy_of(item.value), "copy_to", expires_us=item.expires_us)
    return 1


@command("KEYS", 2, group="generic", keys=NO_KEYS)
def keys(db: Keyspace, arguments: Arguments) -> Reply:
    """All keys that are like a pattern."""
    like = glob(checked_pattern(arguments[1]))
    return [key for key, _ in db.live() if like(key)]


class Scan(msgspec.Struct, frozen=True):
    """From where on ``SCAN`` looks at how many keys, and which of them it returns; ``kind`` of ``None`` is any."""

    cursor: int
    count: int = 10
    pattern: bytes = b"*"
    kind: str | None = None


def scan_arguments(arguments: Arguments) -> Scan:
    """What is asked for. Raises what is wrong with it."""
    cursor, rest = scan_cursor(arguments[1]), deque(arguments[2:])
    count, pattern, kind = 10, b"*", None
    while rest:
        option = keyword(rest.popleft())
        if not rest:
            raise syntax_error()
        if option == b"COUNT":
            count = integer(rest.popleft())
            if count < 1:
                raise syntax_error()
        elif option == b"MATCH":
            pattern = checked_pattern(rest.popleft())
        elif option == b"TYPE":
            kind = rest.popleft().decode(errors="replace").lower()
        else:
            raise syntax_error()
    return Scan(cursor, count, pattern, kind)


@command("SCAN", -2, group="generic", keys=NO_KEYS, check=scan_arguments)
def scan(db: Keyspace, arguments: Arguments) -> Reply:
    """Some of the keys, and the cursor for more; all keys that stay are returned, and once, until the cursor is 0."""
    wanted = scan_arguments(arguments)
    cursor, looked_at = db.items.scan(min(wanted.cursor, SLOTS), wanted.count)
    like = glob(wanted.pattern)
    found: list[Reply] = []
    for key in looked_at:
        item = db.find(key)
        if item is not None and like(key) and wanted.kind in (None, type_name(item.value)):
            found.append(key)
    return [b"%d" % cursor, found]


@command("RANDOMKEY", 1, group="generic", keys=NO_KEYS)
def randomkey(db: Keyspace, arguments: Arguments) -> Reply:
    """Some key, or null if there is none."""
    for _ in range(RANDOM_TRIES_MAX):
        key = db.items.some(db.random)
        if key is None or db.find(key) is not None:
            return key
    return next((key for key, _ in db.live()), None)


@command("DBSIZE", 1, group="server", keys=NO_KEYS)
def dbsize(db: Keyspace, arguments: Arguments) -> Reply:
    """How many keys there are, those included whose time is over and that are not swept yet."""
    return len(db)


def check_flush(arguments: Arguments) -> None:
    """Raises if it is neither to happen now nor later; it happens now."""
    if len(arguments) > 2 or (len(arguments) == 2 and keyword(arguments[1]) not in (b"ASYNC", b"SYNC")):
        raise syntax_error()


@command("FLUSHDB", -1, group="server", write=True, freeing=True, keys=NO_KEYS, check=check_flush)
def flushdb(db: Keyspace, arguments: Arguments) -> Reply:
    """Delete all keys."""
    db.clear()
    return OK


@command("FLUSHALL", -1, group="server", write=True, freeing=True, keys=NO_KEYS, check=check_flush)
def flushall(db: Keyspace, arguments: Arguments) -> Reply:
    """Delete all keys; there is one database only."""
    return flushdb(db, arguments)
