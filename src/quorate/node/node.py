"""A node: one process's part in a cluster."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

from quorate.config import RaftConfig
from quorate.errors import ConfigError, CorruptLog, NodeStopped, NotLeader, ReadUnavailable, StorageError
from quorate.machine.contract import Machine
from quorate.machine.outcome import Applied
from quorate.machine.router import Router
from quorate.machine.sqlite import SqliteState
from quorate.node.address_book import AddressBook
from quorate.node.checkpoints import checkpoint_regularly
from quorate.node.events import EventStream, NodeEvent
from quorate.node.forwarding import WIRE_CODEC
from quorate.node.group import GROUP, Group, ticks
from quorate.node.identity import identity_of
from quorate.node.peers import Peers
from quorate.node.proposing import LEADER_WAIT_SECONDS, checked_command, propose_anywhere
from quorate.node.reads import Consistency
from quorate.node.status import NodeStatus, status_of
from quorate.raft.core import RaftCore
from quorate.raft.membership import Configuration
from quorate.storage.directory import DataDirectory, StoredIdentity
from quorate.storage.filesystem import FileSystem
from quorate.storage.real import RealFileSystem
from quorate.storage.store import GroupStore
from quorate.storage.writer import GroupCommitWriter, Writer, WriterFactory
from quorate.transport.contract import Transport, WireMessage
from quorate.transport.tcp import TcpTransport

log = logging.getLogger(__name__)

T = TypeVar("T")

DEFAULT_MACHINE = "default"


def wall_clock_us() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class Node:
    """One member of a cluster: ``async with Node(config, machine=…) as node``.

    Entering returns once the node runs, which may be before the cluster has a leader. With ``machines``
    (name → machine) several share the log. ``transport``, ``file_system``, ``rng``, ``wall_clock_us``, ``open_state``
    and ``make_writer`` are ports; by default the node listens for its peers on its own address, and uses the real disk. Peers whose ``schema``
    differs are refused: give it a digest of what the machines understand, if that can differ between nodes.
    """

    def __init__(
        self,
        config: RaftConfig,
        machine: Machine | None = None,
        *,
        machines: Mapping[str, Machine] | None = None,
        transport: Transport | None = None,
        file_system: FileSystem | None = None,
        rng: Random | None = None,
        wall_clock_us: Callable[[], int] = wall_clock_us,
        schema: str = "",
        open_state: Callable[[Path], SqliteState] = SqliteState,
        make_writer: WriterFactory = GroupCommitWriter,
    ) -> None:
        if machine is not None and machines is not None:
            raise ConfigError("give a node either machine or machines")
        self.config = config
        self._machine = machine
        self._schema = schema
        self._machines: dict[str, Machine] = dict(machines or {})
        if machine is not None:
            self._machines[DEFAULT_MACHINE] = machine
        self._rng = rng or Random()
        self._wall_clock_us = wall_clock_us
        self._file_system = file_system or RealFileSystem()
        self._transport = transport
        self._events = EventStream()
        self._make_writer = make_writer
        self._router = Router(self._machines, open_state=open_state)
        self._peers = Peers(
            AddressBook(config.node_id, config.members, {}), self._events, self._introduced, schema=schema
        )
        self._directory: DataDirectory | None = None
        self._store: GroupStore | None = None
        self._writer: Writer | None = None
        self._group: Group | None = None
        self._checkpointing: asyncio.Task[None] | None = None
        self._started = False
        self._stopped = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None
        """What made the node stop, if it was not told to."""

    # -- life --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the data directory and begin to talk to the peers. A node is started once.

        Raises :class:`ConfigError`, :class:`~quorate.errors.DataDirectoryLocked`, :class:`CorruptLog` or
        :class:`StorageError`; then nothing is left running.
        """
        if self._started or self._stopped.is_set():
            raise ConfigError(f"node {self.node_id} was started before: a node is started once")
        self._started = True
        try:
            self._open_storage()
            if self._transport is None:
                self._transport = await self._listen()
                if self._stopped.is_set():
                    await self._transport.stop()
                    raise NodeStopped("the node was stopped while it started")
            for address in self._peers.book.peer_addresses:
                self._transport.dial(address)
            self._begin_if_complete()
            if self._group is None:
                log.info("node %d waits to hear from %s", self.node_id, ", ".join(self._peers.book.unknown))
            await self._transport.start(self._peers)
            if self.failure is not None:
                raise self.failure
        except BaseException:
            await self.stop()
            raise

    def _open_storage(self) -> None:
        directory = self._directory = DataDirectory(self._file_system, self.config.data_dir)
        identity = directory.load_identity(self.config.node_id)
        remembered: Mapping[int, str] = {}
        if identity is not None:
            if identity.cluster_id != self.config.cluster_id:
                raise ConfigError(
                    f"{directory.path} belongs to cluster {identity.cluster_id!r}, not {self.config.cluster_id!r}"
                )
            remembered = identity.members
        self._peers.book = AddressBook(self.config.node_id, self.config.members, remembered)
        self._store = GroupStore.open(self._file_system, directory.group_path(GROUP), group=GROUP)
        self._router.open(directory.state_path(GROUP))

    async def _listen(self) -> Transport:
        host, _, port = self.config.address.rpartition(":")
        transport = TcpTransport(identity_of(self.config, self._rng, schema=self._schema), WIRE_CODEC, rng=self._rng)
        try:
            await transport.listen(host.strip("[]"), int(port))
        except OSError as error:
            await transport.stop()
            raise ConfigError(f"cannot listen on {self.config.address}: {error.strerror}") from error
        return transport

    def _begin_if_complete(self) -> None:
        """Join the group as soon as every member's id is known."""
        if self._group is not None or self._peers.book.unknown or self._stopped.is_set():
            return
        assert self._directory is not None
        assert self._store is not None
        assert self._transport is not None
        members = self._peers.book.members
        self._directory.save_identity(
            StoredIdentity(
                cluster_id=self.config.cluster_id,
                node_id=self.config.node_id,
                address=self.config.address,
                members=members,
            )
        )
        self._group = group = self._make_group(frozenset(members), self._store, self._transport)
        self._peers.group = group
        group.start()
        self._checkpointing = asyncio.get_running_loop().create_task(self._checkpoint(group))
        log.info("node %d is a member of %s", self.config.node_id, ", ".join(f"{k}@{v}" for k, v in members.items()))

    def _make_group(self, voters: frozenset[int], store: GroupStore, transport: Transport) -> Group:
        recovered = store.recovered
        if self._router.applied_by_any > recovered.last_index:
            raise CorruptLog(
                f"the state machines have applied entry {self._router.applied_by_any}, but the log ends at "
                f"{recovered.last_index}: it lost entries. Replace this node by a new one, or restore a backup."
            )
        core = RaftCore(
            self.config.core_config(),
            Configuration.of(voters),
            recovered,
            store,
            self._rng,
            applied=self._router.applied,
            committed=self._router.applied_by_any,
            now=ticks(asyncio.get_running_loop().time()),
        )

        def persisted(ticket: int) -> None:
            group.persisted(ticket)

        def failed(error: BaseException) -> None:
            group.fail(error)

        def send(peer: int, messages: Sequence[WireMessage]) -> None:
            transport.send(peer, GROUP, messages)

        self._writer = self._make_writer(store, persisted, failed, asyncio.get_running_loop())
        group = Group(
            core,
            config=self.config,
            router=self._router,
            writer=self._writer,
            send=send,
            connected=self._peers.connected_ids,
            events=self._events,
            rng=self._rng,
            wall_clock_us=self._wall_clock_us,
            on_failure=self._failed,
        )
        return group

    def _introduced(self) -> None:
        with self._failing_loudly():
            self._begin_if_complete()

    async def _checkpoint(self, group: Group) -> None:
        with self._failing_loudly():
            await checkpoint_regularly(self._router, group.applier, self._stopped)

    @contextmanager
    def _failing_loudly(self) -> Iterator[None]:
        """Whatever goes wrong inside, foreseen or not, stops the node: half of a node is worse than none."""
        try:
            yield
        except Exception as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Stop because what this node stores cannot be trusted: no answer is better than a wrong one."""
        if self._group is not None:
            self._group.fail(error)
        else:
            log.critical("node %d stops: %s", self.node_id, error or repr(error))
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        """Stop because of ``error``, without waiting to be told: peers and clients must not count on this node."""
        if self.failure is None and not self._stopped.is_set():
            self.failure = error
            self._begin_to_close()

    def _begin_to_close(self, *, graceful: bool = True) -> asyncio.Task[None]:
        self._stopped.set()
        self._peers.stopping = True
        if self._group is not None:
            self._group.stop(tell=graceful)
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close(graceful=graceful))
        return self._closing

    async def stop(self) -> None:
        """Stop for good: end what is pending, close the files. Idempotent; returns when all is closed."""
        await asyncio.shield(self._begin_to_close())

    async def kill(self) -> None:
        """Stop as if the process were killed: tell nobody, flush nothing. For tests and fault injection."""
        await asyncio.shield(self._begin_to_close(graceful=False))

    async def _close(self, *, graceful: bool) -> None:
        async with AsyncExitStack() as closing:  # runs all of it, last first, whatever fails
            if self._directory is not None:
                closing.callback(self._directory.release)
            closing.callback(self._close_router, flush=graceful and self.failure is None)
            if self._store is not None:
                closing.callback(self._store.close)
            if self._writer is not None:
                closing.push_async_callback(asyncio.to_thread, self._writer.close)
            if self._checkpointing is not None:
                closing.push_async_callback(asyncio.wait, [self._checkpointing])
            self._events.close()
            if self._transport is not None:
                await self._transport.stop()

    def _close_router(self, *, flush: bool) -> None:
        try:
            self._router.close(flush=flush)
        except StorageError as error:  # nothing is lost: what was not committed will be applied again
            log.error("closing the state: %s", error)

    async def wait_stopped(self) -> None:
        """Return when the node has stopped; raise what made it stop if that was a failure."""
        await self._stopped.wait()
        await self.stop()
        if self.failure is not None:
            raise self.failure

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    # -- what it is --------------------------------------------------------------------------------------

    @property
    def node_id(self) -> int:
        """This node's id."""
        return self.config.node_id

    @property
    def is_leader(self) -> bool:
        """Whether this node believes that it leads. Another may have been elected since: see :meth:`read`."""
        return self._group is not None and self._group.core.replication is not None and not self._group.stopped

    @property
    def leader(self) -> int | None:
        """The id of the leader as far as this node knows."""
        return self._group.core.leader if self._group is not None and not self._group.stopped else None

    @property
    def leader_address(self) -> str | None:
        """Where the leader is reached."""
        return self._peers.book.members.get(self.leader) if self.leader is not None else None

    @property
    def machine(self) -> Any:
        """The state machine given as ``machine``; see :meth:`read` for how old its state may be."""
        return self._machine

    @property
    def status(self) -> NodeStatus:
        """The node's condition now."""
        return status_of(
            self.node_id,
            self._group,
            self._peers.book.members,
            self._peers.connected_ids,
            address=self.config.address,
            fsyncs=self._store.stats.syncs if self._store else 0,
            failure=self.failure,
        )

    def events(self) -> AsyncIterator[NodeEvent]:
        """What happens from now on, until the node stops."""
        return self._events.follow()

    # -- what it does ------------------------------------------------------------------------------------

    async def propose(
        self,
        command: bytes,
        *,
        machine: str = DEFAULT_MACHINE,
        request_id: str | None = None,
        timeout: float | None = None,
        forward: bool = True,
    ) -> Applied:
        """Have ``command`` applied on every node; returns the state machine's answer once it is applied here.

        On a follower the command is passed on to the leader, unless ``forward`` is false. With a ``request_id``
        a retry of the same command, on any node, is applied once and gets the first answer.

        Raises :class:`~quorate.errors.NotApplied` (certainly without effect), :class:`OutcomeUnknown` (after
        ``timeout`` seconds, or when this node is cut off), or the :class:`~quorate.errors.CommandFailed` with which
        the machine refused it.
        """
        wrapped = checked_command(
            machine, command, request_id, machines=self._machines, bytes_max=self.config.max_command_bytes
        )
        seconds = self.config.proposal_timeout_ms / 1000 if timeout is None else timeout
        if forward:
            return await propose_anywhere(self._running_group, wrapped, seconds)
        group = self._running_group()
        if not self.is_leader:
            raise NotLeader(self.leader)
        return await group.propose(wrapped, seconds, may_forward=False)

    async def read(
        self,
        fn: Callable[[Any], T],
        *,
        machine: str = DEFAULT_MACHINE,
        consistency: Consistency = "strong",
        timeout: float | None = None,
    ) -> T:
        """``fn(machine)`` on this node's state.

        ``strong``: the state holds everything that was acknowledged anywhere before the call (linearizable), or
        :class:`ReadUnavailable` is raised. ``eventually``: the state as it is here, however old.
        """
        if machine not in self._machines:
            raise ConfigError(f"node {self.node_id} runs no machine named {machine!r}")
        await self.read_barrier(consistency=consistency, timeout=timeout)
        return fn(self._machines[machine])

    async def read_barrier(self, *, consistency: Consistency = "strong", timeout: float | None = None) -> None:
        """Return when this node's state is fit for a read of that consistency; read before awaiting anything else.

        Raises :class:`ReadUnavailable` if that is not so within ``timeout`` seconds.
        """
        if consistency == "strong":
            if self._group is None:
                raise ReadUnavailable("the cluster is not formed yet")
            seconds = self.config.proposal_timeout_ms / 1000 if timeout is None else timeout
            try:
                async with asyncio.timeout(seconds):
                    await self._group.read_barrier()
            except TimeoutError:
                raise ReadUnavailable(f"no quorum confirmed the read within {seconds:g} s") from None
        if not self._started or self._stopped.is_set():
            raise ReadUnavailable("the node is not running")

    async def wait_for_leader(self, timeout: float = 10.0) -> int:
        """The leader's id, as soon as this node knows it. Raises :class:`TimeoutError` or :class:`NodeStopped`."""
        async with asyncio.timeout(timeout):
            while (leader := self.leader) is None:
                self._check_running()
                await asyncio.sleep(LEADER_WAIT_SECONDS)
        return leader

    def _check_running(self) -> None:
        if self.failure is not None:
            raise NodeStopped(f"the node has failed: {self.failure}")
        if not self._started or self._stopped.is_set():
            raise NodeStopped("the node is not running")

    def _running_group(self) -> Group:
        self._check_running()
        if self._group is None:
            raise NotLeader(None)
        return self._group
