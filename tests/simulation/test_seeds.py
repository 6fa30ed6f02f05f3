"""A hundred seeds, in chunks that are spread over the processors. A failure names its seed."""

from __future__ import annotations

import pytest

from quorate.testing.simulation import Summary, run_seed

CHUNKS, SEEDS_PER_CHUNK = 20, 5


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_violated(chunk: int) -> None:
    for seed in range(chunk * SEEDS_PER_CHUNK, (chunk + 1) * SEEDS_PER_CHUNK):
        report = run_seed(seed)
        assert report.failure is None, f"quorate simulate --seed {seed} --trace: {report.failure}"


def test_a_batch_says_what_never_happened() -> None:
    summary = Summary()
    summary.add(run_seed(0))
    assert summary.never_fired == []  # one seed cannot do everything
    summary.passed = 1000
    assert "bit flip" in summary.never_fired
    assert not summary.good
