"""Injected network faults, for tests and chaos: lose, hold back or cut off what goes to or comes from a peer.

Connections stay up under all of them: this is the network that swallows packets without telling anyone, the kind
that is hardest on a protocol.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Flag, auto


class Direction(Flag):
    """Which way messages go, seen from the node that holds the faults."""

    OUTGOING = auto()
    INCOMING = auto()
    BOTH = OUTGOING | INCOMING


@dataclass(slots=True)
class _Fault:
    cut: bool = False
    drop_probability: float = 0.0
    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0


class LinkFaults:
    """The faults of one node's links, by peer and direction; ``peer=None`` stands for every peer.

    What each rule did is counted in ``fired`` (``"cut"``, ``"drop"``, ``"delay"``), for a fault that never fires
    tests nothing.
    """

    def __init__(self, rng: random.Random) -> None:
        self.fired: Counter[str] = Counter()
        self._rng = rng
        self._faults: dict[tuple[int | None, Direction], _Fault] = {}

    @property
    def quiet(self) -> bool:
        """Whether there is no fault at all."""
        return not self._faults

    def cut(self, peer: int | None, direction: Direction = Direction.BOTH) -> None:
        """Swallow everything."""
        for fault in self._each(peer, direction):
            fault.cut = True

    def drop(self, peer: int | None, probability: float, direction: Direction = Direction.BOTH) -> None:
        """Swallow each message with ``probability``."""
        for fault in self._each(peer, direction):
            fault.drop_probability = probability

    def delay(
        self,
        peer: int | None,
        seconds: float,
        direction: Direction = Direction.BOTH,
        *,
        jitter_seconds: float = 0.0,
    ) -> None:
        """Hold each message back by ``seconds`` and up to ``jitter_seconds`` more; the order is kept."""
        for fault in self._each(peer, direction):
            fault.delay_seconds, fault.jitter_seconds = seconds, jitter_seconds

    def heal(self, peer: int | None = None) -> None:
        """Forget the faults of ``peer``, or all of them."""
        self._faults = {key: fault for key, fault in self._faults.items() if peer not in (None, key[0])}

    def judge(self, peer: int, direction: Direction) -> float | None:
        """The fate of one message: how many seconds to hold it back, or ``None`` to swallow it."""
        seconds = 0.0
        for key in ((peer, direction), (None, direction)):
            fault = self._faults.get(key)
            if fault is None:
                continue
            if fault.cut:
                self.fired["cut"] += 1
                return None
            if fault.drop_probability and self._rng.random() < fault.drop_probability:
                self.fired["drop"] += 1
                return None
            if fault.delay_seconds or fault.jitter_seconds:
                seconds += fault.delay_seconds + fault.jitter_seconds * self._rng.random()
        if seconds:
            self.fired["delay"] += 1
        return seconds

    def _each(self, peer: int | None, direction: Direction) -> Iterator[_Fault]:
        for single in (Direction.OUTGOING, Direction.INCOMING):
            if single in direction:
                yield self._faults.setdefault((peer, single), _Fault())
