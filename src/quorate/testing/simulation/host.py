"""A simulated machine: its disk, its clocks, and the process that runs on it now, if one does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from quorate.app import App
from quorate.config import RaftConfig
from quorate.errors import ConfigError, CorruptLog, QuorateError, RemovedFromCluster
from quorate.machine.contract import Machine
from quorate.models.errors import SchemaBehind
from quorate.node.group import Group
from quorate.node.identity import identity_of
from quorate.node.node import Node
from quorate.raft.core import RaftCore
from quorate.raft.output import Write
from quorate.raft.roles import Role
from quorate.storage.store import GroupStore
from quorate.storage.writer import Writer
from quorate.tasks.broker import Broker
from quorate.testing.simulation.disk import DiskPlan, ProcessKilled, SimulatedDisk, SimulatedWriter
from quorate.testing.simulation.invariants import Invariants, Violation
from quorate.testing.simulation.keys import CUT_SHORT, SimulatedKv, sweep
from quorate.testing.simulation.loop import Scheduler, SimulatedLoop
from quorate.testing.simulation.models import ModelsFace, SimulatedModels
from quorate.testing.simulation.network import SimulatedNetwork
from quorate.testing.simulation.reads import watch_reads
from quorate.testing.simulation.sqlite_state import SimulatedSqliteState
from quorate.testing.simulation.tasks import SimulatedTasks, serve
from quorate.testing.simulation.trace import Trace
from quorate.testing.simulation.transport import SimulatedTransport

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

EPOCH_US = 1_750_000_000_000_000
DIGEST_EVERY = 7
"""How many applied indexes pass between two looks at the whole state."""
KEYS_DIGEST_EVERY = 21
"""The same where keys are part of it: their table takes most of a millisecond to go through, even an empty one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """What all machines of a run have in common."""

    config: Callable[[int, Mapping[int, str], bool], RaftConfig]
    """Given a node's id, where every node lives, and whether this one joins a cluster that exists."""
    addresses: dict[int, str]
    """Where every node lives now, as the administrator would write it into a new configuration."""
    machines: Callable[[Callable[[], None], App | None], Mapping[str, Machine]]
    """Given what the machines have to call for each command, and the app whose models they keep."""
    disk: DiskPlan
    apps: Sequence[App] = ()
    """The versions of the app that machines get, the oldest first; none where there are no models."""
    drift: float = 0.0
    """Clocks run faster or slower by up to this fraction."""
    slack_seconds: float = 0.0
    thread_seconds: float = 0.0005


class Process:
    """One life of a node."""

    def __init__(self, host: Host, number: int) -> None:
        self.host = host
        self.number = number
        plan = host.plan
        rate = 1 + host.rng.uniform(-plan.drift, plan.drift)
        self.loop = SimulatedLoop(  # type: ignore[abstract]
            host.scheduler, f"node {host.node_id}", host.rng, rate=rate,
            slack_seconds=plan.slack_seconds, thread_seconds=plan.thread_seconds,
        )  # fmt: skip
        rng = Random(f"{host.seed}.{host.node_id}.{number}")
        config = plan.config(host.node_id, plan.addresses, host.joining)
        self.version = host.version
        app = plan.apps[host.version] if plan.apps else None
        schema = app.schema if app is not None else ""
        self.machines = plan.machines(self._spend, app)
        identity = identity_of(config, rng, schema=schema, machines=self.machines)
        self.transport = SimulatedTransport(host.network, identity, self.loop)
        self.keys = next((each for each in self.machines.values() if isinstance(each, SimulatedKv)), None)
        if self.keys is not None:
            self.keys.fired = host.fired
        self.models = next((each for each in self.machines.values() if isinstance(each, SimulatedModels)), None)
        if self.models is not None:
            self.models.fired = host.fired
        self.tasks = next((each for each in self.machines.values() if isinstance(each, SimulatedTasks)), None)
        if self.tasks is not None:
            self.tasks.fired = host.fired
        self._face: ModelsFace | None = None
        self._broker: Broker | None = None
        self.state: SimulatedSqliteState | None = None
        self.writer: SimulatedWriter | None = None
        self.group: Group | None = None
        self.started = False
        self.ended = False
        self.on_ended: dict[object, Callable[[], None]] = {}
        """Called when the process is gone, however it went."""
        self._seen: tuple[Any, ...] = ()
        self._digested = -1
        self._digest_every = DIGEST_EVERY if self.keys is None else KEYS_DIGEST_EVERY
        self.node = Node(
            config,
            machines=self.machines,
            transport=self.transport,
            file_system=host.disk,
            rng=rng,
            wall_clock_us=host.wall_clock_us,
            schema=schema,
            open_state=self._open_state,
            make_writer=self._make_writer,
        )
        self.loop.owner = self
        self.loop.on_error = self._escaped
        self.loop.after_step = self._look
        self.loop.call_soon(self._begin)

    # -- the node's ports --------------------------------------------------------------------------------

    def _open_state(self, path: Path) -> SimulatedSqliteState:
        self.state = SimulatedSqliteState(path, self.host.disk)
        return self.state

    def _make_writer(
        self,
        store: GroupStore,
        on_persisted: Callable[[int], None],
        on_failure: Callable[[BaseException], None],
        loop: AbstractEventLoop,
    ) -> Writer:
        host = self.host
        host.invariants.recovered(host.node_id, store.recovered)
        if host.invariants.known.evidence[host.node_id].repairing:
            host.trace.event(host.node_id, "has to be repaired")
        self.writer = SimulatedWriter(
            host.disk, store, on_persisted, on_failure, loop,
            on_submitted=self._submitted,
            on_durable=lambda writes: host.invariants.durable(host.node_id, writes),
        )  # fmt: skip
        return self.writer

    def _submitted(self, write: Write) -> None:
        host = self.host
        if write.entries and write.entries[0].index <= host.invariants.known.evidence[host.node_id].submitted_last:
            host.counts["truncations"] += 1
            host.trace.event(host.node_id, f"replaces its log from entry {write.entries[0].index} on")
        if write.floor is not None:
            host.counts["snapshots installed"] += 1
            host.trace.event(host.node_id, f"installs a snapshot at entry {write.floor.index}")
        host.invariants.submitted(host.node_id, self.core, write)

    @property
    def core(self) -> RaftCore | None:
        """The core, once there is one."""
        if self.group is None:
            self.group = self.node._group
            if self.group is not None:
                watch_reads(self.group, self.host.invariants.known, self.host.abort)
        return self.group.core if self.group is not None else None

    @property
    def holds_data(self) -> bool:
        """Whether there is a state to look at, or will be: a witness has none."""
        return not self.node._router._witness

    @property
    def face(self) -> ModelsFace:
        """How clients reach the models; only once the node has started."""
        assert self._face is not None
        return self._face

    @property
    def broker(self) -> Broker:
        """How clients reach the tasks; only once the node has started."""
        assert self._broker is not None
        return self._broker

    def _spend(self) -> None:
        if self.host.slow_apply_seconds:
            self.loop.use(self.host.slow_apply_seconds)

    # -- life --------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self.loop.create_task(self._live())

    async def _live(self) -> None:
        try:
            await self.node.start()
        except QuorateError as error:
            self.host.trace.event(self.host.node_id, f"cannot start: {error}")
            self.host.failed(error, self.version)
        else:
            self.started = True
            if self.keys is not None:
                self.loop.create_task(sweep(self, self.keys))
            if self.models is not None:
                self._face = ModelsFace(self.node, self.models, self.host.wall_clock_us)
            if self.tasks is not None:
                self._broker = serve(self, self.tasks)
            try:
                await self.node.wait_stopped()
            except QuorateError as error:
                self.host.trace.event(self.host.node_id, f"failed: {error}")
                self.host.failed(error, self.version)
            except Exception as error:
                self._escaped(error)
        self._end()

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            self.transport.vanish(told=True)
            self.host.scheduler.world.call_soon(self.host.exited, self)

    def _escaped(self, error: BaseException) -> None:
        if not isinstance(error, ProcessKilled):
            found = f"node {self.host.node_id}: {type(error).__name__}: {error}"
            self.host.abort(Violation("nothing escapes a callback", found) if isinstance(error, Exception) else error)

    # -- what is seen of it ------------------------------------------------------------------------------

    def _look(self) -> None:
        """After each step: whatever has changed must be in order."""
        core = self.core
        if core is None:
            return
        raft_log = core.log
        seen = (
            core._persistence.hard_state, core.role, raft_log.last_index, raft_log.durable, raft_log.committed,
            raft_log.applied, core.repairing, raft_log.configurations.index, raft_log.floor,
        )  # fmt: skip
        if seen != self._seen:
            before, self._seen = self._seen, seen
            self._changed(core, before)

    def _changed(self, core: RaftCore, before: tuple[Any, ...]) -> None:
        """The core is not as it was; ``before`` is what was seen of it last, or nothing."""
        raft_log = core.log
        host = self.host
        host.invariants.changed(core)
        if not before or before[1] is not core.role or before[0].term != core.term:
            host.trace.event(host.node_id, f"is {core.role.value} in term {core.term}")
            if core.role is Role.LEADER:
                host.counts["elections"] += 1
                host.scheduler.world.call_soon(host.on_leading, host)
        if before and before[-1].index != raft_log.floor.index:
            host.counts["log cuts"] += 1
        if before and before[-3] != core.repairing:
            host.counts["nodes repaired"] += not core.repairing
            host.trace.event(host.node_id, "has to be repaired" if core.repairing else "is repaired")
        if before and before[-2] != raft_log.configurations.index:
            host.trace.event(host.node_id, f"goes by the configuration of entry {raft_log.configurations.index}")
        assert self.group is not None
        applied = self.group.applied_index
        is_due = applied and applied % self._digest_every == 0 and applied != self._digested
        if is_due and self.node._router.is_level and self.holds_data:
            self._digested = applied
            host.invariants.state_seen(host.node_id, applied, self.digest())

    def digest(self) -> str:
        """The digest of the state machines' state as it is now."""
        return self.node._router.digest()


class Host:
    """A machine. It may be off, or on with a process running or not."""

    def __init__(
        self,
        node_id: int,
        seed: int,
        plan: HostPlan,
        scheduler: Scheduler,
        network: SimulatedNetwork,
        invariants: Invariants,
        trace: Trace,
        counts: Counter[str],
        fired: Counter[str],
    ) -> None:
        self.node_id = node_id
        self.seed = seed
        self.plan = plan
        self.scheduler = scheduler
        self.network = network
        self.invariants = invariants
        self.trace = trace
        self.counts = counts
        self.abort = scheduler.abort
        self.rng = Random(f"{seed}.{node_id}.host")
        self.disk = SimulatedDisk(scheduler, Random(f"{seed}.{node_id}.disk"), plan.disk, fired)
        self.process: Process | None = None
        self.starts = 0
        self.wall_clock_offset_us = 0
        self.fired = fired
        self.joining = False
        """Whether the next process is told to join a cluster that exists."""
        self.in_use = True
        """Whether anybody counts on it: a spare machine is not, nor is that of a node that was removed."""
        self.version = 0
        """Which of the plan's apps the next process runs."""
        self.moves = 0
        """How often it got another address."""
        self.slow_apply_seconds = 0.0
        """How long applying a command takes beyond the usual, which is no time at all."""
        self.on_down: Callable[[Host], None] = _nobody
        """Told when a process has ended, however it did."""
        self.on_leading: Callable[[Host], None] = _nobody
        """Told when the node has become the leader."""
        self.on_outdated: Callable[[Host, int], bool] = _never
        """Asked when a node with this version of the app cannot go on: whether that is the reason."""

    @property
    def node(self) -> Node | None:
        """The node, while its process runs, started or not."""
        return self.process.node if self.process is not None else None

    @property
    def is_up(self) -> bool:
        """Whether a process runs here and has started."""
        return self.process is not None and self.process.started and not self.process.ended

    def wall_clock_us(self) -> int:
        """The machine's calendar clock, which people set."""
        return EPOCH_US + int(self.scheduler.now * 1_000_000) + self.wall_clock_offset_us

    def start(self) -> None:
        """Switch the machine on if it is off, and start a process unless one runs."""
        if self.process is not None:
            return
        self.network.powered.add(self.node_id)
        self.starts += 1
        self.trace.event(self.node_id, f"starts, for the {self.starts}. time")
        self.process = Process(self, self.starts)

    def exited(self, process: Process) -> None:
        """The process has ended by itself; nothing of it is left."""
        if self.process is process:
            self.process = None
            process.loop.halt()
            process.loop.drain(process.node.kill())
            self.disk.kill()
            self._down(process)

    def _down(self, process: Process) -> None:
        for callback in process.on_ended.values():
            callback()
        self.on_down(self)

    def failed(self, error: QuorateError, version: int) -> None:
        """The node does not start, or gave up: only for a reason that the simulation gave it."""
        known = self.invariants.known
        if isinstance(error, RemovedFromCluster):
            self.in_use = False
            self.fired["removed nodes told so"] += 1
            if not known.was_removed(self.node_id):
                self.abort(Violation("only who was removed is told so", f"node {self.node_id}: {error}"))
        elif isinstance(error, CorruptLog) and self._gave_up:
            self.fired["witnesses that begin anew"] += 1
            self.invariants.damaged(self.node_id)
        elif not self.disk.broken and not self._is_outdated(error, version):
            self.abort(Violation("a node runs until it is stopped", f"node {self.node_id}: {error}"))

    def _is_outdated(self, error: QuorateError, version: int) -> bool:
        reasons = (error, error.__cause__)
        return any(isinstance(each, ConfigError | SchemaBehind) for each in reasons) and self.on_outdated(self, version)

    @property
    def _gave_up(self) -> bool:
        durable = self.node._durable if self.node is not None else None
        return durable is not None and durable.identity.given_up

    def stop(self) -> None:
        """Ask the process to stop in good order."""
        process = self.process
        if process is not None and process.loop.held is None:
            process.loop.call_soon(lambda: process.loop.create_task(process.node.stop()))

    def kill(self, *, power: bool = False) -> None:
        """End the process at once; with ``power`` the machine goes off with it, and loses what was not synced."""
        process, self.process = self.process, None
        self.trace.event(self.node_id, "loses its power" if power else "is killed")
        if process is not None:
            process.ended = True
            process.loop.halt()
            if process.keys is not None and process.keys.is_writing:
                self.fired[CUT_SHORT] += 1
        if power:
            self.network.powered.discard(self.node_id)
        if process is not None:
            process.transport.vanish(told=not power)
            if process.writer is not None:
                process.writer.die(self.rng)
        if power:
            self.disk.lose_power()
        else:
            self.disk.kill()
        if process is not None:
            process.loop.drain(process.node.kill())
            self._down(process)

    def wipe(self) -> None:
        """Kill the process, and put an empty disk in place of the machine's."""
        self.kill()
        self.disk.wipe()
        self.invariants.wiped(self.node_id)

    def move(self) -> None:
        """Give the machine another address, for the next process."""
        self.moves += 1
        self.plan.addresses[self.node_id] = address_of(self.node_id, self.moves)

    @property
    def address(self) -> str:
        """Where its node is reached, or will be when it has started again."""
        return self.plan.addresses[self.node_id]

    def bury(self) -> None:
        """Leave nothing behind: the run is over."""
        process, self.process = self.process, None
        if process is not None:
            process.ended = True
            process.loop.halt()
            process.transport.vanish(told=False)
            self.disk.kill()
            process.loop.drain(process.node.kill())

    def kill_after(self, changes: int, *, power: bool) -> None:
        """Kill the process at that change of its files from now."""

        def now() -> None:
            process = self.process
            if process is None:
                return
            process.loop.halt()
            process.transport.vanish(told=not power)
            # Not from inside of the process: its frames are still on the stack.
            self.scheduler.world.call_soon(lambda: self.kill(power=power))

        self.disk.kill_after(changes, now)


def address_of(node_id: int, moves: int = 0) -> str:
    """The address of a machine that has moved so often."""
    return f"node{node_id}{'abcdefghijklmnopqrstuvwxyz'[moves % 26] if moves else ''}:{7000 + node_id}"


def _nobody(host: Host) -> None:
    pass


def _never(host: Host, version: int) -> bool:
    return False
