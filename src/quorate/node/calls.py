"""Asking the leader to do something that only it can do: a change of the membership, a transfer.

A call is sent once. Its answer says how it ended; where none comes, the outcome is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from quorate import errors
from quorate.errors import NotApplied, NotLeader, OutcomeUnknown, QuorateError
from quorate.transport.contract import WireMessage

CALLS_MAX = 64
"""Calls that a leader works on, and calls that a follower waits for, at one time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderCall:
    """Please do ``operation`` (JSON) if you lead; ``expected_index`` is that of the configuration meant, plus one."""

    number: int
    operation: bytes
    expected_index: int
    timeout_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderAnswer:
    """How the call ended: with ``value``, or with an ``error`` (a class of :mod:`quorate.errors`) and its text."""

    number: int
    value: int
    error: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """You are no member any more, by the configuration of entry ``configuration_index``, which is committed."""

    configuration_index: int


CALL_KINDS = {80: LeaderCall, 81: LeaderAnswer, 82: Farewell}
"""The frame kinds of these messages: fixed, like all kinds."""

Work = Callable[[LeaderCall], Awaitable[int]]


class LeaderCalls:
    """Both ends of the calls: those this node has made, and those it works on as the leader."""

    def __init__(self, first_number: int, send: Callable[[int, WireMessage], None], work: Work) -> None:
        """``first_number`` differs in each process start. ``work`` does what a caller asks, and raises if it cannot."""
        self._next_number = first_number
        self._send = send
        self._work = work
        self._waiting: dict[int, tuple[int, asyncio.Future[int]]] = {}
        self._working: set[asyncio.Task[None]] = set()

    async def call(self, leader: int, operation: bytes, expected_index: int | None, seconds: float) -> int:
        """What the leader's work returned. Raises what it raised, or :class:`OutcomeUnknown`."""
        if len(self._waiting) >= CALLS_MAX:
            raise errors.ProposalDropped(f"{len(self._waiting)} calls of the leader are under way already")
        number = self._next_number = (self._next_number + 1) % (1 << 63)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (leader, future)
        index = 0 if expected_index is None else expected_index + 1
        try:
            self._send(
                leader,
                LeaderCall(
                    number=number, operation=operation, expected_index=index, timeout_ms=max(1, int(seconds * 1000))
                ),
            )
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            raise OutcomeUnknown("the leader has not said how it ended; it may still come about") from None
        finally:
            del self._waiting[number]

    def received(self, peer: int, message: LeaderCall | LeaderAnswer) -> None:
        """One of the messages arrived."""
        if isinstance(message, LeaderAnswer):
            self._answered(peer, message)
        elif len(self._working) < CALLS_MAX:
            task = asyncio.get_running_loop().create_task(self._serve(peer, message))
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    async def _serve(self, peer: int, call: LeaderCall) -> None:
        try:
            answer = LeaderAnswer(number=call.number, value=await self._work(call), error="", text="")
        except QuorateError as error:
            answer = LeaderAnswer(number=call.number, value=0, error=type(error).__name__, text=str(error))
        self._send(peer, answer)

    def _answered(self, peer: int, answer: LeaderAnswer) -> None:
        leader, future = self._waiting.get(answer.number, (None, None))
        if future is None or future.done() or leader != peer:
            return
        if answer.error:
            future.set_exception(_error_of(answer))
        else:
            future.set_result(answer.value)

    def lost(self, peer: int) -> None:
        """The way to ``peer`` broke: what it was asked to do may come about or not."""
        for leader, future in self._waiting.values():
            if leader == peer and not future.done():
                future.set_exception(OutcomeUnknown(f"node {peer} was lost before it said how it ended"))

    async def stop(self) -> None:
        """End both ends."""
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(OutcomeUnknown("the node stopped before the leader answered"))
        working = list(self._working)
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)


def _error_of(answer: LeaderAnswer) -> QuorateError:
    kind = getattr(errors, answer.error, None)
    if not (isinstance(kind, type) and issubclass(kind, QuorateError)):
        return OutcomeUnknown(answer.text)
    if issubclass(kind, NotLeader):
        return NotLeader(None)
    error = kind.__new__(kind)
    error.args = (answer.text,)
    return error if isinstance(error, NotApplied | OutcomeUnknown | errors.ConfigError) else OutcomeUnknown(answer.text)
