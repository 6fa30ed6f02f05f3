"""Nodes that come, go, and come back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from quorate.errors import ConfigError, RemovedFromCluster
from quorate.tasks.daemon import ClusterManager, Discovery, NodeHealth, NodeJoined, NodeLeft, RunningOperation
from quorate.tasks.daemon.discovery import identify, resolve
from tests.tasks.daemon.support import Cluster, Handlers, Member, abandon, operation


def place_of(cluster: Cluster, node_id: int) -> tuple[str, int]:
    host, _, port = cluster.net.config(node_id).address.rpartition(":")
    return host, int(port)


async def gone(cluster: Cluster, node_id: int) -> None:
    """A node that was removed has stopped, as it should; it is no failure of the test."""
    member = cluster.members.pop(node_id)
    await cluster.net.wait_until(lambda: member.node.failure is not None)
    assert isinstance(member.node.failure, RemovedFromCluster)
    await asyncio.gather(cluster.net.kill(node_id), abandon(member))


async def test_d12_d18_a_node_is_added_and_takes_part() -> None:
    async with Cluster() as cluster:
        leader, follower = await cluster.leader(), await cluster.follower()
        node = await cluster.net.join()
        host, port = place_of(cluster, 4)
        await follower.cluster.add_node(node_id=4, host=host, port=port, capabilities=["event-processing"])
        for member in (leader, follower):
            await cluster.until(lambda member=member: member.events(NodeJoined))  # type: ignore[misc]
            (joined,) = member.events(NodeJoined)
            assert (joined.node_id, joined.address, joined.is_back) == (4, f"{host}:{port}", False)
        assert follower.events(NodeJoined)[0].capabilities == ("event-processing",)
        await cluster.until(lambda: leader.cluster.nodes[4].role == "voter")
        await cluster.equip(node, capabilities=["event-processing"])
        asked = operation(capabilities=("event-processing",))
        await leader.consensus.replicate_operation(asked)
        await cluster.result(asked.id)
        assert cluster.by[asked.id] == 4


async def test_d93_even_numbers_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    async with Cluster() as cluster:
        leader = await cluster.leader()
        assert leader.cluster.warning is None
        assert leader.consensus.get_consensus_state().warnings == ()
        await cluster.net.join()
        host, port = place_of(cluster, 4)
        await leader.cluster.add_node(node_id=4, host=host, port=port)
        await cluster.until(lambda: len(leader.consensus.get_consensus_state().warnings) == 2)
        even, factor = leader.consensus.get_consensus_state().warnings
        assert "odd number" in even
        assert "4 voters" in factor


async def test_who_is_a_member_already_is_not_added_again() -> None:
    async with Cluster() as cluster:
        leader = await cluster.leader()
        host, port = place_of(cluster, 2)
        before = leader.node.members.index
        report = await leader.cluster.add_node(node_id=2, host=host, port=port, capabilities=["gpu"])
        assert report is not None
        assert leader.node.members.index == before
        with pytest.raises(ConfigError, match="a member already, at"):
            await leader.cluster.add_node(node_id=2, host=host, port=port + 1)
        with pytest.raises(ConfigError, match="not a member"):
            await leader.consensus.remove_node_gracefully(9)


async def test_d102_changes_are_made_one_at_a_time() -> None:
    async with Cluster() as cluster:
        leader = await cluster.leader()
        for _ in range(2):
            await cluster.net.join()
        places = {node_id: place_of(cluster, node_id) for node_id in (4, 5)}
        await asyncio.gather(
            *(
                member.cluster.add_node(node_id=node_id, host=host, port=port)
                for member, (node_id, (host, port)) in zip(cluster.members.values(), places.items(), strict=False)
            )
        )
        await cluster.until(lambda: sum(report.role == "voter" for report in leader.cluster.nodes.values()) == 5)


@pytest.mark.parametrize("who", ["another", "the leader", "itself"])
async def test_d42_a_node_is_removed_when_it_has_ended_what_it_did(who: str) -> None:
    """Also the leader, which hands over first; whoever is asked."""
    release = asyncio.Event()
    runs: list[tuple[str, int]] = []

    def handlers(node_id: int) -> Handlers:
        async def work(operation: RunningOperation) -> None:
            runs.append((operation.id, node_id))
            await release.wait()

        return {"work": work}

    async with Cluster(3, handlers) as cluster:
        await cluster.all_enlisted()
        leader, follower = await cluster.leader(), await cluster.follower()
        asker = follower
        victim = {
            "another": next(m for m in cluster.members.values() if m not in (leader, follower)),
            "the leader": leader,
            "itself": follower,
        }[who]
        asked = operation("work", scope="local")
        await victim.consensus.replicate_operation(asked)
        await cluster.until(lambda: victim.daemon.active_count == 1)
        removing = asyncio.create_task(asker.consensus.remove_node_gracefully(victim.node.node_id))
        await cluster.until(lambda: not victim.daemon.is_running)
        await asyncio.sleep(0.1)
        assert not removing.done(), "there is something to end yet"
        assert victim.node.node_id in leader.cluster.nodes
        release.set()
        assert await removing is True
        await gone(cluster, victim.node.node_id)
        left = await cluster.leader()
        assert victim.node.node_id not in left.cluster.nodes
        await cluster.until(lambda: [event.node_id for event in left.events(NodeLeft) if event.is_removed])
        assert (await left.node.tasks.task(asked.id)).status == "succeeded"
        assert runs == [(asked.id, victim.node.node_id)]
        late = operation("work")
        await left.consensus.replicate_operation(late)
        await cluster.result(late.id)


async def test_a_node_that_cannot_be_drained_is_removed_all_the_same() -> None:
    async with Cluster() as cluster:
        await cluster.all_enlisted()
        leader, victim = await cluster.leader(), await cluster.follower()
        node_id = victim.node.node_id
        await cluster.kill(node_id)
        assert await leader.consensus.remove_node_gracefully(node_id, timeout=0.3) is False
        assert node_id not in leader.cluster.nodes
        pending = leader.node.tasks.pending("operations")
        assert pending == 0, "nothing is left of the attempt"


async def test_d46_a_node_that_was_removed_is_taken_back() -> None:
    async with Cluster() as cluster:
        await cluster.all_enlisted()
        leader, victim = await cluster.leader(), await cluster.follower()
        node_id = victim.node.node_id
        await leader.consensus.remove_node_gracefully(node_id)
        await gone(cluster, node_id)
        first = operation()
        await leader.consensus.replicate_operation(first)
        cluster.net.wipe(node_id)
        host, port = place_of(cluster, node_id)
        cluster.net._members[node_id].joining = True
        node = await cluster.net.start(node_id)
        report = await leader.cluster.readmit_node(node_id=node_id, host=host, port=port, timeout=20)
        assert report.role == "voter"
        back = await cluster.equip(node)
        await cluster.result(first.id, back)
        asked = operation(scope="local")
        await back.consensus.replicate_operation(asked)
        await cluster.result(asked.id)
        assert cluster.by[asked.id] == node_id


async def test_d46_a_node_that_lost_its_disk_is_taken_back() -> None:
    async with Cluster() as cluster:
        await cluster.all_enlisted()
        leader, victim = await cluster.leader(), await cluster.follower()
        node_id = victim.node.node_id
        first = operation()
        await leader.consensus.replicate_operation(first)
        await cluster.result(first.id)
        await cluster.kill(node_id)
        cluster.net.wipe(node_id)
        host, port = place_of(cluster, node_id)
        back = await cluster.restart(node_id)
        report = await leader.cluster.readmit_node(node_id=node_id, host=host, port=port, timeout=20)
        assert report.health in (NodeHealth.HEALTHY, NodeHealth.DEGRADED)
        await cluster.result(first.id, back)
        assert cluster.done[first.id] == 1


# -- discovery ---------------------------------------------------------------------------------------------------


class Names:
    """A name server, and what the nodes at its addresses say of themselves."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.waiting: dict[str, int] = {}
        self.fails = False

    async def resolve(self, name: str, port: int) -> Sequence[str]:
        assert (name, port) == ("peers.example", 7000)
        if self.fails:
            raise OSError("no such name")
        return self.addresses

    async def identify(self, address: str) -> int | None:
        return self.waiting.get(address)


async def test_d19_nodes_are_found_by_a_name_and_added_by_the_leader(caplog: pytest.LogCaptureFixture) -> None:
    names = Names()
    names.fails = True
    async with Cluster() as cluster:
        managers = []
        for node_id, member in cluster.members.items():
            discovery = Discovery("peers.example", 7000, resolve=names.resolve, identify=names.identify)
            manager = ClusterManager(node_id=node_id, health_check_interval_ms=20, auto_discovery=discovery)
            await manager.initialize(member.node)
            managers.append(manager)
        await cluster.until(lambda: "cannot be looked up" in caplog.text)
        node = await cluster.net.join()
        names.fails = False
        stranger = "10.0.0.9:7000"
        names.addresses = [cluster.net.config(1).address, stranger, node.config.address]
        names.waiting = {node.config.address: 4}
        leader: Member = await cluster.leader()
        await cluster.until(lambda: 4 in leader.cluster.nodes and leader.cluster.nodes[4].role == "voter")
        names.addresses = []
        await asyncio.sleep(0.1)
        assert set(leader.cluster.nodes) == {1, 2, 3, 4}, "nobody is removed because a name server forgot"
        await asyncio.gather(*(manager.shutdown() for manager in managers))


async def test_a_cluster_can_begin_with_the_addresses_of_a_name() -> None:
    names = Names()
    names.addresses = ["10.0.0.1:7000", "10.0.0.2:7000", "10.0.0.3:7000"]
    discovery = Discovery("peers.example", 7000, resolve=names.resolve)
    found = await discovery.cluster_nodes("2@10.0.0.2:7000")
    assert found == ("2@10.0.0.2:7000", "10.0.0.1:7000", "10.0.0.3:7000")
    names.fails = True
    assert await discovery.cluster_nodes("2@10.0.0.2:7000") == ("2@10.0.0.2:7000",)


async def test_the_system_s_resolver_and_who_does_not_answer() -> None:
    assert "127.0.0.1:7000" in await resolve("localhost", 7000)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await identify(f"127.0.0.1:{port}") is None
    assert await identify(f"127.0.0.1:{port}") is None


@pytest.mark.parametrize(
    ("report", "found"),
    [
        ('{"node_id": 4, "member_role": null, "membership": null}', 4),
        ('{"node_id": 4, "member_role": "voter", "membership": {}}', None),
        ('{"node_id": "x", "member_role": null, "membership": null}', None),
        ("[]", None),
        ("no json", None),
    ],
)
async def test_a_node_says_itself_whether_it_waits(report: str, found: int | None) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(report)}\r\n\r\n{report}".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        assert await identify(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") == found


@pytest.mark.parametrize("text", ["peers.example", "peers.example:x", ":7000", "peers.example:0"])
def test_a_name_to_look_up_has_a_port(text: str) -> None:
    with pytest.raises(ConfigError):
        ClusterManager(node_id=1, auto_discovery=text)
