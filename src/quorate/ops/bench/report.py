"""The benchmark's report as a table for the terminal, as JSON and as Markdown."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict

from rich.table import Table

from quorate.ops.bench.crud import CrudReport

_HEADINGS = ("case", "connections", "throughput", "p50 ms", "p99 ms")


def as_json(report: CrudReport) -> str:
    """One object on one line."""
    return json.dumps(asdict(report))


def as_table(report: CrudReport) -> Table:
    """For the terminal."""
    table = Table(title="Three nodes on this machine, fsync on", caption=_about(report), title_justify="left")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "case" else "right", no_wrap=True)
    for cells in _rows(report):
        table.add_row(*cells)
    return table


def as_markdown(report: CrudReport) -> str:
    """For a file in the repository."""
    lines = [
        "# Three nodes on one machine, fsync on",
        "",
        _about(report),
        "",
        f"| {' | '.join(_HEADINGS)} |",
        "|---|---:|---:|---:|---:|",
        *(f"| {' | '.join(cells)} |" for cells in _rows(report)),
        "",
    ]
    return "\n".join(lines)


def _rows(report: CrudReport) -> list[tuple[str, ...]]:
    rows = [
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
        rows.append((f"failover after kill -9 (of {len(report.failover_ms)})", "16", times, "", ""))
    return rows


def _about(report: CrudReport) -> str:
    about = report.environment
    return (
        f"Quorate {about.quorate}, Python {about.python}, {about.system}, {about.cores} cores shared by the nodes and "
        f"the load generator; one fsync takes {about.fsync_us} µs; {report.rows:,} rows at the end."
    )
