"""Who makes things go wrong, and sees to it that what is down comes up again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from quorate.testing.simulation.administrator import Administrator
from quorate.testing.simulation.host import Host
from quorate.testing.simulation.loop import Scheduler, SimulatedHandle
from quorate.testing.simulation.network import SimulatedNetwork
from quorate.testing.simulation.trace import WORLD, Trace

LULL_PROBABILITY = 0.1
"""How many faults are followed by a time of peace: a cluster that never recovers meets only a few kinds of trouble."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault. ``act`` lets it happen once; returns what happened in words, or ``None`` if it could not."""

    name: str
    act: Callable[[Nemesis], str | None]
    weight: float = 1.0
    nodes_min: int = 1
    """It makes sense only with so many nodes."""
    harms: bool = False
    """Whether it takes data away that was durable."""
    breaks_leases: bool = False
    """Whether it breaks what lease reads rely upon: clocks that run alike."""


class Nemesis:
    """Draws faults, lets them happen, and ends them after a while."""

    def __init__(
        self,
        scheduler: Scheduler,
        hosts: Mapping[int, Host],
        network: SimulatedNetwork,
        rng: Random,
        trace: Trace,
        fired: Counter[str],
        administrator: Administrator,
        *,
        election_seconds: float,
        has_leases: bool,
    ) -> None:
        self.scheduler = scheduler
        self.everyone = hosts
        """All machines, spare ones and those of removed nodes included."""
        self.founders: tuple[int, ...] = tuple(hosts)
        """The nodes that began the cluster."""
        self.administrator = administrator
        self.known = administrator.known
        self.network = network
        self.rng = rng
        self.fired = fired
        self.election_seconds = election_seconds
        self.has_leases = has_leases
        self._trace = trace
        self._timers: dict[SimulatedHandle, None] = {}
        self.coup: Callable[[Host], None] | None = None
        """What happens to whoever becomes the leader, while that is so."""
        for host in hosts.values():
            host.on_down = self._down
            host.on_leading = self._leads

    async def rage(self, faults: list[Fault], mean_seconds: float) -> None:
        """Let faults happen until cancelled."""
        weights = [fault.weight for fault in faults]
        while faults:
            await asyncio.sleep(self.rng.expovariate(1 / mean_seconds))
            (fault,) = self.rng.choices(faults, weights)
            happened = fault.act(self) if len(self.hosts) >= fault.nodes_min else None
            if happened is not None:
                self.fired[fault.name] += 1
                self._trace.event(WORLD, f"fault: {fault.name}: {happened}")
            if self.rng.random() < LULL_PROBABILITY:
                self.stop()
                self.mend()
                for host in self.hosts.values():
                    host.start()
                self._trace.event(WORLD, "a lull")
                await asyncio.sleep(self.seconds(4.0))

    def mend(self) -> None:
        """End every fault that lasts."""
        self.network.heal()
        for host in self.everyone.values():
            host.disk.heal()
            host.slow_apply_seconds = 0.0
            if host.process is not None:
                host.process.loop.resume()
                host.process.loop.set_rate(1.0)

    def stop(self) -> None:
        """Let nothing happen any more that is planned already, not even what would end by itself."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.coup = None

    # -- what faults need --------------------------------------------------------------------------------

    def seconds(self, elections: float = 2.0) -> float:
        """For how long a fault lasts: about so many election timeouts."""
        return self.rng.expovariate(1.0) * self.election_seconds * elections

    def later(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call back, unless all is healed by then."""

        def fire() -> None:
            self._timers.pop(timer, None)
            callback()

        timer = self.scheduler.after(seconds, self.scheduler.world, fire)
        self._timers[timer] = None

    @property
    def hosts(self) -> dict[int, Host]:
        """The machines that count, by the ids of their nodes."""
        return {node_id: host for node_id, host in self.everyone.items() if host.in_use}

    def any_host(self) -> Host:
        """Any machine, the leader's more often than others."""
        leader = self.leader()
        if leader is not None and self.rng.random() < 0.4:
            return leader
        return self.rng.choice(list(self.hosts.values()))

    def any_running(self) -> Host | None:
        """A machine on which a node runs, the leader's more often than others."""
        running = [host for host in self.hosts.values() if host.is_up]
        if not running:
            return None
        leader = self.leader()
        return leader if leader is not None and self.rng.random() < 0.4 else self.rng.choice(running)

    def leader(self) -> Host | None:
        """The machine of the node that leads the latest term, as far as it knows."""
        found: Host | None = None
        term = 0
        for host in self.everyone.values():
            core = host.process.core if host.is_up and host.process is not None else None
            if core is not None and core.replication is not None and core.term > term:
                found, term = host, core.term
        return found

    def _leads(self, host: Host) -> None:
        if self.coup is not None:
            self.coup(host)

    def _down(self, host: Host) -> None:
        # Nobody starts a node again that was removed, except by mistake.
        if host.in_use or self.known.may_be_member(host.node_id) or self.rng.random() < 0.2:
            self.later(self.seconds(1.0), host.start)
