"""A load of operations, of one kind or several, in a closed or an open loop.

Closed: every connection sends its next request when the last one is answered, so a slow answer holds back what would
have been slow as well. Open, with a ``rate``: request number N is due at N / rate, whatever became of those before it;
its latency counts from then on, also while it waits for a connection. What a system that stalls does to clients who
come at their own pace shows in that alone ("coordinated omission" is what hides it otherwise). Timers are exact to a
millisecond or so, and that is in the latencies, too.

It shares the processor with the nodes that it measures, so it does as little as it can: requests are bytes made
beforehand as far as that is possible, answers are parsed only as far as their status, and there is no task or future
per request.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

import httptools

from quorate.errors import QuorateError
from quorate.ops.bench.timings import Timings

DRAIN_SECONDS_MAX = 10.0


class LoadFailed(QuorateError):
    """The cluster did not answer as it should, so there is nothing to report."""


class RateNotKept(LoadFailed):
    """Requests fell due faster than they could be sent, and would again."""


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """What some requests have in common. There are few, and each is only equal to itself."""

    kind: str
    expected: int
    """The status that says that it was done."""
    rows: int = 1
    """Objects that it is about."""
    busy: int | None = None
    """A status that says that the node does too many of these already: no failure, but nothing was done either."""


Dealt = tuple[Operation, bytes, bytes]
"""What it is, the request, and the id of the object that it creates or deletes, if anybody wants to know."""
Deal = Callable[[], Dealt]
"""Gives the next one to send."""
Done = Callable[[Operation, bytes], None]
"""Told of each that was answered as expected: what it is, and the id."""


@dataclass(slots=True)
class LoadResult:
    """What one run gave. Bytes are those that clients sent and got: requests and answers with their heads."""

    seconds: float = 0.0
    """Until the last answer."""
    latencies: dict[str, list[float]] = field(default_factory=dict)
    """By kind: seconds, for each answer as expected."""
    rows: int = 0
    """Objects that the operations were about: a bulk create counts each of its own."""
    sent_bytes: int = 0
    received_bytes: int = 0
    turned_away: int = 0
    """Requests that a node was too busy for: see :attr:`Operation.busy`."""

    def of(self, kind: str) -> Timings:
        """Those of one kind."""
        return Timings(self.seconds, self.latencies[kind])

    def all(self) -> Timings:
        """Those of all kinds together."""
        return Timings(self.seconds, [latency for each in self.latencies.values() for latency in each])


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, run: _Run) -> None:
        parser = httptools.HttpResponseParser(self)
        self._feed = parser.feed_data
        self._status = parser.get_status_code
        self._run = run
        self._done = run.done
        self._go_on = run.go_on
        self._latencies = run.latencies
        self._write: Callable[[bytes], None] = lambda data: None
        self.transport: asyncio.Transport | None = None
        self._operation: Operation
        self._key = b""
        self._since = 0.0
        self.sent_bytes = 0
        self.received_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._write = self.transport.write

    def connection_lost(self, error: Exception | None) -> None:
        self._run.lost()

    def send(self, dealt: Dealt, since: float) -> None:
        """Send what was dealt; its latency counts from ``since``."""
        self._operation, request, self._key = dealt
        self._since = since
        self.sent_bytes += len(request)
        self._write(request)

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        self._feed(data)

    def on_message_complete(self) -> None:
        now, operation, status = perf_counter(), self._operation, self._status()
        if status == operation.expected:
            self._latencies[operation].append(now - self._since)
            if self._done is not None:
                self._done(operation, self._key)
        elif status == operation.busy:
            self._run.turned_away += 1
        else:
            self._run.unexpected[operation.kind, status] += 1
        self._go_on(self, now)


class _Run:
    """What the connections of one run share; in a closed loop."""

    def __init__(self, deal: Deal, done: Done | None, operations_max: int) -> None:
        self.latencies: defaultdict[Operation, list[float]] = defaultdict(list)
        self.unexpected: Counter[tuple[str, int]] = Counter()
        self.turned_away = 0
        self.connections: list[_Connection] = []
        self.ended = asyncio.Event()
        self.broken = False
        self.done = done
        self._deal = deal
        self._left = operations_max
        self._busy = 0
        self._deadline = 0.0

    def begin(self, seconds: float) -> None:
        """Send the first requests."""
        self._deadline = perf_counter() + seconds
        starting = self.connections[: self._left]
        self._busy = len(starting)
        self._left -= self._busy
        for connection in starting:
            connection.send(self._deal(), perf_counter())

    def go_on(self, connection: _Connection, now: float) -> None:
        """It has its answer."""
        if self._left > 0 and now < self._deadline:
            self._left -= 1
            connection.send(self._deal(), perf_counter())
        else:
            self._rest()

    def _rest(self) -> None:
        """One connection has no request under way any more."""
        self._busy -= 1
        if self._busy == 0:
            self.ended.set()

    def lost(self) -> None:
        """A connection ended."""
        if not self.ended.is_set():
            self.broken = True
            self.ended.set()

    def cancel(self) -> None:
        """Nothing of it goes on."""
        self.ended.set()

    def result(self, seconds: float) -> LoadResult:
        """What it gave in so much time. Raises :class:`LoadFailed` if something was not as it should be."""
        if self.broken:
            raise LoadFailed("a node closed a connection under load")
        if self.unexpected:
            told = ", ".join(f"{times} times {status} to {kind}" for (kind, status), times in self.unexpected.items())
            raise LoadFailed(f"unexpected answers: {told}")
        result = LoadResult(
            seconds=seconds,
            rows=sum(operation.rows * len(each) for operation, each in self.latencies.items()),
            sent_bytes=sum(connection.sent_bytes for connection in self.connections),
            received_bytes=sum(connection.received_bytes for connection in self.connections),
            turned_away=self.turned_away,
        )
        for operation, latencies in self.latencies.items():
            result.latencies.setdefault(operation.kind, []).extend(latencies)
        return result

    def lateness(self) -> LoadFailed:
        """What to raise if it does not end."""
        return LoadFailed(f"requests had no answer for {DRAIN_SECONDS_MAX:g} s")


class _OpenRun(_Run):
    """Requests fall due by the clock; one that finds no connection free waits for the next that is."""

    def __init__(self, deal: Deal, done: Done | None, operations_max: int, rate: float) -> None:
        super().__init__(deal, done, operations_max)
        self._rate = rate
        self._sent = 0
        self._began = 0.0
        self._free: list[_Connection] = []
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, seconds: float) -> None:
        """See :meth:`_Run.begin`."""
        self._left = max(1, min(self._left, int(self._rate * seconds)))
        self._began = perf_counter()
        self._free = list(self.connections)
        self._send_what_is_due()

    def _due(self) -> float:
        """When the next request is."""
        return self._began + self._sent / self._rate

    def _send_what_is_due(self) -> None:
        while self._free and self._left and self._due() <= perf_counter():
            self._busy += 1
            self._send_next(self._free.pop())
        if self._left:  # with no connection free this wakes up for nothing, once for each request at most
            delay = max(self._due() - perf_counter(), 1 / self._rate if not self._free else 0)
            self._timer = asyncio.get_running_loop().call_later(delay, self._send_what_is_due)

    def _send_next(self, connection: _Connection) -> None:
        since = self._due()
        self._sent += 1
        self._left -= 1
        connection.send(self._deal(), since)

    def go_on(self, connection: _Connection, now: float) -> None:
        """See :meth:`_Run.go_on`."""
        if self._left and self._due() <= now:
            self._send_next(connection)
        else:
            self._free.append(connection)
            self._rest()

    def _rest(self) -> None:
        self._busy -= 1
        if self._busy == 0 and not self._left:
            self.ended.set()

    def cancel(self) -> None:
        """See :meth:`_Run.cancel`."""
        super().cancel()
        if self._timer is not None:
            self._timer.cancel()

    def lateness(self) -> LoadFailed:
        """See :meth:`_Run.lateness`."""
        if not self._left:
            return super().lateness()
        late = f"{self._left} were not sent {DRAIN_SECONDS_MAX:g} s after the end"
        return RateNotKept(f"{self._rate:g} requests/s are too many: {late}")


async def run_load(
    addresses: Sequence[tuple[str, int]],
    deal: Deal,
    *,
    connections: int,
    seconds: float,
    operations_max: int,
    rate: float | None = None,
    done: Done | None = None,
) -> LoadResult:
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
            raise run.lateness() from None
        return run.result(perf_counter() - began)
    except OSError as error:
        raise LoadFailed(f"cannot connect: {error.strerror or error}") from None
    finally:
        run.cancel()
        for connection in run.connections:
            if connection.transport is not None:
                connection.transport.close()
