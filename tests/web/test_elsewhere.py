"""Requests to a node whose declarations are not in force: they wait, or go elsewhere."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from quorate import App, Model, field
from quorate.config import NodeConfig
from quorate.errors import NodeStopped
from quorate.web.elsewhere import Elsewhere
from quorate.web.server import NodeServer

from .support import StartCluster, client_of, until


async def test_who_waits_is_sent_away_when_the_node_is_about_to_stop() -> None:
    declarations = SimpleNamespace(are_served=False, are_stored=False, version=0)
    node = SimpleNamespace(peer_schemas={2: "same"}, leader=2, is_draining=True)
    elsewhere = Elsewhere(cast("Any", node), cast("Any", SimpleNamespace(declarations=declarations)), "same")
    for writes in (True, False):
        with pytest.raises(NodeStopped):
            await elsewhere.address(writes=writes)
    declarations.are_served = declarations.are_stored = True
    assert await elsewhere.address(writes=True) is None


def sized(length_max: int) -> App:
    class Label(Model):
        id: int = field(primary_key=True)
        text: str = field(max_length=length_max)

    return App(models=[Label])


async def test_a_node_with_another_limit_says_which_and_sends_writes_to_the_others(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    first, second = await start_cluster(3, running=2, apps=[sized(3)] * 2)
    address = next(peer.partition("@")[2] for peer in first.config.peers if peer.startswith("3@"))
    peers = (f"1@{first.config.address}", f"2@{second.config.address}")
    config = NodeConfig(node_id=3, port=int(address.rpartition(":")[2]), peers=peers, data_dir=tmp_path / "3")
    async with AsyncExitStack() as stack:
        third = NodeServer(config, sized(9))
        await third.start()
        stack.push_async_callback(third.stop)
        await until(lambda: third.node.leader in (1, 2) and third.node.applied_index >= first.node.applied_index)
        same, other = [await stack.enter_async_context(client_of(each)) for each in (first, third)]
        sent_away = await other.post("/api/labels", json={"id": 1, "text": "longer"})
        assert sent_away.status_code == 307
        location = sent_away.headers["location"]
        assert (await other.post(location, json={"id": 1, "text": "longer"})).status_code == 422, "by what is in force"
        assert (await other.post(location, json={"id": 1, "text": "oak"})).status_code == 201
        assert (await other.get("/api/labels/1")).json() == {"id": 1, "text": "oak"}
        said = [(await client.get("/status")).json()["schema"] for client in (same, other)]
    assert [(each["matches"], each["differing_rules"]) for each in said] == [(True, []), (False, ["Label.text"])]
    assert said[0]["fingerprint"] == said[0]["cluster_fingerprint"] == said[1]["cluster_fingerprint"]
    assert said[1]["fingerprint"] != said[0]["fingerprint"]
    assert [list(each["rules"]) for each in said] == [["Label.text"]] * 2
    assert said[0]["rules"] != said[1]["rules"]
