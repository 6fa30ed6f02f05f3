"""Processes are killed, stopped and paused; what was acknowledged stays, and reads stay true."""

from __future__ import annotations

from quorate.ops.history import History
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.writers import Writers, kill_leader
from quorate.rest.http_client import HttpClient

from .support import (
    HeldRequest,
    create_product,
    eventually,
    kill_all_and_start_again,
    leader_and_followers,
    verdict_on,
)

PRODUCTS_MAX = 20_000


async def test_the_leader_is_killed_under_load_and_nothing_is_lost(cluster: LocalCluster, http: HttpClient) -> None:
    """One after the other."""
    history = History()
    writers = Writers(cluster, http, history, clients=16)
    async with writers.running(products_max=PRODUCTS_MAX):
        for _ in range(2):
            await writers.wait_for_writes(100)
            kill = await kill_leader(cluster)
            await writers.wait_for_writes(100)
            kill.node.start()
            await cluster.wait_formed()
        await writers.wait_for_writes(50)
    verdict = await verdict_on(cluster, http, history)
    assert verdict.good, (verdict, history.refused)


async def test_all_nodes_are_killed_at_once_under_load_and_restarted(cluster: LocalCluster, http: HttpClient) -> None:
    """A2.26 restart."""
    history = History()
    writers = Writers(cluster, http, history, clients=16)
    async with writers.running(products_max=PRODUCTS_MAX):
        await writers.wait_for_writes(200)
        await kill_all_and_start_again(cluster)
        await writers.wait_for_writes(100)
    verdict = await verdict_on(cluster, http, history)
    assert verdict.good, (verdict, history.refused)


async def test_a_follower_is_stopped_for_a_while_and_catches_up(cluster: LocalCluster, http: HttpClient) -> None:
    """A2.27 catch-up."""
    _, (follower, _) = await leader_and_followers(cluster)
    history = History()
    writers = Writers(cluster, http, history, clients=8)
    await writers.create(50)
    follower.terminate()
    assert await follower.wait_ended(10) == 0
    await writers.create(500)
    follower.start()
    await cluster.wait_formed()
    verdict = await verdict_on(cluster, http, history)
    assert verdict.acknowledged == 550
    assert verdict.good, verdict


async def test_without_a_majority_nothing_is_acknowledged_and_strong_reads_fail(
    shared_cluster: LocalCluster, http: HttpClient
) -> None:
    leader, followers = await leader_and_followers(shared_cluster)
    product = await create_product(http, leader, "Oak")
    for follower in followers:
        follower.kill()

    async def is_unhealthy() -> bool:
        return (await http.get(f"{leader.url}/health")).status == 503

    await eventually(is_unhealthy)
    refused = await http.post(f"{leader.url}/api/products", {"name": "Elm", "price": "1.00"})
    assert refused.status == 503
    assert "retry-after" in refused.headers
    local = await http.get(f"{leader.url}/api/products/{product['id']}?consistency=eventually")
    assert local.json() == product
    for follower in followers:
        follower.start()
    await shared_cluster.wait_formed()
    assert (await http.get(f"{leader.url}/api/products/count?name__in=Oak,Elm")).json() == {"count": 1}


async def test_a_paused_leader_serves_no_stale_strong_read_when_it_resumes(
    shared_cluster: LocalCluster, http: HttpClient
) -> None:
    for round_number in range(3):
        leader, _ = await leader_and_followers(shared_cluster)
        product = await create_product(http, leader, f"Oak {round_number}", stock=0)
        path = f"/api/products/{product['id']}"
        held = [HeldRequest(leader, warm=number % 2 == 0) for number in range(16)]
        leader.pause()
        successor = await shared_cluster.leader(not_one_of=[leader.node_id])
        changed = await http.request("PATCH", f"{successor.url}{path}", b'{"stock": 1}')
        assert changed.status == 200, changed.text

        # These wait in its socket: it finds them when it goes on, still in the belief that it leads.
        for request in held:
            request.send("GET", path)
        leader.resume()
        for request in held:
            status, body = await request.answer()
            assert status in (200, 503)
            if status == 200:
                assert body["stock"] == 1, "a strong read returned what had been overwritten"
        await shared_cluster.wait_formed()


async def test_a_paused_leader_acknowledges_nothing_that_is_then_lost(
    shared_cluster: LocalCluster, http: HttpClient
) -> None:
    leader, _ = await leader_and_followers(shared_cluster)
    held = [HeldRequest(leader, warm=number % 2 == 0) for number in range(16)]
    leader.pause()
    await shared_cluster.leader(not_one_of=[leader.node_id])
    for number, request in enumerate(held):
        request.send("POST", "/api/products", {"name": f"late {number}", "price": "1.00"})
    leader.resume()
    answers = [await request.answer() for request in held]
    assert {status for status, _ in answers} <= {201, 307, 503, 504}
    await shared_cluster.wait_formed()
    acknowledged = {body["id"] for status, body in answers if status == 201}
    certainly_not = {f"late {at}" for at, (status, _) in enumerate(answers) if status in (307, 503)}
    for url in shared_cluster.urls:
        rows = (await http.get(f"{url}/api/products?name__startswith=late")).json()
        assert acknowledged <= {row["id"] for row in rows}
        assert not certainly_not & {row["name"] for row in rows}
