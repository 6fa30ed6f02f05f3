"""Clients that watch, over real connections: nodes are killed and stopped, and no change is missed or told twice."""

from __future__ import annotations

import asyncio
import json
from itertools import cycle
from typing import Any

import httpx

from quorate.ops.history import History
from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import LocalNode
from quorate.ops.writers import Writers, kill_leader
from quorate.rest.http_client import HttpClient

from .support import create_product, eventually, leader_and_followers


class Watcher:
    """An ``EventSource``: when its connection ends, it goes on at the next node, behind the last id it has."""

    def __init__(self, nodes: list[LocalNode], path: str = "/api/_watch") -> None:
        self._nodes = cycle(nodes)
        self._path = path
        self.last_id = ""
        self.events: list[dict[str, Any]] = []
        self.connections = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            for node in self._nodes:
                headers = {"last-event-id": self.last_id} if self.last_id else {}
                try:
                    async with client.stream("GET", node.url + self._path, headers=headers) as answer:
                        if answer.status_code == 200:
                            self.connections += 1
                            await self._read(answer)
                except httpx.TransportError:
                    await asyncio.sleep(0.02)

    async def _read(self, answer: httpx.Response) -> None:
        block: dict[str, str] = {}
        async for line in answer.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                block[name] = value
                continue
            self.last_id = block.get("id", self.last_id)
            if "data" in block:
                self.events.append(json.loads(block["data"]))
                assert self.events[-1]["sequence_number"] == int(block["id"])
            block = {}


async def all_events(http: HttpClient, node: LocalNode) -> list[dict[str, Any]]:
    """As the pages of a node have them."""
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["sequence_number"] if found else 0
        page = (await http.get(f"{node.url}/api/_events?after={after}&limit=1000")).json()
        if not page:
            return found
        found += page


async def test_a_watcher_misses_nothing_and_hears_nothing_twice_when_leaders_are_killed(
    cluster: LocalCluster, http: HttpClient
) -> None:
    """A1.47-A1.54: resumed on another node, whoever leads, by the last number."""
    leader, followers = await leader_and_followers(cluster)
    watchers = [Watcher([leader, *followers]), Watcher([*followers, leader])]
    watching = [asyncio.ensure_future(watcher.run()) for watcher in watchers]
    await eventually(_holds(lambda: all(watcher.last_id for watcher in watchers)))
    writers = Writers(cluster, http, History(), clients=8)
    async with writers.running(products_max=20_000):
        for _ in range(2):
            await writers.wait_for_writes(50)
            kill = await kill_leader(cluster)
            await writers.wait_for_writes(50)
            kill.node.start()
            await cluster.wait_formed()
    await cluster.wait_caught_up()
    pages = [await all_events(http, node) for node in cluster.nodes.values()]
    assert pages[0] == pages[1] == pages[2]
    assert [event["sequence_number"] for event in pages[0]] == list(range(1, len(pages[0]) + 1))
    await eventually(_holds(lambda: all(len(watcher.events) >= len(pages[0]) for watcher in watchers)))
    for watcher in watchers:
        assert watcher.events == pages[0]
    assert watchers[0].connections >= 2
    for each in watching:
        each.cancel()
    await asyncio.gather(*watching, return_exceptions=True)


async def test_a_node_that_stops_sends_its_watchers_to_another_one(cluster: LocalCluster, http: HttpClient) -> None:
    leader, (follower, other) = await leader_and_followers(cluster)
    watcher = Watcher([follower, other], "/api/products/_watch")
    watching = asyncio.ensure_future(watcher.run())
    await eventually(_holds(lambda: bool(watcher.last_id)))
    await create_product(http, leader, "Oak")
    await eventually(_holds(lambda: len(watcher.events) == 1))
    follower.terminate()
    assert await follower.wait_ended(10) == 0  # a stream that is open holds nothing up
    await create_product(http, leader, "Elm")
    await eventually(_holds(lambda: len(watcher.events) == 2))
    assert [event["event_data"]["name"] for event in watcher.events] == ["Oak", "Elm"]
    assert "without completing" not in follower.log_path.read_text()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


def _holds(condition: Any) -> Any:
    async def holds() -> bool:
        return bool(condition())

    return holds
