"""A cluster of real processes under every fault that this machine allows: for minutes, and so not in ``make test``.

NEMESIS_SECONDS and NEMESIS_SEED choose how long and which faults; the seed of a run is the first thing that it prints.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SECONDS = int(os.environ.get("NEMESIS_SECONDS") or 600)
SEED = os.environ.get("NEMESIS_SEED")


@pytest.mark.long
@pytest.mark.timeout(2 * SECONDS + 900)
def test_every_promise_is_kept_under_faults() -> None:
    chosen = [f"--seed={SEED}"] if SEED else []
    done = subprocess.run(
        (sys.executable, "-m", "quorate", "nemesis", f"--seconds={SECONDS}", *chosen),
        env={name: value for name, value in os.environ.items() if not name.startswith("QUORATE_")},
        check=False,
    )
    assert done.returncode == 0, "see above for what was found, and where the histories are"
