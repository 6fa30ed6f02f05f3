"""The benchmark's downloads: counted in bytes, whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from quorate.ops.bench import downloads
from quorate.ops.bench.downloads import download_for
from quorate.ops.bench.load import LoadFailed

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
WHOLE = (HEAD, b"2\r\n[", b"]\r\n0\r\n", b"\r\n")


@asynccontextmanager
async def serving(pieces: Sequence[bytes], *, closes: bool = False) -> AsyncIterator[int]:
    """A server that answers each connection's request so; returns its port."""

    handlers: list[asyncio.Task[None] | None] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /all HTTP/1.1\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if not closes:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*filter(None, handlers))  # their clients have gone


async def test_one_is_downloaded_to_its_end_however_little_time_there_is() -> None:
    async with serving(WHOLE) as port:
        count, seconds = await download_for("127.0.0.1", port, "/all", 0.0)
    assert count == len(b"".join(WHOLE))
    assert seconds > 0


async def test_as_many_are_downloaded_as_there_is_time_for() -> None:
    async with serving(WHOLE) as port:
        count, seconds = await download_for("127.0.0.1", port, "/all", 0.1)
    assert count > len(b"".join(WHOLE))
    assert count % len(b"".join(WHOLE)) == 0
    assert seconds >= 0.1


async def test_another_status_is_a_failure() -> None:
    async with serving([b"HTTP/1.1 503 Service Unavailable\r\n\r\n"]) as port:
        with pytest.raises(LoadFailed, match="503"):
            await download_for("127.0.0.1", port, "/all", 0.0)


async def test_a_list_without_an_end_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(WHOLE[:-1], closes=True) as port:
        with pytest.raises(LoadFailed, match="before its end"):
            await download_for("127.0.0.1", port, "/all", 0.0)
    monkeypatch.setattr(downloads, "DOWNLOAD_SECONDS_MAX", 0.05)
    async with serving(WHOLE[:-1]) as port:
        with pytest.raises(LoadFailed, match=r"did not end within 0\.05 s"):
            await download_for("127.0.0.1", port, "/all", 0.0)
