"""``quorate members``: look at and change who belongs to a running cluster."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from quorate.cli.output import wide_console
from quorate.cli.status import DEFAULT_CLUSTER
from quorate.config import admin_token_of, parse_peer
from quorate.config_mistakes import variable
from quorate.errors import ConfigError
from quorate.node.operations import PRIORITY_MAX
from quorate.ops.cluster_status import parse_cluster
from quorate.ops.members import ClusterMembers, Waiting

T = TypeVar("T")

Report = dict[str, Any]
Cluster = Annotated[
    str, typer.Option(envvar="QUORATE_CLUSTER", help="The nodes to ask: host:port, by commas; the first that answers.")
]
Expect = Annotated[
    int | None, typer.Option(help="Only if the configuration is still that of this log entry (see 'list').")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
NodeId = Annotated[int, typer.Argument(min=1, help="The member's id.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="How many seconds to wait.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Return when the node is what it is to be.")]

_admin_token: ContextVar[str | None] = ContextVar("admin_token", default=None)

members = typer.Typer(no_args_is_help=True, help="Look at and change who belongs to a running cluster.")


@members.callback()
def _all(
    admin_token_file: Annotated[
        Path | None,
        typer.Option(help="A file with the cluster's admin token, where it has one; or QUORATE_ADMIN_TOKEN."),
    ] = None,
) -> None:
    _admin_token.set(admin_token_of(os.environ.get(variable("admin_token")), admin_token_file))


@members.command("list")
def list_members(cluster: Cluster = DEFAULT_CLUSTER, as_json: AsJson = False) -> None:
    """Show the members, what each is for, and how far it is."""

    async def look(client: ClusterMembers) -> Report:
        return await client.look()

    _show(_with(cluster, look), as_json)


@members.command()
def add(
    node: Annotated[str, typer.Argument(help="The new node, which was started with --join: id@host:port.")],
    learner: Annotated[bool, typer.Option("--learner", help="It receives everything, but does not vote.")] = False,
    witness: Annotated[bool, typer.Option("--witness", help="It votes, but holds no data and never leads.")] = False,
    priority: Annotated[
        int, typer.Option(min=0, max=PRIORITY_MAX, help="The highest leads; 0 only if nobody else can.")
    ] = 1,
    wait: Wait = True,
    timeout: Timeout = 60.0,
    expect: Expect = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    as_json: AsJson = False,
) -> None:
    """Add a node. A voter is brought everything first, and votes once it has caught up."""
    if learner and witness:
        raise ConfigError("a node is either a --learner or a --witness")
    peer = parse_peer(node)
    if peer.node_id is None:
        raise ConfigError(f"{node!r} names no id: give id@host:port, as 4@127.0.0.1:8083")
    node_id, role = peer.node_id, "learner" if learner else "witness" if witness else "voter"
    body = {"node_id": node_id, "address": peer.address, "role": role, "priority": priority}

    async def work(client: ClusterMembers) -> Report:
        report = await client.change_and_look("POST", "members", body, expect=expect)
        return await _waited(client, node_id, role, timeout) if wait else report

    _show(_with(cluster, work), as_json)


@members.command()
def promote(
    node_id: NodeId,
    wait: Wait = True,
    timeout: Timeout = 60.0,
    expect: Expect = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    as_json: AsJson = False,
) -> None:
    """Make a learner a voter, as soon as it has caught up."""

    async def work(client: ClusterMembers) -> Report:
        report = await client.change_and_look("POST", f"members/{node_id}/promote", expect=expect)
        return await _waited(client, node_id, "voter", timeout) if wait else report

    _show(_with(cluster, work), as_json)


@members.command()
def demote(node_id: NodeId, expect: Expect = None, cluster: Cluster = DEFAULT_CLUSTER, as_json: AsJson = False) -> None:
    """Make a voter a learner. A leader hands its leadership over first."""
    _show(_with(cluster, _change("POST", f"members/{node_id}/demote", expect)), as_json)


@members.command()
def remove(node_id: NodeId, expect: Expect = None, cluster: Cluster = DEFAULT_CLUSTER, as_json: AsJson = False) -> None:
    """Take a member out. Its process is told, and ends with exit code 3. A leader hands over first."""
    _show(_with(cluster, _change("DELETE", f"members/{node_id}", expect)), as_json)


@members.command()
def update(
    node_id: NodeId,
    address: Annotated[str | None, typer.Option(help="Where it is reached from now on: host:port.")] = None,
    priority: Annotated[int | None, typer.Option(min=0, max=PRIORITY_MAX, help="The highest leads if it can.")] = None,
    expect: Expect = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    as_json: AsJson = False,
) -> None:
    """Change a member's address or priority."""
    changes = {"address": address, "priority": priority}
    body = {name: value for name, value in changes.items() if value is not None}
    if not body:
        raise ConfigError("an update changes something: give --address or --priority")
    _show(_with(cluster, _change("PATCH", f"members/{node_id}", expect, body)), as_json)


@members.command("transfer-leader")
def transfer_leader(
    node_id: Annotated[int | None, typer.Argument(min=1, help="Who is to lead.", show_default="the fittest")] = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    as_json: AsJson = False,
) -> None:
    """Hand the leadership over."""
    body = {} if node_id is None else {"node_id": node_id}

    async def work(client: ClusterMembers) -> Report:
        return await client.change("POST", "leader", body)

    report = _with(cluster, work)
    if as_json:
        typer.echo(json.dumps(report))
    else:
        typer.echo(f"node {report['leader']} at {report['leader_address']} leads")


# -- parts -----------------------------------------------------------------------------------------------


def _with(cluster: str, work: Callable[[ClusterMembers], Awaitable[T]]) -> T:
    """What ``work`` returns, done with a client of the cluster."""
    addresses = parse_cluster(cluster)

    async def run() -> T:
        async with ClusterMembers(addresses, admin_token=_admin_token.get()) as client:
            return await work(client)

    return asyncio.run(run())


def _change(
    method: str, path: str, expect: int | None, body: Any = None
) -> Callable[[ClusterMembers], Awaitable[Report]]:
    async def work(client: ClusterMembers) -> Report:
        return await client.change_and_look(method, path, body, expect=expect)

    return work


async def _waited(client: ClusterMembers, node_id: int, role: str, seconds: float) -> Report:
    """Wait for the member, saying on standard error what it lacks."""
    console = Console(stderr=True)
    shown = ""

    def tell(waiting: Waiting) -> None:
        nonlocal shown
        line = f"node {node_id}: {waiting.text}"
        if console.is_terminal:
            spinner.update(line)
        elif line.partition(" lacks ")[0] != shown.partition(" lacks ")[0]:  # a number that changes is no news
            typer.echo(line, err=True)
        shown = line

    with console.status(f"node {node_id}: ...") as spinner:
        return await client.wait_for(node_id, seconds, role=role, progress=tell)


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report, indent=2))
        return
    wide_console().print(_table(report))
    typer.echo(summary(report))
    if "warning" in report:
        typer.echo(f"warning: {report['warning']}", err=True)


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("NODE", "ADDRESS", "MEMBER", "PRIORITY", "STATE", "MATCH", "LAG"):
        table.add_column(heading, justify="right" if heading in ("PRIORITY", "MATCH", "LAG") else "left")
    for member in report["members"]:
        is_leader = member["node_id"] == report["leader"]
        table.add_row(
            str(member["node_id"]),
            member["address"],
            member["role"],
            str(member["priority"]),
            "[green]leader[/green]" if is_leader else ", ".join(_states(member)) or "ok",
            "-" if member["match_index"] is None else str(member["match_index"]),
            "-" if member["lag"] is None else str(member["lag"]),
        )
    return table


def _states(member: Report) -> list[str]:
    states = {
        "not connected": not member["connected"],
        "to be promoted": member["promote"],
        "leaving": member["leaving"],
        "repairing": member["repairing"],
        "receiving a snapshot": member["snapshot"],
    }
    return [state for state, holds in states.items() if holds]


def summary(report: Report) -> str:
    """The configuration in one line."""
    state = "joint: a change is under way" if report["joint"] else "" if report["committed"] else "not committed yet"
    index = report["configuration_index"]
    entry = f"the configuration of entry {index}" if index else "the configuration that the cluster began with"
    leader = f"node {report['leader']} leads" if report["leader"] else "there is no leader"
    return "; ".join(part for part in (entry, state, leader) if part)
