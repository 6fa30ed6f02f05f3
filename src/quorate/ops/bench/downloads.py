"""Downloads of a whole list, one after the other, counted by their bytes and looked at no further."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import cast

from quorate.ops.bench.load import LoadFailed
from quorate.ops.bench.requests import get

DOWNLOAD_SECONDS_MAX = 120.0
_EXPECTED = b"HTTP/1.1 200 "
_END = b"0\r\n\r\n"


class _Download(asyncio.Protocol):
    def __init__(self, request: bytes) -> None:
        self._request = request
        self._tail = b""
        self.bytes = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.bytes and not data.startswith(_EXPECTED):
            self._fail(f"a list was answered with {data[:100]!r}")
        self.bytes += len(data)
        self._tail = (self._tail + data)[-len(_END) :]
        if self._tail == _END and not self.ended.done():
            self.ended.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail("a list ended before its end")

    def _fail(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(LoadFailed(reason))


async def download_for(host: str, port: int, target: str, seconds: float) -> tuple[int, float]:
    """Download ``target``, again and again, until ``seconds`` are over and the last has ended: (bytes, seconds).

    Raises :class:`LoadFailed` if an answer is not 200, or not complete in time.
    """
    loop = asyncio.get_running_loop()
    request = get(target, f"{host}:{port}")
    began, count = perf_counter(), 0
    while not count or perf_counter() - began < seconds:
        transport, download = await loop.create_connection(lambda: _Download(request), host, port)
        try:
            async with asyncio.timeout(DOWNLOAD_SECONDS_MAX):
                await download.ended
        except TimeoutError:
            raise LoadFailed(f"a list did not end within {DOWNLOAD_SECONDS_MAX:g} s") from None
        finally:
            transport.close()
        count += download.bytes
    return count, perf_counter() - began
