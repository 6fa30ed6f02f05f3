"""One run: everything that one seed leads to, first under any faults, then healed."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from time import process_time

from quorate.machine.garbage import no_garbage_collection
from quorate.node.wire import WIRE_CODEC
from quorate.raft.core import RaftCore
from quorate.raft.membership import Configuration, Member
from quorate.testing.simulation.administrator import Administrator
from quorate.testing.simulation.clients import Client, Door
from quorate.testing.simulation.faults import FAULTS, Nemesis
from quorate.testing.simulation.host import Host, HostPlan, address_of
from quorate.testing.simulation.invariants import Invariants, Violation
from quorate.testing.simulation.liveness import Liveness
from quorate.testing.simulation.loop import Scheduler, SimulationStuck
from quorate.testing.simulation.network import SimulatedNetwork
from quorate.testing.simulation.report import Report
from quorate.testing.simulation.rollout import Rollout
from quorate.testing.simulation.swarm import Plan, draw
from quorate.testing.simulation.trace import WORLD, Trace
from quorate.testing.simulation.workloads import WORKLOADS, Workload


class Simulation:
    """The world of one seed. ``tell`` is given each event as a line to read."""

    def __init__(self, plan: Plan, tell: Callable[[str], None] | None = None) -> None:
        seed = plan.seed
        self.plan = plan
        self.scheduler = Scheduler()
        self.trace = Trace(self.scheduler, tell)
        self.fired: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.invariants = Invariants(plan.everyone, self.scheduler.abort)
        addresses = {node_id: address_of(node_id) for node_id in plan.everyone}
        known = self.invariants.known
        known.configurations = [(0, Configuration(tuple(Member(each, addresses[each]) for each in plan.founders)))]
        known.on_configuration = self._membership_changed
        known.lease_holders = self._lease_holders
        self._members = list(plan.founders)
        self.network = SimulatedNetwork(
            self.scheduler, Random(f"{seed}.network"), plan.network, WIRE_CODEC, self.trace, self.fired
        )
        self.network.observe = self._observe
        host_plan = HostPlan(
            config=plan.config,
            addresses=addresses,
            machines=plan.machines,
            disk=plan.disk,
            apps=plan.apps,
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
            for node_id in plan.everyone
        }
        for spare in plan.everyone[plan.nodes :]:
            self.hosts[spare].in_use = False
        self.door = Door(self.scheduler, self.hosts, Random(f"{seed}.door"), plan.clients, self.fired)
        self.workloads: list[Workload] = [WORKLOADS[name](Random(f"{seed}.{name}")) for name in plan.workloads]
        self.clients = [
            Client(number, self.door, self._members, Random(f"{seed}.client.{number}"), self.trace, self.scheduler)
            for number in range(1, plan.clients.count + 1)
        ]
        self.administrator = Administrator(
            self.door, self.hosts, known, Random(f"{seed}.administrator"), self.trace, self.scheduler,
            seconds=plan.election_seconds * 4,
        )  # fmt: skip
        self.nemesis = Nemesis(
            self.scheduler, self.hosts, self.network, Random(f"{seed}.nemesis"), self.trace, self.fired,
            self.administrator, election_seconds=plan.election_seconds, has_leases=plan.lease_reads,
        )  # fmt: skip
        self.nemesis.founders = plan.founders
        self.rollout = Rollout(plan.apps, self.hosts, known, Random(f"{seed}.rollout"), self.trace, self.fired)
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
        operations = self._operations() + self.administrator.counts
        self.counts["messages"] = self.network.delivered
        self.counts["steps"] = self.scheduler.steps
        self.counts["entries committed"] = len(self.invariants.known.committed)
        self.counts["configurations committed"] = len(self.invariants.known.configurations) - 1
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
        for host in self.nemesis.hosts.values():
            loop.call_later(Random(f"{plan.seed}.{host.node_id}.start").random() * 0.1, host.start)
        clients = [loop.create_task(self._work(client)) for client in self.clients]
        hostile = asyncio.gather(
            self.nemesis.rage([FAULTS[name] for name in plan.faults], plan.fault_seconds),
            self.rollout.go_on(plan.hostile_seconds / (len(self.hosts) * (len(plan.apps) + 1))),
        )
        await asyncio.sleep(plan.hostile_seconds)
        if hostile.done():
            hostile.result()  # it does not end by itself, unless something is wrong with it
        hostile.cancel()
        self.trace.event(WORLD, "all faults end")
        liveness = Liveness(plan, self.hosts, self.network, self.nemesis, self.door, self.trace)
        liveness.heal()
        self.rollout.finish()
        await liveness.leader_is_found()
        # A little of the same work on the healed cluster, so that even a run of nothing but faults proves something.
        await asyncio.sleep(plan.election_seconds)
        await liveness.until(self._anything_succeeded, "an operation of any client succeeds")
        self._calm = True
        await liveness.membership_is_settled()
        await liveness.in_time(asyncio.gather(*clients), "every operation ends")
        await liveness.declarations_are_in_force()
        await liveness.everything_works()
        for workload in self.workloads:
            what, seconds = f"the {workload.name} are finished", workload.finishing_seconds
            await liveness.in_time(workload.finish(self.clients), what, seconds)
        await liveness.expired_keys_are_deleted()
        await liveness.old_history_is_deleted()
        await liveness.due_tasks_are_done()
        await liveness.comes_to_rest(self.invariants)
        for workload in self.workloads:
            workload.check(liveness.holders[0])

    def _operations(self) -> Counter[str]:
        return sum((client.counts for client in self.clients), Counter())

    def _membership_changed(self) -> None:
        """Clients learn who belongs to the cluster, and try nobody else."""
        self._members[:] = self.invariants.known.configuration.ids

    def _lease_holders(self) -> Iterator[tuple[RaftCore, int]]:
        for host in self.hosts.values():
            process = host.process
            if process is not None and process.loop.held is None and process.group is not None:
                yield process.group.core, process.group._now_ticks()

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
    with _quiet(), no_garbage_collection():
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
