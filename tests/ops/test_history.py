"""How long clients were without an acknowledgement."""

from __future__ import annotations

import pytest

from quorate.ops.history import History


@pytest.mark.parametrize(
    ("times", "start", "end", "longest"),
    [
        ([0, 1, 2, 3], 0, 3, 1),
        ([0, 1, 5, 6], 1.5, 6, 4),
        ([0, 1, 5, 6], 1.0, 6, 4),
        ([0, 4, 5, 6], 4.5, 6, 1),
        ([0, 1], 1, 4, 3),
        ([], 1, 4, 3),
        ([0, 9], 3, 4, 9),
        ([6, 0, 5, 1], 1.5, 6, 4),
    ],
    ids=["steady", "gap after the start", "gap from the start", "gap before", "silent since", "none", "around", "any"],
)
def test_the_longest_silence_that_overlaps_a_span(times: list[float], start: float, end: float, longest: float) -> None:
    history = History()
    for at in times:
        history.acknowledge(at, {})
    assert history.longest_silence(start, end) == longest
