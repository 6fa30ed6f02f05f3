"""A majority is lost for ever: one node is made a cluster of its own, others join it, old members cannot disturb."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from quorate.ops.history import History
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import LocalNode
from quorate.ops.ports import free_ports
from quorate.ops.shop import SHOP_APP, shop_directory
from quorate.ops.shop_client import read_products
from quorate.ops.writers import Writers
from quorate.rest.http_client import HttpClient

from .support import StartCluster, create_product, eventually, quorate

NEW_ID = "shop-2"


@pytest.fixture
async def started(tmp_path: Path) -> AsyncIterator[list[LocalNode]]:
    """Processes to be ended with the test."""
    nodes: list[LocalNode] = []
    async with AsyncExitStack() as stack:
        stack.callback(lambda: [node.kill_and_reap() for node in nodes])
        yield nodes


def node_of(survivor: LocalNode, node_id: int, directory: Path, *arguments: str) -> LocalNode:
    """A node of the recovered cluster."""
    common = ("--app", SHOP_APP, "--cluster-id", NEW_ID, *arguments)
    port = survivor.port if node_id == survivor.node_id else free_ports(1)[0]
    return LocalNode(node_id, port, directory, common, shop_directory())


async def is_healthy(http: HttpClient, node: LocalNode) -> bool:
    try:
        return (await http.get(f"{node.url}/health")).status == 200
    except Exception:
        return False


async def lose_two(cluster: LocalCluster, http: HttpClient) -> tuple[LocalNode, list[LocalNode], History]:
    """The node that is left, the others, and what was acknowledged."""
    history = History()
    await Writers(cluster, http, history, clients=8).create(300)
    await cluster.wait_caught_up()
    survivor, *lost = cluster.nodes.values()
    for node in cluster.nodes.values():
        node.kill()
    for node in cluster.nodes.values():
        await node.wait_ended(5)
    return survivor, lost, history


async def recovered(survivor: LocalNode) -> None:
    command = ("recover", "--data-dir", str(survivor.data_dir), "--force-new-cluster", "--yes")
    ended = await asyncio.to_thread(quorate, *command, "--new-cluster-id", NEW_ID)
    assert ended.returncode == 0, ended.stderr


async def test_one_node_of_three_is_recovered_and_two_are_added_and_an_old_one_is_refused(
    start_cluster: StartCluster, started: list[LocalNode], http: HttpClient, tmp_path: Path
) -> None:
    cluster = await start_cluster()
    survivor, lost, history = await lose_two(cluster, http)
    await recovered(survivor)
    first = node_of(survivor, survivor.node_id, survivor.data_dir)
    started.append(first)
    first.start()
    await eventually(lambda: is_healthy(http, first))
    assert "was recovered by force" in first.log_path.read_text()

    peers = ("--join", "--peers", f"{first.node_id}@{first.address}")
    for node_id in (4, lost[0].node_id):  # an id may be used again, with an empty directory
        new = node_of(survivor, node_id, tmp_path / f"new{node_id}", *peers)
        started.append(new)
        new.start()
        added = await asyncio.to_thread(
            quorate, "members", "add", f"{node_id}@{new.address}", "--cluster", first.address
        )
        assert added.returncode == 0, added.stderr
    acknowledged = {row["id"] for _, row in history.acknowledged}
    for node in started:
        assert {row["id"] for row in await read_products(http, node.url, consistency="strong")} == acknowledged

    for old in lost:  # together they are a majority of the old cluster
        old.start()
    await eventually(lambda: is_healthy(http, lost[0]))
    await create_product(http, first, "after the recovery")
    statuses = [(await http.get(f"{node.url}/cluster/members")).json() for node in started]
    assert {status["cluster_id"] for status in statuses} == {NEW_ID}
    assert len({status["leader"] for status in statuses}) == 1
    assert [member["node_id"] for member in statuses[0]["members"]] == sorted(node.node_id for node in started)
    for node in started:
        node.check_running()
        rows = await read_products(http, node.url, consistency="strong")
        assert {row["id"] for row in rows} >= acknowledged
        assert "after the recovery" in {row["name"] for row in rows}
    rows = await read_products(http, lost[0].url, consistency="eventually")
    assert "after the recovery" not in {row["name"] for row in rows}
    for old in lost:
        told = [line for line in old.log_path.read_text().splitlines() if "belongs to another cluster" in line]
        assert len(told) == 1, told
        assert f"{first.address} belongs to another cluster" in told[0]
        assert f"this is cluster '{NEW_ID}', not 'quorate'" in told[0]
        assert (await http.get(f"{old.url}/status")).json()["other_cluster_at"] == [first.address]
    lost[1].kill()
    unhealthy = await http.get(f"{lost[0].url}/health")
    assert (unhealthy.status, unhealthy.json()["other_cluster_at"]) == (503, [first.address])


async def test_old_members_with_a_longer_log_and_a_later_configuration_do_not_come_near_the_recovered_node(
    start_cluster: StartCluster, started: list[LocalNode], http: HttpClient
) -> None:
    cluster = await start_cluster()
    survivor, lost, _ = await lose_two(cluster, http)
    for old in lost:
        old.start()
    await eventually(lambda: is_healthy(http, lost[0]))
    addresses = ",".join(old.address for old in lost)
    removed = await asyncio.to_thread(quorate, "members", "remove", str(survivor.node_id), "--cluster", addresses)
    assert removed.returncode == 0, removed.stderr
    for number in range(50):  # their log is longer, their term higher, and they have put the survivor out
        await create_product(http, lost[0], f"behind its back {number}")
    await recovered(survivor)
    first = node_of(survivor, survivor.node_id, survivor.data_dir, "--peers", addresses)
    started.append(first)
    first.start()
    await eventually(lambda: is_healthy(http, first))
    await create_product(http, first, "alone")
    rows = {row["name"] for row in await read_products(http, first.url, consistency="strong")}
    assert "alone" in rows
    assert not any(name.startswith("behind") for name in rows)
    first.check_running()
    assert "belongs to another cluster" not in first.log_path.read_text(), "it is the one that is to go on"
    with pytest.raises(TimeoutError):
        await first.wait_ended(1.0)
