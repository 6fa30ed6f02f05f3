"""What a key can hold. Strings are plain ``bytes``; the other types know what they take in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from sortedcontainers import SortedList

OBJECT_BYTES = 33
"""What a ``bytes`` object takes beside its contents."""
SLOT_BYTES = 56
"""About what an element's place in a dict, a deque or a sorted list takes."""


class Hash:
    """Fields and their values, in the order in which the fields came."""

    name: ClassVar = "hash"
    __slots__ = ("bytes", "fields")

    def __init__(self, fields: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.bytes = 0
        for field, value in fields:
            self.put(field, value)

    def __len__(self) -> int:
        return len(self.fields)

    def put(self, field: bytes, value: bytes) -> bool:
        """Set a field; returns whether it is new."""
        old = self.fields.get(field)
        self.fields[field] = value
        if old is None:
            self.bytes += len(field) + len(value) + 2 * OBJECT_BYTES + SLOT_BYTES
            return True
        self.bytes += len(value) - len(old)
        return False

    def remove(self, field: bytes) -> bool:
        """Delete a field; returns whether it was there."""
        old = self.fields.pop(field, None)
        if old is None:
            return False
        self.bytes -= len(field) + len(old) + 2 * OBJECT_BYTES + SLOT_BYTES
        return True


class List:
    """Elements in an order; both ends are cheap, the middle is not."""

    name: ClassVar = "list"
    __slots__ = ("bytes", "elements")

    def __init__(self, elements: Iterable[bytes] = ()) -> None:
        self.elements: deque[bytes] = deque(elements)
        self.bytes = sum(map(_element_bytes, self.elements))

    def __len__(self) -> int:
        return len(self.elements)

    def push(self, element: bytes, *, left: bool) -> None:
        """Add at one end."""
        (self.elements.appendleft if left else self.elements.append)(element)
        self.bytes += _element_bytes(element)

    def pop(self, *, left: bool) -> bytes:
        """Take from one end. Raises :class:`IndexError` if there is none."""
        element = self.elements.popleft() if left else self.elements.pop()
        self.bytes -= _element_bytes(element)
        return element

    def set(self, index: int, element: bytes) -> None:
        """Have another element at an index that there is; negative ones count from the end."""
        self.bytes += len(element) - len(self.elements[index])
        self.elements[index] = element

    def insert(self, index: int, element: bytes) -> None:
        """Add before what is at ``index``."""
        self.elements.insert(index, element)
        self.bytes += _element_bytes(element)

    def replace(self, elements: Iterable[bytes]) -> None:
        """Hold these instead."""
        self.elements = deque(elements)
        self.bytes = sum(map(_element_bytes, self.elements))


class Set:
    """Members, each once; in the order in which they came, which is the same on every node."""

    name: ClassVar = "set"
    __slots__ = ("bytes", "members")

    def __init__(self, members: Iterable[bytes] = ()) -> None:
        self.members: dict[bytes, None] = {}
        self.bytes = 0
        for member in members:
            self.add(member)

    def __len__(self) -> int:
        return len(self.members)

    def add(self, member: bytes) -> bool:
        """Add a member; returns whether it is new."""
        if member in self.members:
            return False
        self.members[member] = None
        self.bytes += _element_bytes(member)
        return True

    def remove(self, member: bytes) -> bool:
        """Delete a member; returns whether it was there."""
        if member not in self.members:
            return False
        del self.members[member]
        self.bytes -= _element_bytes(member)
        return True


class SortedSet:
    """Members with scores, ordered by score and then by member."""

    name: ClassVar = "zset"
    __slots__ = ("bytes", "order", "scores")

    def __init__(self, scored: Iterable[tuple[bytes, float]] = ()) -> None:
        self.scores: dict[bytes, float] = dict(scored)
        self.order: SortedList[Any] = SortedList((score, member) for member, score in self.scores.items())
        self.bytes = sum(map(_scored_bytes, self.scores))

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[tuple[float, bytes]]:
        return iter(self.order)

    def put(self, member: bytes, score: float) -> bool:
        """Give a member a score; returns whether it is new."""
        old = self.scores.get(member)
        if old is not None:
            if old != score:
                self.order.remove((old, member))
                self.order.add((score, member))
                self.scores[member] = score
            return False
        self.scores[member] = score
        self.order.add((score, member))
        self.bytes += _scored_bytes(member)
        return True

    def remove(self, member: bytes) -> bool:
        """Delete a member; returns whether it was there."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        self.order.remove((score, member))
        self.bytes -= _scored_bytes(member)
        return True


def _element_bytes(element: bytes) -> int:
    return len(element) + OBJECT_BYTES + SLOT_BYTES


def _scored_bytes(member: bytes) -> int:
    return len(member) + OBJECT_BYTES + 2 * SLOT_BYTES + 24


Value = bytes | Hash | List | Set | SortedSet
"""What a key holds."""


def type_name(value: Value) -> str:
    """The answer of ``TYPE``."""
    return "string" if isinstance(value, bytes) else value.name


def size_of(value: Value) -> int:
    """About how many bytes of memory a value takes."""
    return len(value) + OBJECT_BYTES if isinstance(value, bytes) else value.bytes + 200


def copy_of(value: Value) -> Value:
    """A value that changes independently of this one."""
    match value:
        case Hash():
            return Hash(value.fields.items())
        case List():
            return List(value.elements)
        case Set():
            return Set(value.members)
        case SortedSet():
            return SortedSet(value.scores.items())
        case _:
            return value
