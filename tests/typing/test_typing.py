"""Editors and checkers know what models, tasks and the store give: these modules have the types that they say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = ("objects", "tasks")

pytestmark = pytest.mark.timeout(300)  # nothing may be in the cache of mypy yet


def run(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy() -> None:
    modules = [f"-mtests.typing.{name}" for name in MODULES]
    run("mypy", "--config-file", "pyproject.toml", *modules, "-mtests.kv.typed_store")


def test_basedpyright(tmp_path: Path) -> None:
    modules = [ROOT / "tests" / "typing" / f"{name}.py" for name in MODULES]
    examples = [ROOT / "examples" / name for name in ("fastapi_shop.py", "mailer.py")]
    settings = {
        "include": [str(path) for path in (*modules, *examples)],
        "extraPaths": [str(ROOT / "src")],
        "typeCheckingMode": "standard",
        "reportUnnecessaryTypeIgnoreComment": "error",
        "enableTypeIgnoreComments": False,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    run("basedpyright", "--project", str(tmp_path), "--pythonpath", sys.executable)
