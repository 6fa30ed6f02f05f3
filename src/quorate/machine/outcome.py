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
    """``outcome`` (a result, or the :class:`CommandFailed` that was raised) as bytes. Never fails.

    A result made of anything but plain data is remembered as ``None``: the retry still learns that it was applied.
    """
    if isinstance(outcome, CommandFailed):
        return msgspec.msgpack.encode(_Failure(_name_of(type(outcome)), [_plain(each) for each in outcome.args]))
    return msgspec.msgpack.encode(_Result(outcome if _is_plain(outcome) else None))


def decode_outcome(data: bytes) -> object:
    """The result or the failure in ``data``. Tuples come back as lists.

    A failure whose class this program does not define, or that cannot be made of its arguments, comes back as a
    plain :class:`CommandFailed`: a retry must never stop a node.
    """
    portable = _decoder.decode(data)
    if isinstance(portable, _Result):
        return portable.value
    try:
        return _failure_class(portable.name)(*portable.arguments)
    except Exception:  # a constructor of the user's own
        return CommandFailed(*portable.arguments)


def _is_plain(value: object) -> bool:
    """Whether ``value`` survives the way through msgpack."""
    try:
        msgspec.msgpack.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
    return True


def _plain(argument: object) -> object:
    """An exception's argument, or what is left of it in plain text."""
    return argument if _is_plain(argument) else str(argument).encode(errors="backslashreplace").decode()


def _name_of(failure: type[CommandFailed]) -> str:
    """Two machines may call their refusals alike, so the module belongs to the name."""
    return f"{failure.__module__}.{failure.__qualname__}"


def _failure_class(name: str) -> type[CommandFailed]:
    """The failure class of that name; the general one when this program does not define it."""
    found = [CommandFailed]
    for candidate in found:
        if _name_of(candidate) == name:
            return candidate
        found.extend(candidate.__subclasses__())
    return CommandFailed
