"""How a command ended, and its portable form: what a retried request is answered with."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from quorate.errors import CommandFailed


@dataclass(frozen=True, slots=True)
class Applied:
    """A command's answer: the entry that carried it (``index``, ``term``) and the state machine's ``result``."""

    index: int
    term: int
    result: object = None


class _Result(msgspec.Struct, array_like=True, tag="result"):
    value: object


class _Failure(msgspec.Struct, array_like=True, tag="failure"):
    name: str
    arguments: list[object]


_decoder = msgspec.msgpack.Decoder(_Result | _Failure)


def encode_outcome(outcome: object) -> bytes:
    """``outcome`` (a result, or the :class:`CommandFailed` that was raised) as bytes.

    A result made of anything but plain data is remembered as ``None``: the retry still learns that it was applied.
    """
    if isinstance(outcome, CommandFailed):
        arguments = [argument if _is_plain(argument) else str(argument) for argument in outcome.args]
        return msgspec.msgpack.encode(_Failure(type(outcome).__name__, arguments))
    return msgspec.msgpack.encode(_Result(outcome if _is_plain(outcome) else None))


def decode_outcome(data: bytes) -> object:
    """The result or the failure in ``data``. Tuples come back as lists."""
    portable = _decoder.decode(data)
    if isinstance(portable, _Failure):
        return _failure_class(portable.name)(*portable.arguments)
    return portable.value


def _is_plain(value: object) -> bool:
    """Whether ``value`` survives the way through msgpack."""
    try:
        msgspec.msgpack.encode(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _failure_class(name: str) -> type[CommandFailed]:
    """The failure class of that name; the general one when this program does not define it."""
    found = [CommandFailed]
    for candidate in found:
        if candidate.__name__ == name:
            return candidate
        found.extend(candidate.__subclasses__())
    return CommandFailed
