"""A cluster of daemons on three nodes: set up, used, through failures, and taken apart. Run it and read along.

Here the nodes share one program; in life each has its own, and the addresses of three machines.
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from quorate import Node, RaftConfig
from quorate.tasks.daemon import (
    ClusterManager,
    ConsensusManager,
    ConsensusSettings,
    Daemon,
    LeaderElected,
    LeaderLost,
    NodeJoined,
    NodeLeft,
    PartitionDetected,
    PartitionRecovered,
    RunningOperation,
    Scope,
)

SETTINGS = ConsensusSettings(replication_factor=3, partition_detection_ms=1_000)


class Member:
    """What each program of the cluster has: a node, a daemon that does the work, and two managers."""

    def __init__(self, node_id: int, addresses: dict[int, str], data: Path) -> None:
        config = RaftConfig(
            node_id=node_id,
            cluster_nodes=tuple(f"{each}@{address}" for each, address in addresses.items()),
            cluster_id="prod-cluster",
            data_dir=data / f"node{node_id}",
            join=node_id > 3,  # the first three begin the cluster; others wait to be added
            **SETTINGS.raft_settings(),
        )
        self.node = Node(config, tasks=True)
        self.daemon = Daemon(
            daemon_id=f"daemon-{node_id}",
            name=f"cluster-node-{node_id}",
            node_id=node_id,
            cluster_id="prod-cluster",
            capabilities=["task-execution", "event-processing"],
            lease="2s",
        )
        self.daemon.handle("data_import", self.import_data, schema_version=1)
        self.cluster = ClusterManager(node_id=node_id, health_check_interval_ms=5_000)
        self.consensus = ConsensusManager(self.daemon, self.node, self.cluster, settings=SETTINGS)
        self.consensus.on(LeaderLost, lambda event: self.say(f"leader {event.leader_id} is lost"))
        self.consensus.on(LeaderElected, lambda event: self.say(f"{event.leader_id} leads term {event.term}"))
        self.consensus.on(PartitionDetected, lambda event: self.say(f"{event.node_id} is out of reach"))
        self.consensus.on(PartitionRecovered, lambda event: self.say(f"{event.node_id} is back"))
        self.cluster.on(NodeJoined, lambda event: self.say(f"node {event.node_id} joined"))
        self.cluster.on(NodeLeft, lambda event: self.say(f"node {event.node_id} left"))

    async def import_data(self, operation: RunningOperation) -> dict[str, object]:
        await asyncio.sleep(0.01)  # reads operation.payload["source_url"]
        return {"by": self.daemon.daemon_id, "rows": operation.payload["batch_size"]}

    async def start(self) -> None:
        await self.node.start()
        await self.daemon.start()
        await self.cluster.initialize(self.node)
        await self.consensus.initialize()

    async def shutdown(self) -> None:
        """In good order: the daemon ends what it does (30 s at most), a leader hands over, the files are closed."""
        await self.consensus.shutdown()
        await self.node.stop()

    def say(self, text: str) -> None:
        print(f"  [node {self.node.node_id}] {text}")


def task(number: int, **more: object) -> dict[str, object]:
    payload = {"source_url": "https://data.example.com/dataset", "batch_size": number}
    return {"id": f"task-{number}", "type": "data_import", "payload": payload, **more}


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 (a program of your own has better things to do)
        await asyncio.sleep(0.02)


async def until_led(members: dict[int, Member]) -> Member:
    await until(lambda: any(member.consensus.is_leader for member in members.values()))
    return next(member for member in members.values() if member.consensus.is_leader)


async def run(addresses: dict[int, str], data: Path) -> None:
    print("1. three nodes begin a cluster")
    first = {node_id: address for node_id, address in addresses.items() if node_id <= 3}
    members = {node_id: Member(node_id, first, data) for node_id in first}
    await asyncio.gather(*(member.start() for member in members.values()))
    leader = await until_led(members)
    await until(lambda: len(leader.cluster.healthy_nodes()) == 3)
    state = leader.consensus.get_consensus_state()
    print(f"  leader {state.leader_id}, term {state.current_term}, {state.healthy_nodes}/{state.total_nodes} healthy")

    print("2. operations are replicated, from any node, and done once")
    asker = next(member for member in members.values() if member is not leader)
    result = await asker.consensus.replicate_operation(task(1))
    print(f"  {result.operation_id}: replicated {result.replicated}, committed {result.committed}, term {result.term}")
    again = await leader.consensus.replicate_operation(task(1))
    print(f"  handed over again: duplicate {again.duplicate}")
    for number in range(2, 8):
        await asker.consensus.replicate_operation(task(number, placement="round_robin"))
    await asker.consensus.replicate_operation(task(8, scope=Scope.LEADER))
    for number in range(1, 9):
        await asker.consensus.result(f"task-{number}")
    print(f"  done by the daemons: {sum(m.daemon.get_health().completed_operations for m in members.values())}")

    print("3. the leader dies: the others go on")
    dead = leader.node.node_id
    await leader.node.kill()
    await leader.consensus.shutdown()
    del members[dead]
    leader = await until_led(members)
    await leader.consensus.replicate_operation(task(9))
    await leader.consensus.result("task-9")
    await until(lambda: leader.consensus.get_consensus_state().lost_nodes)

    print("4. it comes back, and catches up")
    members[dead] = Member(dead, first, data)
    await members[dead].start()
    await until(lambda: not leader.consensus.get_consensus_state().lost_nodes)
    found = await members[dead].consensus.result("task-9")
    print(f"  node {dead} knows: {found.task_id} {found.status}")

    print("5. a fourth node joins, so that another can be removed")
    members[4] = Member(4, addresses, data)
    await members[4].start()
    host, _, port = addresses[4].rpartition(":")
    await leader.cluster.add_node(node_id=4, host=host, port=int(port), capabilities=["task-execution"])
    await until(lambda: leader.cluster.nodes[4].role == "voter")

    print("6. the leader is removed: it ends what it does, and hands over first")
    removed = members.pop(leader.node.node_id)
    drained = await removed.consensus.remove_node_gracefully(removed.node.node_id)
    await removed.shutdown()
    leader = await until_led(members)
    await leader.consensus.replicate_operation(task(10))
    await leader.consensus.result("task-10")
    print(f"  drained {drained}; members {sorted(leader.cluster.nodes)}")

    print("7. all of it is shut down")
    await asyncio.gather(*(member.shutdown() for member in members.values()))
    for member in members.values():
        health = member.daemon.get_health()
        print(f"  {health.name} is {health.state}: {health.active_operations} active")


def main(first_port: int = 7101) -> None:
    addresses = {node_id: f"127.0.0.1:{first_port + node_id - 1}" for node_id in (1, 2, 3, 4)}
    with tempfile.TemporaryDirectory() as data:
        asyncio.run(run(addresses, Path(data)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
