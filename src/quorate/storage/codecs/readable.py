"""Bytes in a form that JSON can hold and people can read, and that gives back the very same bytes.

::

    {"$text": "…"}       printable UTF-8
    {"$msgpack": …}      a list or a map in msgpack; bytes inside it are in one of these forms again
    {"$base64": "…"}     anything else

Everything else in it stands for itself. What JSON cannot hold exactly (keys that are no text, or that begin with
``$``, NaN, extension types, numbers in a longer form than need be) is shown as base64.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from math import isfinite
from typing import Any, TypeAlias

import msgspec

DEPTH_MAX = 32
"""Of lists and maps inside each other, those inside of bytes included. What is deeper is shown as base64."""

Readable: TypeAlias = dict[str, Any]

_TEXT, _MSGPACK, _BASE64 = "$text", "$msgpack", "$base64"
_LISTS_AND_MAPS = frozenset([*range(0x80, 0xA0), *range(0xDC, 0xE0)])
"""What these begin with in msgpack: the short forms, and the long ones. Anything short would pass for a number."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class _NotReadable(Exception):
    """JSON cannot hold this so that it comes back the same."""


def readable(data: bytes) -> Readable:
    """``data`` as an object with one of the three keys."""
    return _bytes(data, 0)


def as_base64(data: bytes) -> Readable:
    """``data`` in the form that holds anything."""
    return {_BASE64: b2a_base64(data, newline=False).decode("ascii")}


def original(form: Any) -> bytes:
    """The inverse. Raises :class:`ValueError` for what is no such form."""
    if type(form) is not dict or len(form) != 1:
        raise ValueError("bytes are an object with one key")
    ((key, value),) = form.items()
    try:
        if key == _TEXT:
            return str.encode(value)
        if key == _MSGPACK:
            return _encode(_original_value(value))
        if key == _BASE64:
            return a2b_base64(value, strict_mode=True)
    except (TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"no content for {key}: {error}") from error
    raise ValueError(f"bytes are not written as {key!r}")


def _bytes(data: bytes, depth: int) -> Readable:
    text = _printable(data)
    if text is not None:
        return {_TEXT: text}
    if data[0] in _LISTS_AND_MAPS:
        try:
            value = _decode(data)
            if _encode(value) == data:
                return {_MSGPACK: _value(value, depth + 1)}
        except (_NotReadable, msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, ValueError):
            pass
    return as_base64(data)


def _printable(data: bytes) -> str | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    if text.isprintable() or text.replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
        return text
    return None


def _value(value: Any, depth: int) -> Any:
    """What came out of msgpack, for JSON. Raises :class:`_NotReadable`."""
    kind = type(value)
    if kind is str or kind is int or value is None or kind is bool:
        return value
    if kind is bytes:
        return _bytes(value, depth)
    if kind is float:
        if isfinite(value):
            return value
    elif depth < DEPTH_MAX:
        if kind is list:
            return [_value(item, depth + 1) for item in value]
        if kind is dict and all(type(key) is str and not key.startswith("$") for key in value):
            return {key: _value(item, depth + 1) for key, item in value.items()}
    raise _NotReadable


def _original_value(value: Any) -> Any:
    kind = type(value)
    if kind is list:
        return [_original_value(item) for item in value]
    if kind is dict:
        if len(value) == 1 and next(iter(value)).startswith("$"):
            return original(value)
        return {key: _original_value(item) for key, item in value.items()}
    return value
