"""OBJECT and MEMORY: what clients and dashboards ask about how a value is kept.

Values are kept in one way for each type here; the encodings are those that Redis would choose, with its defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from quorate.kv.arguments import integer, integer_or_none, keyword, shown, syntax_error
from quorate.kv.help import help_lines
from quorate.kv.keyspace import Item, Keyspace
from quorate.kv.registry import Arguments, Keys, command
from quorate.kv.replies import CommandError, Reply
from quorate.kv.values import Hash, Lease, List, Lock, Set, SortedSet, Value

PACKED_FIELDS_MAX = 512
PACKED_SCORES_MAX = 128
PACKED_ELEMENT_BYTES_MAX = 64
INTEGERS_MAX = 512
EMBEDDED_BYTES_MAX = 44

NO_FREQUENCY = (
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching "
    "between policies at runtime LRU and LFU data will take some time to adjust."
)


def encoding(value: Value) -> bytes:
    """How Redis would keep it."""
    match value:
        case Hash():
            parts = (part for pair in value.fields.items() for part in pair)
            return b"listpack" if len(value) <= PACKED_FIELDS_MAX and _short(parts) else b"hashtable"
        case List():
            return b"quicklist"
        case Set():
            if len(value) <= INTEGERS_MAX and all(integer_or_none(member) is not None for member in value.members):
                return b"intset"
            return b"hashtable"
        case SortedSet():
            return b"listpack" if len(value) <= PACKED_SCORES_MAX and _short(value.scores) else b"skiplist"
        case Lease() | Lock():
            return b"raw"
        case _:
            if integer_or_none(value) is not None:
                return b"int"
            return b"embstr" if len(value) <= EMBEDDED_BYTES_MAX else b"raw"


def _short(parts: Iterable[bytes]) -> bool:
    return all(len(part) <= PACKED_ELEMENT_BYTES_MAX for part in parts)


def _frequency(item: Item) -> Reply:
    raise CommandError(NO_FREQUENCY)


ASPECTS: dict[bytes, Callable[[Item], Reply]] = {
    b"ENCODING": lambda item: encoding(item.value),
    b"REFCOUNT": lambda item: 1,
    b"IDLETIME": lambda item: 0,
    b"FREQ": _frequency,
}


OBJECT_HELP = {
    "ENCODING <key>": "How Redis would keep the value.",
    "FREQ <key>": "An error: how often keys are used is not kept.",
    "IDLETIME <key>": "0: when keys were used is not kept.",
    "REFCOUNT <key>": "1: values are not shared.",
}
MEMORY_HELP = {"USAGE <key> [SAMPLES <count>]": "About how many bytes a key and its value take."}


def _asks_for_help(arguments: Arguments) -> bool:
    return len(arguments) == 2 and keyword(arguments[1]) == b"HELP"


def check_object(arguments: Arguments) -> None:
    """Raises if it asks for what there is not."""
    if _asks_for_help(arguments):
        return
    _check_subcommand(arguments, ASPECTS)
    if len(arguments) != 3:
        raise _wrong_arity(arguments)


def _check_subcommand(arguments: Arguments, known: Iterable[bytes]) -> None:
    if keyword(arguments[1]) not in known:
        raise CommandError(f"ERR unknown subcommand '{shown(arguments[1])}'. Try {arguments[0].decode()} HELP.")


def _wrong_arity(arguments: Arguments) -> CommandError:
    name = b"|".join(arguments[:2]).decode().lower()
    return CommandError(f"ERR wrong number of arguments for '{name}' command")


@command("OBJECT", -2, group="generic", keys=Keys(2, 2), check=check_object)
def object_(db: Keyspace, arguments: Arguments) -> Reply:
    """How a value is kept: its ENCODING, REFCOUNT, IDLETIME or FREQ; null if there is none."""
    if _asks_for_help(arguments):
        return help_lines("OBJECT", OBJECT_HELP)
    item = db.find(arguments[2])
    return None if item is None else ASPECTS[keyword(arguments[1])](item)


def check_memory(arguments: Arguments) -> None:
    """Raises if it asks for what there is not."""
    if _asks_for_help(arguments):
        return
    _check_subcommand(arguments, (b"USAGE",))
    if len(arguments) < 3:
        raise _wrong_arity(arguments)
    for at in range(3, len(arguments), 2):
        if keyword(arguments[at]) != b"SAMPLES" or at + 1 == len(arguments) or integer(arguments[at + 1]) < 0:
            raise syntax_error()


@command("MEMORY", -2, group="server", keys=Keys(2, 2), check=check_memory)
def memory(db: Keyspace, arguments: Arguments) -> Reply:
    """About how many bytes a key and its value take; null if there is none."""
    if _asks_for_help(arguments):
        return help_lines("MEMORY", MEMORY_HELP)
    item = db.find(arguments[2])
    return None if item is None else item.size
