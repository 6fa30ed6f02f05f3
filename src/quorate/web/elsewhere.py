"""Where requests for models are served while this node's app declares what is not in force yet."""

from __future__ import annotations

import asyncio

from quorate.errors import NodeStopped
from quorate.models.errors import NotInForce
from quorate.models.machine import ModelsMachine
from quorate.node.node import Node

WAIT_SECONDS_MAX = 2.0
"""So long a request waits: for the declaration that follows when the last node has been restarted."""
POLL_SECONDS = 0.01


class Elsewhere:
    """Knows the nodes that serve what is in force. ``schema`` is what this one says of its own."""

    def __init__(self, node: Node, machine: ModelsMachine, schema: str) -> None:
        self._node = node
        self._declarations = machine.declarations
        self._schema = schema

    def is_needed(self, *, writes: bool) -> bool:
        """Whether this node does not serve such requests now: reads take the tables, writes the word of the log."""
        return not (self._declarations.are_served if writes else self._declarations.are_stored)

    async def address(self, *, writes: bool) -> str | None:
        """Who is to be asked instead; ``None`` if this node serves by now.

        Raises :class:`NotInForce`, and :class:`~quorate.errors.NodeStopped` when the node is about to stop.
        """
        ends = asyncio.get_running_loop().time() + WAIT_SECONDS_MAX
        while self.is_needed(writes=writes):
            serving = sorted(peer for peer, schema in self._node.peer_schemas.items() if schema != self._schema)
            if self._node.leader in serving:
                return self._node.leader_address
            if serving and not writes:
                return self._node.address_of(serving[0])
            if asyncio.get_running_loop().time() > ends:
                raise NotInForce(self._declarations.version)
            if self._node.is_draining:
                raise NodeStopped("the node is about to stop")
            await asyncio.sleep(POLL_SECONDS)
        return None
