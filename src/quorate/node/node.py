"""A node: one process's part in a cluster."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

from quorate.config import RaftConfig
from quorate.errors import (
    AddressUnavailable,
    ConfigError,
    NodeStopped,
    NotLeader,
    OutcomeUnknown,
    QuorateError,
    ReadUnavailable,
    StorageError,
)
from quorate.machine.contract import Machine
from quorate.machine.outcome import Applied
from quorate.machine.router import Router
from quorate.machine.sqlite import SqliteState
from quorate.node.address_book import AddressBook
from quorate.node.assembly import Wiring, assemble
from quorate.node.calls import LeaderCall, LeaderCalls
from quorate.node.conditions import Conditions
from quorate.node.durable import DurableState
from quorate.node.events import EventStream, NodeEvent
from quorate.node.figures import Figures
from quorate.node.group import GROUP, Group
from quorate.node.identity import identity_of
from quorate.node.members import Members, described
from quorate.node.peers import Peers
from quorate.node.proposing import LEADER_POLL_SECONDS, Proposing
from quorate.node.reads import Consistency
from quorate.node.running import Running
from quorate.node.status import NodeStatus, status_of
from quorate.node.timeline import Timeline
from quorate.node.wire import WIRE_CODEC
from quorate.raft.membership import Configuration
from quorate.storage.filesystem import FileSystem
from quorate.storage.real import RealFileSystem
from quorate.storage.writer import WriterFactory, writer_for
from quorate.transport.contract import Transport, WireMessage
from quorate.transport.options import TcpOptions
from quorate.transport.sockets import split_address
from quorate.transport.tcp import TcpTransport

log = logging.getLogger(__name__)

T = TypeVar("T")

DEFAULT_MACHINE = "default"
DRAIN_SECONDS_MAX = 30.0
"""A node that is told to stop takes this long at most to hand over and to end what is pending."""
HAND_OVER_SECONDS = 2.0
"""... and another node this long to take over the leadership."""
SNAPSHOT_SECONDS = 30.0
"""How long is waited for a snapshot that was asked for."""


def wall_clock_us() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class Node:
    """One member of a cluster: ``async with Node(config, machine=…) as node``.

    Entering returns once the node runs, which may be before the cluster has a leader. With ``machines``
    (name → machine) several share the log. ``transport``, ``file_system``, ``rng``, ``wall_clock_us``,
    ``open_state`` and ``make_writer`` are ports; by default the node listens for its peers on its own address, and
    uses the real disk. ``state_file_system`` is where SQLite's file is, if that is another. Peers whose ``schema``
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
        state_file_system: FileSystem | None = None,
        rng: Random | None = None,
        wall_clock_us: Callable[[], int] = wall_clock_us,
        schema: str = "",
        open_state: Callable[[Path], SqliteState] = SqliteState,
        make_writer: WriterFactory = writer_for,
    ) -> None:
        if machine is not None and machines is not None:
            raise ConfigError("give a node either machine or machines")
        self.config = config
        self._machine = machine
        self._schema = schema
        self.machines: dict[str, Machine] = dict(machines or {})
        """By their names. To read them, see :meth:`read`."""
        if machine is not None:
            self.machines[DEFAULT_MACHINE] = machine
        self._rng = rng or Random()
        self.now_us = wall_clock_us
        """Microseconds since 1970, UTC, by the clock that this node stamps entries with."""
        self._file_system = file_system or RealFileSystem()
        self._state_file_system = state_file_system
        self._make_writer = make_writer
        self._transport = transport
        self.timeline = Timeline(config.node_id, configuration=self._configuration, wall_clock_us=wall_clock_us)
        """What happened to this node lately, and how often."""
        self.figures = Figures()
        """What this node has counted."""
        self._events = EventStream(self.timeline.note)
        self._router = Router(self.machines, open_state=open_state)
        self._conditions = Conditions()
        self._calls = LeaderCalls(self._rng.getrandbits(62), self._send_one, self._answer_call)
        self._peers = Peers(
            AddressBook(config.node_id, config.members),
            self._events,
            self._calls,
            schema=schema,
            on_introduced=self._introduced,
            on_removed=self._failed,
        )
        seconds = config.proposal_timeout_ms / 1000
        self.members = Members(config.node_id, self._running_group, self._calls, self._conditions, seconds=seconds)
        """The membership: look at it, change it."""
        self._proposing = Proposing(
            config,
            self.machines,
            self._router,
            self.figures,
            group=self._running_group,
            is_witness=lambda: self.is_witness,
            without=self._peers.without,
        )
        self._durable: DurableState | None = None
        self._running: Running | None = None
        self._group: Group | None = None
        self._started = False
        self._stopped = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None
        """What made the node stop, if it was not told to."""

    # -- life --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the data directory and begin to talk to the peers. A node is started once.

        Raises :class:`ConfigError`, :class:`~quorate.errors.DataDirectoryLocked`,
        :class:`~quorate.errors.CorruptLog` or :class:`StorageError`; then nothing is left running.
        """
        if self._started or self._stopped.is_set():
            raise ConfigError(f"node {self.node_id} was started before: a node is started once")
        self._started = True
        try:
            self._durable = DurableState(self._file_system, self.config, self._rng, state_fs=self._state_file_system)
            self._durable.open(self._router)
            self._peers.store = self._durable.identity.store
            if self._transport is None:
                self._transport = await self._listen()
                if self._stopped.is_set():
                    await self._transport.stop()
                    raise NodeStopped("the node was stopped while it started")
            self._begin_if_possible()
            if self._group is None:
                for address in self._peers.book.peer_addresses:
                    self._transport.dial(address)
                log.info("node %d waits to hear from %s", self.node_id, ", ".join(self._peers.book.unknown))
            await self._transport.start(self._peers)
            if self.failure is not None:
                raise self.failure
        except BaseException:
            await self.stop()
            raise

    async def _listen(self) -> Transport:
        host, port = split_address(self.config.address)
        identity = identity_of(self.config, self._rng, schema=self._schema, machines=self.machines)
        options = TcpOptions(dials=self.config.peer_transport)
        transport = TcpTransport(identity, WIRE_CODEC, options=options, rng=self._rng)
        try:
            await transport.listen(host, port)
        except OSError as error:
            await transport.stop()
            raise AddressUnavailable(f"cannot listen on {self.config.address}: {error.strerror}") from error
        return transport

    def _begin_if_possible(self) -> None:
        """Take part in the group as soon as it is known what the cluster began with."""
        if self._group is not None or self._stopped.is_set():
            return
        assert self._durable is not None
        assert self._transport is not None
        beginning = self._durable.beginning
        if beginning is None:
            book = self._peers.book
            if book.unknown:
                return
            for address in book.peer_addresses:
                self._transport.hang_up(address)  # only to be dialled again, unless the log says otherwise
            self._durable.begin_with(book.members)
            beginning = self._durable.beginning
            assert beginning is not None
        self._running = running = assemble(
            Wiring(
                config=self.config,
                router=self._router,
                durable=self._durable,
                transport=self._transport,
                peers=self._peers,
                events=self._events,
                conditions=self._conditions,
                rng=self._rng,
                wall_clock_us=self.now_us,
                make_writer=self._make_writer,
                on_failure=self._failed,
                figures=self.figures,
            ),
            beginning,
        )
        self._group = running.group
        self._peers.running = running
        running.start()
        log.info("node %d is a member of %s", self.node_id, described(running.group.core.configuration) or "no cluster")

    def _configuration(self) -> Configuration | None:
        return None if self._group is None or self._proposing.has_ended else self._group.core.configuration

    def _send_one(self, peer: int, message: WireMessage) -> None:
        if self._transport is not None and not self._stopped.is_set():
            self._transport.send(peer, GROUP, [message])

    async def _answer_call(self, call: LeaderCall) -> int:
        return await self.members.answer(call)

    def _introduced(self) -> None:
        try:
            if self._running is not None:
                self._running.membership.redial()
            else:
                self._begin_if_possible()
        except Exception as error:  # foreseen or not: half of a node is worse than none
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
        if self._running is not None:
            self._running.group.stop(tell=graceful)
            self._running.membership.stop(OutcomeUnknown("the node stopped before the change was confirmed"))
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close(graceful=graceful))
        return self._closing

    async def stop(self, *, hand_over: bool = True) -> None:
        """Stop for good and close the files. Idempotent; returns when all is closed.

        Unless told not to ``hand_over``, the node first takes no more proposals, hands the leadership to another
        node if it has it, and gives those under way as long as they may take (30 s at most) to end.
        """
        if hand_over:
            await self.drain()
        await asyncio.shield(self._begin_to_close())

    async def drain(self, seconds: float = DRAIN_SECONDS_MAX) -> None:
        """Take no more proposals, hand the leadership over, wait for what is pending; as far as that is possible."""
        group = self._group
        if group is None or group.stopped or self._proposing.has_ended:
            return
        self._proposing.has_ended = True
        with suppress(TimeoutError, QuorateError):
            async with asyncio.timeout(seconds):
                if self.is_leader and len(group.core.configuration.voters) > 1:
                    with suppress(QuorateError):
                        await self.members.transfer(timeout=HAND_OVER_SECONDS)
                await self._conditions.until(lambda: not self._proposing.awaited)

    async def kill(self) -> None:
        """Stop as if the process were killed: tell nobody, flush nothing. For tests and fault injection."""
        await asyncio.shield(self._begin_to_close(graceful=False))

    async def _close(self, *, graceful: bool) -> None:
        async with AsyncExitStack() as closing:  # runs all of it, last first, whatever fails
            if self._durable is not None:
                closing.callback(self._durable.close)
            closing.callback(self._close_router, flush=graceful and self.failure is None)
            if self._running is not None:
                closing.push_async_callback(asyncio.to_thread, self._running.writer.close)
                closing.push_async_callback(self._running.snapshots.stop)
            self._events.close()
            await self._calls.stop()
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
        return self._group is not None and self._group.core.is_leader and not self._group.stopped

    @property
    def is_witness(self) -> bool:
        """Whether this node votes but holds no data: then it neither answers reads nor takes proposals."""
        if self._router.is_witness:
            return True
        return self._group is not None and self.node_id in self._group.core.configuration.witnesses

    @property
    def is_draining(self) -> bool:
        """Whether this node takes no more proposals, because it is about to stop."""
        return self._proposing.has_ended or self._stopped.is_set()

    @property
    def leader(self) -> int | None:
        """The id of the leader as far as this node knows."""
        return self._group.core.leader if self._group is not None and not self._group.stopped else None

    @property
    def leader_address(self) -> str | None:
        """Where the leader is reached."""
        return self._peers.addresses.get(self.leader) if self.leader is not None else None

    @property
    def applied_index(self) -> int:
        """Up to here this node's state machines have applied the log."""
        return self._group.applied_index if self._group is not None else 0

    @property
    def peer_schemas(self) -> dict[int, str]:
        """What the nodes that are connected have said of their schemas."""
        return {peer: schema for peer, schema in self._peers.schemas.items() if peer in self._peers.connected_ids}

    def address_of(self, node_id: int) -> str | None:
        """Where a node is reached."""
        return self._peers.addresses.get(node_id)

    @property
    def replications(self) -> tuple[int, int]:
        """How many log entries came from leaders, and how many were sent to followers, since this node started."""
        return (self._group.entries_received, self._group.entries_sent) if self._group is not None else (0, 0)

    @property
    def running(self) -> Running | None:
        """Its parts, for those who report on them; ``None`` until it takes part in its group."""
        return self._running

    @property
    def machine(self) -> Any:
        """The state machine given as ``machine``; see :meth:`read` for how old its state may be."""
        return self._machine

    @property
    def status(self) -> NodeStatus:
        """The node's condition now."""
        return status_of(
            self.config,
            self._group,
            self._peers.addresses,
            self._peers.connected_ids,
            leader=self.leader,
            store=self._durable.store if self._group and self._durable else None,
            failure=self.failure,
            other_cluster_at=self._peers.other_cluster_at.keys() & (self._transport.links() if self._transport else ()),
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
        patient: bool = True,
        alone: bool = False,
    ) -> Applied:
        """Have ``command`` applied on every node; returns the state machine's answer once it is applied here.

        On a follower the command is passed on to the leader, unless ``forward`` is false. With a ``request_id``
        a retry of the same command, on any node, is applied once and gets the first answer. While there is no leader,
        one is waited for, unless not ``patient``: then commands that one caller proposes one after the other keep
        their order, too. ``alone`` is for commands that take long (:data:`~quorate.machine.contract.Steps`): such a one
        gets an entry of its own, which only the node that leads can give it.

        Raises :class:`~quorate.errors.NotApplied` (certainly without effect), :class:`OutcomeUnknown` (after
        ``timeout`` seconds, or when this node is cut off), or the :class:`~quorate.errors.CommandFailed` with which
        the machine refused it.
        """
        return await self._proposing.one(
            machine, command, request_id, timeout, forward=forward, patient=patient, alone=alone
        )

    async def propose_together(self, parts: Sequence[tuple[str, bytes]], *, timeout: float | None = None) -> Applied:
        """Have several machines carry out a command each, all of them or none: see :mod:`quorate.machine.joint`.

        ``parts`` are up to 8 machines' names and their commands, in the order in which they are carried out. The
        machines keep their state in the file; one that answers from memory, as the keys do, comes last. The result is
        the list of theirs.

        There is no request id: where the outcome is unknown, try again only if one part refuses what was done already.
        Raises what :meth:`propose` raises; a :class:`~quorate.errors.CommandFailed` is that of the part which refused.
        """
        return await self._proposing.together(parts, timeout)

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
        if machine not in self.machines:
            raise ConfigError(f"node {self.node_id} runs no machine named {machine!r}")
        await self.read_barrier(consistency=consistency, timeout=timeout)
        return fn(self.machines[machine])

    async def read_barrier(self, *, consistency: Consistency = "strong", timeout: float | None = None) -> None:
        """Return when this node's state is fit for a read of that consistency; read before awaiting anything else.

        Raises :class:`ReadUnavailable` if that is not so within ``timeout`` seconds, or a little more.
        """
        if consistency == "strong":
            if self._group is None:
                raise ReadUnavailable("the cluster is not formed yet")
            await self._group.read_barrier(self.config.proposal_timeout_ms / 1000 if timeout is None else timeout)
        if self._group is not None:
            await self._group.applier.until_in_place()
        if not self._started or self._stopped.is_set():
            raise ReadUnavailable("the node is not running")
        if self.is_witness:
            raise ReadUnavailable("this node is a witness: it holds no data")

    def flush(self) -> None:
        """What is applied here by now is found by other connections to the state's file, too.

        For reads that take too long for the event loop: behind :meth:`read_barrier`, and before anything is awaited.
        Raises :class:`ReadUnavailable` while that cannot be.
        """
        if self._group is None or self._stopped.is_set():
            raise ReadUnavailable("the node is not running")
        self._group.applier.flush()

    async def transfer_leadership(self, to: int | None = None, *, timeout: float | None = None) -> int:
        """Have ``to``, or whoever is fittest, lead; can be asked of any node. Returns the new leader's id.

        Raises :class:`~quorate.errors.TransferFailed` if it did not take over, and what :attr:`members` raises.
        """
        return await self.members.transfer(to, timeout)

    async def take_snapshot(self, *, timeout: float = SNAPSHOT_SECONDS) -> int:
        """Make this node's state durable and cut its log, as far as no peer that follows needs it.

        Returns the index up to which the log is cut then. Raises :class:`OutcomeUnknown` if that takes longer.
        """
        self._running_group()
        assert self._running is not None
        try:
            async with asyncio.timeout(2 * timeout):
                is_made = await self._running.snapshots.compaction.asked(timeout)
        except TimeoutError:
            is_made = False
        if not is_made:
            raise OutcomeUnknown(f"the snapshot takes longer than {timeout:g} s; it may still be made")
        return self._running_group().core.log.floor.index

    async def wait_for_leader(self, timeout: float = 10.0) -> int:
        """The leader's id, as soon as this node knows it. Raises :class:`TimeoutError` or :class:`NodeStopped`."""
        async with asyncio.timeout(timeout):
            while (leader := self.leader) is None:
                self._check_running()
                await asyncio.sleep(LEADER_POLL_SECONDS)
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
