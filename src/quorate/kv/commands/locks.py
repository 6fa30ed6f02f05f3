"""Locks with a fencing token: who takes one gets a number that is higher than any before.

No lock that ends by itself keeps its holder from acting too late: the holder may have been asleep while its time ran
out. The token is what tells: it is dead from the moment on at which the lock ends, :func:`fenced` refuses it, and so
does a store outside that refuses a lower one than it has seen.
Martin Kleppmann, "How to do distributed locking": https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html
"""

from __future__ import annotations

from quorate.kv.arguments import integer
from quorate.kv.commands.deadlines import deadline
from quorate.kv.commands.expiry import MILLISECOND_US, Expiry, expiry
from quorate.kv.commands.inner import inner_write
from quorate.kv.commands.options import integer_from
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import Arguments, command
from quorate.kv.replies import NULL_ARRAY, CommandError, Reply
from quorate.kv.values import Lock

OWNER_BYTES_MAX = 1024
NOT_A_TOKEN = "ERR a token is an integer, 1 or more"
FENCED = "FENCED the lock is not held with this token"


def held_with(db: Keyspace, name: bytes, token: bytes) -> bool:
    """Whether the lock's holder has this token, and its time is not over."""
    item = db.find(name)
    return item is not None and isinstance(item.value, Lock) and item.value.token == integer(token)


def lock_ttl(arguments: Arguments) -> Expiry:
    """For how long a lock is taken. Raises what is wrong with the owner, or with it."""
    if not 0 < len(arguments[2]) <= OWNER_BYTES_MAX:
        raise CommandError(f"ERR a lock's owner is named by 1 to {OWNER_BYTES_MAX} bytes")
    return expiry(b"PX", arguments[3], "quorate.lock")


@command("QUORATE.LOCK", 4, group="coordination", write=True, check=lock_ttl)
def lock(db: Keyspace, arguments: Arguments) -> Reply:
    """Take a lock for some milliseconds; returns its fencing token, or null while another owner holds it.

    An owner that holds it already renews it and gets its token again, so that it may ask again when an answer was lost.
    """
    name, owner = arguments[1], arguments[2]
    expires_us = lock_ttl(arguments).at(db.time_us)
    held = db.get(name, Lock)
    if held is None:
        held = Lock(owner, db.revision + 1)  # this change's, and so above those of all locks before
        db.put(name, held, "lock", expires_us=expires_us)
    elif held.owner == owner:
        db.set_deadline(name, expires_us, "expire")
    else:
        return None
    return held.token


def renewal(arguments: Arguments) -> Expiry:
    """For how long a lock is renewed. Raises what is wrong with the token, or with it."""
    check_token(arguments)
    return expiry(b"PX", arguments[3], "quorate.renew")


@command("QUORATE.RENEW", 4, group="coordination", write=True, freeing=True, check=renewal)
def renew(db: Keyspace, arguments: Arguments) -> Reply:
    """Hold a lock for some milliseconds from now on; returns 1, or 0 if it is not held with this token any more."""
    name = arguments[1]
    db.get(name, Lock)  # refuses other types
    if not held_with(db, name, arguments[2]):
        return 0
    db.set_deadline(name, renewal(arguments).at(db.time_us), "expire")
    return 1


def check_token(arguments: Arguments) -> None:
    """Raises if the token is none."""
    integer_from(arguments[2], 1, NOT_A_TOKEN)


@command("QUORATE.UNLOCK", 3, group="coordination", write=True, freeing=True, check=check_token)
def unlock(db: Keyspace, arguments: Arguments) -> Reply:
    """Give a lock back; returns 1, or 0 if it is not held with this token any more."""
    name = arguments[1]
    db.get(name, Lock)  # refuses other types
    return int(held_with(db, name, arguments[2]) and db.delete(name))


@command("QUORATE.LOCKED", 2, group="coordination")
def locked(db: Keyspace, arguments: Arguments) -> Reply:
    """A lock's owner, its token and what is left of its time in milliseconds; null if nobody holds it."""
    held = db.get(arguments[1], Lock)
    if held is None:
        return NULL_ARRAY
    return [held.owner, held.token, deadline(db, arguments[1], db.now_us, MILLISECOND_US)]


def check_fenced(arguments: Arguments) -> None:
    """Raises what is wrong with the token, or with the command behind it."""
    check_token(arguments)
    inner_write(arguments, 3)


def _fenced_weight(db: Keyspace, arguments: Arguments) -> int:
    spec, inner = inner_write(arguments, 3)
    return spec.weigh(db, inner) if spec.weigh is not None else 0


def _is_freeing(arguments: Arguments) -> bool:
    spec, inner = inner_write(arguments, 3)
    return spec.is_freeing(inner)


@command("QUORATE.FENCED", -4, group="coordination", write=True, freeing=_is_freeing, check=check_fenced,
         weigh=_fenced_weight)  # fmt: skip
def fenced(db: Keyspace, arguments: Arguments) -> Reply:
    """Carry out a write only while a lock is held with this token; otherwise an error, and nothing changes."""
    if not held_with(db, arguments[1], arguments[2]):
        raise CommandError(FENCED)
    spec, inner = inner_write(arguments, 3)
    return spec.handler(db, inner)
