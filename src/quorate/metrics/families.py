"""How a number of ours becomes a family of Prometheus' samples.

Names are ours below :data:`PREFIX`, in base units; counters end in ``_total``. A family is there even while nothing is
known for it, without samples then: so what a node may say can be seen of any node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from quorate.measures import Histogram

PREFIX = "quorate_"

Labels = tuple[str, ...]
L = TypeVar("L", bound=Labels)


def gauge(name: str, meaning: str, value: float | None) -> Metric:
    """One that goes up and down; ``None``: not known."""
    return GaugeMetricFamily(PREFIX + name, meaning, value=value)


def gauges(name: str, meaning: str, labels: Labels, values: Mapping[L, float | None] | Mapping[L, float]) -> Metric:
    """The same for each tuple of labels' values."""
    family = GaugeMetricFamily(PREFIX + name, meaning, labels=labels)
    for key, value in values.items():
        if value is not None:
            family.add_metric(key, value)
    return family


def counter(name: str, meaning: str, value: float) -> Metric:
    """One that only goes up, from 0 at the node's start. ``name`` ends in ``_total``."""
    return CounterMetricFamily(PREFIX + name, meaning, value=value)


def counters(name: str, meaning: str, labels: Labels, values: Mapping[L, float]) -> Metric:
    """The same for each tuple of labels' values."""
    family = CounterMetricFamily(PREFIX + name, meaning, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def histogram(name: str, meaning: str, measured: Histogram) -> Metric:
    """A distribution."""
    return histograms(name, meaning, (), [((), measured)])


def histograms(name: str, meaning: str, labels: Labels, measured: Iterable[tuple[Labels, Histogram]]) -> Metric:
    """One for each tuple of labels' values."""
    family = HistogramMetricFamily(PREFIX + name, meaning, labels=labels)
    for key, each in measured:
        family.add_metric(key, _buckets(each), each.sum)
    return family


def _buckets(measured: Histogram) -> list[tuple[str, float]]:
    """Upper bounds, and how many values were at most that; the last bound is infinite."""
    buckets: list[tuple[str, float]] = []
    below = 0
    for bound, count in zip((*measured.bounds, inf), measured.counts, strict=True):
        below += count
        buckets.append(("+Inf" if bound == inf else str(float(bound)), below))
    return buckets
