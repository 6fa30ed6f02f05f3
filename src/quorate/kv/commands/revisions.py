"""Compare-and-set. Each key has a revision: the keyspace's count of changes at its last one, the same on every node.

A revision never comes again, whatever happens to its key: one that was deleted and made anew has a higher one. So who
finds the revision that was read before knows that nothing has happened since.
"""

from __future__ import annotations

from collections import deque

import msgspec

from quorate.kv.arguments import integer, keyword, syntax_error
from quorate.kv.commands.expiry import UNITS, Expiry, expiry
from quorate.kv.commands.leases import attach, check_room
from quorate.kv.commands.options import integer_from
from quorate.kv.commands.strings import put_until
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import ALL_KEYS, Arguments, command
from quorate.kv.replies import NULL_ARRAY, Reply
from quorate.kv.transactions import revision_of

NOT_A_REVISION = "ERR a revision is an integer, 0 or more"


@command("QUORATE.GET", 2, group="coordination")
def get_(db: Keyspace, arguments: Arguments) -> Reply:
    """The string value of a key and its revision, for QUORATE.CAS; null if there is none."""
    value = db.get(arguments[1], bytes)
    return NULL_ARRAY if value is None else [value, revision_of(db, arguments[1])]


@command("QUORATE.REVISION", -2, group="coordination", keys=ALL_KEYS)
def revision(db: Keyspace, arguments: Arguments) -> Reply:
    """The revisions of keys, of any type: when each was changed last; 0 for one that is not there."""
    return [revision_of(db, key) for key in arguments[1:]]


class CasOptions(msgspec.Struct, frozen=True):
    """What may follow the value. ``lease`` names the one that the key is to end with."""

    keep: bool = False
    expiry: Expiry | None = None
    lease: bytes | None = None


def cas_options(arguments: Arguments) -> CasOptions:
    """The options of ``QUORATE.CAS``. Raises what is wrong with them, or with the revision."""
    integer_from(arguments[2], 0, NOT_A_REVISION)
    keep, wanted, lease = False, None, None
    rest = deque(arguments[4:])
    while rest:
        option = keyword(rest.popleft())
        if option == b"KEEPTTL" and not keep and wanted is None:
            keep = True
        elif option in UNITS and rest and not keep and wanted is None:
            wanted = expiry(option, rest.popleft(), "quorate.cas")
        elif option == b"LEASE" and rest and lease is None:
            lease = rest.popleft()
        else:
            raise syntax_error()
    return CasOptions(keep, wanted, lease)


@command("QUORATE.CAS", -4, group="coordination", write=True, check=cas_options)
def cas(db: Keyspace, arguments: Arguments) -> Reply:
    """Set the string value of a key that has still this revision (0: is not there); returns the new one, or null."""
    key, options = arguments[1], cas_options(arguments)
    db.get(key, bytes)  # refuses other types
    if revision_of(db, key) != integer(arguments[2]):
        return None
    if options.lease is not None:
        check_room(db, options.lease, [key])
    if options.expiry is not None:
        put_until(db, key, arguments[3], options.expiry)
    else:
        db.put(key, arguments[3], "set", expires_us=None if options.keep else 0)
    changed = revision_of(db, key)
    if options.lease is not None and changed:
        attach(db, options.lease, [key])
    return changed


def check_cad(arguments: Arguments) -> None:
    """Raises if the revision is none."""
    integer_from(arguments[2], 0, NOT_A_REVISION)


@command("QUORATE.CAD", 3, group="coordination", write=True, freeing=True, check=check_cad)
def cad(db: Keyspace, arguments: Arguments) -> Reply:
    """Delete a key, of any type, that has still this revision; returns 1, or 0 if it is another or there is no key."""
    key = arguments[1]
    if db.find(key) is None or revision_of(db, key) != integer(arguments[2]):
        return 0
    return int(db.delete(key))
