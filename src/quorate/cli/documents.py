"""What a command has to show, as a table, as JSON or as YAML; once, or again and again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, Any

import typer
import yaml
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from quorate.cli.output import wide_console
from quorate.errors import QuorateError

REFRESH_SECONDS = 1.0

Look = Callable[[], Awaitable[Any]]
Render = Callable[[Any], RenderableType]


class Format(StrEnum):
    """How it is shown."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


AsFormat = Annotated[Format, typer.Option("--format", "-f", help="How to print it.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Look again every second, until Ctrl-C.")]


def show(document: Any, render: Render, form: Format, *, compact: bool = False) -> None:
    """Print it. ``compact``: one of many documents, JSON in one line."""
    if form is Format.TABLE:
        wide_console().print(render(document))
    elif form is Format.JSON:
        typer.echo(json.dumps(document, indent=None if compact else 2, ensure_ascii=False))
    else:
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, explicit_start=compact)
        typer.echo(text.removesuffix("...\n"), nl=False)


async def show_again_and_again(look: Look, render: Render, form: Format) -> None:
    """Look and print, for ever: a table on a terminal in its place, anything else one behind the other.

    While the cluster does not answer, a table's place says why.
    """
    console = wide_console()
    if form is not Format.TABLE or not console.is_terminal:
        while True:
            show(await look(), render, form, compact=True)
            await asyncio.sleep(REFRESH_SECONDS)
    shown = render(await look())
    with Live(shown, console=console, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                shown = render(await look())
            except QuorateError as error:
                shown = Text(str(error), style="red")
            live.update(shown, refresh=True)
