"""The table of known bugs names tests that exist, and whose docstrings say what the table promises."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = re.findall(r"^\| (\d+) \|.*\| (.*) \|$", (ROOT / "docs" / "scenarios.md").read_text(), flags=re.MULTILINE)
NAMED = [(int(number), *test) for number, tests in ROWS for test in re.findall(r"`([^`:]+)::(\w+)`", tests)]


def test_every_known_bug_has_a_test() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 56))
    assert {number for number, _, _ in NAMED} == set(range(1, 56))


@pytest.mark.parametrize(("number", "path", "name"), NAMED, ids=[f"{number}-{path}" for number, path, _ in NAMED])
def test_the_test_is_there_and_says_how_the_bug_comes_back(number: int, path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    functions = {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in functions
    assert f"_{number:02}_" in name
    header = ast.get_docstring(functions[name]) or ""
    for part in ("From: ", "How: ", "Brings it back: "):
        assert f"\n{part}" in header
