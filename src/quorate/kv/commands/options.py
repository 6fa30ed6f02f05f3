"""Options that several commands share: numbers within bounds, counted keys, and how many to pop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from quorate.kv.arguments import INTEGER_MAX, integer, keyword, syntax_error
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import Arguments
from quorate.kv.replies import CommandError
from quorate.kv.values import List, Set, SortedSet

NOT_POSITIVE = "ERR value is out of range, must be positive"
NO_KEYS_COUNTED = "ERR numkeys should be greater than 0"
T = TypeVar("T")


def integer_from(text: bytes, least: int, error: str) -> int:
    """An integer that is ``least`` or more; all that is wrong with it is the one ``error``."""
    number = integer(text, error)
    if number < least:
        raise CommandError(error)
    return number


def wrong_arity(arguments: Arguments) -> CommandError:
    """What a command answers to too many arguments, or an odd one."""
    return CommandError(f"ERR wrong number of arguments for '{arguments[0].decode().lower()}' command")


def pop_count(arguments: Arguments) -> int | None:
    """``KEY [count]``: how many to take; ``None`` is one, which is answered alone. For ``check=`` as well."""
    return integer_from(arguments[2], 0, NOT_POSITIVE) if len(arguments) > 2 else None


def pop_many(arguments: Arguments, sides: Mapping[bytes, T]) -> tuple[Arguments, T, int]:
    """``numkeys key … SIDE [COUNT n]``, as LMPOP and ZMPOP have it: the keys, the side and the count."""
    count = integer_from(arguments[1], 1, NO_KEYS_COUNTED)
    keys, rest = arguments[2 : 2 + count], arguments[2 + count :]
    if len(keys) < count or not rest or (side := sides.get(keyword(rest[0]))) is None:
        raise syntax_error()
    if len(rest) == 1:
        return keys, side, 1
    if len(rest) == 2 or keyword(rest[1]) != b"COUNT":
        raise syntax_error()
    count = integer_from(rest[2], 1, "ERR count should be greater than 0")
    if len(rest) > 3:
        raise syntax_error()
    return keys, side, count


def cardinality_limit(rest: Arguments) -> int:
    """``[LIMIT n]``, as SINTERCARD and ZINTERCARD end; without one, and with 0, there is no limit."""
    limit = 0
    for at in range(0, len(rest), 2):
        if keyword(rest[at]) != b"LIMIT" or at + 1 == len(rest):
            raise syntax_error()
        limit = integer_from(rest[at + 1], 0, "ERR LIMIT can't be negative")
    return limit or INTEGER_MAX


def store(db: Keyspace, key: bytes, value: List | Set | SortedSet, event: str) -> int:
    """Have a result at ``key``, or nothing if it is empty; returns its size, as all ``…STORE`` commands do."""
    if len(value):
        db.put(key, value, event)
    elif db.find(key) is not None:
        db.check_plain(key)
        db.delete(key)
    return len(value)
