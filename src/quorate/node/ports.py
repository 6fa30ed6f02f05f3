"""The engine as faces see it. A node is one; a test may bring its own."""

from __future__ import annotations

from typing import Protocol

from quorate.machine.outcome import Applied
from quorate.node.reads import Consistency


class Engine(Protocol):
    """Proposes commands and says when local state is fresh enough to be read."""

    @property
    def applied_index(self) -> int:
        """Up to here the local state has applied the log."""

    async def propose(
        self, command: bytes, *, machine: str, request_id: str | None = None, timeout: float | None = None
    ) -> Applied:
        """Return once the command is applied here.

        Raises :class:`~quorate.errors.CommandFailed` if the machine refused it,
        :class:`~quorate.errors.NotApplied` if it certainly has no effect and
        :class:`~quorate.errors.OutcomeUnknown` otherwise. ``timeout`` is in seconds.
        """

    def flush(self) -> None:
        """What is applied here by now is found by other connections to the state's file, too.

        Raises :class:`~quorate.errors.ReadUnavailable` while that cannot be.
        """

    async def read_barrier(self, *, consistency: Consistency, timeout: float | None = None) -> None:
        """After it, a local read with this consistency is correct.

        Raises :class:`~quorate.errors.ReadUnavailable` if that cannot be confirmed in time.
        """
