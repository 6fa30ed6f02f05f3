"""How a job ends, as its worker tells it."""

from __future__ import annotations

import traceback
from types import TracebackType

import msgspec

from quorate.tasks.arguments import Unstorable
from quorate.tasks.errors import InvalidTask
from quorate.tasks.limits import ERROR_CHARACTERS_MAX
from quorate.tasks.worker.job import Effects, Reject, RetryLater

FRAMES_MAX = 10
"""Lines of code that an error names."""
_OURS = __name__.rpartition(".")[0]


class Done(msgspec.Struct, tag="done"):
    """The handler has returned. ``result`` is JSON."""

    result: bytes
    effects: Effects


class Failure(msgspec.Struct, tag="failure"):
    """The handler has raised, or was stopped. Middleware may change what follows from it."""

    error: str
    """For people: the exception, and where it was raised."""
    kinds: list[str] = []
    """The exception's class and those that it derives from, by module and name."""
    may_retry: bool = True
    delay_ms: int = -1
    """Try again then, instead of when the task's back-off says (-1)."""

    def is_a(self, kind: type[BaseException]) -> bool:
        """Whether it comes from an exception of that class, whatever process that was raised in."""
        return _name(kind) in self.kinds


Outcome = Done | Failure


def failure_of(error: BaseException) -> Failure:
    """What an exception that left a handler means."""
    kinds = [_name(kind) for kind in type(error).__mro__]
    match error:
        case Reject():
            return Failure(_clean(_message(error) or "rejected"), kinds, may_retry=False)
        case RetryLater():
            return Failure(_clean(_message(error) or "is to be tried later"), kinds, delay_ms=error.delay_ms)
        case Unstorable() | InvalidTask():
            return Failure(_clean(_message(error)), kinds, may_retry=False)
    lines = [f"{type(error).__qualname__}: {_message(error)}", *_places(error.__traceback__)]
    return Failure(_clean("\n".join(lines)), kinds)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be had)"


def _places(raised: TracebackType | None) -> list[str]:
    """Where it was raised, without the lines that are ours."""
    frames = [
        f"  {frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(raised)
        if not frame.f_globals.get("__name__", "").startswith(_OURS)
    ]
    return frames[-FRAMES_MAX:]


def _clean(text: str) -> str:
    """Bounded, and such that it can be sent: no lone surrogates."""
    return text[:ERROR_CHARACTERS_MAX].encode("utf-8", "replace").decode()
