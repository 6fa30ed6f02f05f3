"""Leases: a value that somebody has to renew, and keys that are deleted in the same entry of the log as it.

As in etcd a lease is for what is true only while somebody is there: a service's address, a worker's claim. It is a
value at a key of its own, so ``TTL``, ``TYPE``, ``SCAN`` and ``DEL`` mean what they say. Its time is the log's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quorate.kv.arguments import keyword
from quorate.kv.commands.deadlines import deadline
from quorate.kv.commands.expiry import MILLISECOND_US, Expiry, expiry
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import Arguments, Keys, command
from quorate.kv.replies import NULL_ARRAY, OK, CommandError, Reply
from quorate.kv.transactions import revision_of
from quorate.kv.values import Lease

KEYS_MAX = 1000
"""So many keys of one lease are deleted by one entry at most."""
LEASE_EXISTS = "LEASEEXISTS there is a lease of this name"
NO_LEASE = "NOLEASE there is no such lease, or its time is over"
LEASE_FULL = f"ERR a lease has at most {KEYS_MAX} keys"


def belonging(db: Keyspace, lease: Lease) -> list[bytes]:
    """The keys that are still as they were when they were attached."""
    return [key for key, revision in lease.keys.items() if revision_of(db, key) == revision]


def check_room(db: Keyspace, name: bytes, keys: Sequence[bytes]) -> None:
    """Raises if there is no such lease, or it cannot have these keys as well."""
    lease = db.get(name, Lease)
    if lease is None:
        raise CommandError(NO_LEASE)
    if len(lease.keys) + len(keys) > KEYS_MAX and len({*belonging(db, lease), *keys}) > KEYS_MAX:
        raise CommandError(LEASE_FULL)


def attach(db: Keyspace, name: bytes, keys: Sequence[bytes]) -> None:
    """Have keys that are there belong to a lease that has room for them, as they are now."""
    lease = db.edit(name, Lease)
    assert lease is not None
    if len(lease.keys) + len(keys) > KEYS_MAX:
        belong = set(belonging(db, lease))
        for key in [key for key in lease.keys if key not in belong]:
            lease.detach(key)
    for key in keys:
        lease.attach(key, revision_of(db, key))
    db.edited(name, "attach")


def _grant(db: Keyspace, arguments: Arguments) -> Reply:
    name, ttl = arguments[2], _ttl(arguments)
    if db.get(name, Lease) is not None:
        raise CommandError(LEASE_EXISTS)
    db.put(name, Lease(ttl.amount_us), "lease", expires_us=ttl.at(db.time_us))
    return OK


def _ttl(arguments: Arguments) -> Expiry:
    return expiry(b"PX", arguments[3], "quorate.lease|grant")


def _keepalive(db: Keyspace, arguments: Arguments) -> Reply:
    lease = db.get(arguments[2], Lease)
    if lease is None:
        return None
    db.set_deadline(arguments[2], db.time_us + lease.ttl_us, "expire")
    return lease.ttl_us // MILLISECOND_US


def _revoke(db: Keyspace, arguments: Arguments) -> Reply:
    return int(db.get(arguments[2], Lease) is not None and db.delete(arguments[2]))


def _attach(db: Keyspace, arguments: Arguments) -> Reply:
    name, keys = arguments[2], list(dict.fromkeys(arguments[3:]))
    db.check_plain(*keys)
    keys = [key for key in keys if db.find(key) is not None]
    check_room(db, name, keys)
    if keys:
        attach(db, name, keys)
    return len(keys)


def _detach(db: Keyspace, arguments: Arguments) -> Reply:
    name, lease = arguments[2], db.get(arguments[2], Lease)
    if lease is None:
        raise CommandError(NO_LEASE)
    named = [key for key in dict.fromkeys(arguments[3:]) if key in lease.keys]
    belonged = sum(revision_of(db, key) == lease.keys[key] for key in named)
    if named:
        db.edit(name, Lease)
        for key in named:
            lease.detach(key)
        db.edited(name, "detach")
    return belonged


SUBCOMMANDS: dict[bytes, tuple[int, Callable[[Keyspace, Arguments], Reply]]] = {
    b"GRANT": (4, _grant),
    b"KEEPALIVE": (3, _keepalive),
    b"REVOKE": (3, _revoke),
    b"ATTACH": (-4, _attach),
    b"DETACH": (-4, _detach),
}
"""Their arity, which counts both names, and what they do."""


def check_lease(arguments: Arguments) -> None:
    """Raises if it asks for what there is not."""
    subcommand = keyword(arguments[1])
    if subcommand not in SUBCOMMANDS:
        said = arguments[1].decode(errors="replace")
        raise CommandError(f"ERR unknown subcommand '{said[:128]}': there are GRANT, KEEPALIVE, REVOKE, ATTACH, DETACH")
    arity, count = SUBCOMMANDS[subcommand][0], len(arguments)
    if count != arity if arity > 0 else count < -arity:
        name = f"quorate.lease|{subcommand.decode().lower()}"
        raise CommandError(f"ERR wrong number of arguments for '{name}' command")
    if subcommand == b"GRANT":
        _ttl(arguments)


def _is_freeing(arguments: Arguments) -> bool:
    return keyword(arguments[1]) in (b"KEEPALIVE", b"REVOKE", b"DETACH")


@command("QUORATE.LEASE", -3, group="coordination", write=True, freeing=_is_freeing, keys=Keys(2, 2), check=check_lease)
def lease_(db: Keyspace, arguments: Arguments) -> Reply:
    """GRANT name ms, KEEPALIVE name, REVOKE name, ATTACH name key [key …], DETACH name key [key …]."""
    return SUBCOMMANDS[keyword(arguments[1])][1](db, arguments)


@command("QUORATE.LEASED", 2, group="coordination")
def leased(db: Keyspace, arguments: Arguments) -> Reply:
    """A lease's time from each renewal on and what is left of it, in milliseconds, and its keys; null if it is gone."""
    lease = db.get(arguments[1], Lease)
    if lease is None:
        return NULL_ARRAY
    left = deadline(db, arguments[1], db.now_us, MILLISECOND_US)
    return [lease.ttl_us // MILLISECOND_US, left, belonging(db, lease)]
