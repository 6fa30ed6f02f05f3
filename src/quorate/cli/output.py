"""Printing."""

from __future__ import annotations

from rich.console import Console

COLUMNS_WITHOUT_TERMINAL = 240


def wide_console() -> Console:
    """Standard output as wide as the terminal; in a file or a pipe, wide enough not to cut a table."""
    console = Console()
    return console if console.is_terminal else Console(width=COLUMNS_WITHOUT_TERMINAL)
