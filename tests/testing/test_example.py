"""The embedded program runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "counter.py"


def test_the_counter_survives_its_leader() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE)], capture_output=True, text=True, timeout=110, check=True
    )
    first, second = run.stdout.splitlines()
    assert re.fullmatch(r"Applied\(index=\d+, term=\d+, result=41\)", first)  # votes may be split at first
    assert second.endswith("result=42)")
    assert run.stderr == ""


def test_it_has_at_most_25_lines_of_code() -> None:
    assert sum(bool(line.strip()) for line in EXAMPLE.read_text().splitlines()) <= 25
