"""What applying a command copies: a string is changed by making another, however little of it changes.

So a short request may cost as much as the longest string. These are estimates from what this node holds now: they
decide what travels together and what has to wait, never what is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from quorate.kv.registry import ONE_KEY, Arguments, Keys, Weigh

if TYPE_CHECKING:
    from quorate.kv.keyspace import Keyspace


def string_bytes(db: Keyspace, keys: Iterable[bytes]) -> int:
    """How long the strings at these keys are together; one that is named twice counts twice."""
    items = map(db.find, keys)
    return sum([len(item.value) for item in items if item is not None and type(item.value) is bytes])


def copying(keys: Keys = ONE_KEY, end: Callable[[Arguments], int] = lambda arguments: 0) -> Weigh:
    """For a command that copies what is at its ``keys``, and fills up with zeros to the ``end`` that it names.

    Never nothing: what is not there yet may be by then.
    """
    return lambda db, arguments: 1 + string_bytes(db, keys.of(arguments)) + end(arguments)
