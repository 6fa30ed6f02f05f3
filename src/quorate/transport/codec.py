"""Messages as bytes: a registry of message types, each with a stable number.

A message is one msgpack array, ``[kind, group, field, field, …]``, the fields in the order in which its dataclass
declares them. Decoding is typed and bounded: the right number of fields, integers in 0 … 2**64-1, no kind that
was not registered, nothing behind the last field. Log entries travel as one binary of back-to-back records
(:mod:`quorate.records`), so that the leader's log, the frames and the followers' logs share the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from operator import attrgetter
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from quorate.errors import FrameError
from quorate.raft.entry import Entry
from quorate.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from quorate.records import decode_entries, encode_entry
from quorate.transport.contract import WireMessage

RAFT_KINDS: Mapping[int, type[WireMessage]] = MappingProxyType(
    {
        1: RequestVote,
        2: RequestVoteReply,
        3: AppendEntries,
        4: AppendEntriesReply,
        5: Heartbeat,
        6: HeartbeatReply,
        7: ReadIndex,
        8: ReadIndexReply,
        9: TimeoutNow,
    }
)
"""The core's messages. The numbers are on the wire: never renumber, never reuse."""

NODE_KINDS_MIN = 64
"""Kinds below are the core's; those from here to 255 are free for messages between nodes."""

LONG_BYTES = 64 * 1024
"""Entries and binaries beyond this are sent as they are."""

Unsigned = Annotated[int, msgspec.Meta(ge=0)]
_ARRAY16 = struct.Struct(">BH")
_BIN32 = struct.Struct(">BI")
_GROUP = "group_"  # cannot clash: no message calls a field this way, and the codec checks it
_ENTRIES = tuple[Entry, ...]
_PLAIN: Mapping[Any, Any] = {int: Unsigned, bool: bool, bytes: bytes, str: str, type(None): None}


class Codec:
    """Turns registered messages into bytes and back.

    ``kinds`` maps a number of one byte to a frozen dataclass, whose fields may be ``int`` (unsigned, 64 bits),
    ``bool``, ``bytes``, ``str``, one of these or ``None``, tuples of these, or ``tuple[Entry, ...]``. Raises
    :class:`TypeError` or :class:`ValueError` for anything else.
    """

    def __init__(self, kinds: Mapping[int, type[WireMessage]] = RAFT_KINDS) -> None:
        self._kinds = dict(kinds)
        self._encoder = msgspec.msgpack.Encoder()
        self._forms: dict[type[Any], _Form] = {}
        self._forms_by_wire: dict[type[Any], _Form] = {}
        for kind, message_type in self._kinds.items():
            if message_type in self._forms:
                raise ValueError(f"{message_type.__name__} is registered twice")
            form = _Form(kind, message_type)
            self._forms[message_type] = self._forms_by_wire[form.wire_type] = form
        self._decoder = msgspec.msgpack.Decoder(Union[tuple(self._forms_by_wire)])  # noqa: UP007

    def extended(self, kinds: Mapping[int, type[WireMessage]]) -> Codec:
        """A codec that knows ``kinds`` too; a number already taken is a :class:`ValueError`."""
        if taken := self._kinds.keys() & kinds.keys():
            raise ValueError(f"message kinds {sorted(taken)} are taken")
        return Codec({**self._kinds, **kinds})

    def encode(self, group: int, message: WireMessage) -> bytes:
        """The body of the frame that carries ``message``. :class:`TypeError` if its type is not registered."""
        form = self._forms.get(type(message))
        if form is None:
            raise TypeError(f"{type(message).__name__} is not a registered message")
        return self._encoder.encode((form.kind, group, *form.values(message)))

    def encode_in_pieces(self, group: int, message: WireMessage) -> bytes | list[bytes]:
        """The same body; if something in it is long, in pieces to be sent one behind the other, so as not to copy it.

        :class:`TypeError` if its type is not registered.
        """
        form = self._forms.get(type(message))
        if form is None:
            return self.encode(group, message)
        values = form.values(message)
        for position in form.binaries:
            value = values[position]
            if type(value) is bytes and len(value) > LONG_BYTES:
                return self._pieces((form.kind, group, *values))
        return self._encoder.encode((form.kind, group, *values))

    def _pieces(self, array: tuple[Any, ...]) -> list[bytes]:
        pieces = [_array_header(len(array))]
        for value in array:
            if type(value) is bytes and len(value) > LONG_BYTES:
                pieces[-1] += _BIN32.pack(0xC6, len(value))
                pieces += [value, b""]
            else:
                pieces[-1] += self._encoder.encode(value)
        return [piece for piece in pieces if piece]

    def decode(self, body: bytes) -> tuple[int, WireMessage]:
        """The group and the message of a frame's body. Raises :class:`FrameError` if it is not one of ours."""
        try:
            wire = self._decoder.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise FrameError(f"not a message: {error}") from None
        return self._forms_by_wire[type(wire)].message(wire)


class _Form:
    """One message type: how its fields are read, and the msgspec type that checks them on the way in."""

    def __init__(self, kind: int, message_type: type[WireMessage]) -> None:
        if not 0 <= kind <= 255:
            raise ValueError(f"message kind {kind} of {message_type.__name__} is not in 0..255")
        if not is_dataclass(message_type):
            raise TypeError(f"{message_type.__name__} is not a dataclass")
        names = [field.name for field in fields(message_type)]
        hints = get_type_hints(message_type)
        if _GROUP in names:
            raise ValueError(f"{message_type.__name__} has a field named {_GROUP}")
        self.kind = kind
        self.binaries = tuple(names.index(name) for name in names if hints[name] in (bytes, _ENTRIES))
        self.values = _reader(names, [name for name in names if hints[name] == _ENTRIES])
        self.wire_type: type[Any] = msgspec.defstruct(
            message_type.__name__,
            [(_GROUP, Unsigned), *((name, _wire_type(hints[name])) for name in names)],
            tag=kind,
            array_like=True,
            forbid_unknown_fields=True,
            gc=False,
        )
        self._message_type: Callable[..., WireMessage] = message_type
        self._entries = tuple(name for name in names if hints[name] == _ENTRIES)

    def message(self, wire: Any) -> tuple[int, WireMessage]:
        values = msgspec.structs.asdict(wire)
        group: int = values.pop(_GROUP)
        for name in self._entries:
            values[name] = _entries_behind(values.get("previous_index"), values[name])
        return group, self._message_type(**values)


def _array_header(count: int) -> bytes:
    """What msgpack begins an array with."""
    return bytes([0x90 | count]) if count < 16 else _ARRAY16.pack(0xDC, count)


def _reader(names: list[str], entries: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """A function from a message to its fields' values, entries already as records."""
    plain: Callable[[Any], tuple[Any, ...]] = attrgetter(*names) if len(names) > 1 else _few(names)
    if not entries:
        return plain
    positions = frozenset(names.index(name) for name in entries)

    def with_records(message: Any) -> tuple[Any, ...]:
        return tuple(
            b"".join(map(encode_entry, value)) if position in positions else value
            for position, value in enumerate(plain(message))
        )

    return with_records


def _few(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """What :func:`operator.attrgetter` does, for fewer names than it needs to give a tuple."""
    return lambda message: tuple(getattr(message, name) for name in names)


def _wire_type(annotation: Any) -> Any:
    if annotation == _ENTRIES:
        return bytes
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return Union[tuple(map(_wire_type, arguments))]  # noqa: UP007
    if origin is tuple:
        items = tuple(item if item is Ellipsis else _wire_type(item) for item in arguments)
        return tuple[items]  # type: ignore[valid-type]
    raise TypeError(f"a message cannot carry {annotation!r}")


def _entries_behind(previous_index: int | None, records: bytes) -> tuple[Entry, ...]:
    """Decode ``records`` and make sure that they are contiguous, from ``previous_index`` + 1 if there is one.

    A gap or an overlap inside one message is no state of a log (§5.3): nothing above has to think about it.
    """
    entries = decode_entries(records)
    if entries:
        expected = entries[0].index if previous_index is None else previous_index + 1
        for entry in entries:
            if entry.index != expected:
                raise FrameError(f"entry {entry.index} where entry {expected} should be")
            expected += 1
    return tuple(entries)
