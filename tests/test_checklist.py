"""``docs/checklist.md`` names every number, and only tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "checklist.md").read_text()
DAEMONS = ROOT / "tests" / "tasks" / "daemon"


@pytest.mark.parametrize(
    ("letter", "numbers"), [("C", {*range(1, 41)}), ("D", {*range(1, 67), *range(85, 103)})], ids=["C", "D"]
)
def test_each_number_has_a_line(letter: str, numbers: set[int]) -> None:
    cited: set[int] = set()
    for first, last in re.findall(rf"\b{letter}(\d+)(?:–{letter}(\d+))?", PAGE):
        cited.update(range(int(first), int(last or first) + 1))
    assert numbers - cited == set()


def test_the_files_that_are_named_are_there() -> None:
    named = re.findall(r"`(tests/[\w/.]+)(?:::\w+)?`", PAGE)
    assert len(named) > 25
    named += [f"tests/tasks/daemon/{name}" for name in re.findall(r"`(test_\w+\.py)(?:::\w+…?)?`", PAGE)]
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_tests_that_are_named_are_there() -> None:
    there = "".join(path.read_text() for path in DAEMONS.glob("test_*.py"))
    named = set(re.findall(r"\b(test_d\d+_\w+)`", PAGE))
    assert len(named) > 20
    assert {name for name in named if f"def {name}(" not in there} == set()
