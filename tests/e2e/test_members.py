"""The membership of a cluster of real processes is changed by the command, while clients write."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from quorate.ops.history import History
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.ports import free_ports
from quorate.ops.writers import Writers
from quorate.rest.http_client import HttpClient

from .support import create_product, eventually, quorate, verdict_on

PRODUCTS_MAX = 20_000


async def members(cluster: LocalCluster, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run ``quorate members …`` and return what it prints as JSON; how it fails, if ``code`` is not 0."""
    addresses = ",".join(node.address for node in cluster.nodes.values())
    ended = await asyncio.to_thread(quorate, "members", *arguments, "--cluster", addresses, "--json")
    assert ended.returncode == code, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout) if not code else {"error": ended.stderr}
    return report


def roles(report: dict[str, Any]) -> dict[int, str]:
    return {member["node_id"]: member["role"] for member in report["members"]}


async def test_a_node_is_added_promoted_made_the_leader_and_the_old_leader_removed_while_writes_go_on(
    cluster: LocalCluster, http: HttpClient
) -> None:
    history = History()
    writers = Writers(cluster, http, history, clients=8)
    async with writers.running(products_max=PRODUCTS_MAX):
        await writers.wait_for_writes(200)
        old_leader = await cluster.leader()
        new = cluster.start_joining(4, free_ports(1)[0])
        added = await members(cluster, "add", f"4@{new.address}", "--learner")
        assert roles(added) == {1: "voter", 2: "voter", 3: "voter", 4: "learner"}
        promoted = await members(cluster, "promote", "4")
        assert roles(promoted)[4] == "voter"
        assert promoted["warning"].startswith("4 voters")
        await writers.wait_for_writes(50)
        assert (await members(cluster, "transfer-leader", "4"))["leader"] == 4
        await writers.wait_for_writes(50)
        await members(cluster, "transfer-leader", str(old_leader.node_id))
        old_leader.may_end()
        late = await members(cluster, "remove", str(old_leader.node_id), "--expect", "1", code=1)
        assert "look at it and try again" in late["error"]
        removed = await members(cluster, "remove", str(old_leader.node_id))
        assert sorted(roles(removed)) == sorted({1, 2, 3, 4} - {old_leader.node_id})
        assert await old_leader.wait_ended(10) == 3
        assert old_leader.last_log_line().startswith("quorate: this node was removed by entry")
        await writers.wait_for_writes(50)
    old_leader.start()
    old_leader.may_end()
    assert await old_leader.wait_ended(20) == 3  # and told so once more, if it comes back
    assert "no member of this cluster" in old_leader.last_log_line()
    del cluster.nodes[old_leader.node_id]
    verdict = await verdict_on(cluster, http, history)
    assert verdict.good, (verdict, history.refused)


async def test_a_node_is_replaced_by_a_new_one_at_another_address(cluster: LocalCluster, http: HttpClient) -> None:
    leader = await cluster.leader()
    product = await create_product(http, leader, "Oak")
    lost = next(node for node in cluster.nodes.values() if node is not leader)
    lost.kill()
    await lost.wait_ended(5)
    await members(cluster, "remove", str(lost.node_id))
    del cluster.nodes[lost.node_id]
    new = cluster.start_joining(4, free_ports(1)[0])
    report = await members(cluster, "add", f"4@{new.address}")
    assert roles(report)[4] == "voter"
    assert lost.node_id not in roles(report)

    async def is_there() -> bool:
        answer = await http.get(f"{new.url}/api/products/{product['id']}?consistency=eventually")
        return answer.status == 200 and bool(answer.json() == product)

    await eventually(is_there)


async def test_a_node_moves_to_another_port_and_the_others_follow_it(cluster: LocalCluster, http: HttpClient) -> None:
    leader = await cluster.leader()
    mover = next(node for node in cluster.nodes.values() if node is not leader)
    mover.terminate()
    assert await mover.wait_ended(10) == 0
    moved = type(mover)(mover.node_id, free_ports(1)[0], mover.data_dir, mover.arguments, mover.cwd)
    cluster.nodes[mover.node_id] = moved
    moved.start()

    async def is_known() -> bool:
        report = (await http.get(f"{leader.url}/cluster/members")).json()
        return any(member["address"] == moved.address and member["connected"] for member in report["members"])

    await eventually(is_known)
    await create_product(http, leader, "Oak")
    await cluster.wait_caught_up()


async def test_a_witness_votes_and_holds_nothing(cluster: LocalCluster, http: HttpClient) -> None:
    new = cluster.start_joining(4, free_ports(1)[0])
    report = await members(cluster, "add", f"4@{new.address}", "--witness")
    assert roles(report)[4] == "witness"
    addresses = ",".join(node.address for node in cluster.nodes.values())
    shown = await asyncio.to_thread(quorate, "status", "--cluster", addresses)
    assert "witness" in shown.stdout
    await create_product(http, await cluster.leader(), "Oak")
    refused = await http.get(f"{new.url}/api/products?consistency=eventually")
    assert refused.status == 503
