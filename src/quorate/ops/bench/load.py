"""A closed-loop load generator: every connection sends its next request when the last one is answered.

It shares the processor with the nodes that it measures, so it does as little as it can: requests are bytes made
beforehand, answers are parsed only as far as their status, and there is no task or future per request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

import httptools

from quorate.errors import QuorateError

DRAIN_SECONDS_MAX = 10.0

NextRequest = Callable[[], bytes]


class LoadFailed(QuorateError):
    """The cluster did not answer as it should, so there is nothing to report."""


@dataclass(slots=True)
class LoadResult:
    """What one run gave. ``latencies`` are seconds, one for each answer with the expected status."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    unexpected: dict[int, int] = field(default_factory=dict)
    """How often each other status was answered."""

    @property
    def operations(self) -> int:
        """Requests that were answered as expected."""
        return len(self.latencies)

    @property
    def per_second(self) -> float:
        """Those, by second."""
        return self.operations / self.seconds if self.seconds else 0.0

    def percentile_ms(self, percent: float) -> float:
        """The latency in milliseconds that ``percent`` of the requests did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000 if ordered else 0.0


class _Connection(asyncio.Protocol):
    """One keep-alive connection of a run."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._parser = httptools.HttpResponseParser(self)
        self.data_received = self._parser.feed_data  # type: ignore[method-assign]
        self._write: Callable[[bytes], None] = lambda data: None
        self._sent_at = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._write = self.transport.write

    def connection_lost(self, error: Exception | None) -> None:
        self._run.lost()

    def send(self) -> None:
        self._sent_at = perf_counter()
        self._write(self._run.next_request())

    def on_message_complete(self) -> None:
        if self._run.answered(self._parser.get_status_code(), perf_counter() - self._sent_at):
            self.send()


class _Run:
    """What the connections of one run share."""

    def __init__(self, next_request: NextRequest, expected: int, operations_max: int) -> None:
        self.next_request = next_request
        self.result = LoadResult()
        self.connections: list[_Connection] = []
        self.ended = asyncio.Event()
        self.broken = False
        self.deadline = 0.0
        self._expected = expected
        self._left = operations_max
        self._waiting = 0

    def begin(self, seconds: float) -> None:
        self.deadline = perf_counter() + seconds
        self._waiting = len(self.connections)
        self._left -= self._waiting
        for connection in self.connections:
            connection.send()

    def answered(self, status: int, seconds: float) -> bool:
        """Note an answer; whether to send another request."""
        if status == self._expected:
            self.result.latencies.append(seconds)
        else:
            self.result.unexpected[status] = self.result.unexpected.get(status, 0) + 1
        if self._left > 0 and perf_counter() < self.deadline:
            self._left -= 1
            return True
        self._waiting -= 1
        if self._waiting == 0:
            self.ended.set()
        return False

    def lost(self) -> None:
        if not self.ended.is_set():
            self.broken = True
            self.ended.set()


async def run_load(
    addresses: Sequence[tuple[str, int]],
    next_request: NextRequest,
    *,
    connections: int,
    expected: int,
    seconds: float,
    operations_max: int,
) -> LoadResult:
    """Keep ``connections`` busy, spread over ``addresses``, until ``seconds`` are over or enough is sent.

    Raises :class:`LoadFailed` if a connection ends early or any answer has another status than ``expected``.
    """
    loop = asyncio.get_running_loop()
    run = _Run(next_request, expected, operations_max)
    try:
        for at in range(connections):
            host, port = addresses[at % len(addresses)]
            _, connection = await loop.create_connection(lambda: _Connection(run), host, port)
            run.connections.append(connection)
        began = perf_counter()
        run.begin(seconds)
        try:
            await asyncio.wait_for(run.ended.wait(), seconds + DRAIN_SECONDS_MAX)
        except TimeoutError:
            raise LoadFailed(f"requests had no answer for {DRAIN_SECONDS_MAX:g} s") from None
        run.result.seconds = perf_counter() - began
    except OSError as error:
        raise LoadFailed(f"cannot connect: {error.strerror or error}") from None
    finally:
        run.ended.set()
        for connection in run.connections:
            if connection.transport is not None:
                connection.transport.close()
    if run.broken:
        raise LoadFailed("a node closed a connection under load")
    if run.result.unexpected:
        told = ", ".join(f"{times} times {status}" for status, times in run.result.unexpected.items())
        raise LoadFailed(f"answers other than {expected}: {told}")
    return run.result
