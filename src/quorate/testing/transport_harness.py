"""What the transport suite needs to work with: transports that can be made, and receivers that remember."""

from __future__ import annotations

import asyncio
import itertools
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Self

from quorate.raft.messages import Heartbeat
from quorate.transport.contract import (
    Announcement,
    Identity,
    Introduction,
    Lane,
    LinkStatus,
    Refusal,
    Transport,
    WireMessage,
)
from quorate.transport.faults import LinkFaults

WAIT_SECONDS = 20.0
"""Longer than anything here takes; a condition that is not met by then never will be."""


async def until(condition: Callable[[], object], *, seconds: float = WAIT_SECONDS) -> None:
    """Return once ``condition()`` holds; raise :class:`AssertionError` if it does not in ``seconds``."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, "the condition was not met in time"
        await asyncio.sleep(0.001)


class Recorder:
    """A receiver that remembers everything it is told, and turns away whom it is asked to."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, int, WireMessage]] = []
        self.alive: list[int] = []
        """Who was said to be sending something long, each time."""
        self.events: list[tuple[str, int]] = []
        self.introductions: list[Introduction] = []
        self.refusals: list[tuple[str, Refusal]] = []
        self.refuse: Callable[[Introduction], Refusal | None] = lambda introduction: None
        self.when_refused: Callable[[str], None] = lambda address: None
        self.announces = Announcement()
        self.calls = 0

    def received(self, peer: int, group: int, message: WireMessage) -> None:
        self.calls += 1
        self.messages.append((peer, group, message))

    def receiving(self, peer: int) -> None:
        self.calls += 1
        self.alive.append(peer)

    def connected(self, peer: int) -> None:
        self.calls += 1
        self.events.append(("connected", peer))

    def disconnected(self, peer: int) -> None:
        self.calls += 1
        self.events.append(("disconnected", peer))

    def announcement(self) -> Announcement:
        return self.announces

    def introduced(self, introduction: Introduction) -> Refusal | None:
        self.calls += 1
        self.introductions.append(introduction)
        return self.refuse(introduction)

    def refused(self, address: str, refusal: Refusal) -> None:
        self.calls += 1
        self.refusals.append((address, refusal))
        self.when_refused(address)

    def from_peer(self, peer: int) -> list[WireMessage]:
        """The messages that came from ``peer``."""
        return [message for sender, _, message in self.messages if sender == peer]


class Station:
    """A transport, its receiver and its faults."""

    def __init__(self, transport: Transport, recorder: Recorder, faults: LinkFaults) -> None:
        self.transport = transport
        self.recorder = recorder
        self.faults = faults

    @property
    def address(self) -> str:
        return self.transport.identity.address

    def connected_to(self, peer: int) -> bool:
        stats = self.transport.stats().get(peer)
        return stats is not None and stats.connected

    def dropped(self, peer: int) -> int:
        stats = self.transport.stats().get(peer)
        return 0 if stats is None else stats.dropped

    def link_to(self, address: str) -> LinkStatus:
        return self.transport.links()[address]


class TransportHarness(ABC):
    """Makes transports of one kind that can reach each other."""

    bulk_idle_seconds: float | None = None
    """If set, transports made from now on close a bulk lane that was idle for that long, if they ever close one."""

    def __init__(self) -> None:
        self._stations: list[Station] = []
        self._incarnations = itertools.count(1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.gather(*(station.transport.stop() for station in self._stations))

    @abstractmethod
    async def new_address(self) -> str:
        """An address that nobody uses."""

    @abstractmethod
    async def make(self, identity: Identity, faults: LinkFaults) -> Transport:
        """A transport, not started, that can be reached at ``identity.address`` once it is."""

    async def until_bulk_closed(self, station: Station, peer: int) -> None:
        """Return once ``station`` has closed its idle bulk lane to ``peer``; at once if its kind never does."""

    async def open(
        self, node_id: int, *, address: str | None = None, cluster_id: str = "suite", recorder: Recorder | None = None
    ) -> Station:
        """A started transport. Each has another incarnation."""
        identity = Identity(
            cluster_id=cluster_id,
            node_id=node_id,
            address=address or await self.new_address(),
            incarnation=next(self._incarnations),
            software="suite",
        )
        faults = LinkFaults(random.Random(node_id))
        station = Station(await self.make(identity, faults), recorder or Recorder(), faults)
        self._stations.append(station)
        await station.transport.start(station.recorder)
        return station

    async def pair(self) -> tuple[Station, Station]:
        """Nodes 1 and 2, of which 1 is connected to 2."""
        a, b = await self.open(1), await self.open(2)
        a.transport.dial(b.address)
        await until(lambda: a.connected_to(2))
        return a, b


async def open_bulk(sender: Station, receiver: Station) -> None:
    """Open the bulk lane, by sending until something arrives. What the receiver has recorded is forgotten."""
    messages, peer = receiver.recorder.messages, receiver.transport.identity.node_id
    messages.clear()
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    for n in itertools.count():
        sender.transport.send(peer, 0, [heartbeat(n)], lane=Lane.BULK)
        await asyncio.sleep(0.001)
        if messages:
            break
        assert asyncio.get_running_loop().time() < deadline, "the bulk lane did not open in time"
    await until(lambda: messages[-1][2] == heartbeat(n))
    messages.clear()


def heartbeat(sequence: int) -> Heartbeat:
    """One of many messages that can be told apart."""
    return Heartbeat(term=1, session=2, sequence=sequence, commit=3)
