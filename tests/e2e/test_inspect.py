"""The data directories of real processes: running, killed, and damaged."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from quorate.ops.history import History
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.writers import Writers
from quorate.rest.http_client import HttpClient

from .support import quorate


async def inspected(path: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    ended = await asyncio.to_thread(quorate, "inspect", str(path), "--json", *arguments)
    assert ended.returncode == code, ended.stdout + ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


async def examined(*arguments: str, code: int | None) -> dict[str, list[str]]:
    """What the doctor finds, by subject."""
    ended = await asyncio.to_thread(quorate, "doctor", "--json", "--seconds", "0.1", *arguments)
    assert code in (None, ended.returncode), ended.stdout + ended.stderr
    checks = json.loads(ended.stdout)["checks"]
    return {each["subject"]: [found["check"] for found in each["findings"]] for each in checks}


async def test_a_running_a_killed_and_a_damaged_directory(cluster: LocalCluster, http: HttpClient) -> None:
    history = History()
    await Writers(cluster, http, history, clients=8).create(300)
    index = await cluster.wait_caught_up()
    node = next(iter(cluster.nodes.values()))
    running = await inspected(node.data_dir)
    assert running["used_by"] == f"process {node.pid}"
    assert running["log"]["last_index"] >= index
    assert await cluster.wait_caught_up() >= index  # the look has disturbed nobody

    assert (await examined("--cluster", cluster.nodes[2].address, code=None))["reachability"] == []
    node.kill()
    await node.wait_ended(5)
    await cluster.leader(not_one_of=[node.node_id])
    found = await examined("--cluster", cluster.nodes[2].address, "--data-dir", str(node.data_dir), code=1)
    assert {"no_spare_voter"} <= {*found["quorum and leader"]} <= {"no_spare_voter", "terms_rise"}
    assert found["reachability"] == ["nothing_listens"], "of a member that was not named"
    assert "directory_has_another_id" not in found["data directory"]
    assert "directory_is_damaged" not in found["data directory"]
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
    assert "directory_is_damaged" in (await examined("--data-dir", str(node.data_dir), code=3))["data directory"]
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
