"""Until when keys live. Time is the log's: on all nodes a key is gone from the same entry on.

What Redis says of them: https://redis.io/docs/latest/commands/?group=generic
"""

from __future__ import annotations

from quorate.kv.arguments import INTEGER_MIN, keyword, shown
from quorate.kv.commands.expiry import MILLISECOND_US, SECOND_US, Expiry, expiry
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import NO_KEYS, Arguments, command
from quorate.kv.replies import CommandError, Reply

UNIT_OF = {b"EXPIRE": b"EX", b"PEXPIRE": b"PX", b"EXPIREAT": b"EXAT", b"PEXPIREAT": b"PXAT"}
CONDITIONS = (b"NX", b"XX", b"GT", b"LT")

GONE = -2
FOREVER = -1


def expire_arguments(arguments: Arguments) -> tuple[Expiry, set[bytes]]:
    """The deadline and on which conditions it is set. Raises what is wrong with them."""
    name = keyword(arguments[0])
    conditions = set()
    for text in arguments[3:]:
        if keyword(text) not in CONDITIONS:
            raise CommandError(f"ERR Unsupported option {shown(text)}")
        conditions.add(keyword(text))
    if b"NX" in conditions and len(conditions) > 1:
        raise CommandError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"GT", b"LT"} <= conditions:
        raise CommandError("ERR GT and LT options at the same time are not compatible")
    return expiry(UNIT_OF[name], arguments[2], name.decode().lower(), least=INTEGER_MIN), conditions


@command("EXPIRE", -3, group="generic", write=True, freeing=True, check=expire_arguments)
def expire(db: Keyspace, arguments: Arguments) -> Reply:
    """Have a key deleted in some seconds."""
    key, (wanted, conditions) = arguments[1], expire_arguments(arguments)
    item = db.find(key)
    if item is None:
        return 0
    db.check_plain(key)
    old_us, new_us = item.expires_us, wanted.at(db.time_us)
    if (
        (b"NX" in conditions and old_us)
        or (b"XX" in conditions and not old_us)
        or (b"GT" in conditions and (not old_us or new_us <= old_us))
        or (b"LT" in conditions and old_us and new_us >= old_us)
    ):
        return 0
    if new_us <= db.time_us:
        db.delete(key)
    else:
        db.set_deadline(key, new_us, "expire")
    return 1


@command("PEXPIRE", -3, group="generic", write=True, freeing=True, check=expire_arguments)
def pexpire(db: Keyspace, arguments: Arguments) -> Reply:
    """Have a key deleted in some milliseconds."""
    return expire(db, arguments)


@command("EXPIREAT", -3, group="generic", write=True, freeing=True, check=expire_arguments)
def expireat(db: Keyspace, arguments: Arguments) -> Reply:
    """Have a key deleted at a time, in seconds since 1970."""
    return expire(db, arguments)


@command("PEXPIREAT", -3, group="generic", write=True, freeing=True, check=expire_arguments)
def pexpireat(db: Keyspace, arguments: Arguments) -> Reply:
    """Have a key deleted at a time, in milliseconds since 1970."""
    return expire(db, arguments)


@command("PERSIST", 2, group="generic", write=True, freeing=True)
def persist(db: Keyspace, arguments: Arguments) -> Reply:
    """Have a key live on without a deadline."""
    item = db.find(arguments[1])
    if item is None or not item.expires_us:
        return 0
    db.check_plain(arguments[1])
    db.set_deadline(arguments[1], 0, "persist")
    return 1


def deadline(db: Keyspace, key: bytes, since_us: int, unit_us: int) -> int:
    """How many units lie between ``since_us`` and a key's deadline; -1 if it has none, -2 if there is no such key.

    Seconds are rounded to the nearest, as Redis does; milliseconds up, so that a key that lives never has 0. One whose
    time is over, but that no entry of the log has deleted yet, has 0.
    """
    item = db.find(key)
    if item is None:
        return GONE
    if not item.expires_us:
        return FOREVER
    milliseconds = max(-((since_us - item.expires_us) // MILLISECOND_US), 0)
    return milliseconds if unit_us == MILLISECOND_US else (milliseconds + 500) // 1000


@command("TTL", 2, group="generic")
def ttl(db: Keyspace, arguments: Arguments) -> Reply:
    """For how many seconds a key lives; -1 without a deadline, -2 if it is not there."""
    return deadline(db, arguments[1], db.now_us, SECOND_US)


@command("PTTL", 2, group="generic")
def pttl(db: Keyspace, arguments: Arguments) -> Reply:
    """For how many milliseconds a key lives; -1 without a deadline, -2 if it is not there."""
    return deadline(db, arguments[1], db.now_us, MILLISECOND_US)


@command("EXPIRETIME", 2, group="generic")
def expiretime(db: Keyspace, arguments: Arguments) -> Reply:
    """Until when a key lives, in seconds since 1970; -1 without a deadline, -2 if it is not there."""
    return deadline(db, arguments[1], 0, SECOND_US)


@command("PEXPIRETIME", 2, group="generic")
def pexpiretime(db: Keyspace, arguments: Arguments) -> Reply:
    """Until when a key lives, in milliseconds since 1970; -1 without a deadline, -2 if it is not there."""
    return deadline(db, arguments[1], 0, MILLISECOND_US)


@command("QUORATE.SWEEP", 1, group="internal", write=True, keys=NO_KEYS, internal=True)
def sweep(db: Keyspace, arguments: Arguments) -> Reply:
    """Delete keys whose time is over; proposed by the leader."""
    return db.sweep()
