"""The node that leads has its app's declarations put in force, once no node is connected that would not know them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from quorate.errors import CommandFailed, QuorateError
from quorate.machine.outcome import Applied
from quorate.models.commands import encode_command
from quorate.models.machine import MACHINE, ModelsMachine
from quorate.node.ports import Engine

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.05
"""How often is looked whether what is to be declared can be by now."""
IDLE_SECONDS = 1.0
"""How often, where nothing is: only a snapshot of another state could change that."""
LEAD_SECONDS_MAX = 3.0
"""So long this node leads those that run another app, which serve while it cannot."""
DECLARE_SECONDS_MAX = 3600.0
"""So long this node waits for what becomes of it: all objects may have to be written anew."""
REFUSED_SECONDS = 10.0
"""So long is waited behind a refusal: it says that a migration does not fit what is stored."""


class Member(Engine, Protocol):
    """A node of the engine."""

    @property
    def is_leader(self) -> bool:
        """Whether it leads, as far as it knows."""
        ...

    async def propose(
        self,
        command: bytes,
        *,
        machine: str,
        request_id: str | None = None,
        timeout: float | None = None,
        alone: bool = False,
    ) -> Applied:
        """As :meth:`Engine.propose`; ``alone``, in an entry of its own, if this node leads."""
        ...

    async def transfer_leadership(self, to: int | None = None, *, timeout: float | None = None) -> int:
        """Have another node lead."""
        ...

    @property
    def peer_schemas(self) -> Mapping[int, str]:
        """What the nodes that are connected have said of their schemas."""
        ...


class Declaring:
    """``begin`` when the node runs, ``end`` when it stops. ``schema`` is what this node says of its own."""

    def __init__(self, machine: ModelsMachine, schema: str) -> None:
        self._machine = machine
        self._schema = schema
        self._task: asyncio.Task[None] | None = None

    def begin(self, node: Member) -> None:
        """From now on the models are not served before the log has declared them."""
        self._machine.declarations.are_awaited = True
        self._task = asyncio.get_running_loop().create_task(self._declare_for_ever(node))

    async def end(self) -> None:
        """Return when nothing is under way any more. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def _others(self, node: Member) -> list[int]:
        return sorted(peer for peer, schema in node.peer_schemas.items() if schema != self._schema)

    async def _declare_for_ever(self, node: Member) -> None:
        declarations = self._machine.declarations
        told: list[int] = []
        lead_until = 0.0
        while True:
            await asyncio.sleep(IDLE_SECONDS if declarations.are_in_force else LOOK_SECONDS)
            if declarations.are_in_force or not node.is_leader:
                continue
            wanted = declarations.wanted
            assert wanted is not None
            # Before the first declaration there is nothing that other nodes could go on with.
            others = self._others(node) if wanted.follows else []
            now = asyncio.get_running_loop().time()
            if others != told:
                told, lead_until = others, now + LEAD_SECONDS_MAX
                if others:
                    log.info("version %d of the schema waits for nodes with another app: %s", wanted.version, others)
            if others:
                if now > lead_until:
                    lead_until = now + LEAD_SECONDS_MAX
                    await self._let_lead(node, others[0])
                continue
            try:
                await node.propose(encode_command(wanted), machine=MACHINE, timeout=DECLARE_SECONDS_MAX, alone=True)
            except CommandFailed as error:
                if declarations.wanted == wanted:
                    log.error("version %d of the schema cannot be put in force: %s", wanted.version, error)
                    await asyncio.sleep(REFUSED_SECONDS)
            except QuorateError as error:
                log.debug("the schema is declared later: %s", error)

    async def _let_lead(self, node: Member, other: int) -> None:
        try:
            await node.transfer_leadership(other)
        except QuorateError as error:
            log.debug("node %d does not lead yet: %s", other, error)
