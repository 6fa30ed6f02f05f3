"""Real processes with storage profiles (A2.53-A2.67): killed with kill -9 under writes, looked into, switched."""

from __future__ import annotations

import asyncio
import json

import pytest

from quorate.ops.history import History
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.writers import Writers
from quorate.rest.http_client import HttpClient

from .support import StartCluster, kill_all_and_start_again, quorate, verdict_on

PRODUCTS_MAX = 20_000


async def kill_all_under_writes(cluster: LocalCluster, http: HttpClient) -> History:
    history = History()
    writers = Writers(cluster, http, history, clients=16)
    async with writers.running(products_max=PRODUCTS_MAX):
        await writers.wait_for_writes(200)
        await kill_all_and_start_again(cluster)
        await writers.wait_for_writes(50)
    return history


async def test_kill_of_all_nodes_loses_nothing_of_what_was_not_synced(
    start_cluster: StartCluster, http: HttpClient
) -> None:
    cluster = await start_cluster("--storage-profile", "high_throughput", "--flush-interval-ms", "60000")
    history = await kill_all_under_writes(cluster, http)
    verdict = await verdict_on(cluster, http, history)
    assert verdict.good, (verdict, history.refused)
    for node in cluster.nodes.values():
        status = (await http.get(f"{node.url}/status")).json()
        assert status["storage_profile"] == "high_throughput"
        assert status["storage"]["settings"]["flush_interval_ms"] == 60_000
        assert status["storage"]["settings"]["fsync_on_append"] is False
        assert status["storage"]["power_loss"] is None, "a process that was killed is no loss of power"
        assert (node.data_dir / "groups" / "0" / "unsynced").exists()
    addresses = ",".join(node.url.removeprefix("http://") for node in cluster.nodes.values())
    shown = await asyncio.to_thread(quorate, "status", "--cluster", addresses)
    assert shown.stdout.count("high_throughput") == 3
    assert "acknowledges before it syncs" in shown.stdout


@pytest.mark.parametrize("profile", ["durable_security", "balanced"])
async def test_a_log_of_either_form_survives_and_is_shown(
    start_cluster: StartCluster, http: HttpClient, profile: str
) -> None:
    cluster = await start_cluster("--storage-profile", profile)
    history = await kill_all_under_writes(cluster, http)
    verdict = await verdict_on(cluster, http, history)
    assert verdict.good, (verdict, history.refused)
    node = next(iter(cluster.nodes.values()))
    node.terminate()
    assert await node.wait_ended(10) == 0
    assert not (node.data_dir / "groups" / "0" / "unsynced").exists(), "a clean end leaves nothing unsynced"
    shown = await asyncio.to_thread(quorate, "inspect", str(node.data_dir), "--json", "--entries", "1..", "--payload")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    report = json.loads(shown.stdout)
    form = "json" if profile == "durable_security" else "binary"
    assert {segment["form"] for segment in report["log"]["segments"]} == {form}
    if form == "json":
        last = node.data_dir / "groups" / "0" / "log" / report["log"]["segments"][-1]["name"]
        lines = [json.loads(line) for line in last.read_text().splitlines()]
        assert [line["index"] for line in lines if "index" in line][-1] == report["log"]["last_index"]
