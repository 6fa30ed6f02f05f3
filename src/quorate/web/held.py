"""What a node holds in memory for its clients, on all connections together."""

from __future__ import annotations


class Held:
    """So many bytes are held now, and how many may be before nothing is added."""

    __slots__ = ("bytes", "bytes_max")

    def __init__(self, bytes_max: int) -> None:
        self.bytes = 0
        self.bytes_max = bytes_max

    @property
    def is_too_much(self) -> bool:
        """Whether no more is to be taken on."""
        return self.bytes > self.bytes_max
