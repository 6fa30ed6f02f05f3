"""Commands on hashes."""

from __future__ import annotations

from quorate.kv.arguments import INTEGER_MAX, INTEGER_MIN, integer, pairs
from quorate.kv.commands.elements import check_cursor, parse_scan
from quorate.kv.commands.extended import Extended, add, parse, written
from quorate.kv.commands.options import wrong_arity
from quorate.kv.commands.picking import pick_options, position, positions
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import Arguments, command
from quorate.kv.replies import NOT_A_FLOAT, OK, CommandError, Pairs, Reply, bounded
from quorate.kv.values import Hash


def _check_pairs(arguments: Arguments) -> None:
    if len(arguments) % 2:
        raise wrong_arity(arguments)


def _put(db: Keyspace, arguments: Arguments) -> int:
    _check_pairs(arguments)
    key = arguments[1]
    value = db.edit_or_create(key, Hash)
    new = sum([value.put(field, text) for field, text in pairs(arguments[2:])])
    db.edited(key, "hset")
    return new


@command("HSET", -4, group="hash", write=True, check=_check_pairs)
def hset(db: Keyspace, arguments: Arguments) -> Reply:
    """Set fields of a hash; answer how many are new."""
    return _put(db, arguments)


@command("HMSET", -4, group="hash", write=True, check=_check_pairs)
def hmset(db: Keyspace, arguments: Arguments) -> Reply:
    """Set fields of a hash: the older form of HSET."""
    _put(db, arguments)
    return OK


@command("HSETNX", 4, group="hash", write=True)
def hsetnx(db: Keyspace, arguments: Arguments) -> Reply:
    """Set a field of a hash unless it is there."""
    _, key, field, text = arguments
    value = db.get(key, Hash)
    if value is not None and field in value.fields:
        return 0
    db.edit_or_create(key, Hash).put(field, text)
    db.edited(key, "hset")
    return 1


@command("HGET", 3, group="hash")
def hget(db: Keyspace, arguments: Arguments) -> Reply:
    """The value of a field."""
    value = db.get(arguments[1], Hash)
    return None if value is None else value.fields.get(arguments[2])


@command("HMGET", -3, group="hash")
def hmget(db: Keyspace, arguments: Arguments) -> Reply:
    """The values of several fields."""
    fields = _fields(db, arguments)
    return bounded([fields.get(field) for field in arguments[2:]])


@command("HGETALL", 2, group="hash")
def hgetall(db: Keyspace, arguments: Arguments) -> Reply:
    """All fields and their values."""
    return dict(_fields(db, arguments))


@command("HDEL", -3, group="hash", write=True, freeing=True)
def hdel(db: Keyspace, arguments: Arguments) -> Reply:
    """Delete fields; answer how many were there."""
    key = arguments[1]
    fields = _fields(db, arguments)
    there = [field for field in dict.fromkeys(arguments[2:]) if field in fields]
    if there and (value := db.edit(key, Hash)) is not None:
        for field in there:
            value.remove(field)
        db.edited(key, "hdel")
    return len(there)


@command("HEXISTS", 3, group="hash")
def hexists(db: Keyspace, arguments: Arguments) -> Reply:
    """Whether a hash has a field."""
    return int(arguments[2] in _fields(db, arguments))


@command("HLEN", 2, group="hash")
def hlen(db: Keyspace, arguments: Arguments) -> Reply:
    """How many fields a hash has."""
    return len(_fields(db, arguments))


@command("HSTRLEN", 3, group="hash")
def hstrlen(db: Keyspace, arguments: Arguments) -> Reply:
    """The length of a field's value in bytes; 0 if it is not there."""
    return len(_fields(db, arguments).get(arguments[2], b""))


@command("HKEYS", 2, group="hash")
def hkeys(db: Keyspace, arguments: Arguments) -> Reply:
    """All fields of a hash."""
    return [*_fields(db, arguments)]


@command("HVALS", 2, group="hash")
def hvals(db: Keyspace, arguments: Arguments) -> Reply:
    """All values of a hash."""
    return [*_fields(db, arguments).values()]


def _increment(arguments: Arguments) -> int:
    return integer(arguments[3])


@command("HINCRBY", 4, group="hash", write=True, check=_increment)
def hincrby(db: Keyspace, arguments: Arguments) -> Reply:
    """Add to the integer in a field, which is 0 if it is not there; answer the sum."""
    _, key, field, _ = arguments
    old = _fields(db, arguments).get(field, b"0")
    total = integer(old, "ERR hash value is not an integer") + _increment(arguments)
    if not INTEGER_MIN <= total <= INTEGER_MAX:
        raise CommandError("ERR increment or decrement would overflow")
    db.edit_or_create(key, Hash).put(field, b"%d" % total)
    db.edited(key, "hincrby")
    return total


def _float_increment(arguments: Arguments) -> Extended:
    increment = parse(arguments[3], NOT_A_FLOAT)
    if increment is None:
        raise CommandError("ERR value is NaN or Infinity")
    return increment


@command("HINCRBYFLOAT", 4, group="hash", write=True, check=_float_increment)
def hincrbyfloat(db: Keyspace, arguments: Arguments) -> Reply:
    """Add to the number in a field, which is 0 if it is not there; answer the sum."""
    _, key, field, _ = arguments
    increment = _float_increment(arguments)
    old = _fields(db, arguments).get(field, b"0")
    total = written(add(parse(old, "ERR hash value is not a float"), increment))
    db.edit_or_create(key, Hash).put(field, total)
    db.edited(key, "hincrbyfloat")
    return total


def _pick(arguments: Arguments) -> tuple[int | None, bool]:
    return pick_options(arguments, b"WITHVALUES")


@command("HRANDFIELD", -2, group="hash", check=_pick)
def hrandfield(db: Keyspace, arguments: Arguments) -> Reply:
    """One random field or several, with their values on request."""
    count, with_values = _pick(arguments)
    fields = _fields(db, arguments)
    listed = list(fields)
    if count is None:
        return listed[position(db.random, len(listed))] if listed else None
    picked = [listed[at] for at in positions(db.random, len(listed), count)] if listed else []
    if not with_values:
        return bounded(picked)
    values = bounded([fields[field] for field in picked])
    return Pairs(zip(bounded(picked), values, strict=True))


@command("HSCAN", -3, group="hash", check=check_cursor)
def hscan(db: Keyspace, arguments: Arguments) -> Reply:
    """Go through the fields of a hash in steps."""
    fields = _fields(db, arguments)
    if not fields:
        return [b"0", []]
    scan = parse_scan(arguments)
    cursor, given = scan.step(fields)
    return [cursor, [part for field in given for part in (field, fields[field])] if scan.values else [*given]]


def _fields(db: Keyspace, arguments: Arguments) -> dict[bytes, bytes]:
    value = db.get(arguments[1], Hash)
    return {} if value is None else value.fields
