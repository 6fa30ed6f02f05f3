"""The key-value benchmark's report as a table for the terminal, as JSON and as Markdown."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.table import Table

from quorate.ops.bench.cases import VALUE
from quorate.ops.bench.kv import KvReport
from quorate.ops.bench.repeats import told_of_repeats
from quorate.ops.bench.tables import markdown_page, terminal_table
from quorate.ops.bench.timings import told_of_few

_HEADINGS = ("case", "system", "per second", "p50 ms", "p95 ms", "p99 ms", "CPU µs each", "fsyncs each")


def as_json(report: KvReport) -> str:
    """One object on one line."""
    return json.dumps(asdict(report))


def as_table(report: KvReport) -> Table:
    """For the terminal."""
    return terminal_table(_headings(report), _rows(report), words=2)


def as_markdown(report: KvReport) -> str:
    """For a file in the repository."""
    return markdown_page("Keys and values, fsync on", about(report), _headings(report), _rows(report), words=2)


def _headings(report: KvReport) -> tuple[str, ...]:
    return (*_HEADINGS, f"to {report.rival}")


def _rows(report: KvReport) -> list[tuple[str, ...]]:
    return [
        (
            item.case,
            item.system,
            f"{item.per_second:,.0f}",
            f"{item.p50_ms:.2f}",
            f"{item.p95_ms:.2f}",
            f"{item.p99_ms:.2f}",
            _number(item.cpu_us_per_operation, ".0f"),
            _number(item.fsyncs_per_operation, ".3f"),
            _number(item.to_rival, ".2f"),
        )
        for item in report.measurements
    ]


def _number(value: float | None, how: str) -> str:
    return format(value, how) if value is not None else ""


def about(report: KvReport) -> str:
    """What was measured where, in a few sentences."""
    machine = report.environment
    redis = any(told.startswith("Redis") for told in report.systems)
    sentences = [
        f"Three nodes each{', and one Redis' if redis else ''}, with their load on {machine.place}.",
        f"{'; '.join(report.systems)}.",
        f"Python {machine.python}, {machine.system}.",
        f"{report.keys:,} keys with values of {len(VALUE)} bytes; linearizable reads. The systems take turns"
        f"{f', and of {report.rounds} rounds the middle one by throughput is shown' if report.rounds > 1 else ''}.",
        "CPU time and fsyncs of the log are those of all nodes together, for one operation.",
    ]
    sentences += told_of_few((f"{item.case}, {item.system}", item.operations) for item in report.measurements)
    sentences.append(report.converged.in_words("keys"))
    sentences += told_of_repeats(report.repeated)
    if report.missing:
        sentences.append(f"Not installed, so not measured: {', '.join(report.missing)}.")
    return " ".join(sentences)
