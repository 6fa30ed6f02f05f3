"""The report of idle nodes as a table for the terminal, as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from rich.table import Table

from quorate.ops.bench.idle import SCRAPES, IdleReport
from quorate.ops.bench.tables import markdown_page, terminal_table

SENT_KB_PER_S_MAX = 50
SCRAPE_MS_BELOW = 5
RESTART_MS_BELOW = 2000


def as_json(report: IdleReport) -> str:
    """One object on one line."""
    return json.dumps({**asdict(report), "missed": missed(report)})


def as_table(report: IdleReport) -> Table:
    """For the terminal."""
    return terminal_table(_headings(report), _rows(report), words=2)


def as_markdown(report: IdleReport) -> str:
    """For a file in the repository."""
    return markdown_page("Three idle nodes on one machine", about(report), _headings(report), _rows(report), words=2)


def _headings(report: IdleReport) -> tuple[str, ...]:
    return ("of each node", "wanted", *(f"{each.node_id}, {each.role}" for each in report.nodes))


def _rows(report: IdleReport) -> list[tuple[str, ...]]:
    nodes, rows = report.nodes, f"{report.converged.objects:,} rows"
    restarts = {each.node_id: each for each in report.restarts}
    ready = [restarts[each.node_id].ready_ms if each.node_id in restarts else None for each in nodes]
    return [
        ("memory, MB", "", *_cells((each.memory_mb for each in nodes), ".0f")),
        ("memory once its metrics were asked for, MB", "", *_cells((each.scraped_mb for each in nodes), ".0f")),
        (f"memory with {rows}, MB", "", *_cells(report.rows_mb, ".0f")),
        ("threads", "", *_cells((each.threads for each in nodes), "d")),
        ("open files", "", *_cells((each.open_files for each in nodes), "d")),
        ("CPU time each second, ms", "", *_cells((each.cpu_ms_per_s for each in nodes), ".1f")),
        ("sent to the others each second, KB", f"≤ {SENT_KB_PER_S_MAX}",
         *_cells((each.sent_kb_per_s for each in nodes), ".1f")),
        ("scrape of /metrics, p50 ms", f"< {SCRAPE_MS_BELOW}", *_cells((each.scrape_p50_ms for each in nodes), ".2f")),
        ("scrape of /metrics, max ms", "", *_cells((each.scrape_max_ms for each in nodes), ".2f")),
        ("scrape of /metrics, CPU ms", "", *_cells((each.scrape_cpu_ms for each in nodes), ".2f")),
        (f"back after kill -9 with {rows}, ms", f"< {RESTART_MS_BELOW}", *_cells(ready, "d")),
    ]  # fmt: skip


def _cells(values: Iterable[float | None], how: str) -> list[str]:
    return ["" if value is None else format(value, how) for value in values]


def missed(report: IdleReport) -> list[str]:
    """What is not as wanted."""
    told = []
    for each in report.nodes:
        if each.sent_kb_per_s > SENT_KB_PER_S_MAX:
            told.append(f"node {each.node_id} sent {each.sent_kb_per_s:.1f} KB/s")
        if each.scrape_p50_ms >= SCRAPE_MS_BELOW:
            told.append(f"scrapes of node {each.node_id} took {each.scrape_p50_ms:.2f} ms")
    late = [each for each in report.restarts if each.ready_ms >= RESTART_MS_BELOW]
    return told + [f"the {each.role} was back after {each.ready_ms} ms" for each in late]


def about(report: IdleReport) -> str:
    """What was measured where, and whether it is as wanted, in a few sentences."""
    machine, wrong = report.environment, missed(report)
    return (
        f"Three nodes on {machine.place}. Quorate {machine.quorate}, Python {machine.python}, {machine.system}. "
        f"Left alone for {report.seconds:g} s; {SCRAPES} scrapes of each. Each node then made a snapshot. A "
        "follower and after it the leader were killed and started again; that took until /health was 200. "
        f"{report.converged.in_words()} "
        f"{'Not as wanted: ' + '; '.join(wrong) + '.' if wrong else 'All is as wanted.'}"
    )
