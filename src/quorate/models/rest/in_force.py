"""The engine as those see it who read tables, for the form of these may change while they wait."""

from __future__ import annotations

from quorate.machine.outcome import Applied
from quorate.models.errors import NotInForce
from quorate.models.machine import ModelsMachine
from quorate.node.ports import Engine
from quorate.node.reads import Consistency


class InForce:
    """An :class:`Engine` behind whose barrier the tables are in the form that the app declares.

    A node with a newer program may begin empty, and then learn by the log, or by a snapshot, that an older form is in
    force: a row would be shown under the names of other fields.
    """

    def __init__(self, engine: Engine, machine: ModelsMachine) -> None:
        self._engine = engine
        self._machine = machine

    @property
    def applied_index(self) -> int:
        return self._engine.applied_index

    async def propose(
        self, command: bytes, *, machine: str, request_id: str | None = None, timeout: float | None = None
    ) -> Applied:
        return await self._engine.propose(command, machine=machine, request_id=request_id, timeout=timeout)

    def flush(self) -> None:
        self._engine.flush()

    async def read_barrier(self, *, consistency: Consistency, timeout: float | None = None) -> None:
        """Raises :class:`NotInForce` too."""
        await self._engine.read_barrier(consistency=consistency, timeout=timeout)
        if self._machine.is_waiting:
            raise NotInForce(self._machine.declarations.version)
