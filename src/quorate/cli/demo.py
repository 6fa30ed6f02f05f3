"""``quorate demo``: three nodes on this machine that serve the example shop, or a story about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from quorate.ops.demo import run_demo
from quorate.ops.interrupts import Interrupted, run_interruptible
from quorate.ops.shop import data_directory
from quorate.ops.story import run_story

NODES = 3


def demo(
    story: Annotated[
        bool, typer.Option("--story", help="Tell a whole story by itself: load, kill -9, recovery, a check; then exit.")
    ] = False,
    port: Annotated[int, typer.Option(min=1, max=65533, help="The first of three ports in a row.")] = 8080,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where the data is kept.", show_default="a temporary directory, removed at the end"),
    ] = None,
    products: Annotated[int, typer.Option(min=10, max=100_000, help="Products that the story creates.")] = 1000,
) -> None:
    """Run three nodes on this machine with examples/shop.py, until Ctrl-C or SIGTERM.

    With --story the last line is a JSON object, and the exit code 1 if anything was lost, duplicated or different.
    """
    console = Console()
    ports = list(range(port, port + NODES))
    with data_directory(data_dir, "story" if story else "demo") as directory:
        try:
            if not story:
                run_interruptible(run_demo(console, directory, ports, temporary=data_dir is None))
                return
            result = run_interruptible(run_story(console, directory, ports, products=products))
        except Interrupted:
            if story:
                raise typer.Exit(130) from None
            return
    typer.echo(json.dumps(result.as_json()))
    if not result.good:
        raise typer.Exit(1)
