"""A whole cluster in one process: start it, kill parts of it, part its network, and wait for what must follow.

By default the network and the disks are in memory, which makes a cluster start in milliseconds and lets a test take
the power away (:meth:`TestCluster.crash`). With ``tcp`` the nodes talk over sockets on 127.0.0.1, with ``directory``
they write real files.
"""

from __future__ import annotations

import asyncio
import inspect
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from quorate.app import App
from quorate.config import RaftConfig, build
from quorate.embedded import Node
from quorate.errors import ConfigError, ReadUnavailable
from quorate.kv.machine import MACHINE as KV
from quorate.machine.contract import DiskStateMachine, Machine
from quorate.models.machine import MACHINE as MODELS
from quorate.node.group import GROUP
from quorate.node.identity import identity_of
from quorate.node.node import DEFAULT_MACHINE
from quorate.node.wire import WIRE_CODEC
from quorate.storage.filesystem import FileSystem
from quorate.storage.memory import MemoryFileSystem
from quorate.storage.real import RealFileSystem
from quorate.tasks.machine import MACHINE as TASKS
from quorate.transport.contract import Identity, Transport
from quorate.transport.faults import LinkFaults
from quorate.transport.memory import MemoryTransport
from quorate.transport.memory_network import MemoryNetwork
from quorate.transport.options import TcpOptions
from quorate.transport.tcp import TcpTransport

POLL_SECONDS = 0.005
SERVING_SECONDS = 0.3


@dataclass(slots=True)
class _Member:
    """One member's place: what stays when its node stops."""

    node_id: int
    address: str
    file_system: FileSystem
    faults: LinkFaults
    joining: bool = False
    starts: int = 0
    node: Node | None = None
    listener: socket.socket | None = field(default=None, repr=False)


class Side:
    """One side of a parted network."""

    def __init__(self, cluster: TestCluster, node_ids: Iterable[int]) -> None:
        self._cluster = cluster
        self.node_ids = tuple(sorted(node_ids))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Its running nodes."""
        return tuple(node for node in self._cluster.nodes if node.node_id in self.node_ids)

    @property
    def has_majority(self) -> bool:
        """Whether it holds more than half of the members, running or not."""
        return 2 * len(self.node_ids) > self._cluster.size

    async def is_serving(self, timeout: float = SERVING_SECONDS) -> bool:
        """Whether any of its nodes can confirm, within ``timeout`` seconds, that what it knows is the latest."""

        async def confirms(node: Node) -> bool:
            try:
                await node.read_barrier(timeout=timeout)
            except ReadUnavailable:
                return False
            return True

        return any(await asyncio.gather(*map(confirms, self.nodes)))

    def __repr__(self) -> str:
        return f"Side({list(self.node_ids)})"


class TestCluster:
    """``async with TestCluster(3, machine=Counter) as cluster``: nodes 1 to ``size``, all running.

    ``machine`` makes each node's state machine: a class, or anything to call without arguments. ``machines`` does
    the same for several by name. With an ``app`` each keeps its models and tasks (see :meth:`Node.using`), with ``kv``
    each has a key-value store, with ``tasks`` queues of tasks. ``settings`` go to every
    :class:`~quorate.config.RaftConfig`. ``file_system`` makes a member's disk. With a ``seed`` the nodes draw the same
    random numbers each time (which does not make runs alike: threads and timers have their say, too). ``started`` names
    the nodes to start at first; all by default. With ``learn_ids`` each is told its own id only, and the others'
    addresses.

    Leaving the block stops every node. It raises what made a node fail that the test has not stopped itself.
    """

    __test__ = False  # not a test case, whatever pytest makes of its name

    def __init__(
        self,
        size: int = 3,
        machine: Callable[[], Machine] | None = None,
        *,
        machines: Callable[[], Mapping[str, Machine]] | None = None,
        app: App | None = None,
        kv: bool = False,
        tasks: bool = False,
        tcp: bool = False,
        directory: Path | None = None,
        file_system: Callable[[], FileSystem] | None = None,
        settings: Mapping[str, Any] | None = None,
        seed: int | None = None,
        started: Iterable[int] | None = None,
        learn_ids: bool = False,
    ) -> None:
        if machine is not None and machines is not None:
            raise ConfigError("give a cluster either machine or machines")
        self.size = size
        self.network = MemoryNetwork(rng=Random(f"{seed}.network"))
        """Where the nodes talk, unless over TCP: for faults beyond :meth:`partition_network`."""
        self._machine = machine
        self._make_machines = machines
        self._app = app
        self._kv = kv
        self._tasks = tasks
        self._tcp = tcp
        self._directory = directory
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._make_file_system = file_system or (MemoryFileSystem if directory is None else RealFileSystem)
        self._settings = dict(settings or {})
        self._seed = Random().getrandbits(32) if seed is None else seed
        self._started = tuple(range(1, size + 1) if started is None else started)
        self._learn_ids = learn_ids
        self._members: dict[int, _Member] = {}
        self._sides: tuple[Side, ...] = ()
        self._addresses = 0

    # -- life --------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="quorate-test-", ignore_cleanup_errors=True)
        try:
            for node_id in range(1, self.size + 1):
                self._make_place(node_id)
            starting = await asyncio.gather(*map(self.start, self._started), return_exceptions=True)
            for failure in starting:
                if isinstance(failure, BaseException):
                    raise failure
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failures = [failure for member in self._members.values() if member.node and (failure := member.node.failure)]
        await self._end()
        if error is None and failures:
            raise failures[0]

    async def _end(self) -> None:
        await asyncio.gather(*(member.node.stop(hand_over=False) for member in self._members.values() if member.node))
        for member in self._members.values():
            if member.listener is not None:
                member.listener.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _make_place(self, node_id: int, *, joining: bool = False) -> _Member:
        listener, address = self._make_address(node_id)
        faults = LinkFaults(Random(f"{self._seed}.{node_id}.faults"))
        member = _Member(node_id, address, self._make_file_system(), faults, joining=joining, listener=listener)
        self._members[node_id] = member
        return member

    def _make_address(self, node_id: int) -> tuple[socket.socket | None, str]:
        listener = _bound_socket(0) if self._tcp else None
        self._addresses += 1
        return (
            listener,
            f"127.0.0.1:{listener.getsockname()[1]}" if listener else f"node{node_id}:{7000 + self._addresses}",
        )

    async def join(self) -> Node:
        """Start one more node, with the next id, that waits to be added; see :attr:`Node.members`."""
        node_id = max(self._members) + 1
        self._make_place(node_id, joining=True)
        self.size += 1
        return await self.start(node_id)

    def move(self, node_id: int) -> str:
        """Give a stopped node another address for its next start; returns it."""
        member = self._stopped(node_id)
        member.listener, member.address = self._make_address(node_id)
        return member.address

    def wipe(self, node_id: int) -> None:
        """Give a stopped node an empty disk."""
        member = self._stopped(node_id)
        member.file_system = self._make_file_system()
        shutil.rmtree(self.config(node_id).data_dir, ignore_errors=True)

    def _stopped(self, node_id: int) -> _Member:
        member = self._members[node_id]
        if member.node is not None:
            raise ConfigError(f"node {node_id} is running")
        return member

    def config(self, node_id: int, **settings: Any) -> RaftConfig:
        """The configuration with which a node is started, with ``settings`` of its own over the cluster's."""
        root = self._directory or Path(self._temporary.name if self._temporary else "")
        return build(
            RaftConfig,
            node_id=node_id,
            cluster_nodes=tuple(
                member.address if self._learn_ids and other_id != node_id else f"{other_id}@{member.address}"
                for other_id, member in self._members.items()
            ),
            data_dir=root / f"node{node_id}",
            join=self._members[node_id].joining,
            **{**self._settings, **settings},
        )

    async def start(self, node_id: int, **settings: Any) -> Node:
        """Start a node on the data that it left; returns it. ``settings`` are for this start, over the cluster's."""
        member = self._stopped(node_id)
        member.starts += 1
        rng = Random(f"{self._seed}.{node_id}.{member.starts}")
        config = self.config(node_id, **settings)
        machines = self._machines()
        schema = self._app.schema if self._app is not None else ""
        on_disk = (
            self._kv
            or self._tasks
            or self._app is not None
            or any(isinstance(machine, DiskStateMachine) for machine in machines.values())
        )
        if on_disk:
            # SQLite knows nothing of our file system: its file is a real one, whatever the log is written to.
            (config.data_dir / "groups" / str(GROUP)).mkdir(parents=True, exist_ok=True)
        identity = identity_of(config, rng, schema=schema, machines=[*machines, *self._faces()])
        node = Node(
            config,
            machine=machines[DEFAULT_MACHINE] if self._make_machines is None and machines else None,
            machines=machines if self._make_machines is not None else None,
            app=self._app,
            kv=self._kv,
            tasks=self._tasks,
            transport=await self._make_transport(member, config, identity, rng),
            file_system=member.file_system,
            state_file_system=RealFileSystem() if on_disk else None,
            rng=rng,
        )
        await node.start()
        member.node = node
        return node

    def _machines(self) -> Mapping[str, Machine]:
        if self._make_machines is not None:
            return self._make_machines()
        return {DEFAULT_MACHINE: self._machine()} if self._machine is not None else {}

    def _faces(self) -> Iterator[str]:
        """The machines that the node makes by itself."""
        if self._kv:
            yield KV
        if self._app is not None and self._app.models:
            yield MODELS
        if self._tasks or (self._app is not None and self._app.tasks.types):
            yield TASKS

    async def _make_transport(self, member: _Member, config: RaftConfig, identity: Identity, rng: Random) -> Transport:
        if not self._tcp:
            return MemoryTransport(self.network, identity, WIRE_CODEC)
        options = TcpOptions(dials=config.peer_transport)
        transport = TcpTransport(identity, WIRE_CODEC, options=options, rng=rng, faults=member.faults)
        listener, member.listener = member.listener, None
        await transport.listen(sock=listener or _bound_socket(int(member.address.rpartition(":")[2])))
        return transport

    async def stop(self, node_id: int, *, hand_over: bool = True) -> None:
        """Stop a node in good order; see :meth:`Node.stop`."""
        await self._take(node_id).stop(hand_over=hand_over)

    async def kill(self, node_id: int) -> None:
        """End a node as ``kill -9`` would: what it wrote is there, nobody was told."""
        await self._take(node_id).kill()

    async def crash(self, *node_ids: int) -> None:
        """Take the power from some nodes, or all, at once. What was not synced is lost, or survives in parts.

        For disks in memory only; raises :class:`ConfigError` for real ones.
        """
        crashing = node_ids or tuple(node.node_id for node in self.nodes)
        disks = {node_id: self.file_system(node_id) for node_id in crashing}
        memory = {node_id: disk for node_id, disk in disks.items() if isinstance(disk, MemoryFileSystem)}
        if len(memory) < len(disks):
            raise ConfigError("only disks in memory can lose their power")
        killing = [asyncio.create_task(self._take(node_id).kill()) for node_id in crashing]
        await asyncio.sleep(0)  # they have begun: what fails now has nobody left to tell
        for disk in memory.values():
            disk.lose_power_after(0)
        await asyncio.gather(*killing)
        for node_id, disk in memory.items():
            disk.crash(Random(f"{self._seed}.{node_id}.{disk.boot}.crash"))

    async def restart(self, node_id: int) -> Node:
        """Stop a node if it runs, and start it again; returns the new one."""
        if self._members[node_id].node is not None:
            await self.stop(node_id)
        return await self.start(node_id)

    async def stop_leader(self) -> int:
        """Kill the leader, once there is one; returns its id."""
        node_id = (await self.wait_for_leader()).node_id
        await self.kill(node_id)
        return node_id

    def _take(self, node_id: int) -> Node:
        member = self._members[node_id]
        if member.node is None:
            raise ConfigError(f"node {node_id} is not running")
        node, member.node = member.node, None
        return node

    # -- what there is -----------------------------------------------------------------------------------

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The running nodes."""
        return tuple(member.node for member in self._members.values() if member.node is not None)

    def node(self, node_id: int) -> Node:
        """The running node with this id. Raises :class:`ConfigError` if it is stopped."""
        node = self._members[node_id].node
        if node is None:
            raise ConfigError(f"node {node_id} is not running")
        return node

    def file_system(self, node_id: int) -> FileSystem:
        """A member's disk; it outlives the nodes that use it."""
        return self._members[node_id].file_system

    @property
    def leader(self) -> Node | None:
        """The node that leads the latest term, unless it is cut off from the majority (and may not know it yet)."""
        leading = [node for node in self.nodes if node.is_leader and self._side_of(node.node_id).has_majority]
        return max(leading, key=lambda node: node.status.term, default=None)

    def has_leader(self) -> bool:
        """Whether there is a :attr:`leader`."""
        return self.leader is not None

    # -- the network -------------------------------------------------------------------------------------

    def partition_network(self, *sides: Iterable[int]) -> tuple[Side, ...]:
        """Part the network; nodes that are not named make one more side. Replaces an earlier partition.

        In memory both ends learn that the connection is gone; over TCP what is sent vanishes without a sign.
        """
        named = [Side(self, side) for side in sides]
        rest = set(self._members).difference(*(side.node_ids for side in named))
        parted = (*named, Side(self, rest)) if rest else tuple(named)
        if sum(len(side.node_ids) for side in parted) > self.size or not rest.issubset(self._members):
            raise ConfigError(f"each node belongs to one side, not as in {parted}")
        self.heal()
        self._sides = parted
        self.network.partition(*(side.node_ids for side in parted))
        for member in self._members.values():
            for other in set(self._members).difference(self._side_of(member.node_id).node_ids):
                member.faults.cut(other)
        return parted

    def heal(self) -> None:
        """Undo every partition."""
        self._sides = ()
        self.network.heal()
        for member in self._members.values():
            member.faults.heal()

    @property
    def active_partitions(self) -> tuple[Side, ...]:
        """The sides of the parted network; empty while it is whole."""
        return self._sides

    @property
    def majority_partition(self) -> Side:
        """The side with more than half of the members: all of them while the network is whole.

        Raises :class:`LookupError` if no side has that many.
        """
        for side in self._sides or (self._whole,):
            if side.has_majority:
                return side
        raise LookupError(f"no side of {self._sides} has a majority")

    @property
    def minority_partition(self) -> Side:
        """The largest side without a majority. Raises :class:`LookupError` if there is none."""
        minorities = [side for side in self._sides if not side.has_majority]
        if not minorities:
            raise LookupError("no side is in the minority")
        return max(minorities, key=lambda side: len(side.node_ids))

    @property
    def _whole(self) -> Side:
        return Side(self, self._members)

    def _side_of(self, node_id: int) -> Side:
        return next((side for side in self._sides if node_id in side.node_ids), self._whole)

    # -- waiting -----------------------------------------------------------------------------------------

    async def wait_until(
        self, predicate: Callable[[], object | Awaitable[object]], timeout: float = 10.0, what: str = ""
    ) -> None:
        """Return when ``predicate()`` (or what it awaits) is true; raises :class:`TimeoutError` with all statuses."""
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            answer = predicate()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return
            if asyncio.get_running_loop().time() >= deadline:
                conditions = "\n".join(f"  {node.status}" for node in self.nodes)
                raise TimeoutError(f"{what or 'the condition'} was not met within {timeout:g} s:\n{conditions}")
            await asyncio.sleep(POLL_SECONDS)

    async def wait_for_leader(self, timeout: float = 10.0) -> Node:
        """The :attr:`leader`, as soon as there is one."""
        await self.wait_until(self.has_leader, timeout, "a leader")
        leader = self.leader
        assert leader is not None  # nothing ran since
        return leader

    async def wait_for_convergence(self, timeout: float = 10.0) -> int:
        """Return when every running node has applied all that the leader's log holds; returns that index."""

        def converged() -> bool:
            leader = self.leader
            if leader is None:
                return False
            last_index = leader.status.last_index
            return all(node.status.applied_index == last_index for node in self.nodes)

        await self.wait_until(converged, timeout, "convergence")
        return self.nodes[0].status.applied_index


def _bound_socket(port: int) -> socket.socket:
    """A socket that holds ``port`` (0: any that is free) on 127.0.0.1 without accepting anyone yet."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
