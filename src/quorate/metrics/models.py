"""Objects of declared models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import Metric

from quorate.metrics.families import counter, counters, gauges
from quorate.models.machine import ModelsMachine

MODEL = ("model",)


def models(machine: ModelsMachine, created: Callable[[], Mapping[str, int]]) -> Iterator[Metric]:
    """``created``: by requests to this node, by the names of models."""
    tables = machine.tables
    yield gauges("objects", "Objects that there are", MODEL, {(name,): table.count for name, table in tables.items()})
    yield counters(
        "objects_created_total",
        "Objects that requests to this node created; of those before its start, as many as its event log tells of",
        MODEL,
        {(name,): count for name, count in created().items()},
    )
    yield counter("object_changes_total", "Changes of objects in the whole cluster, ever", machine.events.last)
