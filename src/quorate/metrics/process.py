"""The process, beside what Prometheus' own client says of it (``process_…``: CPU, memory, open files, start)."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from quorate.metrics.families import histogram
from quorate.node.node import Node


def process(node: Node) -> Iterator[Metric]:
    """The event loop."""
    yield histogram(
        "event_loop_delay_seconds",
        "How late the event loop came to a timer that is due a hundred times a second",
        node.figures.loop_delay_seconds,
    )
