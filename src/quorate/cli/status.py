"""``quorate status``: what every node of a cluster says of itself, as a table or as JSON."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.table import Table

from quorate.cli.output import wide_console
from quorate.ops.cluster_status import fetch_statuses, parse_cluster

DEFAULT_CLUSTER = "127.0.0.1:8080,127.0.0.1:8081,127.0.0.1:8082"


def status(
    cluster: Annotated[str, typer.Option(help="The nodes to ask: host:port, by commas.")] = DEFAULT_CLUSTER,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show the nodes of a cluster. Exits 1 if none of them can be reached."""
    statuses = asyncio.run(fetch_statuses(parse_cluster(cluster)))
    if as_json:
        typer.echo(json.dumps(statuses, indent=2))
    else:
        wide_console().print(_table(statuses))
        answering, majority = sum("error" not in report for report in statuses), len(statuses) // 2 + 1
        if answering < majority:
            typer.echo(
                f"{answering} of {len(statuses)} nodes answer; a majority is {majority}: nothing is written now."
            )
    if all("error" in report for report in statuses):
        raise typer.Exit(1)


def _table(statuses: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("NODE", "ADDRESS", "ROLE", "TERM", "LEADER", "COMMIT", "APPLIED", "LAG", "VERSION"):
        table.add_column(heading, justify="right" if heading in ("TERM", "COMMIT", "APPLIED", "LAG") else "left")
    leading = [report for report in statuses if report.get("role") == "leader"]
    newest = max(leading, key=lambda report: report["term"], default={})
    lags = {peer["node_id"]: peer["lag"] for peer in newest.get("peers", ())}
    for report in statuses:
        if "error" in report:
            table.add_row("-", report["address"], f"[red]{report['error']}[/red]")
            continue
        lag = 0 if report is newest else lags.get(report["node_id"])
        table.add_row(
            str(report["node_id"]),
            report["address"],
            f"[green]{report['role']}[/green]" if report["role"] == "leader" else report["role"],
            str(report["term"]),
            str(report["leader"] or "-"),
            str(report["commit_index"]),
            str(report["applied_index"]),
            "-" if lag is None else str(lag),
            report["version"],
        )
    return table
