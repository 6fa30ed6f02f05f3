"""Two replies to one command that differ, and what is known of how they came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quorate.kv.values import Value
from tests.kv.redis_server import RedisClient, parsed


@dataclass(frozen=True)
class Meeting:
    """Ours and Redis' reply to a command, and the value that was at its key before."""

    redis: RedisClient
    command: tuple[bytes, ...]
    ours: bytes
    theirs: bytes
    held: Value | None

    @property
    def both(self) -> tuple[Any, Any]:
        """The replies' meanings."""
        return parsed(self.ours), parsed(self.theirs)

    @property
    def are_no_errors(self) -> bool:
        """Whether both have carried out the command."""
        return self.ours[:1] != b"-" and self.theirs[:1] != b"-"

    @property
    def have_same_shape(self) -> bool:
        """Whether they are of one type and length."""
        return self.ours.split(b"\r")[0] == self.theirs.split(b"\r")[0]
