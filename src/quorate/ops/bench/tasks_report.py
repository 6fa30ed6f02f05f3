"""The report of the tasks' benchmark as a table for the terminal, as JSON and as Markdown."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.table import Table

from quorate.ops.bench.tables import markdown_page, terminal_table
from quorate.ops.bench.tasks import BATCH_CONNECTIONS, BATCH_TASKS, FAILOVER_CLIENTS, TasksReport

_HEADINGS = ("case", "clients", "result", "p50 ms", "p95 ms", "p99 ms", "CPU µs each")


def as_json(report: TasksReport) -> str:
    """One object on one line."""
    return json.dumps(asdict(report))


def as_table(report: TasksReport) -> Table:
    """For the terminal."""
    return terminal_table(_HEADINGS, _rows(report))


def as_markdown(report: TasksReport) -> str:
    """For a file in the repository."""
    return markdown_page("Tasks on three nodes on one machine, fsync on", about(report), _HEADINGS, _rows(report))


def _rows(report: TasksReport) -> list[tuple[str, ...]]:
    return [
        (
            "submit",
            str(report.connections),
            f"{report.submits_per_s:,.0f} tasks/s",
            f"{report.submit_p50_ms:.2f}",
            f"{report.submit_p95_ms:.2f}",
            f"{report.submit_p99_ms:.2f}",
            _number(report.cpu_us_per_submit),
        ),
        (
            f"submit {BATCH_TASKS} at a time",
            str(BATCH_CONNECTIONS),
            f"{report.batch_submits_per_s:,.0f} tasks/s",
            "",
            "",
            f"{report.batch_p99_ms:.2f}",
            "",
        ),
        (
            "claim, do, complete",
            f"{report.workers} worker{'s' if report.workers > 1 else ''}",
            f"{report.completed_per_s:,.0f} tasks/s",
            "",
            "",
            "",
            _number(report.cpu_us_per_completed),
        ),
        ("memory of an idle node", "", f"{_number(report.idle_mb)} MB", "", "", "", ""),
        (f"memory with {report.pending:,} pending", "", f"{_number(report.pending_mb)} MB", "", "", "", ""),
        ("failover, kill -9", str(FAILOVER_CLIENTS), f"{report.failover_ms} ms", "", "", "", ""),
    ]


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}"


def about(report: TasksReport) -> str:
    """What was measured where, and that the nodes agreed, in a few sentences."""
    machine = report.environment
    return (
        f"Three nodes, the load generator and the workers on {machine.place}. "
        f"Quorate {machine.quorate}, Python {machine.python}, {machine.system}. "
        f"{report.converged.in_words('tasks')}"
    )
