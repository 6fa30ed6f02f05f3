"""Transactions: calls that are collected, and applied as one entry of the log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from quorate.kv import transactions
from quorate.kv.registry import Spec
from quorate.kv.replies import CommandError, NullArray, Reply
from quorate.kv.store.calls import Call
from quorate.kv.store.commands import Commands
from quorate.kv.store.encoding import Key, encoded
from quorate.kv.store.errors import KvError, TransactionConflict, TransactionRefused, as_error
from quorate.kv.store.shapes import Shape

T = TypeVar("T")

COMMANDS_MAX = 10_000


class Later(Call[T]):
    """What a call in a transaction will have answered: to be awaited behind the block, or not at all."""

    __slots__ = ("_outcome", "_shape")

    def __init__(self, shape: Shape[T]) -> None:
        self._shape = shape
        self._outcome: tuple[Reply] | None = None

    def settle(self, reply: Reply) -> T | KvError:
        """The transaction was applied."""
        self._outcome = (reply,)
        return as_error(reply) if isinstance(reply, CommandError) else self._shape(reply)

    def _result(self) -> T:
        if self._outcome is None:
            raise RuntimeError("what a call in a transaction answers is known once its block has ended well")
        result = self.settle(*self._outcome)
        if isinstance(result, KvError):
            raise result
        return result

    def __await__(self) -> Generator[Any, Any, T]:
        return self._result()
        yield  # pragma: no cover

    def send(self, value: Any, /) -> Any:
        raise StopIteration(self._result())

    def throw(self, *error: Any) -> Any:
        raise error[0]

    def close(self) -> None:
        pass


class Transaction(Commands):
    """Its methods are those of :class:`~quorate.kv.store.kv.Kv`, and give what can be awaited behind the block."""

    def __init__(
        self,
        execute: Callable[[transactions.Transaction], Awaitable[Reply]],
        revisions: Callable[..., Awaitable[list[int]]],
        watch: Sequence[Key],
    ) -> None:
        if isinstance(watch, str | bytes):
            raise TypeError("the keys to watch come in a list, not one alone")
        self._execute = execute
        self._revisions = revisions
        self._watch = [encoded(key) for key in watch]
        self._watched: list[tuple[bytes, int]] = []
        self._requests: list[list[bytes]] = []
        self._calls: list[Later[Any]] = []
        self._open = False
        self.results: list[Any] = []
        """What each call answered, in their order, once the block has ended."""

    async def __aenter__(self) -> Self:
        if self._watch:
            self._watched = list(zip(self._watch, await self._revisions(*self._watch), strict=True))
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        if error is not None or not self._requests:
            return
        reply = await self._execute(transactions.Transaction(self._watched, self._requests))
        if isinstance(reply, CommandError):
            raise as_error(reply)
        if isinstance(reply, NullArray):
            raise TransactionConflict
        self.results = [call.settle(each) for call, each in zip(self._calls, reply, strict=True)]
        refused = [result for result in self.results if isinstance(result, KvError)]
        if refused:
            message = f"{refused[0]} ({len(refused)} of {len(self.results)} commands were refused, the others applied)"
            raise TransactionRefused(message, self.results)

    def perform(self, spec: Spec, request: list[bytes], shape: Shape[T]) -> Call[T]:
        if not self._open:
            raise RuntimeError("a transaction takes calls within its block")
        if len(self._requests) >= COMMANDS_MAX:
            raise KvError(f"ERR a transaction has at most {COMMANDS_MAX} commands")
        self._requests.append(request)
        self._calls.append(call := Later(shape))
        return call
