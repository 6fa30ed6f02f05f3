"""Commands on sets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain, islice

from quorate.kv.arguments import syntax_error
from quorate.kv.commands.elements import check_cursor, parse_scan
from quorate.kv.commands.options import NO_KEYS_COUNTED, cardinality_limit, integer_from, pop_count, store
from quorate.kv.commands.picking import pick_options, position, positions
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import ALL_KEYS, COUNTED_KEYS, Arguments, Keys, command
from quorate.kv.replies import CommandError, Reply, SetReply, bounded
from quorate.kv.values import Set

Members = dict[bytes, None]


def _members(db: Keyspace, key: bytes) -> Members:
    value = db.get(key, Set)
    return {} if value is None else value.members


@command("SADD", -3, group="set", write=True)
def sadd(db: Keyspace, arguments: Arguments) -> Reply:
    """Add members to a set; answer how many are new."""
    key = arguments[1]
    there = _members(db, key)
    new = [member for member in dict.fromkeys(arguments[2:]) if member not in there]
    if new:
        value = db.edit_or_create(key, Set)
        for member in new:
            value.add(member)
        db.edited(key, "sadd")
    return len(new)


@command("SREM", -3, group="set", write=True, freeing=True)
def srem(db: Keyspace, arguments: Arguments) -> Reply:
    """Remove members from a set; answer how many were there."""
    key = arguments[1]
    there = _members(db, key)
    return _remove(db, key, [member for member in dict.fromkeys(arguments[2:]) if member in there], "srem")


def _remove(db: Keyspace, key: bytes, members: Collection[bytes], event: str) -> int:
    """Remove members that are there."""
    if members and (value := db.edit(key, Set)) is not None:
        for member in members:
            value.remove(member)
        db.edited(key, event)
    return len(members)


@command("SMEMBERS", 2, group="set")
def smembers(db: Keyspace, arguments: Arguments) -> Reply:
    """All members of a set."""
    return SetReply(_members(db, arguments[1]))


@command("SISMEMBER", 3, group="set")
def sismember(db: Keyspace, arguments: Arguments) -> Reply:
    """Whether a set has a member."""
    return int(arguments[2] in _members(db, arguments[1]))


@command("SMISMEMBER", -3, group="set")
def smismember(db: Keyspace, arguments: Arguments) -> Reply:
    """Whether a set has these members, of each."""
    members = _members(db, arguments[1])
    return [int(member in members) for member in arguments[2:]]


@command("SCARD", 2, group="set")
def scard(db: Keyspace, arguments: Arguments) -> Reply:
    """How many members a set has."""
    return len(_members(db, arguments[1]))


def _check_pop(arguments: Arguments) -> None:
    if len(arguments) > 3:
        raise syntax_error()
    pop_count(arguments)


@command("SPOP", -2, group="set", write=True, freeing=True, check=_check_pop)
def spop(db: Keyspace, arguments: Arguments) -> Reply:
    """Take a random member, or up to a count of them."""
    _check_pop(arguments)
    key, count = arguments[1], pop_count(arguments)
    members = _members(db, key)
    if count is None:
        if not members:
            return None
        member = next(islice(members, position(db.random, len(members)), None))
        _remove(db, key, [member], "spop")
        return member
    listed = list(members)
    picked = SetReply([listed[at] for at in positions(db.random, len(listed), count)])
    _remove(db, key, picked, "spop")
    return picked


@command("SRANDMEMBER", -2, group="set", check=pick_options)
def srandmember(db: Keyspace, arguments: Arguments) -> Reply:
    """One random member or several, which stay in the set."""
    count, _ = pick_options(arguments)
    members = _members(db, arguments[1])
    if count is None:
        return next(islice(members, position(db.random, len(members)), None)) if members else None
    listed = list(members)
    return bounded([listed[at] for at in positions(db.random, len(listed), count)] if listed else [])


@command("SMOVE", 4, group="set", write=True, freeing=True, keys=Keys(1, 2))
def smove(db: Keyspace, arguments: Arguments) -> Reply:
    """Move a member from one set to another."""
    _, source, target, member = arguments
    if db.get(source, Set) is None:
        return 0
    there = member in _members(db, target)
    if member not in _members(db, source):
        return 0
    if source != target:
        _remove(db, source, [member], "srem")
        if not there:
            db.edit_or_create(target, Set).add(member)
            db.edited(target, "sadd")
    return 1


def _union(db: Keyspace, keys: Arguments) -> Members:
    return dict.fromkeys(chain.from_iterable([_members(db, key) for key in keys]))


def _common(db: Keyspace, keys: Arguments) -> Iterator[bytes]:
    first, *others = sorted([_members(db, key) for key in keys], key=len)
    return (member for member in first if all(member in other for other in others))


def _intersection(db: Keyspace, keys: Arguments) -> Members:
    return dict.fromkeys(_common(db, keys))


def _difference(db: Keyspace, keys: Arguments) -> Members:
    first, *others = [_members(db, key) for key in keys]
    return {member: None for member in first if not any(member in other for other in others)}


@command("SUNION", -2, group="set", keys=ALL_KEYS)
def sunion(db: Keyspace, arguments: Arguments) -> Reply:
    """The members of any of several sets."""
    return SetReply(_union(db, arguments[1:]))


@command("SINTER", -2, group="set", keys=ALL_KEYS)
def sinter(db: Keyspace, arguments: Arguments) -> Reply:
    """The members that several sets have in common."""
    return SetReply(_intersection(db, arguments[1:]))


@command("SDIFF", -2, group="set", keys=ALL_KEYS)
def sdiff(db: Keyspace, arguments: Arguments) -> Reply:
    """The members of the first set that no other has."""
    return SetReply(_difference(db, arguments[1:]))


@command("SUNIONSTORE", -3, group="set", write=True, keys=ALL_KEYS)
def sunionstore(db: Keyspace, arguments: Arguments) -> Reply:
    """Store the union of several sets; answer its size."""
    return store(db, arguments[1], Set(_union(db, arguments[2:])), "sunionstore")


@command("SINTERSTORE", -3, group="set", write=True, keys=ALL_KEYS)
def sinterstore(db: Keyspace, arguments: Arguments) -> Reply:
    """Store what several sets have in common; answer its size."""
    return store(db, arguments[1], Set(_intersection(db, arguments[2:])), "sinterstore")


@command("SDIFFSTORE", -3, group="set", write=True, keys=ALL_KEYS)
def sdiffstore(db: Keyspace, arguments: Arguments) -> Reply:
    """Store what the first of several sets has alone; answer its size."""
    return store(db, arguments[1], Set(_difference(db, arguments[2:])), "sdiffstore")


def _counted(arguments: Arguments) -> tuple[Arguments, int]:
    count = integer_from(arguments[1], 1, NO_KEYS_COUNTED)
    if count > len(arguments) - 2:
        raise CommandError("ERR Number of keys can't be greater than number of args")
    return arguments[2 : 2 + count], cardinality_limit(arguments[2 + count :])


@command("SINTERCARD", -3, group="set", keys=COUNTED_KEYS, check=_counted)
def sintercard(db: Keyspace, arguments: Arguments) -> Reply:
    """How many members several sets have in common, counted up to a limit."""
    keys, limit = _counted(arguments)
    return sum(1 for _ in islice(_common(db, keys), limit))


@command("SSCAN", -3, group="set", check=check_cursor)
def sscan(db: Keyspace, arguments: Arguments) -> Reply:
    """Go through the members of a set in steps."""
    members = _members(db, arguments[1])
    if not members:
        return [b"0", []]
    cursor, given = parse_scan(arguments).step(members)
    return [cursor, [*given]]
