"""A client that says and hears exactly what is on the wire: for what libraries hide."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import hiredis


class Wire:
    """Requests out, replies and pushes in, in the order in which they come. :class:`hiredis.PushNotification` are
    pushes; errors are returned."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._parser = hiredis.Reader()

    def send(self, *words: bytes | str | int) -> None:
        """One request."""
        encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded]
        self._writer.write(b"*%d\r\n%s" % (len(parts), b"".join(parts)))

    async def next(self, timeout: float = 10.0) -> Any:
        """What comes next. Raises :class:`EOFError` at the end of the connection, and :class:`TimeoutError`."""
        async with asyncio.timeout(timeout):
            while (got := self._parser.gets()) is False:
                try:
                    data = await self._reader.read(1 << 16)
                except ConnectionError as error:
                    raise EOFError from error
                if not data:
                    raise EOFError
                self._parser.feed(data)
        return got

    async def ask(self, *words: bytes | str | int) -> Any:
        """The reply to one request, where nothing else can come in between."""
        self.send(*words)
        return await self.next()

    async def comes_nothing(self, seconds: float = 0.05) -> bool:
        """Whether nothing comes in so long."""
        try:
            await self.next(seconds)
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def wire(port: int, protocol: int = 2, *, limit: int = 1 << 16) -> AsyncIterator[Wire]:
    """A connection to a port of this machine; ``limit`` bytes are read ahead, about."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    connection = Wire(reader, writer)
    try:
        if protocol == 3:
            await connection.ask("HELLO", 3)
        yield connection
    finally:
        writer.close()
