"""Who waits to take something from a list or a sorted set.

Taking is a write like any other. Who has found nothing waits here until something is there, on this node, and tries
again: of those who wait as many as there are elements, those first that came first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from quorate.errors import NodeStopped
from quorate.kv.keyspace import Keyspace
from quorate.kv.values import List, SortedSet

Kind = type[List | SortedSet]
Waiting = asyncio.Future[None]


class Takers:
    """All on this node."""

    def __init__(self, keyspace: Callable[[], Keyspace]) -> None:
        self._keyspace = keyspace
        self._by_key: dict[bytes, dict[Waiting, Kind]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_key)

    async def until_there(self, keys: Sequence[bytes], kind: Kind, ends: float | None) -> bool:
        """Wait until there is something at one of the keys; ``False`` if that was not so until ``ends``.

        Raises :class:`NodeStopped`.
        """
        loop = asyncio.get_running_loop()
        if any(self._size(key, kind) for key in keys):
            return True
        future: Waiting = loop.create_future()
        for key in keys:
            self._by_key.setdefault(key, {})[future] = kind
        is_woken = False
        try:
            async with asyncio.timeout_at(ends):
                await future
            is_woken = True
        except TimeoutError:
            pass
        finally:
            self._leave(future, keys)
            if not is_woken:
                self.wake(keys)  # who was woken, and has no use for it any more, passes it on
        return is_woken

    def _leave(self, future: Waiting, keys: Sequence[bytes]) -> None:
        for key in dict.fromkeys(keys):
            waiting = self._by_key.get(key, {})
            waiting.pop(future, None)
            if not waiting:
                self._by_key.pop(key, None)

    def _size(self, key: bytes, kind: Kind) -> int:
        item = self._keyspace().find(key)
        return len(item.value) if item is not None and isinstance(item.value, kind) else 0

    def wake(self, keys: Iterable[bytes]) -> None:
        """Something may be there now at these keys."""
        for key in keys:
            waiting = self._by_key.get(key)
            if not waiting:
                continue
            left = {kind: self._size(key, kind) for kind in (List, SortedSet)}
            for future, kind in waiting.items():
                if not any(left.values()):
                    break
                if left[kind] and not future.done():
                    left[kind] -= 1
                    future.set_result(None)

    def wake_all(self) -> None:
        """The keys are others."""
        self.wake(list(self._by_key))

    def end(self) -> None:
        """The node has stopped."""
        for future in [future for waiting in self._by_key.values() for future in waiting]:
            if not future.done():
                future.set_exception(NodeStopped("the node has stopped"))
