"""Models with everything that concerns events and history."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from quorate.models import Model, field
from quorate.models.domain_events import event
from quorate.rest.http import Stream

DAY = timedelta(days=1)


class Product(Model):
    id: UUID = field(primary_key=True)
    name: str = field(track_history=True)
    price: Decimal = field(default=Decimal(1), decimal_places=2, audited=True)
    stock: int = 0
    cost: Decimal = field(default=Decimal(0), expose=False, audited=True)
    note: str = field(default="", expose=False)

    @event
    def stock_changed(self, delta: int) -> None:
        self.stock += delta


class Page(Model):
    """Its fields are kept for different times; none for ever."""

    path: str = field(primary_key=True)
    title: str = field(default="", track_history=True, retention=DAY)
    text: str = field(default="", audited=True, retention=3 * DAY)


class Plain(Model):
    """Has no history."""

    number: int = field(primary_key=True)
    text: str = ""


def parse(text: bytes) -> list[dict[str, Any]]:
    """The blocks of an event stream, each with its lines by name."""
    blocks = []
    for block in text.decode().split("\n\n")[:-1]:
        fields: dict[str, Any] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(": ")
            fields[name] = json.loads(value) if name == "data" else int(value) if name == "id" else value
        blocks.append(fields)
    return blocks


async def told(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The blocks as they come."""
    async for chunk in chunks:
        for block in parse(chunk):
            yield block


async def blocks_of(stream: Stream, count: int) -> list[dict[str, Any]]:
    """So many blocks, the one that begins the stream included; then the stream is left."""
    found: list[dict[str, Any]] = []
    async for chunk in stream.chunks:
        found += parse(chunk)
        if len(found) >= count:
            break
    await stream.chunks.aclose()
    return found
