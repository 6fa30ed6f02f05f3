"""All commands that clients may send, on data and on connections alike: what ``COMMAND`` and the docs tell of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quorate.kv.registry import COMMANDS, Keys, Spec
from quorate.kv.server.session import SESSION_COMMANDS, SessionSpec


@dataclass(frozen=True, slots=True)
class Listed:
    """One command. ``flags`` are those of Redis' that say something of it here."""

    name: bytes
    arity: int
    flags: tuple[str, ...]
    keys: Keys
    group: str
    summary: str


def catalog() -> dict[bytes, Listed]:
    """By their names in capitals. Those that block are on connections and, in transactions, on data: listed once."""
    listed = {
        name: Listed(name, spec.arity, tuple(_flags(spec)), spec.keys, spec.group, spec.summary)
        for name, spec in COMMANDS.items()
        if not spec.internal
    }
    for name, known in SESSION_COMMANDS.items():
        if name not in listed:
            flags = tuple(_session_flags(known))
            listed[name] = Listed(name, known.arity, flags, known.keys, known.group, known.summary)
    return listed


def _flags(spec: Spec) -> Iterator[str]:
    yield "write" if spec.write else "readonly"
    if spec.write and spec.freeing is not True:
        yield "denyoom"
    if spec.blocking:
        yield "blocking"
    if spec.keys.counted:
        yield "movablekeys"
    if spec.group == "pubsub":
        yield "pubsub"


def _session_flags(spec: SessionSpec) -> Iterator[str]:
    if spec.admin:
        yield "admin"
    if spec.group == "pubsub":
        yield "pubsub"
    if not spec.needs_password:
        yield "no_auth"
