"""BITFIELD: integers of any width within strings, with a say in what happens when they overflow.

What Redis says of it: https://redis.io/docs/latest/commands/bitfield/
"""

from __future__ import annotations

import re

import msgspec

from quorate.kv.arguments import integer, keyword, syntax_error
from quorate.kv.commands.bits import NO_OFFSET
from quorate.kv.commands.strings import STRING_BYTES_MAX
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import Arguments, command
from quorate.kv.replies import CommandError, Reply
from quorate.kv.weights import copying

NO_TYPE = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
_TYPE = re.compile(rb"([iu])([1-9][0-9]?)")


class Field(msgspec.Struct, frozen=True):
    """An integer of some bits at some bit."""

    offset: int
    bits: int
    signed: bool

    @property
    def bytes_end(self) -> int:
        """How long the string has to be to hold it."""
        return (self.offset + self.bits + 7) >> 3

    def read(self, data: bytes | bytearray) -> int:
        """Its value; beyond the end all bits are 0."""
        first = self.offset >> 3
        number = int.from_bytes(data[first : self.bytes_end].ljust(self.bytes_end - first, b"\0"), "big")
        number = number >> self._shift & self._mask
        return number - (1 << self.bits) if self.signed and number >> (self.bits - 1) else number

    def write(self, data: bytearray, value: int) -> None:
        """Put a value that fits into data that is long enough."""
        first = self.offset >> 3
        around = int.from_bytes(data[first : self.bytes_end], "big") & ~(self._mask << self._shift)
        number = around | (value & self._mask) << self._shift
        data[first : self.bytes_end] = number.to_bytes(self.bytes_end - first, "big")

    def fitted(self, value: int, overflow: bytes) -> int | None:
        """What is stored for ``value``: itself if it fits, else what ``overflow`` says; ``None`` for nothing."""
        least = -(1 << (self.bits - 1)) if self.signed else 0
        most = least + self._mask
        if least <= value <= most:
            return value
        if overflow == b"FAIL":
            return None
        if overflow == b"SAT":
            return most if value > most else least
        return (value - least & self._mask) + least

    @property
    def _mask(self) -> int:
        return (1 << self.bits) - 1

    @property
    def _shift(self) -> int:
        return -(self.offset + self.bits) & 7


class Operation(msgspec.Struct, frozen=True):
    """One of GET, SET and INCRBY, with what was said of overflows before it."""

    kind: bytes
    field: Field
    value: int = 0
    overflow: bytes = b"WRAP"

    def run(self, data: bytearray) -> tuple[int | None, bool]:
        """The reply, and whether a value was stored. Data has to be long enough for it."""
        old = self.field.read(data)
        if self.kind == b"GET":
            return old, False
        if self.kind == b"INCRBY":
            wanted = old + self.value
        else:
            wanted = self.value if self.field.signed else self.value & (1 << 64) - 1
        new = self.field.fitted(wanted, self.overflow)
        if new is None:
            return None, False
        self.field.write(data, new)
        return (old if self.kind == b"SET" else new), True


def field(kind: bytes, place: bytes) -> Field:
    """Read ``u8 100`` or ``i5 #3``. Raises what is wrong with it."""
    matched = _TYPE.fullmatch(kind.partition(b"\0")[0])
    if matched is None or int(matched[2]) > (64 if matched[1] == b"i" else 63):
        raise CommandError(NO_TYPE)
    bits = int(matched[2])
    offset = integer(place[1:], NO_OFFSET) * bits if place[:1] == b"#" else integer(place, NO_OFFSET)
    if not 0 <= offset < 8 * STRING_BYTES_MAX:
        raise CommandError(NO_OFFSET)
    return Field(offset, bits, matched[1] == b"i")


def operations(arguments: Arguments) -> list[Operation]:
    """What ``BITFIELD`` is to do. Raises what is wrong with it."""
    read: list[Operation] = []
    overflow = b"WRAP"
    at = 2
    while at < len(arguments):
        kind, rest = keyword(arguments[at]), arguments[at + 1 : at + 4]
        if kind == b"GET" and len(rest) >= 2:
            read.append(Operation(kind, field(rest[0], rest[1])))
            at += 3
        elif kind in (b"SET", b"INCRBY") and len(rest) == 3:
            read.append(Operation(kind, field(rest[0], rest[1]), integer(rest[2]), overflow))
            at += 4
        elif kind == b"OVERFLOW" and rest:
            overflow = keyword(rest[0])
            if overflow not in (b"WRAP", b"SAT", b"FAIL"):
                raise CommandError("ERR Invalid OVERFLOW type specified")
            at += 2
        else:
            raise syntax_error()
    return read


def _end(arguments: Arguments) -> int:
    return max((each.field.bytes_end for each in operations(arguments) if each.kind != b"GET"), default=0)


@command("BITFIELD", -2, group="bitmap", write=True, check=operations, weigh=copying(end=_end))
def bitfield(db: Keyspace, arguments: Arguments) -> Reply:
    """Read, set and add to integers of any width within a string."""
    key, value = arguments[1], db.get(arguments[1], bytes)
    data = bytearray(value or b"")
    wanted = operations(arguments)
    ends = [operation.field.bytes_end for operation in wanted if operation.kind != b"GET"]
    data.extend(bytes(max(max(ends, default=0) - len(data), 0)))  # even if nothing fits there then, as in Redis
    done = [operation.run(data) for operation in wanted]
    if ends and bytes(data) != value:
        db.put(key, bytes(data), *(["setbit"] if any(stored for _, stored in done) else []), expires_us=None)
    return [reply for reply, _ in done]


def check_reads(arguments: Arguments) -> None:
    """Raises if it is more than reading."""
    if any(operation.kind != b"GET" for operation in operations(arguments)):
        raise CommandError("ERR BITFIELD_RO only supports the GET subcommand")


@command("BITFIELD_RO", -2, group="bitmap", check=check_reads)
def bitfield_ro(db: Keyspace, arguments: Arguments) -> Reply:
    """Read integers of any width within a string."""
    data = db.get(arguments[1], bytes) or b""
    return [operation.field.read(data) for operation in operations(arguments)]
