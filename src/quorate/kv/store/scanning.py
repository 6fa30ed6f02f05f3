"""Going through all of something in steps, each a read of its own: what is there all the time is given, and once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

from quorate.kv.store.calls import Call
from quorate.kv.store.commands import Commands
from quorate.kv.store.encoding import Key
from quorate.kv.store.keys import Kind

T = TypeVar("T")

COUNT = 1000


async def _through(step: Callable[[int], Call[tuple[int, Iterable[T]]]]) -> AsyncIterator[T]:
    cursor = 0
    while True:
        cursor, found = await step(cursor)
        for each in found:
            yield each
        if not cursor:
            return


class Scanning(Commands):
    """``scan_iter`` and its kin; about ``count`` elements a step."""

    def scan_iter(
        self, match: Key | None = None, *, kind: Kind | None = None, count: int = COUNT
    ) -> AsyncIterator[bytes]:
        """All keys, or those that are like ``match``, or of one ``kind``."""
        return _through(lambda cursor: self.scan(cursor, match=match, kind=kind, count=count))

    async def hscan_iter(
        self, key: Key, match: Key | None = None, *, count: int = COUNT
    ) -> AsyncIterator[tuple[bytes, bytes]]:
        """All fields of a hash with their values."""
        cursor = 0
        while True:
            cursor, fields = await self.hscan(key, cursor, match=match, count=count)
            for field in fields.items():
                yield field
            if not cursor:
                return

    def sscan_iter(self, key: Key, match: Key | None = None, *, count: int = COUNT) -> AsyncIterator[bytes]:
        """All members of a set."""
        return _through(lambda cursor: self.sscan(key, cursor, match=match, count=count))

    def zscan_iter(
        self, key: Key, match: Key | None = None, *, count: int = COUNT
    ) -> AsyncIterator[tuple[bytes, float]]:
        """All members of a sorted set with their scores."""
        return _through(lambda cursor: self.zscan(key, cursor, match=match, count=count))
