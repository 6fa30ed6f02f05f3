"""The commands of the models machine, as they stand in the log.

They name their models and columns, so a node with a newer declaration (more fields, another order) reads them too.
Values are in stored form: checked, and encoded once by the node that took the request.

Where an operation on one object has ``expected``, that is the version the object must be of.
"""

from __future__ import annotations

from typing import Any

import msgspec

# Stored values are None, int, float, str and bytes; msgspec cannot tell a str from bytes in a union and needs no help.
Value = Any


class Create(msgspec.Struct, frozen=True, array_like=True, tag="create"):
    """Insert all ``rows`` or none. A primary key of ``None`` is stamped when the command is applied.

    Result: the version of the first, of which each that follows has one more, and the primary keys in stored form.
    """

    model: str
    columns: tuple[str, ...]
    rows: list[tuple[Value, ...]]


class Replace(msgspec.Struct, frozen=True, array_like=True, tag="replace"):
    """Give all fields but the primary key new values. Result: the stored row and its version."""

    model: str
    key: Value
    columns: tuple[str, ...]
    values: tuple[Value, ...]
    expected: int | None = None


class Patch(msgspec.Struct, frozen=True, array_like=True, tag="patch"):
    """Give some fields new values, each of which is valid by itself. Result: the stored row and its version."""

    model: str
    key: Value
    columns: tuple[str, ...]
    values: tuple[Value, ...]
    expected: int | None = None


class MergePatch(msgspec.Struct, frozen=True, array_like=True, tag="merge"):
    """Merge a JSON document into the object (RFC 7396) and check the whole. Result: the stored row and its version.

    For changes whose outcome depends on the rest of the object: nested values, and models with rules. ``whole``: the
    document's members take the place of the fields, objects in them too.
    """

    model: str
    key: Value
    document: str
    expected: int | None = None
    whole: bool = False


class Call(msgspec.Struct, frozen=True, array_like=True, tag="call"):
    """Have a method of the model, one that is declared as an event, change the object. Result: as of :class:`Patch`.

    ``arguments`` are a JSON object.
    """

    model: str
    key: Value
    event: str
    arguments: str
    expected: int | None = None


class Delete(msgspec.Struct, frozen=True, array_like=True, tag="delete"):
    """Remove one object. Result: ``None``."""

    model: str
    key: Value
    expected: int | None = None


class Check(msgspec.Struct, frozen=True, array_like=True, tag="check"):
    """Change nothing, and refuse the rest if the object is not there, or not of this version. Result: its version."""

    model: str
    key: Value
    expected: int | None = None


Operation = Create | Replace | Patch | MergePatch | Call | Delete | Check


class Change(msgspec.Struct, frozen=True, array_like=True, tag="change"):
    """Carry out all operations, in order, or none. Result: theirs, in a list.

    ``actor`` is who asks for it, if that is known; ``schema`` the version of the declarations by which it was checked.
    ``declared`` tells those of one version apart: rows are answered in the form that they say, so a retry by others is
    another request.
    """

    operations: list[Operation]
    actor: str | None = None
    schema: int = 0
    declared: str = ""


class Declare(msgspec.Struct, frozen=True, array_like=True, tag="declare"):
    """From here on the models are declared so: see :mod:`quorate.models.store.evolution`. Result: ``None``.

    ``version`` is the number of the app's migrations, ``models`` the JSON of its form, and ``fingerprint`` a digest of
    both. Refused unless ``follows`` is the fingerprint that was declared before; empty if there was none.
    """

    version: int
    fingerprint: str
    models: str
    follows: str


class Retain(msgspec.Struct, frozen=True, array_like=True, tag="retain"):
    """Delete some of the history whose retention is over. Result: how many entries."""


Command = Change | Declare | Retain

encode_command = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Command)


def decode_command(data: bytes) -> Command:
    """Raises :class:`msgspec.MsgspecError` for bytes that are no command of ours."""
    command: Command = _decoder.decode(data)
    return command
