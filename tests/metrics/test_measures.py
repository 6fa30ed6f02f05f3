"""Histograms: what falls where, and what can be said of it afterwards."""

from __future__ import annotations

import pytest

from quorate.measures import Histogram


def test_a_value_on_a_bound_counts_below_it_and_one_beyond_all_in_the_last_place() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 99.0):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.sum == 104.0
    assert histogram.count == 5


def test_quantiles_are_interpolated_between_two_bounds() -> None:
    histogram = Histogram((0.1, 0.2, 0.4))
    for _ in range(8):
        histogram.observe(0.15)
    for _ in range(2):
        histogram.observe(0.3)
    assert histogram.quantile(0.5) == pytest.approx(0.1625)
    assert histogram.quantile(0.9) == pytest.approx(0.3)
    assert histogram.quantile(1.0) == pytest.approx(0.4)


def test_quantiles_beyond_the_last_bound_are_that_bound_and_of_nothing_there_are_none() -> None:
    histogram = Histogram((1.0,))
    assert histogram.quantile(0.5) is None
    histogram.observe(7.0)
    assert histogram.quantile(0.5) == 1.0


def test_quantiles_can_be_had_of_what_came_since() -> None:
    histogram = Histogram((1.0, 2.0))
    for _ in range(100):
        histogram.observe(0.5)
    before = list(histogram.counts)
    assert histogram.quantile(0.5, since=before) is None
    histogram.observe(1.5)
    assert histogram.quantile(0.5, since=before) == pytest.approx(1.5)
