"""What every node holds when nothing goes on any more."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from quorate.ops.calls.record import OK, Call, Key, Thing, Verb
from quorate.ops.nemesis.app import LISTS, list_resource
from quorate.ops.nemesis.cluster import NemesisCluster
from quorate.ops.rows import Rows, read_rows
from quorate.rest.http_client import HttpClient

READ_SECONDS = 5.0
READBACK_CLIENT = 2000


@dataclass(slots=True)
class Readback:
    """The rows of each resource, as the nodes had them."""

    digest: str = ""
    """Of all rows of the first node."""
    rows: int = 0
    differences: list[str] = field(default_factory=list)
    lists: dict[str, list[int]] = field(default_factory=dict)
    registers: dict[str, int] = field(default_factory=dict)
    claims: set[str] = field(default_factory=set)
    began: float = 0.0
    ended: float = 0.0

    def calls(self, made: Iterable[Call]) -> Iterator[Call]:
        """It as one more read of everything that ``made`` is about. Equal on all nodes, so one stands for them."""
        keys: dict[Key, None] = dict.fromkeys(call.key for call in made)
        for at, key in enumerate(keys):
            verb, answer = self._answer(key)
            yield Call(
                client=READBACK_CLIENT + at, key=key, verb=verb, answer=answer, invoked=self.began, returned=self.ended,
                outcome=OK,
            )  # fmt: skip

    def _answer(self, key: Key) -> tuple[Verb, Any]:
        kind, name = key
        if kind == Thing.REGISTER:
            return Verb.READ, self.registers.get(name)
        if kind == Thing.CLAIM:
            return Verb.CONTAINS, name in self.claims
        return Verb.READ, tuple(self.lists.get(name, ()))


async def read_back(cluster: NemesisCluster, rounds: Sequence[int] | range) -> Readback:
    """Read all that rounds used from every node, strongly, and compare.

    Raises :class:`~quorate.errors.QuorateError` if a node does not answer, though nothing is wrong any more.
    """
    found = Readback(began=time.monotonic())
    lists = [list_resource(number) for number in rounds if number < LISTS]
    first: dict[str, Rows] = {}
    async with HttpClient(timeout=READ_SECONDS) as http:
        for node in cluster.nodes.values():
            for resource in ("registers", "claims", *lists):
                rows = await read_rows(http, f"{node.url}/api/{resource}")
                if rows != first.setdefault(resource, rows):
                    found.differences.append(_difference(resource, node.node_id, first[resource], rows))
    found.ended = time.monotonic()
    found.digest = hashlib.sha256(json.dumps(first, sort_keys=True).encode()).hexdigest()[:16]
    found.rows = sum(map(len, first.values()))
    found.lists = {name: [row["value"] for row in first[name]] for name in lists}
    found.registers = {row["key"]: row["value"] for row in first["registers"]}
    found.claims = {row["name"] for row in first["claims"]}
    return found


def _difference(resource: str, node_id: int, expected: Rows, rows: Rows) -> str:
    only_first = [row for row in expected if row not in rows][:3]
    only_here = [row for row in rows if row not in expected][:3]
    return (
        f"node {node_id} has other rows in {resource} than node 1: {len(rows)}, not {len(expected)}; "
        f"only node 1 has {only_first}, only node {node_id} has {only_here}"
    )
