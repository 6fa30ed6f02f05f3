"""The style that can be measured: sizes, documentation, and nothing left for later."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "quorate").rglob("*.py"))
FILES = [
    path for folder in ("src", "tests", "examples", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))
]

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
LATER = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"]))

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def definitions(tree: ast.AST, public: bool = True) -> Iterator[tuple[Definition, bool]]:
    """All classes, functions and methods; and whether they are public and have to say what they do themselves."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, public and not node.name.startswith("_") and not isinstance(tree, ast.ClassDef)
        elif isinstance(node, ast.ClassDef):
            visible = public and not node.name.startswith("_")
            yield node, visible
            yield from definitions(node, visible)
        elif not isinstance(node, ast.expr):
            yield from definitions(node, public)


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of code: a long signature or docstring is no burden to the reader."""
    first = function.body[1:2] if ast.get_docstring(function) else function.body[:1]
    return (function.end_lineno or 0) - first[0].lineno + 1 if first else 0


def test_no_file_is_longer_than_one_can_hold_in_mind() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in FILES}
    assert {str(path): length for path, length in lengths.items() if length > FILE_LINES_MAX} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = []
    for path in SOURCES:
        for node, _ in definitions(ast.parse(path.read_text())):
            if not isinstance(node, ast.ClassDef) and body_lines(node) > FUNCTION_LINES_MAX:
                long.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {body_lines(node)} lines")
    assert long == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src" / "quorate")))
def test_everything_public_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if not tree.body:
        return
    missing = [] if ast.get_docstring(tree) else [f"{path.name}: the module"]
    missing += [
        f"{path.name}:{node.lineno}: {node.name}"
        for node, public in definitions(tree)
        if public and not ast.get_docstring(node)
    ]
    assert missing == []


def test_nothing_is_left_for_later() -> None:
    notes = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if LATER.search(line)
    ]
    assert notes == []
