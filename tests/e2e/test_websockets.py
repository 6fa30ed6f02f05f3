"""Nodes that dial each other by WebSockets, on the port that clients use."""

from __future__ import annotations

from quorate.rest.http_client import HttpClient

from .support import StartCluster, create_product, leader_and_followers, read_products


async def test_a_cluster_over_websockets_outlives_its_leader(start_cluster: StartCluster, http: HttpClient) -> None:
    cluster = await start_cluster("--peer-transport", "websocket")
    leader, followers = await leader_and_followers(cluster)
    for number in range(20):
        await create_product(http, followers[number % 2], f"before {number}")
    leader.kill()
    await leader.wait_ended(5)
    successor = await cluster.leader()
    assert successor is not leader
    for number in range(20):
        await create_product(http, successor, f"after {number}")
    leader.start()
    await cluster.wait_formed()
    await cluster.wait_caught_up()
    for node in cluster.nodes.values():
        assert len(await read_products(http, node.url, consistency="eventually")) == 40
