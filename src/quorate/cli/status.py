"""``quorate status``: what every node of a cluster says of itself, as a table or as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.table import Table

from quorate.cli.output import wide_console
from quorate.ops.cluster_status import Report, fetch_statuses, leading, parse_cluster

_TEXTS = ("NODE", "ADDRESS", "ROLE", "LOG", "STORAGE", "LEADER", "VERSION")
_NUMBERS = ("TERM", "COMMIT", "APPLIED", "LAG", "SNAPSHOT")

DEFAULT_CLUSTER = "127.0.0.1:8080,127.0.0.1:8081,127.0.0.1:8082"


def status(
    cluster: Annotated[
        str, typer.Option(envvar="QUORATE_CLUSTER", help="The nodes to ask: host:port, by commas.")
    ] = DEFAULT_CLUSTER,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show the nodes of a cluster. Exits 1 if none of them can be reached."""
    statuses = asyncio.run(fetch_statuses(parse_cluster(cluster)))
    if as_json:
        typer.echo(json.dumps(statuses, indent=2))
    else:
        wide_console().print(_table(statuses))
        for line in (*notes(statuses), *storage_notes(statuses), *schema_notes(statuses)):
            typer.echo(line)
    if all("error" in report for report in statuses):
        raise typer.Exit(1)


def _table(statuses: list[Report]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in (*_TEXTS[:3], *_NUMBERS, *_TEXTS[3:]):
        table.add_column(heading, justify="right" if heading in _NUMBERS else "left")
    leader = leading(statuses)
    lags = {peer["node_id"]: peer["lag"] for peer in leader.get("peers", ())} if leader else {}
    for report in statuses:
        if "error" in report:
            table.add_row("-", report["address"], f"[red]{report['error']}[/red]")
            continue
        lag = 0 if report is leader else lags.get(report["node_id"])
        numbers = (report["term"], report["commit_index"], report["applied_index"], lag, report.get("snapshot_index"))
        table.add_row(
            str(report["node_id"]),
            report["address"],
            _role(report),
            *("-" if number is None else str(number) for number in numbers),
            _size(report.get("log_bytes")),
            report.get("storage_profile", "-"),
            str(report["leader"] or "-"),
            report["version"],
        )
    return table


def _role(report: Report) -> str:
    """What it does; and for those that do not vote, or not now, why."""
    role, member = report["role"], report.get("member_role", "voter")
    if report.get("repairing"):
        return f"[yellow]{role}, repairing[/yellow]"
    if role == "leader":
        return "[green]leader[/green]"
    if role == "follower" and member in ("learner", "witness"):
        return str(member)
    return f"{role}, no member" if member is None and role not in ("joining", "failed") else role


def _size(count: int | None) -> str:
    if count is None:
        return "-"
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def notes(statuses: Sequence[Report]) -> Iterator[str]:
    """What the table does not show: other clusters, a missing majority, a change under way, members not asked."""
    for report in statuses:
        if report.get("other_cluster_at"):
            yield (
                f"Node {report['node_id']} is of cluster {report['cluster_id']!r}, and another cluster's nodes answer "
                f"at {', '.join(report['other_cluster_at'])}: was it recovered by force without this node?"
            )
    leader = leading(statuses)
    informed = [leader, *statuses] if leader is not None else statuses
    membership = next((report["membership"] for report in informed if report.get("membership")), None)
    answering = {report["node_id"] for report in statuses if "error" not in report}
    if membership is None:
        if any(report.get("error") == "no answer" for report in statuses):
            yield "Where there is no answer a node may be embedded in a program, and speak to its peers alone."
            return
        majority = len(statuses) // 2 + 1
        if len(answering) < majority:
            yield f"{len(answering)} of {len(statuses)} nodes answer; a majority is {majority}: nothing is written now."
        return
    members = {member["node_id"]: member for member in membership["members"]}
    voters = {node_id for node_id, member in members.items() if member["role"] != "learner" and not member["leaving"]}
    unasked = [member for node_id, member in members.items() if node_id not in answering]
    majority = len(voters) // 2 + 1
    if len(voters & answering) < majority and leader is None:
        yield (
            f"{len(voters & answering)} of {len(voters)} voters answer; a majority is {majority}: "
            "nothing is written now."
        )
    elif unasked:
        missing = ", ".join(f"{member['node_id']}@{member['address']}" for member in unasked)
        yield f"Members that do not answer, or were not asked: {missing}"
    if membership["joint"]:
        yield f"The membership is being changed: joint configuration of entry {membership['configuration_index']}."


def storage_notes(statuses: Sequence[Report]) -> Iterator[str]:
    """How the nodes store their logs, where that is not what every node does by default; and what may be lost."""
    for report in statuses:
        storage = report.get("storage")
        if not storage:
            continue
        settings = storage["settings"]
        if not settings["fsync_on_append"]:
            yield (
                f"Node {report['node_id']} acknowledges before it syncs: {storage['unsynced_entries']} entries "
                f"({_size(storage['unsynced_bytes'])}) wait for that now; at most {settings['max_events_buffer']} "
                f"entries or {_size(settings['buffer_size'])} do, for {settings['flush_interval_ms']} ms."
            )
        if not settings["enable_binary"]:
            yield f"Node {report['node_id']} writes its log as JSON."
        if storage["power_loss"] is not None:
            yield f"Node {report['node_id']}: {storage['power_loss']}."


def schema_notes(statuses: Sequence[Report]) -> Iterator[str]:
    """Which nodes run another version of the app than the one in force."""
    for report in statuses:
        schema = report.get("schema")
        if not schema or schema["matches"]:
            continue
        in_force = "none is in force yet"
        if schema["cluster_version"] is not None:
            in_force = f"{schema['cluster_version']} ({schema['cluster_fingerprint']:.8}) is in force"
        rules = f"; these rules differ: {', '.join(schema['differing_rules'])}" if schema["differing_rules"] else ""
        yield (
            f"Node {report['node_id']} has version {schema['version']} ({schema['fingerprint']:.8}) of the schema, "
            f"and {in_force}{rules}."
        )
