"""Writes find the leader: by a redirect, or by forwarding where that is set; nodes find each other by bare ports."""

from __future__ import annotations

from pathlib import Path

import httpx

from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import LocalNode
from quorate.ops.ports import free_ports
from quorate.ops.shop import SHOP_APP, shop_directory
from quorate.rest.http_client import HttpClient

from .support import StartCluster, eventually, leader_and_followers

PRODUCT = {"name": "Oak", "price": "19.99"}


async def test_a_follower_redirects_writes_to_the_leader(cluster: LocalCluster) -> None:
    leader, followers = await leader_and_followers(cluster)
    async with httpx.AsyncClient() as client:
        for follower in followers:
            answer = await client.post(f"{follower.url}/api/products", json=PRODUCT)
            assert answer.status_code == 307
            assert answer.headers["location"] == f"{leader.url}/api/products"
            assert answer.headers["x-raft-leader"] == str(leader.node_id)
        created = await client.post(f"{followers[0].url}/api/products", json=PRODUCT, follow_redirects=True)
        assert created.status_code == 201


async def test_with_forward_writes_any_node_answers_itself(start_cluster: StartCluster) -> None:
    cluster = await start_cluster("--forward-writes")
    async with httpx.AsyncClient() as client:
        for number, url in enumerate(cluster.urls):
            created = await client.post(f"{url}/api/products", json={**PRODUCT, "name": f"Oak {number}"})
            assert created.status_code == 201
            read = await client.get(f"{url}{created.headers['location']}")
            assert read.json() == created.json()


async def test_three_nodes_are_started_one_by_one_and_know_only_ports(tmp_path: Path, http: HttpClient) -> None:
    ports = free_ports(3)
    nodes = []
    for node_id, port in enumerate(ports, start=1):
        peers = ",".join(str(other) for other in ports if other != port)
        arguments = ("--peers", peers, "--app", SHOP_APP)
        nodes.append(LocalNode(node_id, port, tmp_path / f"node{node_id}", arguments, shop_directory()))

    async def answers(node: LocalNode) -> bool:
        node.check_running()
        try:
            return (await http.get(f"{node.url}/status")).status == 200
        except OSError:
            return False
        except Exception:
            return False

    async def is_healthy(node: LocalNode) -> bool:
        return await answers(node) and (await http.get(f"{node.url}/health")).status == 200

    try:
        for node in nodes:
            node.start()
            await eventually(lambda node=node: answers(node))  # type: ignore[misc]
        for node in nodes:
            await eventually(lambda node=node: is_healthy(node))  # type: ignore[misc]
        created = await http.post(f"{nodes[0].url}/api/products", PRODUCT)
        assert created.status == 201
        for node in nodes:
            assert (await http.get(f"{node.url}/api/products")).json() == [created.json()]
    finally:
        for node in nodes:
            print(node.log_path.read_text() if node.log_path.exists() else "no log")
            node.kill_and_reap()
