"""From operations to the log, and back with their results: what REST and Python have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from quorate.models.commands import Change, Operation, encode_command
from quorate.models.errors import NotInForce
from quorate.models.machine import MACHINE, ModelsMachine
from quorate.node.ports import Engine

DIGITS = 8
"""So many of a fingerprint are enough to tell declarations apart that follow each other."""


class Submitter:
    """Proposes changes as the requests of one node."""

    def __init__(self, engine: Engine, machine: ModelsMachine) -> None:
        self._engine = engine
        self._declarations = machine.declarations

    async def one(self, operation: Operation, *, actor: str | None = None, request_id: str | None = None) -> object:
        """The operation's result. Raises what :meth:`all` raises."""
        return (await self.all([operation], actor=actor, request_id=request_id))[0]

    async def all(
        self, operations: Sequence[Operation], *, actor: str | None = None, request_id: str | None = None
    ) -> list[object]:
        """The results of the operations, of which all are carried out or none.

        Raises :class:`NotInForce` too.
        """
        command = self.command(operations, actor=actor)
        applied = await self._engine.propose(command, machine=MACHINE, request_id=request_id)
        return cast("list[object]", applied.result)

    def command(self, operations: Sequence[Operation], *, actor: str | None = None) -> bytes:
        """What carries out all operations or none, for the log. Raises :class:`NotInForce`."""
        declarations = self._declarations
        if not declarations.are_served:
            raise NotInForce(declarations.version)
        change = Change(list(operations), actor, declarations.version, declarations.fingerprint[:DIGITS])
        return encode_command(change)
