"""Workloads that belong together, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum

from quorate.machine.queries import STREAMS_MAX
from quorate.ops.bench.operations import Kind
from quorate.ops.bench.workload import Place, Workload
from quorate.storage.settings import StorageProfile

SCALES = (1, 4, 16, 64, 256)
BULK_SIZES = (10, 100, 500, 1000)
SUITE_PRESEED = 5000
"""Objects that are there beforehand in suites of reads, unless it is said how many."""


class Suite(StrEnum):
    """What can be measured by one word."""

    DURABILITY_PROFILES = "durability_profiles"
    CONCURRENCY_SCALING = "concurrency_scaling"
    HEAVY_VS_LIGHT_READS = "heavy_vs_light_reads"
    BULK_VS_SINGLE = "bulk_vs_single"


def suite(name: Suite, place: Place, connections: int, bulk_rows: int) -> list[Workload]:
    """Its workloads; what a suite is about takes the place of what was given for it."""
    return _SUITES[name](place, connections, bulk_rows)


def _durability_profiles(place: Place, connections: int, bulk_rows: int) -> list[Workload]:
    """Each storage profile on a cluster of its own: creates one by one, and many at a time."""
    workloads = []
    for profile in StorageProfile:
        at = replace(place, profile=profile)
        workloads += [_creates(f"create, {profile.value}", at, connections),
                      _bulk(f"bulk create of {bulk_rows}, {profile.value}", at, bulk_rows)]  # fmt: skip
    return workloads


def _concurrency_scaling(place: Place, connections: int, bulk_rows: int) -> list[Workload]:
    """Creates and reads by more and more clients, up to ``connections`` or 256."""
    scales = [scale for scale in SCALES if scale <= max(connections, SCALES[-1])]
    creates = [_creates("create", place, scale) for scale in scales]
    return [*creates, *(_reads("read one, strong", Kind.READ, place, scale) for scale in scales)]


def _heavy_vs_light_reads(place: Place, connections: int, bulk_rows: int) -> list[Workload]:
    """The whole list, by as many clients as nodes let, against what says about as much without it."""
    at = _seeded(place)
    heavy = _reads("list all", Kind.LIST, at, min(connections, STREAMS_MAX * place.nodes))
    return [heavy, *(_reads(kind.value, kind, at, connections) for kind in (Kind.PAGE, Kind.COUNT, Kind.STATUS))]


def _bulk_vs_single(place: Place, connections: int, bulk_rows: int) -> list[Workload]:
    """The same objects one by one, and in requests of more and more of them."""
    sizes = sorted({*BULK_SIZES, bulk_rows})
    return [_creates("create", place, connections), *(_bulk(f"bulk create of {size}", place, size) for size in sizes)]


_SUITES: dict[Suite, Callable[[Place, int, int], list[Workload]]] = {
    Suite.DURABILITY_PROFILES: _durability_profiles,
    Suite.CONCURRENCY_SCALING: _concurrency_scaling,
    Suite.HEAVY_VS_LIGHT_READS: _heavy_vs_light_reads,
    Suite.BULK_VS_SINGLE: _bulk_vs_single,
}


def reads(place: Place, connections: int, rate: float | None) -> list[Workload]:
    """Every way of reading objects, from all nodes; strong ones at the leader, too."""
    at = _seeded(place)
    kinds = (Kind.READ, Kind.READ_EVENTUALLY, Kind.COUNT, Kind.RANDOM_ID, Kind.PAGE)
    everywhere = [_reads(f"{kind.value}, all nodes", kind, at, connections, rate) for kind in kinds]
    leader = [
        replace(_reads(f"{kind.value}, the leader", kind, at, connections, rate), everywhere=False)
        for kind in (Kind.READ, Kind.COUNT)
    ]
    return [*leader, *everywhere]


def stateless(place: Place, connections: Sequence[int], rate: float | None) -> list[Workload]:
    """What monitors and load balancers ask for, at one node."""
    return [
        replace(_reads(f"{kind.value}, one node", kind, place, many, rate), everywhere=False)
        for kind in (Kind.STATUS, Kind.COUNT, Kind.HEALTH)
        for many in connections
    ]


def _seeded(place: Place) -> Place:
    return place if place.preseed else replace(place, preseed=SUITE_PRESEED)


def _creates(name: str, place: Place, connections: int) -> Workload:
    return Workload(name=name, weights={Kind.CREATE: 1}, connections=connections, place=place)


def _bulk(name: str, place: Place, rows: int) -> Workload:
    return Workload(name=name, weights={Kind.BULK: 1}, connections=8, bulk_rows=rows, place=place)


def _reads(name: str, kind: Kind, place: Place, connections: int, rate: float | None = None) -> Workload:
    return Workload(name=name, weights={kind: 1}, connections=connections, rate=rate, place=place)
