"""Messages on channels: to whom they concern on each node, once at most, and never again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from quorate.kv.arguments import glob

BUFFERED_MAX = 1024
"""So many messages wait for a subscriber at most; then the oldest give way."""
BUFFERED_BYTES_MAX = 32 << 20


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``pattern`` is that by which it came, if it was not by the channel's own name."""

    channel: bytes
    data: bytes
    pattern: bytes | None = None


class Subscription:
    """The messages since it was made, one after the other, until it is closed or the node stops."""

    def __init__(self, channels: Iterable[bytes], patterns: Iterable[bytes]) -> None:
        self._channels = frozenset(channels)
        self._patterns = {pattern: glob(pattern) for pattern in patterns}
        self._buffer: deque[Message] = deque()
        self._bytes = 0
        self._closed = False
        self._wake = asyncio.Event()
        self.missed = 0
        """So many messages were dropped so far, because they were not taken in time."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        while not self._buffer:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._take()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take no more messages; those that wait can still be had."""
        self._closed = True
        self._wake.set()

    def offer(self, channel: bytes, data: bytes) -> int:
        """Take a message as often as it is listened to; returns how often that is."""
        if self._closed:
            return 0
        patterns = [pattern for pattern, is_like in self._patterns.items() if is_like(channel)]
        ways = [None, *patterns] if channel in self._channels else patterns
        for pattern in ways:
            self._buffer.append(Message(channel, data, pattern))
            self._bytes += len(channel) + len(data)
        while len(self._buffer) > BUFFERED_MAX or self._bytes > BUFFERED_BYTES_MAX:
            self._take()
            self.missed += 1
        self._wake.set()
        return len(ways)

    def _take(self) -> Message:
        message = self._buffer.popleft()
        self._bytes -= len(message.channel) + len(message.data)
        return message
