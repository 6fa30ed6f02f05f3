"""The data directories of real processes: running, killed, and damaged."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from quorate.ops.history import History
from quorate.ops.http import HttpClient
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.writers import Writers

from .support import quorate


async def inspected(path: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    ended = await asyncio.to_thread(quorate, "inspect", str(path), "--json", *arguments)
    assert ended.returncode == code, ended.stdout + ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


async def test_a_running_a_killed_and_a_damaged_directory(cluster: LocalCluster, http: HttpClient) -> None:
    history = History()
    await Writers(cluster, http, history, clients=8).create(300)
    index = await cluster.wait_caught_up()
    node = next(iter(cluster.nodes.values()))
    running = await inspected(node.data_dir)
    assert running["used_by"] == f"process {node.pid}"
    assert running["log"]["last_index"] >= index
    assert await cluster.wait_caught_up() == index  # the look has disturbed nobody

    node.kill()
    await node.wait_ended(5)
    killed = await inspected(node.data_dir, "--entries", "2..4", "--payload")
    assert killed["used_by"] is None
    assert killed["state"]["tables"]["model_product"] == 300
    assert killed["state"]["wal_bytes"] > 0
    declared, created, _ = (entry["bodies"][0]["body"] for entry in killed["entries"])
    assert '"declare"' in declared
    assert '"create"' in created

    byte = killed["entries"][1]["byte"]
    segment = node.data_dir / "groups" / "0" / "log" / killed["entries"][1]["segment"]
    with segment.open("r+b") as file:
        file.seek(byte + 40)
        file.write(b"\xff\xff\xff\xff")
    damaged = await inspected(node.data_dir, "--entries", "1..5", code=1)
    assert [entry["index"] for entry in damaged["entries"]] == [1, 2, 4, 5]
    assert any(f"byte {byte}: expected entry 3" in problem for problem in damaged["problems"])

    node.start()  # what is damaged is set aside, and the others repair the node
    await cluster.wait_formed()
    assert await cluster.wait_caught_up() >= index
    node.terminate()
    assert await node.wait_ended(10) == 0
    repaired = await inspected(node.data_dir)
    assert repaired["repairing"] is None
    assert any(name.startswith("log/") for name in repaired["quarantined"])
    assert repaired["state"]["tables"]["model_product"] == 300
