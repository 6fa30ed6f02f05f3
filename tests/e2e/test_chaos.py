"""``quorate chaos`` against real nodes, and what lets it: ``--allow-faults``."""

from __future__ import annotations

import json
import time
from pathlib import Path

from quorate.ops.local_node import LocalNode
from quorate.rest.http_client import HttpClient, Unanswered

from .support import StartCluster, leader_and_followers, quorate

FAULTS = "/admin/faults"
CRASHED = 137


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
        *("--load-test-concurrent", "10", "--rate", "100", "--max-interruption", "1ms"),
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
