"""Strings as rows of bits: bit 0 is the highest of the first byte, and beyond the end all are 0.

What Redis says of them: https://redis.io/docs/latest/commands/?group=bitmap
"""

from __future__ import annotations

from functools import reduce
from operator import and_, or_, xor

from quorate.kv.arguments import integer, keyword, syntax_error
from quorate.kv.commands.strings import STRING_BYTES_MAX, is_crossed, span
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import Arguments, Keys, command
from quorate.kv.replies import CommandError, Reply
from quorate.kv.weights import copying

COMBINED_BYTES_MAX = 128 << 20
"""All strings of one ``BITOP``, each as long as the longest."""
NO_OFFSET = "ERR bit offset is not an integer or out of range"
NO_BIT = "ERR bit is not an integer or out of range"
NO_BIT_TO_FIND = "ERR The bit argument must be 1 or 0."


def bit_offset(text: bytes) -> int:
    """The place of a bit that a string can have. Raises if it is none."""
    offset = integer(text, NO_OFFSET)
    if not 0 <= offset < 8 * STRING_BYTES_MAX:
        raise CommandError(NO_OFFSET)
    return offset


def setbit_arguments(arguments: Arguments) -> tuple[int, int]:
    """The place and the bit that ``SETBIT`` names."""
    offset, bit = bit_offset(arguments[2]), integer(arguments[3], NO_BIT)
    if bit not in (0, 1):
        raise CommandError(NO_BIT)
    return offset, bit


def _setbit_end(arguments: Arguments) -> int:
    return bit_offset(arguments[2]) >> 3


@command("SETBIT", 4, group="bitmap", write=True, check=setbit_arguments, weigh=copying(end=_setbit_end))
def setbit(db: Keyspace, arguments: Arguments) -> Reply:
    """Set or clear one bit; returns what it was."""
    key, (offset, bit) = arguments[1], setbit_arguments(arguments)
    value = db.get(key, bytes)
    at, mask = offset >> 3, 0x80 >> (offset & 7)
    old = int(value is not None and at < len(value) and value[at] & mask != 0)
    if value is None or at >= len(value) or old != bit:
        changed = bytearray((value or b"").ljust(at + 1, b"\0"))
        changed[at] = changed[at] | mask if bit else changed[at] & ~mask
        db.put(key, bytes(changed), "setbit", expires_us=None)
    return old


@command("GETBIT", 3, group="bitmap", check=lambda arguments: bit_offset(arguments[2]))
def getbit(db: Keyspace, arguments: Arguments) -> Reply:
    """One bit."""
    value, offset = db.get(arguments[1], bytes) or b"", bit_offset(arguments[2])
    return value[offset >> 3] >> (7 - (offset & 7)) & 1 if offset >> 3 < len(value) else 0


def in_bits(unit: bytes) -> bool:
    """Whether the ends of a range are bits, and not bytes. Raises if they are neither."""
    if keyword(unit) not in (b"BYTE", b"BIT"):
        raise syntax_error()
    return keyword(unit) == b"BIT"


def bit_range(first: int, last: int, length: int, *, are_bits: bool) -> tuple[int, int]:
    """From which bit to which (exclusive) a range goes in ``length`` bytes."""
    if are_bits:
        return span(first, last, 8 * length)
    first, end = span(first, last, length)
    return 8 * first, 8 * end


def part_of(value: bytes, first: int, end: int, around: int) -> bytearray:
    """The bytes with the bits from ``first`` to ``end``, not empty; the other bits in them become ``around``."""
    part = bytearray(value[first >> 3 : (end + 7) >> 3])
    before, after = 0xFF >> (first & 7), 0xFF << (-end & 7) & 0xFF
    for at, mask in ((0, before), (-1, after)):
        part[at] = part[at] | ~mask & 0xFF if around else part[at] & mask
    return part


@command("BITCOUNT", -2, group="bitmap")
def bitcount(db: Keyspace, arguments: Arguments) -> Reply:
    """How many bits are set."""
    value = db.get(arguments[1], bytes)
    if value is None:
        return 0
    ends = arguments[2:]
    if len(ends) not in (0, 2, 3):
        raise syntax_error()
    first, last = (integer(ends[0]), integer(ends[1])) if ends else (0, -1)
    if is_crossed(first, last):
        return 0
    first, end = bit_range(first, last, len(value), are_bits=len(ends) == 3 and in_bits(ends[2]))
    if first >= end:
        return 0
    return int.from_bytes(part_of(value, first, end, 0), "big").bit_count()


def sought_bit(arguments: Arguments) -> int:
    """The bit that ``BITPOS`` looks for."""
    bit = integer(arguments[2])
    if bit not in (0, 1):
        raise CommandError(NO_BIT_TO_FIND)
    return bit


@command("BITPOS", -3, group="bitmap", check=sought_bit)
def bitpos(db: Keyspace, arguments: Arguments) -> Reply:
    """Where the first bit is that is set, or the first that is not; -1 if there is none."""
    value, bit = db.get(arguments[1], bytes), sought_bit(arguments)
    if value is None:
        return -1 if bit else 0
    ends = arguments[3:]
    if len(ends) > 3:
        raise syntax_error()
    first = integer(ends[0]) if ends else 0
    are_bits = len(ends) == 3 and in_bits(ends[2])
    last = integer(ends[1]) if len(ends) > 1 else -1
    first, end = bit_range(first, last, len(value), are_bits=are_bits)
    if first >= end:
        return -1
    part = part_of(value, first, end, 1 - bit)
    rest = part.lstrip(b"\0" if bit else b"\xff")
    if rest:
        byte = rest[0] if bit else rest[0] ^ 0xFF
        return 8 * ((first >> 3) + len(part) - len(rest)) + 8 - byte.bit_length()
    has_end = len(arguments) > 4
    return -1 if bit or has_end else end


OPERATIONS = {b"AND": and_, b"OR": or_, b"XOR": xor}


def check_bitop(arguments: Arguments) -> None:
    """Raises if there is no such operation, or too many keys for it."""
    operation = keyword(arguments[1])
    if operation == b"NOT" and len(arguments) != 4:
        raise CommandError("ERR BITOP NOT must be called with a single source key.")
    if operation != b"NOT" and operation not in OPERATIONS:
        raise syntax_error()


COMBINED = Keys(2, -1)


@command("BITOP", -4, group="bitmap", write=True, keys=COMBINED, check=check_bitop, weigh=copying(COMBINED))
def bitop(db: Keyspace, arguments: Arguments) -> Reply:
    """Combine strings bit by bit, the shorter ones filled up with zeros, and set a key to the result."""
    target = arguments[2]
    values = [db.get(key, bytes) or b"" for key in arguments[3:]]
    length = max(map(len, values))
    if length * len(values) > COMBINED_BYTES_MAX:
        raise CommandError(f"ERR BITOP combines at most {COMBINED_BYTES_MAX} bytes")
    if not length:
        if db.find(target) is not None:
            db.check_plain(target)
            db.delete(target)
        return 0
    numbers = (int.from_bytes(value.ljust(length, b"\0"), "big") for value in values)
    if keyword(arguments[1]) == b"NOT":
        result = next(numbers) ^ ((1 << 8 * length) - 1)
    else:
        result = reduce(OPERATIONS[keyword(arguments[1])], numbers)
    db.put(target, result.to_bytes(length, "big"), "set")
    return length
