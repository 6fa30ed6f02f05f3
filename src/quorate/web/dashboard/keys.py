"""Looking at keys, a page at a time: for people, so what is long is shortened, and bytes that are no text are shown.

The answers are this node's own state, however old. Where clients of the Redis protocol need a password, these pages
need the admin right.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from quorate.kv.arguments import PATTERN_BYTES_MAX, glob
from quorate.kv.keyspace import Item, Keyspace
from quorate.kv.machine import MACHINE, KvMachine
from quorate.kv.slots import SLOTS
from quorate.kv.values import Hash, Lease, List, Lock, Set, SortedSet, Value, type_name
from quorate.node.node import Node
from quorate.rest.http import RequestError
from quorate.rest.params import invalid, known_parameters, number

LIMIT_DEFAULT, LIMIT_MAX = 50, 200
LOOKED_AT_MAX = 5_000
"""So many keys are compared with the pattern for one page; a page with few keys, or none, may have a next one."""
ELEMENTS_MAX = 100
CHARACTERS_MAX = 2_000
KEY_BYTES_MAX = 8_192

Json = dict[str, Any]


class KeyPages:
    """Of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def page(self, query: bytes) -> Json:
        """``GET /dashboard/keys``: some keys like ``match`` behind ``after``, in the order of ``SCAN``."""
        values = known_parameters(query, ("match", "after", "limit"))
        pattern = values.get("match", "*").encode()
        if len(pattern) > PATTERN_BYTES_MAX:
            raise invalid("match", "length", f"Query parameter should have at most {PATTERN_BYTES_MAX} bytes")
        limit = number(values, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX)
        after = number(values, "after", 0, 0, SLOTS)
        keyspace = await self._keyspace()
        found: list[Json] = []
        like, looked_at, cursor = glob(pattern), 0, after
        while len(found) < limit and looked_at < LOOKED_AT_MAX:
            cursor, keys = keyspace.items.scan(cursor, limit - len(found))
            looked_at += len(keys)
            items = ((key, keyspace.find(key)) for key in keys if like(key))
            found += [_entry(key, item, keyspace) for key, item in items if item is not None]
            if not cursor:
                break
        return {"keys": found, "next": cursor or None, "count": len(keyspace), "memory_bytes": keyspace.memory_bytes}

    async def key(self, query: bytes) -> Json:
        """``GET /dashboard/keys/one?id=…``: one with the beginning of its value. ``id`` is that of a page."""
        values = known_parameters(query, ("id",))
        key = _key_of(values.get("id", ""))
        keyspace = await self._keyspace()
        item = keyspace.find(key)
        if item is None:
            raise RequestError(404, "there is no such key, or its time is over")
        return {**_entry(key, item, keyspace), **_contents(item.value)}

    async def _keyspace(self) -> Keyspace:
        machine: KvMachine = await self._node.read(lambda each: each, machine=MACHINE, consistency="eventually")
        return machine.readable


def shown(value: bytes) -> str:
    """Text as it is, other bytes as in ``\\xff``; shortened."""
    text = value[: 4 * CHARACTERS_MAX].decode(errors="backslashreplace")
    if not text.isprintable():
        text = "".join(each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text)
    return text if len(text) <= CHARACTERS_MAX and len(value) <= 4 * CHARACTERS_MAX else f"{text[:CHARACTERS_MAX]}…"


def _entry(key: bytes, item: Item, keyspace: Keyspace) -> Json:
    left = max(0, item.expires_us - keyspace.now_us) / 1_000_000 if item.expires_us else None
    return {
        "id": urlsafe_b64encode(key).decode(),
        "key": shown(key),
        "type": type_name(item.value),
        "size": len(item.value),
        "bytes": item.size,
        "revision": item.revision,
        "ttl_seconds": left,
    }


def _key_of(text: str) -> bytes:
    if len(text) <= 2 * KEY_BYTES_MAX:
        try:
            return b64decode(text, b"-_", validate=True)
        except ValueError:
            pass
    raise invalid("id", "value", "Query parameter should be the id of a key of a page")


def _contents(value: Value) -> Json:
    """``columns`` name what the ``rows`` have; ``more`` is how many are not shown."""
    match value:
        case Hash():
            return _table(("field", "value"), value.fields.items(), len(value))
        case List():
            numbered = ((b"%d" % index, element) for index, element in enumerate(value.elements))
            return _table(("index", "element"), numbered, len(value))
        case Set():
            return _table(("member",), ((member,) for member in value.members), len(value))
        case SortedSet():
            return _table(("score", "member"), ((b"%r" % score, member) for score, member in value), len(value))
        case Lease():
            return _table(("key", "revision"), ((key, b"%d" % at) for key, at in value.keys.items()), len(value.keys))
        case Lock():
            return _table(("owner", "token"), [(value.owner, b"%d" % value.token)], 1)
        case _:
            return _table(("value",), [(value,)], 1)


def _table(columns: Sequence[str], rows: Iterable[Sequence[bytes]], count: int) -> Json:
    first = [[shown(cell) for cell in row] for row in islice(rows, ELEMENTS_MAX)]
    return {"columns": columns, "rows": first, "more": count - len(first)}
