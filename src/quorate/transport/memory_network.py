"""The network that in-process transports share, and the ways in which it breaks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from itertools import combinations
from typing import TYPE_CHECKING

from quorate.errors import TransportError
from quorate.transport.contract import Lane

if TYPE_CHECKING:
    from quorate.transport.memory import MemoryTransport


class MemoryNetwork:
    """Where :class:`MemoryTransport` s find each other, and the faults between them.

    ``delay_seconds`` holds every message back, ``bulk_delay_seconds`` those on bulk lanes for longer by that much, and
    ``drop_probability`` loses some (drawn from ``rng``); all may be changed at any time. With ``through_codec`` off,
    messages are handed over as they are. Refused handshakes are tried again every ``retry_seconds``.
    """

    def __init__(
        self,
        *,
        rng: random.Random | None = None,
        delay_seconds: float = 0.0,
        bulk_delay_seconds: float = 0.0,
        drop_probability: float = 0.0,
        through_codec: bool = True,
        retry_seconds: float = 0.05,
    ) -> None:
        self.delay_seconds = delay_seconds
        self.bulk_delay_seconds = bulk_delay_seconds
        self.drop_probability = drop_probability
        self.through_codec = through_codec
        self._rng = rng or random.Random()
        self._retry_seconds = retry_seconds
        self._members: dict[str, MemoryTransport] = {}
        self._parted: set[frozenset[int]] = set()
        self._isolated: set[int] = set()
        self._cut: set[tuple[int, int]] = set()
        self._settling: asyncio.Handle | None = None

    def partition(self, *sides: Iterable[int]) -> None:
        """Part the nodes of each side from those of the others; nodes not named keep talking to everyone.

        Connections across go down, and both ends learn it. Partitions add up until :meth:`heal`.
        """
        for left, right in combinations([list(side) for side in sides], 2):
            self._parted.update(frozenset((a, b)) for a in left for b in right if a != b)
        self.changed()

    def isolate(self, node_id: int) -> None:
        """Part a node from all others."""
        self._isolated.add(node_id)
        self.changed()

    def cut(self, source: int, target: int) -> None:
        """Swallow what ``source`` sends to ``target``, and tell no one.

        Connections that exist stay up; new ones cannot be made, in either direction: a handshake needs both.
        """
        self._cut.add((source, target))

    def heal(self) -> None:
        """Undo every partition, isolation and cut."""
        self._parted.clear()
        self._isolated.clear()
        self._cut.clear()
        self.changed()

    def seconds_for(self, source: int, target: int, lane: Lane = Lane.PROMPT) -> float | None:
        """How long a message that leaves now is held back, or ``None`` if it gets lost."""
        if (source, target) in self._cut:
            return None
        if self.drop_probability > 0 and self._rng.random() < self.drop_probability:
            return None
        return self.delay_seconds + (self.bulk_delay_seconds if lane is Lane.BULK else 0.0)

    def parted(self, a: int, b: int) -> bool:
        """Whether no connection between two nodes can be."""
        return a != b and (a in self._isolated or b in self._isolated or frozenset((a, b)) in self._parted)

    def can_connect(self, a: int, b: int) -> bool:
        """Whether a handshake between two nodes can succeed."""
        return not (self.parted(a, b) or (a, b) in self._cut or (b, a) in self._cut)

    # -- what the transports ask -------------------------------------------------------------------------

    def member(self, address: str) -> MemoryTransport | None:
        """The running transport at an address."""
        return self._members.get(address)

    def join(self, member: MemoryTransport) -> None:
        """Make a transport reachable; raises :class:`TransportError` if its address is in use."""
        address = member.identity.address
        if address in self._members:
            raise TransportError(f"{address} is in use")
        self._members[address] = member
        self.changed()

    def leave(self, member: MemoryTransport) -> None:
        """Make it unreachable again."""
        if self._members.get(member.identity.address) is member:
            del self._members[member.identity.address]
        self.changed()

    def changed(self) -> None:
        """Break what is broken now, and connect what can be connected in the next turn of the loop."""
        for member in list(self._members.values()):
            member.break_links()
        # Always behind the callbacks that the breaking set off: no peer may come back before it was lost.
        self._forget_timers()
        if self._members:
            self._settling = asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        self._settling = None
        refused = [member.connect_links() for member in list(self._members.values())]
        if any(refused) and self._members and self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(self._retry_seconds, self._settle)

    def _forget_timers(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
