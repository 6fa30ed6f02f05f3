"""What happened, in order: hashed always, and written down when someone wants to read it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from quorate.testing.simulation.loop import Scheduler

WORLD = 0
"""Stands in place of a node's id for what happens outside of all nodes."""


class Trace:
    """Two runs of one seed have the same :attr:`digest`, or something in them was left to chance."""

    def __init__(self, scheduler: Scheduler, tell: Callable[[str], None] | None = None) -> None:
        """``tell`` is given each event as one line."""
        self._scheduler = scheduler
        self._tell = tell
        self._hash = blake2b(digest_size=8)
        self.events = 0

    @property
    def is_read(self) -> bool:
        """Whether anybody reads the lines, so that it is worth making them good to read."""
        return self._tell is not None

    def event(self, node: int, what: str) -> None:
        """``what`` happened on, or to, ``node``."""
        self.events += 1
        now = self._scheduler.now
        self._hash.update(f"{now!r} {node} {what}\n".encode())
        if self._tell is not None:
            self._tell(f"{now:12.6f}  {f'node {node}' if node else 'world':<8}  {what}")

    def note(self, node: int, what: str) -> None:
        """Something to read that is no part of the hash."""
        if self._tell is not None:
            self._tell(f"{self._scheduler.now:12.6f}  {f'node {node}' if node else 'world':<8}  {what}")

    @property
    def digest(self) -> str:
        """The hash of everything so far."""
        return self._hash.hexdigest()
