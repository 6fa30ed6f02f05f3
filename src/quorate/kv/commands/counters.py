"""Numbers in strings: integers of 64 bits, and decimals.

What Redis says of them: https://redis.io/docs/latest/commands/?group=string
"""

from __future__ import annotations

from quorate.kv.arguments import INTEGER_MAX, INTEGER_MIN, integer
from quorate.kv.commands.extended import add as add_floats
from quorate.kv.commands.extended import parse, written
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import Arguments, command
from quorate.kv.replies import NOT_A_FLOAT, CommandError, Reply


def add(db: Keyspace, key: bytes, increment: int) -> int:
    """Add to an integer, 0 if there is none. Raises if what is there is no integer, or if the sum is none."""
    old = db.get(key, bytes)
    value = (0 if old is None else integer(old)) + increment
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        raise CommandError("ERR increment or decrement would overflow")
    db.put(key, b"%d" % value, "incrby", expires_us=None)
    return value


@command("INCR", 2, group="string", write=True)
def incr(db: Keyspace, arguments: Arguments) -> Reply:
    """Add one to an integer; 0 if there is none."""
    return add(db, arguments[1], 1)


@command("DECR", 2, group="string", write=True)
def decr(db: Keyspace, arguments: Arguments) -> Reply:
    """Subtract one from an integer; 0 if there is none."""
    return add(db, arguments[1], -1)


def check_increment(arguments: Arguments) -> None:
    """Raises if it is no integer."""
    integer(arguments[2])


@command("INCRBY", 3, group="string", write=True, check=check_increment)
def incrby(db: Keyspace, arguments: Arguments) -> Reply:
    """Add to an integer; 0 if there is none."""
    return add(db, arguments[1], integer(arguments[2]))


def check_decrement(arguments: Arguments) -> None:
    """Raises if it is no integer, or the one whose negation is none."""
    if integer(arguments[2]) == INTEGER_MIN:
        raise CommandError("ERR decrement would overflow")


@command("DECRBY", 3, group="string", write=True, check=check_decrement)
def decrby(db: Keyspace, arguments: Arguments) -> Reply:
    """Subtract from an integer; 0 if there is none."""
    return add(db, arguments[1], -integer(arguments[2]))


@command("INCRBYFLOAT", 3, group="string", write=True, check=lambda arguments: parse(arguments[2], NOT_A_FLOAT))
def incrbyfloat(db: Keyspace, arguments: Arguments) -> Reply:
    """Add to a decimal; 0 if there is none."""
    old = db.get(arguments[1], bytes)
    start = parse(b"0" if old is None else old, NOT_A_FLOAT)
    value = written(add_floats(start, parse(arguments[2], NOT_A_FLOAT)))
    db.put(arguments[1], value, "incrbyfloat", expires_us=None)
    return value
