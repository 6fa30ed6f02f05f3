"""What a method of the store gives: a call, to be awaited; and what all those methods go through."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

from quorate.kv.registry import COMMANDS, Spec
from quorate.kv.replies import CommandError
from quorate.kv.store.encoding import Argument, encoded
from quorate.kv.store.errors import KvError, as_error
from quorate.kv.store.shapes import Shape, plain

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Call(Coroutine[Any, Any, T_co], Generic[T_co]):
    """A command to be carried out, once it is awaited; in a transaction, what it will have answered."""

    __slots__ = ("_run",)

    def __init__(self, run: Coroutine[Any, Any, T_co]) -> None:
        self._run = run

    def __await__(self) -> Generator[Any, Any, T_co]:
        return self._run.__await__()

    def send(self, value: Any, /) -> Any:
        """For tasks, which run a call as any coroutine."""
        return self._run.send(value)

    def throw(self, *error: Any) -> Any:
        """The same."""
        return self._run.throw(*error)

    def close(self) -> None:
        """The same."""
        self._run.close()


def check(spec: Spec, request: list[bytes]) -> None:
    """Raises :class:`KvError` for what can be told without the data: it never reaches the log."""
    try:
        spec.check_arguments(request)
    except CommandError as refusal:
        raise as_error(refusal) from None


class Calls(ABC):
    """Turns method calls into requests. Their errors that need no data are raised at once, as :class:`KvError`."""

    def _call(self, shape: Shape[T], name: bytes, *arguments: Argument) -> Call[T]:
        request = [name, *map(encoded, arguments)]
        spec = COMMANDS.get(name)
        if spec is None or spec.internal:
            raise KvError(f"ERR unknown command '{name[:128].decode(errors='replace')}'")
        check(spec, request)
        return self.perform(spec, request, shape)

    @abstractmethod
    def perform(self, spec: Spec, request: list[bytes], shape: Shape[T]) -> Call[T]:
        """Carry out a request that is well formed, and give its reply that shape."""

    def execute(self, name: str, *arguments: Argument) -> Call[Any]:
        """Any command by its name, as ``execute("GETRANGE", "greeting", 0, 4)``; the reply in plain Python values."""
        return self._call(plain, name.upper().encode(), *arguments)
