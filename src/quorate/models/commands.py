"""The commands of the models machine, as they stand in the log.

They name their model and columns, so a node with a newer declaration (more fields, another order) reads them
too. Values are in stored form: checked, and encoded once by the node that took the request.
"""

from __future__ import annotations

from typing import Any

import msgspec

# Stored values are None, int, float, str and bytes; msgspec cannot tell a str from bytes in a union and needs no help.
Value = Any


class Create(msgspec.Struct, frozen=True, array_like=True, tag="create"):
    """Insert all ``rows`` or none. A primary key of ``None`` is stamped when the command is applied.

    Result: the primary keys, in stored form.
    """

    model: str
    columns: tuple[str, ...]
    rows: list[tuple[Value, ...]]


class Replace(msgspec.Struct, frozen=True, array_like=True, tag="replace"):
    """Give all fields but the primary key new values. Result: the stored row."""

    model: str
    key: Value
    columns: tuple[str, ...]
    values: tuple[Value, ...]


class Patch(msgspec.Struct, frozen=True, array_like=True, tag="patch"):
    """Give some fields new values, each of which is valid by itself. Result: the stored row."""

    model: str
    key: Value
    columns: tuple[str, ...]
    values: tuple[Value, ...]


class MergePatch(msgspec.Struct, frozen=True, array_like=True, tag="merge"):
    """Merge a JSON document into the object (RFC 7396) and check the whole. Result: the stored row.

    For changes whose outcome depends on the rest of the object: nested values, and models with rules.
    """

    model: str
    key: Value
    document: str


class Delete(msgspec.Struct, frozen=True, array_like=True, tag="delete"):
    """Remove one object. Result: ``None``."""

    model: str
    key: Value


Command = Create | Replace | Patch | MergePatch | Delete

encode_command = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Command)


def decode_command(data: bytes) -> Command:
    """Raises :class:`msgspec.MsgspecError` for bytes that are no command of ours."""
    command: Command = _decoder.decode(data)
    return command
