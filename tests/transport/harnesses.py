"""The kinds of transport, as the conformance suite wants them made."""

from __future__ import annotations

import socket
from dataclasses import replace

from quorate.testing.transport_suite import Station, TransportHarness, until
from quorate.transport import (
    Codec,
    Identity,
    Lane,
    LinkFaults,
    MemoryNetwork,
    MemoryTransport,
    TcpOptions,
    TcpTransport,
)
from quorate.transport.link import Link


class TcpHarness(TransportHarness):
    """TCP over loopback. A new address is a port held by a socket that does not listen yet."""

    options = TcpOptions(backoff_seconds_max=0.1)

    def __init__(self) -> None:
        super().__init__()
        self._reserved: dict[str, socket.socket] = {}

    async def __aexit__(self, *failure: object) -> None:
        await super().__aexit__(None, None, None)
        for reserved in self._reserved.values():
            reserved.close()

    async def new_address(self) -> str:
        sock = _bound(0)
        address = f"127.0.0.1:{sock.getsockname()[1]}"
        self._reserved[address] = sock
        return address

    async def make(self, identity: Identity, faults: LinkFaults) -> TcpTransport:
        options = self.options
        if self.bulk_idle_seconds is not None:
            options = replace(options, bulk_idle_seconds=self.bulk_idle_seconds)
        transport = TcpTransport(identity, Codec(), options=options, faults=faults)
        sock = self._reserved.pop(identity.address, None) or _bound(int(identity.address.rpartition(":")[2]))
        await transport.listen(sock=sock)
        return transport

    async def until_bulk_closed(self, station: Station, peer: int) -> None:
        await until(lambda: not link_of(station, peer).outlet(Lane.BULK).is_open)


class WebSocketHarness(TcpHarness):
    """The same, with nodes that dial by WebSockets."""

    options = replace(TcpHarness.options, dials="websocket")


class MemoryHarness(TransportHarness):
    def __init__(self, network: MemoryNetwork | None = None) -> None:
        super().__init__()
        self.network = network or MemoryNetwork(retry_seconds=0.005)
        self._addresses = 0

    async def new_address(self) -> str:
        self._addresses += 1
        return f"memory:{self._addresses}"

    async def make(self, identity: Identity, faults: LinkFaults) -> MemoryTransport:
        return MemoryTransport(self.network, identity, Codec(), faults=faults)


def link_of(station: Station, peer: int) -> Link:
    """The link over which a TCP transport reaches ``peer``."""
    assert isinstance(station.transport, TcpTransport)
    link = station.transport._dialler.route(peer)
    assert link is not None
    return link


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock
