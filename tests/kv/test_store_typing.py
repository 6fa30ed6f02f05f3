"""The store's methods have the types that they say they have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_arguments_and_answers_are_typed() -> None:
    mypy = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "-m", "tests.kv.typed_store"]
    run = subprocess.run(mypy, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
