"""Writes that are applied only under a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from quorate.kv.registry import COMMANDS, Spec
from quorate.kv.store.calls import Call, check
from quorate.kv.store.commands import Commands
from quorate.kv.store.shapes import Shape

if TYPE_CHECKING:
    from quorate.kv.store.kv import Kv

T = TypeVar("T")

FENCED = b"QUORATE.FENCED"


class Fenced(Commands):
    """The commands of the store; a write is refused unless a lock is held with this token when it is applied.

    Those that wait take what is there, or nothing, as in a transaction.
    """

    def __init__(self, kv: Kv, name: bytes, token: int) -> None:
        self._kv = kv
        self._prefix = [FENCED, name, b"%d" % token]

    def perform(self, spec: Spec, request: list[bytes], shape: Shape[T]) -> Call[T]:
        if spec.write:
            spec, request = COMMANDS[FENCED], [*self._prefix, *request]
            check(spec, request)
        return self._kv.perform(spec, request, shape)
