"""What a key can hold. Strings are plain ``bytes``; the other types know what they take in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from sortedcontainers import SortedList

OBJECT_BYTES = 40
"""About what a ``bytes`` object takes beside its contents. These numbers are measured (CPython 3.11, 64 bits)."""
SLOT_BYTES = 37
"""About what an element's place in a dict takes, its free places included."""
LINK_BYTES = 8
"""What an element's place in a deque or a sorted list takes."""
SCORE_BYTES = 24 + 72
"""What a sorted set's score takes, and the pair of it and its member."""


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
        self.bytes = sum(map(_linked_bytes, self.elements))

    def __len__(self) -> int:
        return len(self.elements)

    def push(self, element: bytes, *, left: bool) -> None:
        """Add at one end."""
        (self.elements.appendleft if left else self.elements.append)(element)
        self.bytes += _linked_bytes(element)

    def pop(self, *, left: bool) -> bytes:
        """Take from one end. Raises :class:`IndexError` if there is none."""
        element = self.elements.popleft() if left else self.elements.pop()
        self.bytes -= _linked_bytes(element)
        return element

    def set(self, index: int, element: bytes) -> None:
        """Have another element at an index that there is; negative ones count from the end."""
        self.bytes += len(element) - len(self.elements[index])
        self.elements[index] = element

    def insert(self, index: int, element: bytes) -> None:
        """Add before what is at ``index``."""
        self.elements.insert(index, element)
        self.bytes += _linked_bytes(element)

    def replace(self, elements: Iterable[bytes]) -> None:
        """Hold these instead."""
        self.elements = deque(elements)
        self.bytes = sum(map(_linked_bytes, self.elements))


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


class Lease:
    """For how long it lives from each renewal on, and the keys that end with it.

    A key belongs to it as long as its revision is the one that stands beside it here: who writes the key without
    naming the lease takes it out.
    """

    name: ClassVar = "lease"
    __slots__ = ("bytes", "keys", "ttl_us")

    def __init__(self, ttl_us: int, keys: Iterable[tuple[bytes, int]] = ()) -> None:
        self.ttl_us = ttl_us
        self.keys: dict[bytes, int] = {}
        self.bytes = 0
        for key, revision in keys:
            self.attach(key, revision)

    def __len__(self) -> int:
        return 1 + len(self.keys)  # a lease without keys is not nothing

    def attach(self, key: bytes, revision: int) -> None:
        """Have a key belong to it as it is at this revision."""
        if key not in self.keys:
            self.bytes += _element_bytes(key)
        self.keys[key] = revision

    def detach(self, key: bytes) -> None:
        """Forget a key that it names."""
        del self.keys[key]
        self.bytes -= _element_bytes(key)


class Lock:
    """Who holds a lock, and the token by which others tell this holder from those before. Neither ever changes."""

    name: ClassVar = "lock"
    __slots__ = ("bytes", "owner", "token")

    def __init__(self, owner: bytes, token: int) -> None:
        self.owner = owner
        self.token = token
        self.bytes = _element_bytes(owner)

    def __len__(self) -> int:
        return 1


def _element_bytes(element: bytes) -> int:
    return len(element) + OBJECT_BYTES + SLOT_BYTES


def _linked_bytes(element: bytes) -> int:
    return len(element) + OBJECT_BYTES + LINK_BYTES


def _scored_bytes(member: bytes) -> int:
    return len(member) + OBJECT_BYTES + SLOT_BYTES + LINK_BYTES + SCORE_BYTES


Data = bytes | Hash | List | Set | SortedSet
"""What can be made of nothing by putting something into it."""
Value = Data | Lease | Lock
"""What a key holds."""
CLAIMS = frozenset({Lease, Lock})
"""Values that are no data, but say who may do what until when: only commands of their own change them."""


def type_name(value: Value) -> str:
    """The answer of ``TYPE``."""
    return "string" if isinstance(value, bytes) else value.name


def size_of(value: Value) -> int:
    """About how many bytes of memory a value takes."""
    return len(value) + OBJECT_BYTES if isinstance(value, bytes) else value.bytes + EMPTY_BYTES[type(value)]


EMPTY_BYTES: dict[type, int] = {Hash: 200, List: 820, Set: 200, SortedSet: 620, Lease: 232, Lock: 96}
"""About what a value takes before there are elements in it."""


Container = dict[bytes, Any] | deque[Any] | SortedList[Any]


def containers_of(value: Value) -> list[Container]:
    """Where the elements of a value are."""
    match value:
        case Hash():
            return [value.fields]
        case List():
            return [value.elements]
        case Set():
            return [value.members]
        case SortedSet():
            return [value.scores, value.order]
        case Lease():
            return [value.keys]
        case _:
            return []


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
        case Lease():
            return Lease(value.ttl_us, value.keys.items())
        case _:
            return value
