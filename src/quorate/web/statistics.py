"""What went through this node, counted: in ``/status``, and as a block in the log every so often.

::

    === Node 1 Statistics ===
    Users: 2 local, 6 total
    Messages: 3 local, 9 total
    Replications: 6 received, 12 sent
    ==============================

Local are the objects that were created by requests to this node, whether or not they are still there: since it was
started, and of those before that as many as its event log then still told of. Replications are log entries: what came
from leaders, and what was sent as the leader, each entry counted once for each node and each time that it was sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import apsw

from quorate.errors import ReadUnavailable, StorageFailed
from quorate.models.machine import ModelsMachine
from quorate.models.store.schema import ModelSchema
from quorate.node.node import Node

log = logging.getLogger(__name__)

_RULER = "=" * 30


class Statistics:
    """Of one node."""

    def __init__(self, node: Node, machine: ModelsMachine | None, schemas: Sequence[ModelSchema]) -> None:
        self._node = node
        self._machine = machine
        self._schemas = schemas if machine is not None else ()
        self._created: Counter[str] = Counter()
        self._counted_to = 0
        self._counting = asyncio.Lock()

    async def count(self) -> None:
        """Count what has come since the last time; as far as the state can be looked at."""
        if self._machine is not None:
            async with self._counting:
                with suppress(ReadUnavailable):
                    await self._count(self._machine)

    async def _count(self, machine: ModelsMachine) -> None:
        while True:
            await self._node.read_barrier(consistency="eventually")
            try:
                found, self._counted_to = machine.events.created_at(self._node.node_id, self._counted_to)
            except apsw.Error as error:
                raise StorageFailed(f"cannot read the events: {error}") from error
            self._created.update(found)
            if self._counted_to >= machine.events.last:
                return
            await asyncio.sleep(0)

    @property
    def created(self) -> dict[str, int]:
        """How many objects were created by requests to this node, by their models, as of the last count."""
        return {schema.name: self._created[schema.name] for schema in self._schemas}

    def report(self) -> dict[str, int]:
        """``users_created`` for each resource, ``replications_received`` and ``replications_sent``."""
        created = {
            f"{schema.resource.replace('-', '_')}_created": self._created[schema.name] for schema in self._schemas
        }
        received, sent = self._node.replications
        return {**created, "replications_received": received, "replications_sent": sent}

    def block(self) -> str:
        """It for people who read the log."""
        received, sent = self._node.replications
        lines = [f"=== Node {self._node.node_id} Statistics ==="]
        for schema in self._schemas:
            table = self._machine.tables.get(schema.name) if self._machine is not None else None
            total = table.count if table is not None else 0
            name = schema.resource.replace("-", " ").replace("_", " ").capitalize()
            lines.append(f"{name}: {self._created[schema.name]} local, {total} total")
        return "\n".join([*lines, f"Replications: {received} received, {sent} sent", _RULER])

    async def tell(self, seconds: float) -> None:
        """Write the block into the log every so often, until the task is cancelled or the state cannot be read."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.count()
            except StorageFailed as error:
                self._node.fail(error)
                return
            log.info("the node's statistics\n%s", self.block(), extra={"event": "statistics", **self.report()})
