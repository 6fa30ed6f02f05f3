"""Nodes are told to stop while clients write: they hand over, answer what they were asked, and nobody notices."""

from __future__ import annotations

import time

from quorate.node.node import DRAIN_SECONDS_MAX
from quorate.ops.history import History
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.writers import Writers
from quorate.rest.http_client import HttpClient

from .support import HeldRequest, eventually, leader_and_followers, verdict_on

PRODUCTS_MAX = 20_000


async def test_the_leader_is_told_to_stop_under_load_and_no_request_fails(
    cluster: LocalCluster, http: HttpClient
) -> None:
    history = History()
    writers = Writers(cluster, http, history, clients=16)
    silences, handovers = [], []
    async with writers.running(products_max=PRODUCTS_MAX):
        for _ in range(2):
            await writers.wait_for_writes(200)
            leader = await cluster.leader()
            at = time.monotonic()
            leader.terminate()
            await cluster.leader(not_one_of=[leader.node_id])
            handovers.append(time.monotonic() - at)
            assert await leader.wait_ended(10) == 0
            await writers.wait_for_writes(200)
            silences.append(history.longest_silence(at, time.monotonic()))
            leader.start()
            await cluster.wait_formed()
    print("another leads after", handovers, "longest silence", silences)
    assert history.unknown_outcomes == 0, "a request was cut off"
    assert min(silences) < 1  # the better of two: the machine that runs this may be busy with other things
    verdict = await verdict_on(cluster, http, history)
    assert verdict.good, (verdict, history.refused)


async def test_every_node_is_restarted_one_after_the_other_under_load(cluster: LocalCluster, http: HttpClient) -> None:
    history = History()
    writers = Writers(cluster, http, history, clients=8)
    async with writers.running(products_max=PRODUCTS_MAX):
        for node in cluster.nodes.values():
            await writers.wait_for_writes(100)
            node.terminate()
            assert await node.wait_ended(10) == 0
            node.start()
            await cluster.wait_formed()
    assert (history.unknown_outcomes, history.refused, history.unresolved) == (0, [], set()), "a request failed"
    verdict = await verdict_on(cluster, http, history)
    assert verdict.good, (verdict, history.refused)


async def test_a_second_signal_stops_a_node_at_once(cluster: LocalCluster, http: HttpClient) -> None:
    leader, followers = await leader_and_followers(cluster)
    for follower in followers:
        follower.pause()  # so that nobody can take over, and the write below has no outcome
    held = HeldRequest(leader, warm=True)
    held.send("POST", "/api/products", {"name": "Oak", "price": "1.00"})
    await http.get(f"{leader.url}/status")  # once this is answered, it has read what was sent before
    leader.terminate()

    async def is_stopping() -> bool:
        return "a second signal stops it at once" in leader.log_path.read_text()

    await eventually(is_stopping)
    assert leader.is_running
    leader.terminate()
    status, body = await held.answer()
    assert (status, body["outcome"]) in {(504, "unknown"), (503, "not_applied")}
    assert await leader.wait_ended(DRAIN_SECONDS_MAX / 2) == 0
    assert "stops at once" in leader.log_path.read_text()
    for follower in followers:
        follower.resume()
