"""The second half of a run: a core of nodes is healed, and must come to life, finish everything and agree."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from quorate.errors import CommandFailed, QuorateError
from quorate.kv.machine import MACHINE as KEYS
from quorate.models.machine import MACHINE
from quorate.models.retention import is_over
from quorate.tasks.machine import MACHINE as TASKS
from quorate.testing.simulation.clients import Door, NoAnswer, Unreachable
from quorate.testing.simulation.disk import DiskPlan
from quorate.testing.simulation.faults import Nemesis
from quorate.testing.simulation.host import Host, Process
from quorate.testing.simulation.invariants import Invariants, Violation
from quorate.testing.simulation.network import SimulatedNetwork
from quorate.testing.simulation.notebook import NOTEBOOK, put
from quorate.testing.simulation.swarm import Plan
from quorate.testing.simulation.tasks import HARMLESS
from quorate.testing.simulation.trace import WORLD, Trace

T = TypeVar("T")

ELECTIONS = 15
"""How many of the longest election timeouts anything may take on a healed cluster."""
POLL_SECONDS = 0.05
SOON_US = 5_000_000
"""Keys whose time is over so soon, by the leader's clock, are waited for."""

_HARMLESS = {
    NOTEBOOK: put("world", "world", 0),
    KEYS: msgspec.msgpack.encode([[b"SET", b"world", b"", b"PX", b"200"]]),
    TASKS: HARMLESS,
}
"""A command for each machine but the models: which they know depends on the app."""


class Liveness:
    """What is demanded of the healed cluster."""

    def __init__(
        self,
        plan: Plan,
        hosts: Mapping[int, Host],
        network: SimulatedNetwork,
        nemesis: Nemesis,
        door: Door,
        trace: Trace,
    ) -> None:
        self._plan = plan
        self._hosts = hosts
        self._network = network
        self._nemesis = nemesis
        self._door = door
        self._trace = trace
        self._dead: list[Host] = []
        clients = plan.clients
        self._bound_seconds = (
            ELECTIONS * plan.election_seconds + 5 + clients.attempts_max * clients.timeout_seconds * 1.3
        )

    def _members(self) -> list[Host]:
        """The machines of the members by the configuration that is really in force, but for those that stay dead."""
        leader = self._nemesis.leader()
        core = leader.process.core if leader is not None and leader.process is not None else None
        configuration = core.configuration if core is not None else self._nemesis.known.configuration
        members = [self._hosts[node_id] for node_id in configuration.ids]
        return [host for host in members if host not in self._dead]

    @property
    def survivors(self) -> list[Process]:
        """The processes of the healed members."""
        return [host.process for host in self._members() if host.process is not None]

    @property
    def holders(self) -> list[Process]:
        """Those that hold data."""
        return [process for process in self.survivors if process.holds_data]

    def heal(self) -> None:
        """End all faults, and start whatever is down, but for those that stay dead."""
        self._nemesis.stop()
        self._nemesis.mend()
        self._nemesis.administrator.calm = self._door.calm = True
        known = self._nemesis.known
        hosts = [host for node_id, host in self._hosts.items() if known.may_be_member(node_id)]
        self._nemesis.rng.shuffle(hosts)
        for host in hosts:
            dead = [*(each.node_id for each in self._dead), host.node_id]
            # Who may be taken out by a change that is still under way must not be counted on.
            spared = known.evidence[host.node_id].harmed or self._nemesis.administrator.busy
            if len(dead) <= self._plan.left_dead and not spared and known.survives_without(dead):
                self._dead.append(host)
        for host in self._hosts.values():  # one of them may be about to become a member
            host.disk.plan = DiskPlan()
            host.on_down = self._start_again
            if host in self._dead:
                host.kill()
        if self._dead:
            self._trace.event(WORLD, f"dead for good: {sorted(host.node_id for host in self._dead)}")
        self._network.plan = replace(self._plan.network, drop=0.0)
        for host in sorted(hosts, key=lambda each: each.node_id):
            self._start_again(host)

    def _start_again(self, host: Host) -> None:
        """Members that were down, or about to end, when all was healed; or that begin anew, or move."""
        if host not in self._dead and self._nemesis.known.may_be_member(host.node_id):
            self._network.scheduler.after(0.05, self._network.scheduler.world, host.start)

    async def leader_is_found(self) -> None:
        """One leader, which all follow."""

        def found() -> bool:
            members = self._members()
            for host in members:
                host.start()  # one that was added meanwhile, and removed before
            leaders = {host.process.node.leader for host in members if host.is_up and host.process is not None}
            return all(host.is_up for host in members) and len(leaders) == 1 and None not in leaders

        await self.until(found, "one leader that all follow")

    async def membership_is_settled(self) -> None:
        """No change is under way, everyone who lost data is repaired, and all who should vote do."""
        await self.until(self._is_settled, "the membership is settled")

    @property
    def _leading(self) -> Process | None:
        """The process that leads, if one does."""
        leader = self._nemesis.leader()
        return leader.process if leader is not None else None

    def _is_settled(self) -> bool:
        leading = self._leading
        core = leading.core if leading is not None else None
        if leading is None or core is None or not core.may_change_membership or self._nemesis.administrator.busy:
            return False
        for host in self._members():
            member, process = core.configuration[host.node_id], host.process
            if process is None or process.core is None or process.core.repairing or not host.is_up:
                return False
            if member.promote:
                return False
            if host is not leading.host and member.address != host.address:
                return False
        return True

    async def everything_works(self) -> None:
        """Each node that holds data answers a strong read, and a write through it succeeds."""
        for process in self.holders:
            host = process.host
            await self.in_time(self._try(host, _read), f"a read on node {host.node_id}")
            await self.in_time(self._try(host, self._write), f"a write on node {host.node_id}")

    async def declarations_are_in_force(self) -> None:
        """Once all nodes run the same app, what it declares comes into force."""
        await self.until(self._is_declared, "what the app declares is in force")

    def _is_declared(self) -> bool:
        machines = [process.models for process in self.holders]
        return all(machine is None or machine.declarations.are_in_force for machine in machines)

    async def old_history_is_deleted(self) -> None:
        """What has been kept for its time is deleted, though nobody writes or asks for it."""
        await self.until(self._is_retained, "history whose retention is over is deleted")

    def _is_retained(self) -> bool:
        process = self._leading
        if process is None:
            return False
        return process.models is None or not is_over(process.models, process.host.wall_clock_us())

    async def expired_keys_are_deleted(self) -> None:
        """What the leader's clock passes is deleted, though nobody writes or asks for it."""
        await self.until(self._is_swept, "keys whose time is over are deleted")

    def _is_swept(self) -> bool:
        process = self._leading
        if process is None:
            return False
        if process.keys is None:
            return True
        return not 0 < process.keys.keyspace.next_deadline_us <= process.host.wall_clock_us() + SOON_US

    async def due_tasks_are_done(self) -> None:
        """What the leader's clock passes is done to tasks, though nobody asks for it."""
        await self.until(self._is_nothing_due, "what is due is done to tasks")

    def _is_nothing_due(self) -> bool:
        process = self._leading
        if process is None:
            return False
        return process.tasks is None or not process.tasks.is_anything_due(process.host.wall_clock_us())

    async def comes_to_rest(self, invariants: Invariants) -> None:
        """Everyone has applied everything, no queue holds anything, all states are equal."""
        await self.until(self._is_at_rest, "everyone catches up and all queues are empty")
        for process in self.holders:
            assert process.group is not None
            invariants.state_seen(process.host.node_id, process.group.applied_index, process.digest())

    def _is_at_rest(self) -> bool:
        survivors, members = self.survivors, self._members()
        groups = [process.group for process in survivors if process.group is not None]
        if len(groups) < len(members):
            return False
        last = {group.core.log.last_index for group in groups}
        applied = {group.applied_index for group in groups}
        busy = any(group.pending or len(group._reads) for group in groups)
        writing = any(process.writer is not None and process.writer.pending for process in survivors)
        return last == applied and len(last) == 1 and not busy and not writing and not self._door.waiting

    async def _try(self, host: Host, work: Callable[[Process], Any]) -> None:
        """Repeat until it succeeds: the cluster is healed, so it must."""
        while True:
            try:
                await self._door.call(host.node_id, work, 4 * self._plan.election_seconds)
            except (QuorateError, NoAnswer, Unreachable):
                await asyncio.sleep(POLL_SECONDS)
            else:
                return

    async def _write(self, process: Process) -> None:
        """Any command, of each machine; a refusal has gone all the way, too."""
        for machine in self._plan.machine_names:
            models = process.models
            command = models.harmless if machine == MACHINE and models is not None else _HARMLESS[machine]
            try:
                await process.node.propose(command, machine=machine)
            except CommandFailed:
                pass

    async def in_time(self, work: Awaitable[T], what: str, more_seconds: float = 0.0) -> T:
        """Wait for ``work``, but not for ever. Raises :class:`Violation`."""
        seconds = self._bound_seconds + more_seconds
        try:
            async with asyncio.timeout(seconds):
                return await work
        except TimeoutError:
            raise Violation("liveness", f"{what}: not within {seconds:.1f} s; {self._state()}") from None

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition, but not for ever. Raises :class:`Violation`."""

        async def hold() -> None:
            while not condition():  # noqa: ASYNC110 - the world has no event for everything that may be asked
                await asyncio.sleep(POLL_SECONDS)

        await self.in_time(hold(), what)

    def _state(self) -> str:
        states = ((host.node_id, host.node.status if host.node else "down") for host in self._hosts.values())
        return "; ".join(f"node {node_id}: {state}" for node_id, state in states)


async def _read(process: Process) -> None:
    await process.node.read_barrier()
