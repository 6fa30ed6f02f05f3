"""``docs/checklist.md`` names every number, and only tests and pages that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "checklist.md").read_text()
RUN_IT = PAGE.partition("\n## Run it\n")[2].partition("\n## ")[0]
DAEMONS = ROOT / "tests" / "tasks" / "daemon"

TO_RUN_IT = {
    "A1": {*range(56, 99)},
    "A2": {36, 37, *range(68, 88)},
    "B": {*range(69, 77)},
    "D": {*range(47, 66), *range(67, 85), *range(93, 103)},
}
"""What an operator needs, by source."""
NAMED_IN_FULL = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
LINK = re.compile(r"\]\(([\w./-]+)?(?:#([\w-]+))?\)")


def cited(source: str, text: str) -> set[int]:
    """The numbers of a source that ``text`` names, alone or as from one to another."""
    prefix = rf"{source}\." if source.startswith("A") else source
    found: set[int] = set()
    for first, last in re.findall(rf"\b{prefix}(\d+)(?:–{prefix}(\d+))?", text):
        found.update(range(int(first), int(last or first) + 1))
    return found


def anchors_of(page: Path) -> set[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("source", "numbers"), [("C", {*range(1, 41)}), ("D", {*range(1, 103)})], ids=["C", "D"])
def test_each_number_has_a_line(source: str, numbers: set[int]) -> None:
    assert numbers - cited(source, PAGE) == set()


@pytest.mark.parametrize("source", TO_RUN_IT)
def test_what_an_operator_needs_has_a_row_that_shows_it(source: str) -> None:
    shown: set[int] = set()
    for numbers, what in re.findall(r"^\| ([ABD]\d.*?) \| (.+) \|$", RUN_IT, re.MULTILINE):
        if "`" in what or "](" in what:
            shown |= cited(source, numbers)
    assert TO_RUN_IT[source] - shown == set()


def test_the_files_that_are_named_are_there() -> None:
    named = re.findall(r"`((?:tests|benchmarks|deploy)/[\w/.]+)(?:::\w+)?`", PAGE)
    assert len(named) > 60
    named += [f"tests/tasks/daemon/{name}" for name in re.findall(r"`(test_\w+\.py)(?:::\w+…?)?`", PAGE)]
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_tests_that_are_named_are_there() -> None:
    there = "".join(path.read_text() for path in DAEMONS.glob("test_*.py"))
    named = set(re.findall(r"\b(test_d\d+_\w+)`", PAGE))
    assert len(named) > 20
    assert {name for name in named if f"def {name}(" not in there} == set()


def test_the_tests_that_are_named_are_in_their_files() -> None:
    named = NAMED_IN_FULL.findall(RUN_IT)
    assert len(named) > 30
    assert {f"{file}::{test}" for file, test in named if f"def {test}(" not in (ROOT / file).read_text()} == set()


def test_pages_and_headings_that_are_linked_are_there() -> None:
    links = LINK.findall(PAGE)
    assert len(links) > 25
    for page, anchor in links:
        path = (ROOT / "docs" / page).resolve()
        assert path.is_file(), page
        assert not anchor or anchor in anchors_of(path), f"{page}#{anchor}"
