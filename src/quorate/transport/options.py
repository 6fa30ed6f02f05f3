"""The settings of the TCP transport; the defaults suit a local network."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from quorate.transport.framing import FRAME_BYTES_MAX
from quorate.transport.handshake import VERSIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpOptions:
    """Bounds and times of the TCP transport."""

    dials: Literal["tcp", "websocket"] = "tcp"
    """How peers are dialled: by TCP alone, or by WebSockets over it. Both are accepted, whatever it is."""
    frame_bytes_max: int = FRAME_BYTES_MAX
    """The largest frame sent or accepted, header included."""
    queue_bytes_max: int = 32 * 1024 * 1024
    """While more than this waits to be written on a lane of a peer, messages for it are dropped."""
    bulk_idle_seconds: float = 30.0
    """A bulk lane that was not used for this long is closed; the next message for it opens another."""
    handshake_seconds: float = 5.0
    """A connection that is not welcomed after this time is given up, by both sides."""
    handshakes_max: int = 256
    """Accepted connections that may be in their handshake at once; one more is closed."""
    backoff_seconds_min: float = 0.02
    """The pause after a first failure to connect. It doubles with each further one …"""
    backoff_seconds_max: float = 1.0
    """… up to this."""
    unacknowledged_seconds_max: float = 10.0
    """A connection whose data no one acknowledges for this long is given up (where the system can do that)."""
    ping_seconds: float = 5.0
    """A WebSocket that was dialled is pinged this often, and given up when that is not acknowledged for so long."""
    close_seconds: float = 0.5
    """How long ``stop`` waits for what was sent last to leave, and either end of a WebSocket for the other to close."""
    versions: tuple[int, int] = VERSIONS
    """The lowest and highest protocol version to speak; a lower maximum lets old and new nodes mix."""

    def pause_seconds(self, failures: int, rng: Random) -> float:
        """How long to wait after so many failures in a row. Half of it is random, lest all peers come back in step."""
        pause = min(self.backoff_seconds_max, self.backoff_seconds_min * 2 ** min(failures - 1, 30))
        return float(pause * (0.5 + 0.5 * rng.random()))
