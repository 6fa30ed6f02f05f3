"""Editors and checkers know what models give: :mod:`tests.typing.objects` has the types that it says it has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy() -> None:
    run("mypy", "--config-file", "pyproject.toml", "-m", "tests.typing.objects")


def test_basedpyright(tmp_path: Path) -> None:
    settings = {
        "include": [str(ROOT / "tests" / "typing" / "objects.py"), str(ROOT / "examples" / "fastapi_shop.py")],
        "extraPaths": [str(ROOT / "src")],
        "typeCheckingMode": "standard",
        "reportUnnecessaryTypeIgnoreComment": "error",
        "enableTypeIgnoreComments": False,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    run("basedpyright", "--project", str(tmp_path), "--pythonpath", sys.executable)
