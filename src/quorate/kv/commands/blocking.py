"""Lists and sorted sets from which clients wait to take something: here they take what is there, or nothing.

So they act in transactions. Outside of these the server has a client wait, and tries again when there is something.
"""

from __future__ import annotations

from collections.abc import Callable

from quorate.kv.arguments import number
from quorate.kv.commands.lists import lmove, lmpop, lpop, rpop, rpoplpush
from quorate.kv.commands.sorted_sets import zmpop, zpopmax, zpopmin
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import COMMANDS, Arguments, Handler, Keys, command
from quorate.kv.replies import NULL_ARRAY, CommandError, Reply
from quorate.kv.values import List, SortedSet

FIRST_KEYS = Keys(1, -2)
"""All arguments but the last, which is the timeout."""
COUNTED_BEHIND_TIMEOUT = Keys(counted=2)
NOT_A_TIMEOUT = "ERR timeout is not a float or out of range"
SECONDS_MAX = 1e9
"""Some thirty years."""


def timeout_seconds(arguments: Arguments) -> float:
    """How long a client is to wait; 0 for ever. Raises :class:`CommandError`."""
    at_front = COMMANDS[arguments[0]].keys is COUNTED_BEHIND_TIMEOUT
    seconds = number(arguments[1 if at_front else -1], NOT_A_TIMEOUT)
    if seconds < 0:
        raise CommandError("ERR timeout is negative")
    if seconds > SECONDS_MAX:
        raise CommandError("ERR timeout is out of range")
    return seconds


def _plain(name: bytes, arguments: Arguments) -> list[bytes]:
    """The command without a timeout that takes from several keys, or moves."""
    behind = COMMANDS[arguments[0]].keys is COUNTED_BEHIND_TIMEOUT
    return [name, *(arguments[2:] if behind else arguments[1:-1])]


def _check(name: str | None) -> Callable[[Arguments], None]:
    def check(arguments: Arguments) -> None:
        timeout_seconds(arguments)
        if name is not None:
            COMMANDS[name.encode()].check_arguments(_plain(name.encode(), arguments))

    return check


def _from_first(db: Keyspace, arguments: Arguments, kind: type[List | SortedSet], pop: Handler) -> Reply:
    """Take from the first of the keys at which something is: the key and what ``pop`` answers."""
    for key in arguments[1:-1]:
        if db.get(key, kind) is not None:
            taken = pop(db, [arguments[0], key])
            return [key, *taken] if isinstance(taken, list) else [key, taken]
    return NULL_ARRAY


@command("BLPOP", -3, group="list", write=True, freeing=True, keys=FIRST_KEYS, check=_check(None), blocking=True)
def blpop(db: Keyspace, arguments: Arguments) -> Reply:
    """Take the first element of the first list that has one, or wait for one."""
    return _from_first(db, arguments, List, lpop)


@command("BRPOP", -3, group="list", write=True, freeing=True, keys=FIRST_KEYS, check=_check(None), blocking=True)
def brpop(db: Keyspace, arguments: Arguments) -> Reply:
    """Take the last element of the first list that has one, or wait for one."""
    return _from_first(db, arguments, List, rpop)


@command("BLMOVE", 6, group="list", write=True, keys=Keys(1, 2), check=_check("LMOVE"), blocking=True)
def blmove(db: Keyspace, arguments: Arguments) -> Reply:
    """Take an element from one list and add it to another, or wait for one."""
    return lmove(db, _plain(b"LMOVE", arguments))


@command("BRPOPLPUSH", 4, group="list", write=True, keys=Keys(1, 2), check=_check("RPOPLPUSH"), blocking=True)
def brpoplpush(db: Keyspace, arguments: Arguments) -> Reply:
    """Take the last element of a list and add it at the head of another, or wait for one: BLMOVE's older form."""
    return rpoplpush(db, _plain(b"RPOPLPUSH", arguments))


@command(
    "BLMPOP",
    -5,
    group="list",
    write=True,
    freeing=True,
    keys=COUNTED_BEHIND_TIMEOUT,
    check=_check("LMPOP"),
    blocking=True,
)
def blmpop(db: Keyspace, arguments: Arguments) -> Reply:
    """Take elements from the first of several lists that is there, or wait for one."""
    return lmpop(db, _plain(b"LMPOP", arguments))


@command(
    "BZPOPMIN", -3, group="sorted-set", write=True, freeing=True, keys=FIRST_KEYS, check=_check(None), blocking=True
)
def bzpopmin(db: Keyspace, arguments: Arguments) -> Reply:
    """Take the member with the lowest score of the first sorted set that has one, or wait for one."""
    return _from_first(db, arguments, SortedSet, zpopmin)


@command(
    "BZPOPMAX", -3, group="sorted-set", write=True, freeing=True, keys=FIRST_KEYS, check=_check(None), blocking=True
)
def bzpopmax(db: Keyspace, arguments: Arguments) -> Reply:
    """Take the member with the highest score of the first sorted set that has one, or wait for one."""
    return _from_first(db, arguments, SortedSet, zpopmax)


@command("BZMPOP", -5, group="sorted-set", write=True, freeing=True, keys=COUNTED_BEHIND_TIMEOUT, check=_check("ZMPOP"),
         blocking=True)  # fmt: skip
def bzmpop(db: Keyspace, arguments: Arguments) -> Reply:
    """Take members from the first of several sorted sets that is there, or wait for one."""
    return zmpop(db, _plain(b"ZMPOP", arguments))


def sources(arguments: Arguments) -> tuple[list[bytes], type[List | SortedSet]]:
    """The keys from which a command takes, and what has to be at one of them."""
    spec = COMMANDS[arguments[0]]
    keys = spec.keys.of(arguments)
    kind: type[List | SortedSet] = SortedSet if spec.group == "sorted-set" else List
    return (keys[:1] if spec.keys.first and spec.keys.last == 2 else list(dict.fromkeys(keys))), kind
