"""Node servers for tests: a small app, and servers of it on free loopback ports."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx

from quorate import App, Model, field
from quorate.web.server import NodeServer


class Shelf(Model, resource="shelves"):
    id: UUID = field(primary_key=True)
    name: str = field(unique=True, min_length=1)


class Book(Model):
    id: UUID = field(primary_key=True)
    title: str = field(unique=True, min_length=1)
    isbn: str | None = field(default=None, immutable=True)
    price: Decimal = field(default=Decimal(1), ge="0.01")
    shelf_id: UUID | None = field(default=None, foreign_key=Shelf, on_delete="restrict")


APP = App(models=[Shelf, Book], title="Library")


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


async def until(condition: Callable[[], bool]) -> None:
    """Return once it holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing tells when it does
            await asyncio.sleep(0.001)


def serves_models(server: NodeServer) -> bool:
    """Whether what its app declares is in force, which takes an entry of the log."""
    return server._models is None or server._models.declarations.are_served


StartCluster = Callable[..., Awaitable[list[NodeServer]]]


def client_of(server: NodeServer, **options: Any) -> httpx.AsyncClient:
    """A client for one server."""
    return httpx.AsyncClient(base_url=f"http://{server.config.address}", trust_env=False, **options)
