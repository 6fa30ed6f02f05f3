"""The report of workloads as a table for the terminal, as JSON and as Markdown."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.table import Table

from quorate.machine.queries import STREAMS_MAX
from quorate.ops.bench.repeats import told_of_repeats
from quorate.ops.bench.tables import markdown_page, terminal_table
from quorate.ops.bench.timings import told_of_few
from quorate.ops.bench.workload import Latencies, Measurement, WorkloadsReport

KEPT_UP = 0.95
"""Of a rate, so much has to be answered."""

_HEADINGS = ("workload", "clients", "per second", "rows/s", "p50 ms", "p95 ms", "p99 ms", "max ms", "CPU µs each",
             "fsyncs each", "bytes out", "bytes in", "bytes, nodes")  # fmt: skip


def as_json(report: WorkloadsReport) -> str:
    """One object on one line."""
    return json.dumps(asdict(report))


def as_table(report: WorkloadsReport) -> Table:
    """For the terminal."""
    return terminal_table(_HEADINGS, _rows(report))


def as_markdown(report: WorkloadsReport) -> str:
    """For a file in the repository."""
    return markdown_page(report.title, about(report), _HEADINGS, _rows(report))


def _rows(report: WorkloadsReport) -> list[tuple[str, ...]]:
    rows = []
    for item in report.measurements:
        rows.append((*_latency_cells(_name(item), str(item.connections), item.all, item.rows_per_second),
                     "" if item.cpu_us is None else f"{item.cpu_us:,.0f}", f"{item.fsyncs:.3f}",
                     f"{item.sent_bytes:,.0f}", f"{item.received_bytes:,.0f}", f"{item.peer_bytes:,.0f}"))  # fmt: skip
        rows += [(*_latency_cells(f"· {each.kind}", "", each, None), "", "", "", "", "") for each in item.kinds]
    return rows


def _name(item: Measurement) -> str:
    return item.name if item.rate is None else f"{item.name}, {item.rate:g}/s due"


def _latency_cells(name: str, clients: str, of: Latencies, rows_per_second: float | None) -> tuple[str, ...]:
    times = (f"{each:.2f}" for each in (of.p50_ms, of.p95_ms, of.p99_ms, of.max_ms))
    rows = "" if rows_per_second is None else f"{rows_per_second:,.0f}"
    return (name, clients, f"{of.per_second:,.0f}", rows, *times)


def _is_late(item: Measurement) -> bool:
    """Whether fewer were answered than fell due: the rate was more than the nodes, or this machine, could do."""
    return item.rate is not None and item.all.per_second < KEPT_UP * item.rate


def _told_of_lateness(item: Measurement) -> str:
    return f"{item.name}: {item.all.per_second:,.0f} of {item.rate:,.0f} requests per second, so they came late."


def about(report: WorkloadsReport) -> str:
    """What was measured where, and that the nodes agreed, in a few sentences."""
    machine = report.environment
    sentences = [
        f"The nodes and the load generator on {machine.place}.",
        f"Quorate {machine.quorate}, Python {machine.python}, {machine.system}.",
        "CPU time and fsyncs are those of all nodes together; bytes are those that clients sent and got, and what the "
        "nodes sent each other; all for one request.",
    ]
    if any(item.rate is not None for item in report.measurements):
        sentences.append("Where requests are due by the clock, latencies count from then on.")
    sentences += [_told_of_lateness(item) for item in report.measurements if _is_late(item)]
    sentences += [
        f"{_name(item)}, {item.connections}: {item.turned_away:,} more requests for a whole list were turned away, as "
        f"a node gives {STREAMS_MAX} at a time."
        for item in report.measurements
        if item.turned_away
    ]
    sentences += told_of_few(
        (f"{_name(item)}, {each.kind}", each.operations)
        for item in report.measurements
        for each in (item.kinds or [item.all])
    )
    sentences += told_of_repeats(report.repeated)
    sentences += [each.in_words() for each in report.converged]
    return " ".join(sentences)
