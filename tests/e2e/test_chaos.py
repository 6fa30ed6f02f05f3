"""``quorate chaos`` against real nodes, and what lets it: ``--allow-faults``."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from quorate.ops.chaos.keys import KeysConnection
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import LocalNode
from quorate.rest.http_client import HttpClient, Unanswered

from .support import StartCluster, leader_and_followers, quorate

FAULTS = "/admin/faults"
CRASHED, INTERRUPTED = 137, 130
PASSWORD = "of-the-keys"


def test_the_leader_is_killed_and_the_report_says_what_it_cost(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    # What a machine that is busy with other tests costs is no matter here; what was promised is.
    done = quorate(
        *("chaos", "--nodes", "3", "--scenario", "leader_crash", "--duration", "5s", "--seed", "7"),
        *("--load-test-concurrent", "20", "--rate", "200", "--deadline", "5s"),
        *("--min-availability", "90", "--max-interruption", "5s", "--json", "--html", str(page)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["passed"]
    assert report["linearizable"] == "yes"
    assert report["consistency_percent"] == 100
    assert report["acknowledged"] > 100
    assert report["operations"] == report["succeeded"] + report["failed"] + report["unknown"]
    assert [fault["scenario"] for fault in report["faults"]] == ["leader_crash"]
    assert report["tries"] > report["operations"], "a leader died, and nobody noticed"
    assert page.read_text().startswith("<!doctype html>")


async def test_a_running_cluster_is_broken_as_asked_and_gets_whole_again(
    start_cluster: StartCluster, http: HttpClient
) -> None:
    cluster = await start_cluster("--allow-faults")
    addresses = ",".join(node.address for node in cluster.nodes.values())
    done = quorate(
        *("chaos", "--cluster", addresses, "--scenario", "partition_leader", "--duration", "5s"),
        *("--load-test-concurrent", "10", "--rate", "200", "--max-interruption", "5ms"),
    )
    assert done.returncode == 1, done.stdout + done.stderr
    missed = done.stdout.partition("not passed:")[2]
    assert "longest interruption:" in missed
    assert "consistency:" not in missed
    reports = await cluster.statuses()
    assert [report["faults"]["active"] for report in reports] == [{}, {}, {}]
    assert max(report["faults"]["fired"].get("cut", 0) for report in reports) > 0

    leader, (follower, other) = await leader_and_followers(cluster)
    assert "FAULTS MAY BE INJECTED" in leader.log_path.read_text()
    await is_paused(http, other)
    leader.may_end()
    assert (await http.request("POST", f"{leader.url}{FAULTS}/crash")).status == 202
    assert await leader.wait_ended(5) == CRASHED
    follower.may_end()
    assert (await http.request("POST", f"{follower.url}{FAULTS}/stop")).status == 202
    assert await follower.wait_ended(40) == 0


async def test_a_supervised_cluster_loses_its_leader_and_an_interrupted_run_leaves_nothing_behind(
    start_cluster: StartCluster,
) -> None:
    cluster = await start_cluster("--allow-faults", "--kv-password", PASSWORD)
    ended: list[int | None] = []
    supervising = asyncio.create_task(supervise(cluster, ended))
    addresses = ",".join(node.address for node in cluster.nodes.values())
    common = ("--cluster", addresses, "--kv-password", PASSWORD, "--load-test-concurrent", "10", "--rate", "100")
    lax = ("--min-availability", "50", "--max-interruption", "10s", "--deadline", "5s")
    try:
        async with run_quorate("chaos", *common, *lax, "--duration", "5s", "--json") as crashing:
            told, complained = await crashing.communicate()
        assert crashing.returncode == 0, complained.decode()
        (fault,) = json.loads(told)["faults"]
        assert fault["recovered_seconds"] > fault["ended_seconds"] > fault["began_seconds"]
        assert ended == [CRASHED]

        async with run_quorate("chaos", *common, "--scenario", "membership_churn", "--json") as churning:
            assert churning.stderr is not None
            while b"becomes a learner" not in await churning.stderr.readline():
                pass
            churning.send_signal(signal.SIGINT)
            told, complained = await churning.communicate()
        assert (churning.returncode, told) == (INTERRUPTED, b"")
        assert complained.endswith(b"there is no report\nquorate: interrupted\n")
        reports = await cluster.statuses()
        assert {(report["member_role"], *report["faults"]["active"]) for report in reports} == {("voter",)}
        connection = KeysConnection(addresses.split(",")[0], PASSWORD, timeout=10)
        assert await connection.ask("DBSIZE") == 0
        connection.close()
    finally:
        supervising.cancel()


async def supervise(cluster: LocalCluster, ended: list[int | None]) -> None:
    """Start every node again that ends, as systemd does; what they ``ended`` with."""
    while True:
        for node in cluster.nodes.values():
            if not node.is_running:
                ended.append(node.exit_code)
                node.start()
        await asyncio.sleep(0.1)


@asynccontextmanager
async def run_quorate(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command, beside other things; it ends with the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUORATE_")}
    command = (sys.executable, "-m", "quorate", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment)
    try:
        async with asyncio.timeout(60):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def is_paused(http: HttpClient, node: LocalNode) -> None:
    """A node stops for a while, does not answer, and goes on."""
    began = time.monotonic()
    body = json.dumps({"pause_ms": 800, "seconds": 1}).encode()
    assert (await http.request("PUT", f"{node.url}{FAULTS}", body)).status == 200
    paused = False
    while time.monotonic() < began + 0.8 and not paused:
        try:
            await http.request("GET", f"{node.url}/status", timeout=0.2)
        except Unanswered:
            paused = True
    assert paused
    assert (await http.get(f"{node.url}/status")).status == 200
    assert time.monotonic() - began >= 0.7
