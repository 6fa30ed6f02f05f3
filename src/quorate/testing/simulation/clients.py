"""Clients: they call nodes over a network of their own, give up, try elsewhere, and remember what they were told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any, TypeVar

from quorate.errors import CommandFailed, NotApplied, OutcomeUnknown, ReadUnavailable
from quorate.rest.http import RequestError
from quorate.testing.simulation.host import Host, Process
from quorate.testing.simulation.loop import Scheduler
from quorate.testing.simulation.trace import Trace

T = TypeVar("T")

REFUSALS = (CommandFailed, RequestError)
"""The command took its place in the log, and the state machine said no (or it would have)."""


class Unreachable(Exception):
    """The node was not there: it never saw the request."""


class NoAnswer(Exception):
    """The request left, and nothing came back."""


class Ended(Enum):
    """How an operation ended, as far as the client can ever know."""

    OK = "ok"
    NOT_APPLIED = "not applied"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Operation:
    """One operation of one client, with the world's times at which it began and ended.

    ``result`` is what came back: a value, or the refusal. It means nothing unless the operation ended well.
    """

    number: int
    client: int
    kind: str
    key: str
    argument: Any
    invoked: float
    completed: float = 0.0
    ended: Ended | None = None
    result: Any = None

    @property
    def name(self) -> str:
        """What the state machine knows it by, and its request id, if it has one."""
        return f"{self.client}.{self.number}"

    @property
    def refused(self) -> bool:
        """Whether the state machine said no."""
        return isinstance(self.result, REFUSALS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPlan:
    """How clients behave, and what happens to them on their way. Probabilities are per request."""

    count: int = 4
    think_seconds: float = 0.3
    """The mean time between two operations of one client."""
    timeout_seconds: float = 1.0
    attempts_max: int = 4
    latency_seconds: float = 0.002
    request_ids: float = 0.8
    """How many writes carry a request id, and so may be tried again."""
    lost_requests: float = 0.0
    lost_answers: float = 0.0
    twice_at_once: float = 0.0
    """How many writes with a request id go to two nodes at the same time."""
    impatient: float = 0.0
    """How many requests are given up after a tenth of the time."""


class Door:
    """How clients reach nodes."""

    def __init__(
        self, scheduler: Scheduler, hosts: Mapping[int, Host], rng: Random, plan: ClientPlan, fired: Counter[str]
    ) -> None:
        self._scheduler = scheduler
        self._hosts = hosts
        self._rng = rng
        self.plan = plan
        self.fired = fired
        self.waiting = 0
        """Requests without an answer, so far."""
        self.calm = False
        """Whether nothing goes wrong between clients and nodes any more."""

    async def call(self, node_id: int, work: Callable[[Process], Coroutine[Any, Any, T]], timeout: float) -> T:
        """Do ``work`` on a node, as that node's own task. Raises what it raises, :class:`Unreachable` or
        :class:`NoAnswer`.
        """
        scheduler, world = self._scheduler, self._scheduler.world
        answer: asyncio.Future[T] = world.create_future()
        plan, rng, faults = self.plan, self._rng, not self.calm
        if faults and rng.random() < plan.lost_requests:
            self.fired["client request lost"] += 1
        else:
            scheduler.after(self._latency(), world, self._arrive, node_id, work, answer)
        if faults and rng.random() < plan.impatient:
            self.fired["client gives up early"] += 1
            timeout /= 10
        giving_up = world.call_later(timeout, _fail, answer, NoAnswer("gave up waiting"))
        self.waiting += 1
        try:
            return await answer
        finally:
            self.waiting -= 1
            giving_up.cancel()

    def _latency(self) -> float:
        return self.plan.latency_seconds * (0.5 + self._rng.random())

    def _arrive(
        self, node_id: int, work: Callable[[Process], Coroutine[Any, Any, T]], answer: asyncio.Future[T]
    ) -> None:
        scheduler = self._scheduler
        host = self._hosts[node_id]
        process = host.process
        if process is None or not host.is_up:
            scheduler.after(self._latency(), scheduler.world, _fail, answer, Unreachable(f"node {node_id} is down"))
            return

        def begin() -> None:
            task = process.loop.create_task(work(process))
            task.add_done_callback(done)

        def done(task: asyncio.Task[T]) -> None:
            if process.ended:
                return
            process.on_ended.pop(answer, None)
            if not self.calm and self._rng.random() < self.plan.lost_answers:
                self.fired["client answer lost"] += 1
                task.exception()  # retrieved
                return
            scheduler.after(self._latency(), scheduler.world, _pass_on, task, answer)

        def gone() -> None:
            scheduler.after(self._latency(), scheduler.world, _fail, answer, NoAnswer("the connection was closed"))

        process.on_ended[answer] = gone
        process.loop.call_soon(begin)


def _fail(answer: asyncio.Future[Any], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


def _pass_on(task: asyncio.Task[T], answer: asyncio.Future[T]) -> None:
    error = task.exception()
    if answer.done():
        return
    if error is None:
        answer.set_result(task.result())
    else:
        answer.set_exception(error)


class Client:
    """One client: it has one operation under way at a time."""

    def __init__(
        self, number: int, door: Door, node_ids: Sequence[int], rng: Random, trace: Trace, scheduler: Scheduler
    ) -> None:
        """``node_ids`` may change."""
        self.number = number
        self.rng = rng
        self._door = door
        self._node_ids = node_ids
        self._trace = trace
        self._scheduler = scheduler
        self._operations = 0
        self.counts: Counter[str] = Counter()
        self.memory: dict[str, Any] = {}
        """What a workload wants to remember for this client."""

    def begin(self, kind: str, key: str, argument: Any = None) -> Operation:
        """An operation that begins now."""
        self._operations += 1
        return Operation(self._operations, self.number, kind, key, argument, self._scheduler.now)

    async def write(
        self, operation: Operation, work: Callable[[Process, str | None], Coroutine[Any, Any, Any]]
    ) -> Operation:
        """Carry out a write, which ``work`` does on a node with a request id or without, and note how it ended.

        With a request id it is tried on other nodes until the outcome is known, or patience ends.
        """
        plan, rng = self._door.plan, self.rng
        request_id = operation.name if rng.random() < plan.request_ids else None
        unknown = False
        for attempt in range(plan.attempts_max):
            if attempt:
                await asyncio.sleep(rng.random() * plan.timeout_seconds / 4)
            try:
                operation.result = await self._attempt(request_id, work)
            except REFUSALS as refusal:
                operation.result = refusal
            except (NotApplied, Unreachable):
                continue
            except (OutcomeUnknown, NoAnswer, ReadUnavailable):
                unknown = True
                if request_id is None:
                    break
                continue
            return self._end(operation, Ended.OK)
        return self._end(operation, Ended.UNKNOWN if unknown else Ended.NOT_APPLIED)

    async def _attempt(
        self, request_id: str | None, work: Callable[[Process, str | None], Coroutine[Any, Any, T]]
    ) -> T:
        plan, rng, door = self._door.plan, self.rng, self._door
        if request_id is not None and rng.random() < plan.twice_at_once and len(self._node_ids) > 1:
            door.fired["client request sent twice"] += 1
            first, second = rng.sample(self._node_ids, 2)
            calls = [
                door.call(node, lambda process: work(process, request_id), plan.timeout_seconds)
                for node in (first, second)
            ]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            best: T = _best_of(answers)
            return best
        node = rng.choice(self._node_ids)
        return await door.call(node, lambda process: work(process, request_id), plan.timeout_seconds)

    async def read(self, operation: Operation, work: Callable[[Process], Coroutine[Any, Any, Any]]) -> Operation:
        """Carry out a read. One that fails has no effect, whatever happened."""
        node = self.rng.choice(self._node_ids)
        try:
            operation.result = await self._door.call(node, work, self._door.plan.timeout_seconds)
        except REFUSALS as refusal:
            operation.result = refusal
        except (NotApplied, ReadUnavailable, OutcomeUnknown, Unreachable, NoAnswer):
            return self._end(operation, Ended.NOT_APPLIED)
        return self._end(operation, Ended.OK)

    def _end(self, operation: Operation, ended: Ended) -> Operation:
        operation.ended = ended
        operation.completed = self._scheduler.now
        self.counts[f"{operation.kind}: {ended.value}"] += 1
        self._trace.event(
            0,
            f"client {self.number}: {operation.kind}({operation.key}, {operation.argument}) {ended.value}"
            + (f": {operation.result}" if ended is Ended.OK else ""),
        )
        return operation


def _best_of(answers: list[Any]) -> Any:
    """Of two answers to the same request: one that says what happened, rather than one that does not."""
    known = [each for each in answers if not isinstance(each, BaseException) or isinstance(each, REFUSALS)]
    unknown = [each for each in answers if isinstance(each, OutcomeUnknown | NoAnswer | ReadUnavailable)]
    answer = (known or unknown or answers)[0]
    if isinstance(answer, BaseException):
        raise answer
    return answer
