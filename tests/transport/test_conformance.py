"""Our transports pass the suite that a third party's must pass."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from quorate.testing.transport_suite import TransportHarness, TransportSuite
from quorate.transport import MemoryNetwork

from .harnesses import MemoryHarness, TcpHarness, WebSocketHarness


class TestMemory(TransportSuite):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[TransportHarness]:
        async with MemoryHarness() as harness:
            yield harness


class TestMemoryWithoutCodecAndWithDelay(TransportSuite):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[TransportHarness]:
        network = MemoryNetwork(through_codec=False, delay_seconds=0.001, bulk_delay_seconds=0.05, retry_seconds=0.005)
        async with MemoryHarness(network) as harness:
            yield harness


class TestTcp(TransportSuite):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[TransportHarness]:
        async with TcpHarness() as harness:
            yield harness


class TestWebSocket(TransportSuite):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[TransportHarness]:
        async with WebSocketHarness() as harness:
            yield harness
