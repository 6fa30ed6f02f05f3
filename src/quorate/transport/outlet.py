"""Where one lane of a link leaves: its connection while there is one, and the frames that faults hold back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from quorate.transport.contract import PeerStats
from quorate.transport.delay_line import DelayLine
from quorate.transport.dialled import Dialled


class Outlet:
    """Writes frames to a connection that comes and goes; takes a bounded number of bytes."""

    def __init__(self, queue_bytes_max: int) -> None:
        self._queue_bytes_max = queue_bytes_max
        self._connection: Dialled | None = None
        self._held = DelayLine()
        self._held_bytes = 0

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    @property
    def holds(self) -> bool:
        """Whether delayed frames wait, which later ones must not overtake."""
        return len(self._held) > 0

    @property
    def backlog_bytes(self) -> int:
        """What waits here: frames held back, and bytes that the socket has not taken."""
        return self._held_bytes + (0 if self._connection is None else self._connection.unsent_bytes)

    def open(self, connection: Dialled) -> None:
        """Write to ``connection`` from now on."""
        self._connection = connection

    def close(self) -> None:
        """Write no more, and forget what is held back."""
        self._connection = None
        self._held.clear()
        self._held_bytes = 0

    def write(self, pieces: Sequence[bytes], frames: int, stats: PeerStats) -> None:
        """Send all ``pieces`` of so many frames at once, or drop them; ``stats`` counts which."""
        if self._takes_more and self._write(pieces, are_frames=len(pieces) == frames):
            stats.frames_sent += frames
            stats.bytes_sent += sum(map(len, pieces))
        else:
            stats.dropped += frames

    def _write(self, pieces: Sequence[bytes], *, are_frames: bool) -> bool:
        """Where frames are in pieces, that is because they are long: these are not copied once more."""
        connection = self._connection
        if connection is None:
            return False
        return connection.write(b"".join(pieces)) if are_frames else all(list(map(connection.write, pieces)))

    def hold(self, seconds: float, frame: bytes, stats: PeerStats) -> None:
        """Write ``frame`` after a delay, unless the connection goes down before; dropped if too much waits."""
        if self.is_open and self._takes_more and self._held.put(seconds, partial(self._release, frame, stats)):
            self._held_bytes += len(frame)
        else:
            stats.dropped += 1

    def _release(self, frame: bytes, stats: PeerStats) -> None:
        self._held_bytes -= len(frame)
        self.write((frame,), 1, stats)

    @property
    def _takes_more(self) -> bool:
        return self.backlog_bytes <= self._queue_bytes_max
