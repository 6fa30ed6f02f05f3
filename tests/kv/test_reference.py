"""The page on the key-value store lists the commands that there are."""

from __future__ import annotations

from pathlib import Path

from quorate.kv.reference import reference, renewed

PAGE = Path(__file__).parents[2] / "docs" / "kv.md"


def test_the_page_lists_the_commands_that_there_are() -> None:
    text = PAGE.read_text()
    assert text == renewed(text), "run: make reference"


def test_every_command_has_a_summary_that_ends_a_sentence() -> None:
    rows = [line for line in reference().splitlines() if line.startswith(("| [", "| `"))]
    assert len(rows) > 100
    assert not [row for row in rows if not row.endswith(". |")]
