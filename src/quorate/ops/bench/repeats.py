"""Doing once more what failed, a few times in all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from quorate.ops.bench.load import LoadFailed, RateNotKept
from quorate.rest.http_client import RequestFailed

REPEATS_MAX = 3
"""On a machine that is busy with other things, a node may stall for so long that another one is elected."""

T = TypeVar("T")
Tell = Callable[[str], None]


class Repeats:
    """Does what failed once more, and remembers that it did."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.told: list[str] = []

    async def run(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """The result of ``work``. Raises :class:`LoadFailed` at the failure after :data:`REPEATS_MAX` in all."""
        while True:
            try:
                return await work()
            except RateNotKept:
                raise
            except (LoadFailed, RequestFailed, OSError) as error:
                reason = f"{what}: {str(error) or 'no answer in time'}"
                if len(self.told) == REPEATS_MAX:
                    raise LoadFailed(reason) from None
                self.told.append(reason)
                self._tell(f"once more, as it failed: {reason}")


def told_of_repeats(reasons: list[str]) -> list[str]:
    """A sentence on them, if there are any."""
    return [f"Done once more because a request failed: {'; '.join(reasons)}."] if reasons else []
