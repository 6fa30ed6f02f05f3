"""Whether all nodes hold the same once a load has ended."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from quorate.ops.bench.load import LoadFailed
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import LocalNode
from quorate.rest.http_client import HttpClient, Response

DIGEST_ROWS_MAX = 100_000
"""Up to so many objects or keys, all that the nodes hold is compared at the end; beyond, their numbers."""
ANSWER_SECONDS_MAX = 60.0
LOOKS = 3
"""Nodes are looked at one after the other, and something may fall due meanwhile: only what lasts is a difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What one node has."""

    objects: int
    digest: str | None = None
    """The SHA-256 of all of it, or of what is said beside it; ``None`` if that is too much to ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """One cluster at the end of its loads, when all nodes had applied everything."""

    place: str
    objects: int
    """On every node."""
    digest: str | None
    """See :attr:`Held.digest`; the same from every node."""

    def in_words(self, things: str = "objects") -> str:
        """A sentence."""
        same = f"the same by their SHA-256 ({self.digest[:12]})" if self.digest else "the same number"
        return f"At the end, {self.place}: {self.objects:,} {things}, {same} on every node."


async def check_convergence(
    cluster: LocalCluster, place: str, look: Callable[[LocalNode], Awaitable[Held]], *, least: int, most: int
) -> Convergence:
    """Wait until every node has applied everything, and ``look`` at each.

    Raises :class:`LoadFailed` if they do not hold the same, or not from ``least`` to ``most`` objects.
    """
    try:
        await cluster.wait_caught_up()
    except TimeoutError:
        raise LoadFailed("a node did not catch up after the load") from None
    for _ in range(LOOKS):
        held = [await look(node) for node in cluster.nodes.values()]
        if len(set(held)) == 1:
            break
    else:
        raise LoadFailed(f"the nodes do not hold the same: {_told(cluster, held)}")
    objects = held[0].objects
    if not least <= objects <= most:
        should = f"{least}" if least == most else f"{least} to {most}"
        raise LoadFailed(f"every node holds {objects} objects, and should hold {should}")
    return Convergence(place=place, objects=objects, digest=held[0].digest)


def _told(cluster: LocalCluster, held: Sequence[Held]) -> str:
    return ", ".join(
        f"node {node_id} has {each.objects} (SHA-256 {(each.digest or 'not asked for')[:12]})"
        for node_id, each in zip(cluster.nodes, held, strict=True)
    )


async def fetch(http: HttpClient, url: str) -> Response:
    """The answer of this node's own state. Raises :class:`LoadFailed` if it is not 200."""
    response = await http.request("GET", url, timeout=ANSWER_SECONDS_MAX)
    if response.status != 200:
        raise LoadFailed(f"{url} was answered with {response.status}: {response.text[:200]}")
    return response


async def objects_of(http: HttpClient, url: str, paths: Sequence[str]) -> Held:
    """The objects that a node has at ``paths``."""
    counts = [(await fetch(http, f"{url}{path}/count?consistency=eventually")).json()["count"] for path in paths]
    objects = sum(map(int, counts))
    if objects > DIGEST_ROWS_MAX:
        return Held(objects=objects)
    digest = hashlib.sha256()
    for path in paths:
        digest.update((await fetch(http, f"{url}{path}?limit=all&consistency=eventually")).body)
    return Held(objects=objects, digest=digest.hexdigest())
