"""A report's rows as a table for the terminal and for a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table


def terminal_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> Table:
    """For the terminal. The first ``words`` columns are text, the others numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, heading in enumerate(headings):
        table.add_column(_upper(heading), justify="left" if at < words else "right", no_wrap=True)
    for cells in rows:
        table.add_row(*cells)
    return table


def _upper(heading: str) -> str:
    """In capitals, but for the micro sign: its capital is an M, and a millionth would read as a thousandth."""
    return "µ".join(part.upper() for part in heading.split("µ"))


def markdown_page(
    title: str, about: str, headings: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1
) -> str:
    """For a file in the repository, with a paragraph on what was measured above the table."""
    lines = [
        f"# {title}",
        "",
        about,
        "",
        f"| {' | '.join(headings)} |",
        f"|{'---|' * words}{'---:|' * (len(headings) - words)}",
        *(f"| {' | '.join(cells)} |" for cells in rows),
        "",
    ]
    return "\n".join(lines)
