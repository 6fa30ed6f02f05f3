"""What nobody needs any more and is large, freed bit by bit.

To let go of a million keys, or of a list of as many elements, would hold up everything for some 100 ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from quorate.kv.slots import Slots
from quorate.kv.values import Container, Value, containers_of

if TYPE_CHECKING:
    from quorate.kv.keyspace import Item

LARGE = 1000
"""What has fewer elements is freed at once."""
ELEMENTS_AT_ONCE = 300


class Discarded:
    """Things to be taken apart. Its length is the number of elements in those that wait."""

    def __init__(self) -> None:
        self._things: list[Container | Slots[Item] | Slots[None]] = []

    def __len__(self) -> int:
        return sum(map(len, self._things))

    def add_table(self, table: Slots[Item] | Slots[None]) -> None:
        """Keys, with all that is at them, if anything."""
        self._things.append(table)

    def add(self, container: Container) -> None:
        """Elements of any kind."""
        if len(container) > LARGE:
            self._things.append(container)

    def add_value(self, value: Value) -> None:
        """What was at a key."""
        for container in containers_of(value):
            self.add(container)

    def free(self) -> Iterator[None]:
        """Free everything, in steps of some tens of microseconds."""
        while self._things:
            thing = self._things.pop()
            if isinstance(thing, Slots):
                freed = 0
                for slot in thing.take_apart():
                    for item in slot.values():
                        if item is not None and type(item.value) is not bytes:
                            self.add_value(item.value)
                    del item
                    if (freed := freed + len(slot)) >= ELEMENTS_AT_ONCE:
                        freed = 0
                        yield
            else:
                yield from _emptied(thing)


def _emptied(container: Container) -> Iterator[None]:
    pop = container.popitem if isinstance(container, dict) else container.pop
    while container:
        for _ in range(min(ELEMENTS_AT_ONCE, len(container))):
            pop()
        yield
