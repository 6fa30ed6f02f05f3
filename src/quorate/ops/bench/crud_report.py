"""The CRUD benchmark's report as a table for the terminal, as JSON and as Markdown."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict

from rich.table import Table

from quorate.ops.bench.crud import FAILOVER_CLIENTS, CrudReport
from quorate.ops.bench.tables import markdown_page, terminal_table
from quorate.ops.bench.timings import told_of_few

_HEADINGS = ("case", "clients", "throughput", "p50 ms", "p95 ms", "p99 ms")


def as_json(report: CrudReport) -> str:
    """One object on one line."""
    return json.dumps(asdict(report))


def as_table(report: CrudReport) -> Table:
    """For the terminal."""
    return terminal_table(_HEADINGS, _rows(report))


def as_markdown(report: CrudReport) -> str:
    """For a file in the repository."""
    return markdown_page("Three nodes on one machine, fsync on", about(report), _HEADINGS, _rows(report))


def _rows(report: CrudReport) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (
            item.name,
            str(item.connections),
            f"{item.per_second:,.0f} {item.unit}",
            f"{item.p50_ms:.2f}",
            f"{item.p95_ms:.2f}",
            f"{item.p99_ms:.2f}",
        )
        for item in report.measurements
    ]
    if report.failover_ms:
        many = f"{len(report.failover_ms)} x kill -9"
        rows.append((f"failover, {many}", str(FAILOVER_CLIENTS), _times(report.failover_ms), "", "", ""))
        rows.append(
            (f"restart with {report.converged.objects:,} rows and more", "", _times(report.restart_ms), "", "", "")
        )
    return rows


def _times(times_ms: list[int]) -> str:
    return f"{statistics.median(times_ms):.0f} ms, worst {max(times_ms)} ms"


def about(report: CrudReport) -> str:
    """What was measured where, and that the nodes agreed, in a few sentences."""
    machine = report.environment
    sentences = [
        f"Three nodes and the load generator on {machine.place}.",
        f"Quorate {machine.quorate}, Python {machine.python}, {machine.system}.",
        *told_of_few((f"{item.name}, {item.connections}", item.operations) for item in report.measurements),
        report.converged.in_words("products"),
    ]
    return " ".join(sentences)
