"""Requests of HTTP."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from quorate.metrics.families import counters, histograms
from quorate.rest.requests import Requests


def http(requests: Requests) -> Iterator[Metric]:
    """What was asked of this node."""
    yield counters(
        "http_requests_total",
        "Requests that were answered",
        ("face", "method", "status"),
        {(face, method, str(status)): count for (face, method, status), count in requests.counts.items()},
    )
    yield histograms(
        "http_request_duration_seconds",
        "From a whole request to the beginning of its answer",
        ("face", "kind"),
        sorted(requests.seconds.items()),
    )
