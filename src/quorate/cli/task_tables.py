"""Tables of tasks, queues, workers and schedules."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from quorate.tasks.lifecycle import BY_LABEL, State

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], object]]

_COLOURS = {"succeeded": "green", "dead": "red", "failed": "yellow", "running": "cyan"}
_NUMBERS = {"PRIORITY", "ATTEMPT", "PENDING", "RUNNING", "CONCURRENCY", "BOUND", *(label.upper() for label in BY_LABEL)}
WIDE_CHARACTERS = 60


def tasks_table(page: Row) -> Table:
    """Of a page of tasks."""
    columns: list[Column] = [
        ("TASK", lambda task: task["task_id"]),
        ("STATUS", lambda task: _status(task["status"])),
        ("QUEUE", lambda task: task["queue"]),
        ("TYPE", lambda task: task["type"]),
        ("PRIORITY", lambda task: task["priority"]),
        ("ATTEMPT", lambda task: f"{task['attempt']}/{task['max_retries'] + 1}"),
        ("WORKER", lambda task: task["worker"]),
        ("SUBMITTED", lambda task: ago(task["submitted_at"])),
        ("REASON", _reason),
    ]
    table = _table(columns, page["tasks"])
    if page["next"] is not None:
        table.caption = f"there are more, from --after {page['next']} on"
        table.caption_justify = "left"
    return table


def _reason(task: Row) -> str:
    """Why it is where it is; what was wrong with earlier attempts of one that has succeeded is in its record."""
    said = () if task["status"] == State.SUCCEEDED.label else (task["reason"], task["error"])
    return _short(": ".join(filter(None, said)))


def record_table(record: Row) -> Table:
    """One thing, with all that is known of it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in record.items():
        if value not in (None, []):
            shown = _dependencies(value) if name == "waits_for" else _text(value)
            table.add_row(name, _status(shown) if name == "status" else escape(shown))
    return table


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _dependencies(tasks: Iterable[Row]) -> str:
    return ", ".join(f"{task['task_id']} ({task['status']})" for task in tasks)


def queues_table(document: Row) -> Table:
    """Of all queues."""
    columns: list[Column] = [
        ("QUEUE", lambda queue: queue["name"]),
        ("STATE", lambda queue: "[yellow]paused[/yellow]" if queue["paused"] else "open"),
        ("PENDING", lambda queue: queue["pending"]),
        ("BOUND", lambda queue: queue["pending_max"]),
        *((label.upper(), _count_of(label)) for label in BY_LABEL),
    ]
    return _table(columns, document["queues"])


def queue_table(queue: Row) -> Table:
    """Of one queue."""
    return queues_table({"queues": [queue]})


def _count_of(label: str) -> Callable[[Row], object]:
    return lambda queue: queue["tasks"].get(label, 0)


def stats_table(stats: Row) -> Table:
    """How many tasks are in which state, in each queue and in all."""
    columns: list[Column] = [
        ("QUEUE", lambda queue: queue["name"]),
        *((label.upper(), _count_of(label)) for label in BY_LABEL),
    ]
    rows = [{"name": name, "tasks": tasks} for name, tasks in sorted(stats["queues"].items())]
    table = _table(columns, [*rows, {"name": "[bold]all[/bold]", "tasks": stats["tasks"]}])
    table.caption = (
        f"{stats['pending']} pending; {_counted(stats['workers'], 'worker')}, "
        f"{_counted(stats['schedules'], 'schedule')}; {_counted(stats['changes'], 'change')} of state so far"
    )
    table.caption_justify = "left"
    return table


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def workers_table(document: Row) -> Table:
    """Of all workers."""
    columns: list[Column] = [
        ("WORKER", lambda worker: worker["worker_id"]),
        ("QUEUES", lambda worker: _names(worker["queues"])),
        ("TYPES", lambda worker: _names(worker["types"])),
        ("CAPABILITIES", lambda worker: _names(worker["capabilities"])),
        ("RUNNING", lambda worker: worker["running"]),
        ("CONCURRENCY", lambda worker: worker["concurrency"]),
        ("SEEN", lambda worker: ago(worker["seen_at"])),
        ("HEALTH", lambda worker: _short(worker["health"]) or "[green]ok[/green]"),
    ]
    return _table(columns, document["workers"])


def schedules_table(document: Row) -> Table:
    """Of all schedules."""
    columns: list[Column] = [
        ("SCHEDULE", lambda schedule: schedule["name"]),
        ("CRON", lambda schedule: schedule["cron"]),
        ("TIME ZONE", lambda schedule: schedule["timezone"]),
        ("QUEUE", lambda schedule: schedule["queue"]),
        ("TYPE", lambda schedule: schedule["type"]),
        ("DECLARED", lambda schedule: "by the program" if schedule.get("declared") else None),
        ("NEXT", lambda schedule: schedule["next_at"]),
        ("LAST TASK", lambda schedule: schedule["last_task"]),
    ]
    return _table(columns, document["schedules"])


def change_line(change: Row) -> str:
    """One change, for people."""
    if "gone" in change:
        return f"[yellow]some changes were missed: {escape(change['gone'])}[/yellow]"
    by = f" by {change['worker']}" if change["worker"] else ""
    why = f" ({change['reason']})" if change["reason"] else ""
    what = f"{change['type']} in {change['queue']}, attempt {change['attempt']}"
    return f"{change['number']:>8}  {change['at']}  {change['task_id']}  {_status(change['status'])}{why}  {what}{by}"


def ago(text: str) -> str:
    """How long ago a moment was, or how soon it will be."""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def _table(columns: list[Column], rows: Iterable[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, _ in columns:
        table.add_column(heading, justify="right" if heading in _NUMBERS else "left")
    for row in rows:
        cells = (value_of(row) for _, value_of in columns)
        table.add_row(*("-" if cell is None or cell == "" else str(cell) for cell in cells))
    return table


def _status(status: str) -> str:
    colour = _COLOURS.get(status)
    return f"[{colour}]{status}[/{colour}]" if colour else status


def _names(names: list[str] | None) -> str:
    return "all" if names is None else _short(", ".join(names))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return escape(line if len(line) <= WIDE_CHARACTERS else f"{line[: WIDE_CHARACTERS - 1]}…")
