"""The demo: three nodes that serve the example shop, and a worker, until they are told to stop."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from quorate.ops.cluster_status import Report, leading
from quorate.ops.first_task import FirstTask, do_first_task
from quorate.ops.local_cluster import LocalCluster, Progress
from quorate.ops.shop import SHOP_APP, shop_directory

REFRESH_SECONDS = 0.5
RESTART_SECONDS = 10.0
"""How long a node that was killed stays away."""


async def run_demo(console: Console, directory: Path, ports: Sequence[int], *, temporary: bool) -> None:
    """Form the cluster, say what to try, then show how it fares. Ends only when it is cancelled, or by a failure."""
    kept = "removed at the end" if temporary else "kept"
    console.print(f"Starting three nodes with examples/shop.py, data and logs in {directory} ({kept})", soft_wrap=True)
    async with LocalCluster(directory, ports, app=SHOP_APP, cwd=shop_directory()) as cluster:
        await _form(console, cluster)
        cluster.start_worker()
        leader = await cluster.leader()
        done = await do_first_task(cluster, cluster.client, "offer-1")
        console.print(_invitation(cluster, leader.node_id, done), soft_wrap=True, highlight=False, markup=False)
        tasks = [asyncio.ensure_future(work(console, cluster)) for work in (_show_status, _restart_ended)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            console.print("Stopping the nodes ...")
            codes = await cluster.stop()
            console.print("All nodes are stopped." if not any(codes) else f"Stopped, with exit codes {codes}.")


async def _form(console: Console, cluster: LocalCluster) -> None:
    if not console.is_terminal:
        await cluster.wait_formed(_print_changes(console))
        return
    spinner = Spinner("dots", "Starting ...")
    with Live(spinner, console=console, transient=True):
        await cluster.wait_formed(lambda states: spinner.update(text=Text(_states_line(states))))


def _print_changes(console: Console) -> Progress:
    shown: dict[int, str] = {}

    def progress(states: Mapping[int, str]) -> None:
        for node_id, state in states.items():
            if shown.get(node_id) != state:
                shown[node_id] = state
                console.print(f"  node {node_id}: {state}", highlight=False, markup=False)

    return progress


def _states_line(states: Mapping[int, str]) -> str:
    return "   ".join(f"node {node_id}: {state}" for node_id, state in states.items())


def _invitation(cluster: LocalCluster, leader: int, done: FirstTask) -> str:
    """What to try, ready to be copied."""
    leading = cluster.nodes[leader]
    follower = next(node for node in cluster.nodes.values() if node.node_id != leader)
    data = """-H 'content-type: application/json' -d '{"name":"%s","price":"%s"}'"""
    addresses = ",".join(node.address for node in cluster.nodes.values())
    nodes = "\n".join(
        f"  node {node.node_id}  {node.url}  process {node.pid}{'  (leader)' if node is leading else ''}"
        for node in cluster.nodes.values()
    )
    worker = cluster.workers[0]
    return f"""
The cluster is formed:
{nodes}
  {worker.name}  process {worker.pid}

See it at a glance, and go on seeing it whichever node you kill:
  {leading.url}/dashboard

As a first sign of life, {done.as_sentence()}

Create a product, on the leader, and through a follower that redirects to it:
  curl -L -X POST {leading.url}/api/products {data % ("Oak", "19.99")}
  curl -L -X POST {follower.url}/api/products {data % ("Ash", "12.50")}
Read on any node:
  curl {follower.url}/api/products
  curl '{leading.url}/api/products/count?consistency=eventually'
Keys and values, with redis-cli or any Redis client{_how_to_get("redis-cli", "redis-tools")}:
  redis-cli -p {leading.port} set greeting hello
  redis-cli -p {follower.port} get greeting
Tasks, submitted to one node, done by the worker, and asked for on another:
  curl -L -X POST {leading.url}/api/v1/tasks {_OFFER}
  curl '{follower.url}/api/v1/tasks/offer-2?wait=10'
Kill the leader: another takes over, nothing is lost, and {RESTART_SECONDS:g} s later the demo starts it again:
  kill -9 {leading.pid}
  curl {follower.url}/api/products
Look around:
  {leading.url}/docs   {leading.url}/status   {leading.url}/metrics
  {_command()} status --cluster {addresses}
  {_command()} doctor --cluster {addresses}

Ctrl-C stops all nodes.
"""


_OFFER = (
    "-H 'content-type: application/json' "
    """-d '{"id":"offer-2","type":"send_offer","payload":{"to":"bob@example.org","product":"Ash"}}'"""
)


def _how_to_get(program: str, package: str) -> str:
    return "" if shutil.which(program) else f" (on Debian and Ubuntu: apt install {package})"


def _command() -> str:
    """How to call ``quorate`` from where the user is."""
    return "quorate" if shutil.which("quorate") else sys.argv[0]


async def _restart_ended(console: Console, cluster: LocalCluster) -> None:
    """Bring back what was killed, so that one can see the nodes catch up."""
    while True:
        for process in (*cluster.nodes.values(), *cluster.workers):
            if not process.is_running:
                seconds = f"starting it again in {RESTART_SECONDS:g} s"
                console.print(f"{process.name} ended with exit code {process.exit_code}; {seconds}", highlight=False)
                await asyncio.sleep(RESTART_SECONDS)
                process.start()
        await asyncio.sleep(REFRESH_SECONDS)


async def _show_status(console: Console, cluster: LocalCluster) -> None:
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while True:
                line = status_line(await cluster.statuses())
                live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
                await asyncio.sleep(REFRESH_SECONDS)
    shown = ""
    while True:
        line = status_line(await cluster.statuses())
        if line != shown:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
            shown = line
        await asyncio.sleep(REFRESH_SECONDS)


def status_line(reports: Sequence[Report]) -> str:
    """One line on all nodes: which term it is, and how far each has applied the log."""
    leader = leading(reports)
    parts = [f"term {leader['term']}, committed {leader['commit_index']}" if leader else "no leader"]
    for number, report in enumerate(reports, start=1):
        state = "gone" if "error" in report else f"{report['role']} {report['applied_index']}"
        parts.append(f"{number}: {state}")
    return " | ".join(parts)
