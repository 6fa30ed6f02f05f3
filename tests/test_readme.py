"""The README's programs are run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from quorate.app import load_app

README = Path(__file__).parents[1] / "README.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_the_service_declares_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "readme_shop.py").write_text(PROGRAMS[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert list(load_app("readme_shop:app").resources) == ["categories", "products"]


def test_the_embedded_program_survives_the_loss_of_a_node() -> None:
    program = PROGRAMS[1]
    assert len(program.splitlines()) <= 25
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=110, check=False
    )
    assert run.returncode == 0, run.stderr
    first, second = run.stdout.splitlines()
    assert re.fullmatch(r"Applied\(index=\d+, term=\d+, result=41\)", first)  # votes may be split at first
    assert second.endswith("result=42)")
