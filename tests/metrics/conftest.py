"""One cluster for this folder, on which everything was done once; and what its nodes said of it."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path
from time import thread_time

import httpx
import pytest
import redis.asyncio
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from quorate.config import NodeConfig
from quorate.web.server import NodeServer
from tests.web.support import APP, client_of, free_ports, serves_models, until

OPENMETRICS = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1"
"""What Prometheus sends."""


@dataclass
class Scrape:
    """What one node said."""

    text: str

    def __post_init__(self) -> None:
        self.families: dict[str, Metric] = {}
        for family in text_string_to_metric_families(self.text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            self.families[name] = family

    def value(self, sample: str, **labels: str) -> float:
        """Of the one sample of that name with these labels; the sum, if they are several."""
        found = [
            each.value
            for family in self.families.values()
            for each in family.samples
            if each.name == sample and labels.items() <= each.labels.items()
        ]
        assert found, f"no {sample} {labels}"
        return sum(found)


@dataclass
class Said:
    """The leader and a follower while all were well, and the leader when the other follower was stopped; then a node
    that waited to be added, and that one as a witness."""

    leader: Scrape
    follower: Scrape
    alone: Scrape
    outside: Scrape
    witness: Scrape
    openmetrics: httpx.Response
    leader_id: int
    follower_id: int
    stopped_id: int
    seconds: list[float]
    """The processor time of some scrapes: the longest for which each kept the event loop."""


@pytest.fixture(scope="session")
def said(tmp_path_factory: pytest.TempPathFactory) -> Said:
    """Real nodes in a loop of their own."""
    return asyncio.run(_work_and_scrape(tmp_path_factory.mktemp("metrics")))


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus' own tool for rules."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("there is no promtool here to check rules with (on Debian and Ubuntu: apt install prometheus)")
    return found


async def _scrape(server: NodeServer) -> Scrape:
    async with client_of(server) as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scrape(answer.text)


async def _work_and_scrape(directory: Path) -> Said:
    ports = free_ports(3)
    servers = {}
    for number, port in enumerate(ports, start=1):
        peers = tuple(f"{n}@127.0.0.1:{p}" for n, p in enumerate(ports, start=1) if n != number)
        config = NodeConfig(node_id=number, port=port, peers=peers, data_dir=directory / str(number))
        servers[number] = NodeServer(config, APP)
        await servers[number].start()
    try:
        return await _with(servers, directory)
    finally:
        for server in servers.values():
            await server.stop_at_once()


async def _with(servers: dict[int, NodeServer], directory: Path) -> Said:
    leader_id = await servers[1].node.wait_for_leader()
    follower_id, stopped_id = (number for number in servers if number != leader_id)
    leader, follower = servers[leader_id], servers[follower_id]
    await until(lambda: all(serves_models(server) for server in servers.values()))
    async with client_of(leader) as client:
        for number in range(3):
            assert (await client.post("/api/shelves", json={"name": f"shelf {number}"})).status_code == 201
        assert (await client.post("/api/shelves", json={"name": "shelf 1"})).status_code == 409
        submitted = await client.post("/api/v1/tasks", json={"type": "count", "payload": 1, "queue": "reports"})
        assert submitted.status_code == 201
        await client.get("/api/shelves")
        await client.get("/status")
        await client.get("/docs")
        async with redis.asyncio.Redis(port=leader.config.port) as keys:
            await keys.set("one", "1", ex=1000)
            await keys.set("two", "2")
            await keys.get("one")
        await until(lambda: leader.node.applied_index == follower.node.applied_index)
        whole, followers = await _scrape(leader), await _scrape(follower)
        openmetrics = await client.get("/metrics", headers={"accept": OPENMETRICS})
        await servers[stopped_id].stop()
        await client.post("/api/shelves", json={"name": "a shelf that one node lacks"})
        await until(lambda: leader.node.timeline.lost == {stopped_id})
        alone = await _scrape(leader)
        newcomer = servers[4] = NodeServer(
            NodeConfig(node_id=4, port=free_ports(1)[0], data_dir=directory / "4", join=True), APP
        )
        await newcomer.start()
        outside = await _scrape(newcomer)
        document = {"node_id": 4, "address": newcomer.config.address, "role": "witness"}
        assert (await client.post("/cluster/members", json=document)).status_code == 201
        await until(lambda: newcomer.node.is_witness)
        witness = await _scrape(newcomer)
    return Said(
        leader=whole,
        follower=followers,
        alone=alone,
        outside=outside,
        witness=witness,
        openmetrics=openmetrics,
        leader_id=leader_id,
        follower_id=follower_id,
        stopped_id=stopped_id,
        seconds=[_longest_slice(leader) for _ in range(20)],
    )


def _longest_slice(server: NodeServer) -> float:
    """For how long a scrape keeps the event loop at a time, in seconds of the processor."""
    site = server._site
    assert site is not None
    assert site._metrics is not None
    scrape, longest = site._metrics._metrics.text(OPENMETRICS), 0.0
    while True:
        began = thread_time()
        try:
            scrape.send(None)
        except StopIteration:
            return max(longest, thread_time() - began)
        longest = max(longest, thread_time() - began)
