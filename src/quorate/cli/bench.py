"""``quorate bench``: measure a cluster of real processes on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import uvloop

from quorate.cli.output import wide_console
from quorate.errors import ConfigError
from quorate.ops.bench.crud import Plan, run_crud
from quorate.ops.bench.report import about, as_json, as_markdown, as_table
from quorate.ops.interrupts import Interrupted, run_interruptible
from quorate.ops.ports import free_ports
from quorate.ops.shop import data_directory

NODES = 3
CONNECTIONS_MAX = 1024

bench = typer.Typer(no_args_is_help=True, help="Measure a cluster of real processes on this machine.")


@bench.callback()
def _group() -> None:
    pass


@bench.command()
def crud(
    seconds: Annotated[float, typer.Option(min=0.1, max=120, help="How long each case runs.")] = 5.0,
    operations: Annotated[int, typer.Option(min=1, max=1_000_000, help="Requests that end a case early.")] = 200_000,
    connections: Annotated[str, typer.Option(help="At how many connections creates are measured.")] = "1,64,256",
    failovers: Annotated[int, typer.Option(min=0, max=20, help="How often the leader is killed.")] = 3,
    port: Annotated[
        int | None, typer.Option(min=1, max=65533, help="The first of three ports in a row. [default: free ones]")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="On which disk to measure. [default: a temporary directory, removed at the end]")
    ] = None,
    as_json_line: Annotated[bool, typer.Option("--json", help="Print one JSON object on the last line.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Also write the table to this file.")] = None,
) -> None:
    """Create, bulk create, read and count products on three nodes with fsync on; then kill the leader."""
    plan = Plan(seconds=seconds, operations_max=operations, connections=_connections(connections), failovers=failovers)
    console = wide_console()
    ports = list(range(port, port + NODES)) if port is not None else free_ports(NODES)

    def tell(line: str) -> None:
        console.print(f"{line} ...", highlight=False, markup=False)

    with data_directory(data_dir, "bench") as directory:
        try:
            report = run_interruptible(run_crud(directory, ports, plan, tell), loop_factory=uvloop.new_event_loop)
        except Interrupted:
            raise typer.Exit(130) from None
    console.print()
    console.print(as_table(report))
    console.print(f"\n{about(report)}", highlight=False, markup=False)
    if markdown is not None:
        try:
            markdown.write_text(as_markdown(report))
        except OSError as error:
            raise ConfigError(f"cannot write {markdown}: {error.strerror}") from error
    if as_json_line:
        typer.echo(as_json(report))


def _connections(text: str) -> tuple[int, ...]:
    """The numbers in ``1,64,256``. Raises :class:`ConfigError`."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and 1 <= int(part) <= CONNECTIONS_MAX for part in parts):
        raise ConfigError(f"--connections takes numbers from 1 to {CONNECTIONS_MAX} by commas, not {text!r}")
    return tuple(map(int, parts))
