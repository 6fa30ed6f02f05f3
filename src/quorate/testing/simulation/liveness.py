"""The second half of a run: a core of nodes is healed, and must come to life, finish everything and agree."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from quorate.errors import CommandFailed, QuorateError
from quorate.models.commands import Delete, encode_command
from quorate.models.machine import MACHINE
from quorate.testing.simulation.clients import Door, NoAnswer, Unreachable
from quorate.testing.simulation.disk import DiskPlan
from quorate.testing.simulation.faults import Nemesis
from quorate.testing.simulation.host import Host, Process
from quorate.testing.simulation.invariants import Invariants, Violation
from quorate.testing.simulation.network import SimulatedNetwork
from quorate.testing.simulation.notebook import put
from quorate.testing.simulation.swarm import Plan
from quorate.testing.simulation.trace import WORLD, Trace

T = TypeVar("T")

ELECTIONS = 15
"""How many of the longest election timeouts anything may take on a healed cluster."""
POLL_SECONDS = 0.05

_HARMLESS_CHANGE = encode_command(Delete("Account", -1))


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
        self._core = list(hosts.values())
        clients = plan.clients
        self._bound_seconds = (
            ELECTIONS * plan.election_seconds + 5 + clients.attempts_max * clients.timeout_seconds * 1.3
        )

    @property
    def survivors(self) -> list[Process]:
        """The processes of the healed nodes."""
        return [host.process for host in self._core if host.process is not None]

    def heal(self) -> None:
        """End all faults, and start whatever is down, but for those that stay dead."""
        self._nemesis.stop()
        self._nemesis.mend()
        self._door.calm = True
        dead = [host for host in self._hosts.values() if host.beyond_repair]
        others = [host for host in self._hosts.values() if not host.beyond_repair]
        self._nemesis.rng.shuffle(others)
        while len(dead) < self._plan.left_dead:
            host = others.pop()
            host.kill()
            dead.append(host)
        if dead:
            self._trace.event(WORLD, f"dead for good: {sorted(host.node_id for host in dead)}")
        self._core = sorted(others, key=lambda host: host.node_id)
        self._network.plan = replace(self._plan.network, drop=0.0)
        for host in self._core:
            # Elections end where messages and writes take much less time than the election timeout (§5.6).
            host.disk.plan = DiskPlan()
            host.on_down = self._start_again
            host.start()

    def _start_again(self, host: Host) -> None:
        """A node that was about to end when all was healed, or that decay kept from starting."""
        if host.beyond_repair:
            self._core = [other for other in self._core if other is not host]
        else:
            self._network.scheduler.after(0.05, self._network.scheduler.world, host.start)

    async def leader_is_found(self) -> None:
        """One leader, which all follow."""

        def found() -> bool:
            leaders = {host.process.node.leader for host in self._core if host.is_up and host.process is not None}
            up = all(host.is_up for host in self._core)
            return up and len(leaders) == 1 and None not in leaders

        await self.until(found, "one leader that all follow")

    async def everything_works(self) -> None:
        """Each node answers a strong read, and a write through it succeeds."""
        for host in self._core:
            await self.in_time(self._try(host, _read), f"a read on node {host.node_id}")
            await self.in_time(self._try(host, self._write), f"a write on node {host.node_id}")

    async def comes_to_rest(self, invariants: Invariants) -> None:
        """Everyone has applied everything, no queue holds anything, all states are equal."""
        await self.until(self._is_at_rest, "everyone catches up and all queues are empty")
        for process in self.survivors:
            assert process.group is not None
            invariants.state_seen(process.host.node_id, process.group.applied_index, process.digest())

    def _is_at_rest(self) -> bool:
        groups = [process.group for process in self.survivors if process.group is not None]
        if len(groups) < len(self._core):
            return False
        last = {group.core.log.last_index for group in groups}
        applied = {group.applied_index for group in groups}
        busy = any(group.pending or len(group._reads) for group in groups)
        writing = any(process.writer is not None and process.writer.pending for process in self.survivors)
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
            command = _HARMLESS_CHANGE if machine == MACHINE else put("world", "world", 0)
            try:
                await process.node.propose(command, machine=machine)
            except CommandFailed:
                pass

    async def in_time(self, work: Awaitable[T], what: str) -> T:
        """Wait for ``work``, but not for ever. Raises :class:`Violation`."""
        try:
            async with asyncio.timeout(self._bound_seconds):
                return await work
        except TimeoutError:
            raise Violation("liveness", f"{what}: not within {self._bound_seconds:.1f} s; {self._state()}") from None

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition, but not for ever. Raises :class:`Violation`."""

        async def hold() -> None:
            while not condition():  # noqa: ASYNC110 - the world has no event for everything that may be asked
                await asyncio.sleep(POLL_SECONDS)

        await self.in_time(hold(), what)

    def _state(self) -> str:
        return "; ".join(f"node {host.node_id}: {host.node.status if host.node else 'down'}" for host in self._core)


async def _read(process: Process) -> None:
    await process.node.read_barrier()
