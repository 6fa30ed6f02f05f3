"""Everything here runs on both event loops: asyncio's own and uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from .harnesses import MemoryHarness, TcpHarness, WebSocketHarness


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def tcp() -> AsyncIterator[TcpHarness]:
    async with TcpHarness() as harness:
        yield harness


@pytest.fixture
async def websockets() -> AsyncIterator[WebSocketHarness]:
    async with WebSocketHarness() as harness:
        yield harness


@pytest.fixture
async def memory() -> AsyncIterator[MemoryHarness]:
    async with MemoryHarness() as harness:
        yield harness
