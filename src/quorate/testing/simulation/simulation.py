"""One run: everything that one seed leads to, first under any faults, then healed."""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from time import process_time

from quorate.node.wire import WIRE_CODEC
from quorate.testing.simulation.clients import Client, Door
from quorate.testing.simulation.faults import FAULTS, Nemesis
from quorate.testing.simulation.host import Host, HostPlan
from quorate.testing.simulation.invariants import Invariants, Violation
from quorate.testing.simulation.liveness import Liveness
from quorate.testing.simulation.loop import Scheduler, SimulationStuck
from quorate.testing.simulation.network import SimulatedNetwork
from quorate.testing.simulation.report import Report
from quorate.testing.simulation.swarm import Plan, draw
from quorate.testing.simulation.trace import WORLD, Trace
from quorate.testing.simulation.workloads import WORKLOADS, Workload
from quorate.testing.simulation.workloads.declared import APP


class Simulation:
    """The world of one seed. ``tell`` is given each event as a line to read."""

    def __init__(self, plan: Plan, tell: Callable[[str], None] | None = None) -> None:
        seed = plan.seed
        self.plan = plan
        self.scheduler = Scheduler()
        self.trace = Trace(self.scheduler, tell)
        self.fired: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        node_ids = list(range(1, plan.nodes + 1))
        self.invariants = Invariants(node_ids, self.scheduler.abort)
        self.network = SimulatedNetwork(
            self.scheduler, Random(f"{seed}.network"), plan.network, WIRE_CODEC, self.trace, self.fired
        )
        self.network.observe = self._observe
        host_plan = HostPlan(
            config=plan.config,
            machines=plan.machines,
            disk=plan.disk,
            schema=APP.schema_fingerprint,
            drift=plan.drift,
            slack_seconds=plan.slack_seconds,
        )
        self.hosts = {
            node_id: Host(
                node_id,
                seed,
                host_plan,
                self.scheduler,
                self.network,
                self.invariants,
                self.trace,
                self.counts,
                self.fired,
            )
            for node_id in node_ids
        }
        self.door = Door(self.scheduler, self.hosts, Random(f"{seed}.door"), plan.clients, self.fired)
        self.workloads: list[Workload] = [WORKLOADS[name](Random(f"{seed}.{name}")) for name in plan.workloads]
        self.clients = [
            Client(number, self.door, node_ids, Random(f"{seed}.client.{number}"), self.trace, self.scheduler)
            for number in range(1, plan.clients.count + 1)
        ]
        self.nemesis = Nemesis(
            self.scheduler, self.hosts, self.network, Random(f"{seed}.nemesis"), self.trace, self.fired,
            election_seconds=plan.election_seconds, has_leases=plan.lease_reads,
        )  # fmt: skip
        self._calm = False

    def run(self) -> Report:
        """Live through all of it."""
        began = process_time()
        failure: str | None = None
        try:
            self.scheduler.run(self.scheduler.world, self._live())
        except (Violation, SimulationStuck) as error:
            failure = str(error)
        except Exception as error:
            # Neither the nodes nor the simulator may raise anything else; which of them did is in the trace.
            failure = f"unforeseen: {type(error).__name__}: {error}"
            self.trace.note(WORLD, "".join(traceback.format_exception(error)))
        finally:
            self._bury()
        if failure is not None:
            self.trace.note(WORLD, f"FAILED: {failure}")
        operations = self._operations()
        self.counts["messages"] = self.network.delivered
        self.counts["steps"] = self.scheduler.steps
        self.counts["entries committed"] = len(self.invariants.known.committed)
        self.counts["starts"] = sum(host.starts for host in self.hosts.values())
        return Report(
            seed=self.plan.seed,
            failure=failure,
            digest=self.trace.digest,
            fired=self.fired,
            operations=operations,
            counts=self.counts,
            simulated_seconds=self.scheduler.now,
            worked_seconds=process_time() - began,
        )

    async def _live(self) -> None:
        loop, plan = self.scheduler.world, self.plan
        self.trace.event(WORLD, repr(plan))
        for host in self.hosts.values():
            loop.call_later(Random(f"{plan.seed}.{host.node_id}.start").random() * 0.1, host.start)
        clients = [loop.create_task(self._work(client)) for client in self.clients]
        rage = loop.create_task(self.nemesis.rage([FAULTS[name] for name in plan.faults], plan.fault_seconds))
        await asyncio.sleep(plan.hostile_seconds)
        rage.cancel()
        self.trace.event(WORLD, "all faults end")
        liveness = Liveness(plan, self.hosts, self.network, self.nemesis, self.door, self.trace)
        liveness.heal()
        await liveness.leader_is_found()
        # A little of the same work on the healed cluster, so that even a run of nothing but faults proves something.
        await asyncio.sleep(plan.election_seconds)
        await liveness.until(self._anything_succeeded, "an operation of any client succeeds")
        self._calm = True
        await liveness.in_time(asyncio.gather(*clients), "every operation ends")
        await liveness.everything_works()
        await liveness.comes_to_rest(self.invariants)
        for workload in self.workloads:
            workload.check(liveness.survivors[0])

    def _operations(self) -> Counter[str]:
        return sum((client.counts for client in self.clients), Counter())

    def _anything_succeeded(self) -> bool:
        return any(name.endswith(": ok") for name in self._operations())

    async def _work(self, client: Client) -> None:
        while not self._calm:
            await asyncio.sleep(client.rng.expovariate(1 / self.plan.clients.think_seconds))
            await client.rng.choice(self.workloads).run(client)

    def _observe(self, source: int, target: int, message: object) -> None:
        process = self.hosts[source].process
        core = process.core if process is not None else None
        self.invariants.sending(source, core, target, message)  # type: ignore[arg-type]

    def _bury(self) -> None:
        """Leave nothing behind: open connections, tasks that never end."""
        for host in self.hosts.values():
            host.bury()


def run_seed(seed: int, tell: Callable[[str], None] | None = None) -> Report:
    """Run one seed; ``tell`` is given each event as a line to read."""
    with _quiet(), _without_gc():
        return Simulation(draw(seed), tell).run()


@contextmanager
def _quiet() -> Iterator[None]:
    """What nodes log is noise here."""
    logger = logging.getLogger("quorate")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _without_gc() -> Iterator[None]:
    """A run makes little garbage in cycles, and is over soon."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
