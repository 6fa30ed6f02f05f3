"""The benchmark's report as a table for the terminal, as JSON and as Markdown."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict

from rich.table import Table

from quorate.ops.bench.crud import FAILOVER_CLIENTS, CrudReport

_HEADINGS = ("case", "clients", "throughput", "p50 ms", "p99 ms")


def as_json(report: CrudReport) -> str:
    """One object on one line."""
    return json.dumps(asdict(report))


def as_table(report: CrudReport) -> Table:
    """For the terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in _HEADINGS:
        table.add_column(heading.upper(), justify="left" if heading == "case" else "right", no_wrap=True)
    for cells in _rows(report):
        table.add_row(*cells)
    return table


def as_markdown(report: CrudReport) -> str:
    """For a file in the repository."""
    lines = [
        "# Three nodes on one machine, fsync on",
        "",
        about(report),
        "",
        f"| {' | '.join(_HEADINGS)} |",
        "|---|---:|---:|---:|---:|",
        *(f"| {' | '.join(cells)} |" for cells in _rows(report)),
        "",
    ]
    return "\n".join(lines)


def _rows(report: CrudReport) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (
            item.name,
            str(item.connections),
            f"{item.per_second:,.0f} {item.unit}",
            f"{item.p50_ms:.2f}",
            f"{item.p99_ms:.2f}",
        )
        for item in report.measurements
    ]
    if report.failover_ms:
        median = statistics.median(report.failover_ms)
        times = f"{median:.0f} ms, worst {max(report.failover_ms)} ms"
        rows.append((f"failover, {len(report.failover_ms)} x kill -9", str(FAILOVER_CLIENTS), times, "", ""))
    return rows


def about(report: CrudReport) -> str:
    """One sentence on what was measured where."""
    machine = report.environment
    return (
        f"Three nodes and the load generator on {machine.cores} cores, fsync on ({machine.fsync_us} µs each). "
        f"Quorate {machine.quorate}, Python {machine.python}, {machine.system}; {report.rows:,} rows at the end."
    )
