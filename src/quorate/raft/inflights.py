"""The window of AppendEntries messages that are under way to one peer."""

from __future__ import annotations

from collections import deque


class Inflights:
    """A sliding window bounded by messages and by bytes (thesis §10.2.1, pipelining)."""

    __slots__ = ("_bytes", "_bytes_max", "_count_max", "_window")

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._window: deque[tuple[int, int]] = deque()  # (last index of the message, its bytes)

    def __len__(self) -> int:
        return len(self._window)

    @property
    def size_bytes(self) -> int:
        """Bytes under way."""
        return self._bytes

    @property
    def full(self) -> bool:
        """Whether nothing more may be sent until an answer arrives."""
        return len(self._window) >= self._count_max or self._bytes >= self._bytes_max

    def add(self, last_index: int, size_bytes: int) -> None:
        """A message that ends at ``last_index`` was sent."""
        self._window.append((last_index, size_bytes))
        self._bytes += size_bytes

    def free_to(self, index: int) -> None:
        """The peer has everything up to ``index``."""
        window = self._window
        while window and window[0][0] <= index:
            self._bytes -= window.popleft()[1]

    def clear(self) -> None:
        """Forget everything: the messages must be taken for lost."""
        self._window.clear()
        self._bytes = 0
