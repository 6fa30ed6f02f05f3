"""A load of operations of several kinds, in a closed or an open loop.

Closed: every connection sends its next request when the last one is answered, so a slow answer holds back what would
have been slow as well. Open, with a ``rate``: request number N is due at N / rate, whatever became of those before it;
its latency counts from then on, also while it waits for a connection. What a system that stalls does to clients who
come at their own pace shows in that alone ("coordinated omission" is what hides it otherwise). Timers are exact to a
millisecond or so, and that is in the latencies, too.

Like :mod:`quorate.ops.bench.load`, it does as little as it can: there is no task or future per request.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

import httptools

from quorate.ops.bench.load import DRAIN_SECONDS_MAX, LoadFailed, LoadResult
from quorate.ops.bench.operations import Deal, Kind, Operation


@dataclass(slots=True)
class MixedResult:
    """What one run gave. Bytes are those that clients sent and got: requests and answers with their heads."""

    seconds: float = 0.0
    latencies: dict[Kind, list[float]] = field(default_factory=dict)
    """Seconds, for each answer as expected."""
    rows: int = 0
    """Objects that the operations were about: a bulk create counts each of its own."""
    sent_bytes: int = 0
    received_bytes: int = 0

    @property
    def operations(self) -> int:
        """Requests that were answered as expected."""
        return sum(map(len, self.latencies.values()))

    def of(self, kind: Kind) -> LoadResult:
        """Those of one kind."""
        return LoadResult(self.seconds, self.latencies[kind])

    def all(self) -> LoadResult:
        """Those of all kinds together."""
        return LoadResult(self.seconds, [latency for each in self.latencies.values() for latency in each])


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._parser = httptools.HttpResponseParser(self)
        self._write: Callable[[bytes], None] = lambda data: None
        self.operation: Operation
        self.since = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._write = self.transport.write

    def connection_lost(self, error: Exception | None) -> None:
        self._run.lost()

    def send(self, operation: Operation, since: float) -> None:
        self.operation, self.since = operation, since
        self._run.result.sent_bytes += len(operation.request)
        self._write(operation.request)

    def data_received(self, data: bytes) -> None:
        self._run.result.received_bytes += len(data)
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._run.answered(self, self._parser.get_status_code())


class _Run:
    """What the connections of one run share; in a closed loop."""

    def __init__(self, deal: Deal, done: Callable[[Operation], None], operations_max: int) -> None:
        self.result = MixedResult()
        self.unexpected: Counter[tuple[Kind, int]] = Counter()
        self.connections: list[_Connection] = []
        self.ended = asyncio.Event()
        self.broken = False
        self._deal = deal
        self._done = done
        self._left = operations_max
        self._under_way = 0
        self._deadline = 0.0

    def begin(self, seconds: float) -> None:
        self._deadline = perf_counter() + seconds
        for connection in self.connections[: self._left]:
            self._send(connection, perf_counter())

    def _send(self, connection: _Connection, since: float) -> None:
        self._left -= 1
        self._under_way += 1
        connection.send(self._deal(), since)

    def answered(self, connection: _Connection, status: int) -> None:
        now, operation = perf_counter(), connection.operation
        self._under_way -= 1
        if status == operation.expected:
            self.result.latencies.setdefault(operation.kind, []).append(now - connection.since)
            self.result.rows += operation.rows
            self._done(operation)
        else:
            self.unexpected[operation.kind, status] += 1
        self._go_on(connection, now)
        if self._under_way == 0 and self.is_complete(now):
            self.ended.set()

    def _go_on(self, connection: _Connection, now: float) -> None:
        if not self.is_complete(now):
            self._send(connection, perf_counter())

    def is_complete(self, now: float) -> bool:
        """Whether nothing more is to be sent."""
        return self._left <= 0 or now >= self._deadline

    def lost(self) -> None:
        if not self.ended.is_set():
            self.broken = True
            self.ended.set()

    def cancel(self) -> None:
        """Nothing of it goes on."""
        self.ended.set()

    @property
    def unsent(self) -> int:
        """Requests that were due and never sent."""
        return 0


class _OpenRun(_Run):
    """Requests fall due by the clock; one that finds no connection free waits for the next that is."""

    def __init__(self, deal: Deal, done: Callable[[Operation], None], operations_max: int, rate: float) -> None:
        super().__init__(deal, done, operations_max)
        self._rate = rate
        self._sent = 0
        self._began = 0.0
        self._free: list[_Connection] = []
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, seconds: float) -> None:
        self._left = max(1, min(self._left, int(self._rate * seconds)))
        self._began = perf_counter()
        self._free = list(self.connections)
        self._send_what_is_due()

    def _due(self) -> float:
        """When the next request is."""
        return self._began + self._sent / self._rate

    def _send_what_is_due(self) -> None:
        while self._free and self._left and self._due() <= perf_counter():
            self._send_next(self._free.pop())
        if self._left:  # with no connection free this wakes up for nothing, once for each request at most
            delay = max(self._due() - perf_counter(), 1 / self._rate if not self._free else 0)
            self._timer = asyncio.get_running_loop().call_later(delay, self._send_what_is_due)

    def _send_next(self, connection: _Connection) -> None:
        since = self._due()
        self._sent += 1
        self._send(connection, since)

    def _go_on(self, connection: _Connection, now: float) -> None:
        if self._left and self._due() <= now:
            self._send_next(connection)
        else:
            self._free.append(connection)

    def is_complete(self, now: float) -> bool:
        return self._left <= 0

    def cancel(self) -> None:
        super().cancel()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def unsent(self) -> int:
        return self._left


async def run_mixed(
    addresses: Sequence[tuple[str, int]],
    deal: Deal,
    done: Callable[[Operation], None],
    *,
    connections: int,
    seconds: float,
    operations_max: int,
    rate: float | None = None,
) -> MixedResult:
    """Send what ``deal`` gives over ``connections``, spread over ``addresses``, for ``seconds`` or ``operations_max``.

    With a ``rate``, in requests per second, in an open loop. Raises :class:`LoadFailed` if a connection ends early, an
    answer has another status than its operation expects, or a rate is not kept up with.
    """
    run = _Run(deal, done, operations_max) if rate is None else _OpenRun(deal, done, operations_max, rate)
    loop = asyncio.get_running_loop()
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
            raise LoadFailed(_told_of_lateness(run, rate)) from None
        run.result.seconds = perf_counter() - began
    except OSError as error:
        raise LoadFailed(f"cannot connect: {error.strerror or error}") from None
    finally:
        run.cancel()
        for connection in run.connections:
            if connection.transport is not None:
                connection.transport.close()
    if run.broken:
        raise LoadFailed("a node closed a connection under load")
    if run.unexpected:
        told = ", ".join(f"{times} times {status} to {kind}" for (kind, status), times in run.unexpected.items())
        raise LoadFailed(f"unexpected answers: {told}")
    return run.result


def _told_of_lateness(run: _Run, rate: float | None) -> str:
    if run.unsent:
        return f"{rate:g} requests/s are too many: {run.unsent} were not sent {DRAIN_SECONDS_MAX:g} s after the end"
    return f"requests had no answer for {DRAIN_SECONDS_MAX:g} s"
