"""Which daemon an operation is placed with."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from quorate.tasks.daemon.operations import Operation, Placement, Scope, version_capability
from quorate.tasks.records import WorkerRecord

LEADER = "leader"
"""The capability of the node that leads."""
_PLACED = "placed:"
_NODE = "node:"


def node_capability(node_id: int) -> str:
    """What only daemons of that node offer; operations that need it wait for them."""
    return f"{_NODE}{node_id}"


def placed_capability(node_id: int) -> str:
    """The same, for operations that can be had by others once those daemons are gone."""
    return f"{_PLACED}{node_id}"


def placed_with(capability: str) -> int | None:
    """The node of a :func:`placed_capability`; ``None`` for any other."""
    number = capability.removeprefix(_PLACED)
    return int(number) if number != capability and number.isdigit() else None


def node_of(worker: WorkerRecord) -> int | None:
    """The node of a daemon; ``None`` for a worker that is none."""
    for capability in worker.capabilities:
        number = capability.removeprefix(_NODE)
        if number != capability and number.isdigit():
            return int(number)
    return None


def own_capabilities(worker: WorkerRecord) -> tuple[str, ...]:
    """What a daemon offers, without what stands for its place and its handlers' versions."""
    inner = (_NODE, _PLACED)
    versions = {version_capability(name, 0)[:-1] for name in worker.types or ()}
    return tuple(
        capability
        for capability in worker.capabilities
        if not capability.startswith(inner) and not any(capability.startswith(start) for start in versions)
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node whose daemons can carry an operation out. ``load`` is what they have to do, for what they can."""

    node_id: int
    load: float


def candidates(
    operation: Operation,
    queue: str,
    workers: Sequence[WorkerRecord],
    healthy: Collection[int],
    pending: Mapping[str, int],
    begun: Mapping[str, int],
) -> list[Candidate]:
    """The nodes to choose from, by id.

    What ``workers`` says of how much they do may be a moment old; ``pending`` and ``begun``, how many operations need
    which capability, are not.
    """
    wanted = set(operation.capabilities)
    if operation.schema_version > 1:
        wanted.add(version_capability(operation.type, operation.schema_version))
    running: dict[int, int] = {}
    concurrency: dict[int, int] = {}
    for worker in workers:
        node_id = node_of(worker)
        fits = (
            (worker.queues is None or queue in worker.queues)
            and (worker.types is None or operation.type in worker.types)
            and wanted.issubset(worker.capabilities)
        )
        if node_id is not None and node_id in healthy and fits:
            running[node_id] = running.get(node_id, 0) + worker.running
            concurrency[node_id] = concurrency.get(node_id, 0) + max(worker.concurrency, 1)
    found = []
    for node_id in sorted(running):
        place = placed_capability(node_id)
        load = max(running[node_id], begun.get(place, 0)) + pending.get(place, 0)
        found.append(Candidate(node_id, load / concurrency[node_id]))
    return found


class Placer:
    """Chooses."""

    def __init__(self) -> None:
        self._turns = count()

    def place(self, operation: Operation, own: int, among: Sequence[Candidate]) -> str | None:
        """The capability that stands for an operation's place; ``None`` where anyone may do it."""
        if operation.scope is Scope.LOCAL:
            return node_capability(own)
        if operation.scope is Scope.LEADER:
            return LEADER
        chosen = self._chosen(operation, among)
        return None if chosen is None else placed_capability(chosen)

    def _chosen(self, operation: Operation, among: Sequence[Candidate]) -> int | None:
        if not among:
            return None
        match operation.placement:
            case Placement.FIRST_FREE:
                return None
            case Placement.ROUND_ROBIN:
                return among[next(self._turns) % len(among)].node_id
            case Placement.LEAST_LOADED:
                return min(among, key=lambda candidate: (candidate.load, candidate.node_id)).node_id
            case Placement.HASH:
                key = operation.id if operation.key is None else operation.key
                return max(among, key=lambda candidate: _weight(key, candidate.node_id)).node_id


def _weight(key: str, node_id: int) -> bytes:
    """Rendezvous hashing: when a node goes, only the keys that were its own move."""
    return hashlib.blake2b(f"{node_id}:{key}".encode(), digest_size=8).digest()
