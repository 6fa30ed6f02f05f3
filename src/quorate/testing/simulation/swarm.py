"""What one seed stands for. Each run draws which faults there are at all, and how often: a swarm of unlike runs finds
more than many runs that are alike (Groce et al., "Swarm Testing", 2012).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from quorate.app import App
from quorate.config import RaftConfig
from quorate.kv.machine import MACHINE as KEYS
from quorate.machine.contract import Machine
from quorate.models.machine import MACHINE
from quorate.tasks.machine import MACHINE as TASKS
from quorate.testing.simulation.clients import ClientPlan
from quorate.testing.simulation.disk import DiskPlan
from quorate.testing.simulation.faults import FAULTS, membership
from quorate.testing.simulation.keys import KeysPlan, SimulatedKv
from quorate.testing.simulation.models import ModelsPlan, SimulatedModels
from quorate.testing.simulation.network import NetworkPlan
from quorate.testing.simulation.notebook import NOTEBOOK, DiskNotebook, MemoryNotebook
from quorate.testing.simulation.tasks import SimulatedTasks
from quorate.testing.simulation.workloads import (
    OF_KEYS,
    OF_MODELS,
    OF_TASKS,
    OTHERS,
    WORKLOADS,
    KvFlushes,
    ModelUpgrades,
    TaskEffects,
)

MEMBERSHIP = tuple(fault.name for fault in membership.FAULTS)
"""What needs machines to spare, or makes them."""
HARM = tuple(name for name, fault in FAULTS.items() if fault.harms)
"""What takes data away that was durable."""

KEYS_SHARE = 0.3
"""So many runs work on keys."""
MODELS_SHARE = 0.3
"""So many runs work on a shop of declared models, or on models whose declarations change."""
TASKS_SHARE = 0.2
"""So many runs work on tasks."""
TIMINGS_MS = ((50, 150, 300), (100, 400, 800), (200, 800, 1500), (300, 1000, 2000))
"""(heartbeat interval, shortest and longest election timeout) to draw from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is drawn before a run begins."""

    seed: int
    profile: str
    nodes: int
    """So many voters begin the cluster."""
    spares: int
    """Machines on which nodes can be started that join it."""
    timings_ms: tuple[int, int, int]
    lease_reads: bool
    drift: float
    slack_seconds: float
    segment_bytes: int
    snapshot_threshold: int
    snapshot_trailing_entries: int
    append_entries_max: int
    inflight_appends_max: int
    pending_proposals_max: int
    proposal_timeout_ms: int
    disk: DiskPlan
    network: NetworkPlan
    clients: ClientPlan
    faults: tuple[str, ...]
    fault_seconds: float
    """The mean time between two faults."""
    workloads: tuple[str, ...]
    notebook_on_disk: bool
    keys: KeysPlan
    models: ModelsPlan
    hostile_seconds: float
    left_dead: int
    """How many nodes, never a majority, stay down when all else is healed."""

    @property
    def election_seconds(self) -> float:
        """The longest election timeout."""
        return self.timings_ms[2] / 1000

    @property
    def founders(self) -> tuple[int, ...]:
        """The nodes that begin the cluster."""
        return tuple(range(1, self.nodes + 1))

    @property
    def everyone(self) -> tuple[int, ...]:
        """All nodes that there may ever be."""
        return tuple(range(1, self.nodes + self.spares + 1))

    def config(self, node_id: int, addresses: Mapping[int, str], join: bool = False) -> RaftConfig:
        """The configuration of one node: it names itself and those who began the cluster, where they live now."""
        heartbeat_ms, election_min_ms, election_ms = self.timings_ms
        named = sorted({*self.founders, node_id})
        return RaftConfig(
            node_id=node_id,
            cluster_nodes=tuple(f"{each}@{addresses[each]}" for each in named),
            join=join,
            data_dir=Path(f"/simulated/node{node_id}"),
            heartbeat_interval_ms=heartbeat_ms,
            election_timeout_min_ms=election_min_ms,
            election_timeout_ms=election_ms,
            lease_reads=self.lease_reads,
            segment_bytes=self.segment_bytes,
            snapshot_threshold=self.snapshot_threshold,
            snapshot_trailing_entries=self.snapshot_trailing_entries,
            max_payload_entries=self.append_entries_max,
            max_inflight_requests=self.inflight_appends_max,
            max_pending_proposals=self.pending_proposals_max,
            proposal_timeout_ms=self.proposal_timeout_ms,
        )

    @property
    def machine_names(self) -> tuple[str, ...]:
        """The state machines that the workloads need."""
        needed = (WORKLOADS[name] for name in self.workloads)
        return tuple(sorted({name for workload in needed for name in (workload.machine, *workload.others)}))

    @property
    def apps(self) -> tuple[App, ...]:
        """The versions of the app whose models the workloads need, of which there is one at most."""
        return next((WORKLOADS[name].apps for name in self.workloads if WORKLOADS[name].apps), ())

    def machines(self, spend: Callable[[], None], app: App | None) -> Mapping[str, Machine]:
        """New state machines for one process."""
        made: dict[str, Machine] = {}
        for name in self.machine_names:
            if name == MACHINE:
                assert app is not None
                made[name] = SimulatedModels(app, self.models, spend)
            elif name == KEYS:
                made[name] = SimulatedKv(self.keys, spend)
            elif name == TASKS:
                made[name] = SimulatedTasks(spend)
            else:
                made[NOTEBOOK] = DiskNotebook(spend) if self.notebook_on_disk else MemoryNotebook(spend)
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A kind of trouble that a run is made for. What is not said here is drawn as for any other run."""

    weight: float
    nodes: tuple[int, ...] = (1, 2, 3, 3, 3, 3, 4, 5, 5)
    spares: tuple[int, ...] = (0, 0, 0, 1, 2)
    core: tuple[str, ...] = ()
    """Faults of which most are there."""
    others_max: int = 8
    """How many others there are at most."""
    lease_reads: float = 0.2
    entries_at_once: tuple[int, ...] = (1, 3, 100)
    disk_jitter_seconds: tuple[float, ...] = (0.0001, 0.002, 0.02, 0.1)
    fault_elections: tuple[float, ...] = (0.5, 1.2, 3.0)
    """The mean time between two faults, in election timeouts."""


PROFILES: dict[str, Profile] = {
    "anything": Profile(weight=4),
    "election storm": Profile(
        weight=2,
        nodes=(3, 5, 5),
        spares=(0,),
        core=("coups", "figure 8", "half-told", "leader roulette", "stranded leader", "power loss",
              "late requests for votes"),
        others_max=3,
        entries_at_once=(1, 1, 3),
        disk_jitter_seconds=(0.002, 0.02, 0.1),
        fault_elections=(0.5, 1.2),
    ),
    "old entries": Profile(
        weight=1.5,
        nodes=(3, 4, 5),
        spares=(0,),
        core=("figure 8", "stranded leader", "power loss at a persistence point", "kill at a persistence point",
              "half-told"),
        others_max=3,
        fault_elections=(0.8, 1.5),
    ),
    "lease": Profile(
        weight=1.5,
        nodes=(3, 3, 4, 5),
        spares=(0, 1),
        core=("isolate", "deaf or mute", "one-way loss", "stranded leader", "leadership transfer", "clock drift",
              "transfer to a node", "restart", "pause", "heir cut off", "forgetful followers", "late word of a rival"),
        others_max=3,
        lease_reads=1.0,
        fault_elections=(0.4, 0.8, 1.5),
    ),
    "membership": Profile(
        weight=3,
        nodes=(1, 2, 3, 3, 3, 4, 5),
        spares=(1, 2, 3),
        core=MEMBERSHIP,
        others_max=4,
        fault_elections=(0.5, 1.0, 2.0),
    ),
    "decay": Profile(
        weight=2,
        nodes=(3, 3, 4, 5),
        spares=(0, 1),
        core=HARM,
        others_max=4,
        fault_elections=(1.0, 2.0),
    ),
}  # fmt: skip


def draw(seed: int) -> Plan:
    """The plan of a seed: the same one each time."""
    rng = Random(f"{seed}.swarm")
    name = rng.choices(list(PROFILES), [profile.weight for profile in PROFILES.values()])[0]
    profile = PROFILES[name]
    timings = rng.choice(TIMINGS_MS)
    election_seconds = timings[2] / 1000
    nodes, spares = rng.choice(profile.nodes), rng.choice(profile.spares)
    lease_reads = rng.random() < profile.lease_reads
    plan = Plan(
        seed=seed,
        profile=name,
        nodes=nodes,
        spares=spares,
        timings_ms=timings,
        lease_reads=lease_reads,
        drift=rng.choice((0.0, 0.001, 0.02, 0.05)),
        slack_seconds=rng.choice((0.0, 0.02, 0.05)) if timings[0] < 100 else rng.choice((0.02, 0.05, 0.1)),
        segment_bytes=rng.choice((4096, 8192, 64 * 1024)),
        snapshot_threshold=rng.choice((3, 15, 10_000)),
        snapshot_trailing_entries=rng.choice((0, 4, 50)),
        append_entries_max=rng.choice(profile.entries_at_once),
        inflight_appends_max=rng.choice((1, 2, 64)),
        pending_proposals_max=rng.choice((3, 1000)),
        proposal_timeout_ms=int(election_seconds * 1000 * rng.choice((1, 3))),
        disk=DiskPlan(
            base_seconds=rng.choice((0.0001, 0.001, 0.005)), jitter_seconds=rng.choice(profile.disk_jitter_seconds)
        ),
        network=_draw_network(rng),
        clients=_draw_clients(rng, election_seconds),
        faults=_draw_faults(rng, profile, nodes, spares, lease_reads),
        fault_seconds=election_seconds * rng.choice(profile.fault_elections),
        workloads=tuple(sorted(rng.sample([each.name for each in OTHERS], rng.choice((1, 1, 2, 3))))),
        notebook_on_disk=rng.random() < 0.5,
        keys=KeysPlan(),
        models=ModelsPlan(),
        hostile_seconds=min(max(16 * election_seconds, 8.0), 20.0),
        left_dead=rng.randint(1, 2) if nodes > 2 and rng.random() < 0.3 else 0,
    )
    return _with_tasks(_with_models(_with_keys(plan)))


def _with_keys(plan: Plan) -> Plan:
    """Some runs work on keys, alone or beside other things. All else stays as it was drawn."""
    rng = Random(f"{plan.seed}.swarm.keys")
    keys = KeysPlan(
        dirty_keys=rng.choice((1, 5, 30, 20_000)), steps=rng.choice((1, 3, 1000)), idle_slices=rng.choice((0, 2, 5))
    )
    if rng.random() >= KEYS_SHARE:
        return plan
    names = rng.sample([each.name for each in OF_KEYS], rng.choice((1, 1, 2)))
    if KvFlushes.name in names:  # the others would miss their keys
        names = [KvFlushes.name]
    others = plan.workloads if rng.random() < 0.3 else ()
    return replace(plan, keys=keys, workloads=(*sorted(names), *others))


def _with_models(plan: Plan) -> Plan:
    """Some runs work on declared models, alone or beside keys. All else stays as it was drawn."""
    rng = Random(f"{plan.seed}.swarm.models")
    models = ModelsPlan(events_kept=rng.choice((5, 20, 50, 100_000)))
    if rng.random() >= MODELS_SHARE:
        return plan
    names = rng.sample([each.name for each in OF_MODELS], rng.choice((1, 2, 2)))
    if ModelUpgrades.name in names:  # the others would miss their models, and it goes by all events
        names, models = [ModelUpgrades.name], ModelsPlan()
    keys = {each.name for each in OF_KEYS}
    others = [name for name in plan.workloads if name in keys] if rng.random() < 0.2 else []
    return replace(plan, models=models, workloads=(*sorted(names), *others))


def _with_tasks(plan: Plan) -> Plan:
    """Some runs work on tasks, alone or beside other things. All else stays as it was drawn."""
    rng = Random(f"{plan.seed}.swarm.tasks")
    if rng.random() >= TASKS_SHARE:
        return plan
    name = rng.choice(OF_TASKS).name
    # What is judged by the log of the keys alone would miss what joint commands do to them.
    others = plan.workloads if name != TaskEffects.name and rng.random() < 0.3 else ()
    return replace(plan, workloads=(name, *others))


def _draw_faults(rng: Random, profile: Profile, nodes: int, spares: int, lease_reads: bool) -> tuple[str, ...]:
    allowed = [
        name
        for name, fault in FAULTS.items()
        if nodes + spares >= fault.nodes_min
        and not (lease_reads and fault.breaks_leases)
        and (spares or name not in MEMBERSHIP)
    ]
    if not profile.core and rng.random() < 0.1:
        return tuple(sorted(allowed))
    core = [name for name in profile.core if name in allowed and rng.random() < 0.8]
    others = [name for name in allowed if name not in profile.core]
    return tuple(sorted([*core, *rng.sample(others, rng.randint(0, min(len(others), profile.others_max)))]))


def _draw_network(rng: Random) -> NetworkPlan:
    return NetworkPlan(
        base_seconds=rng.choice((0.0002, 0.001, 0.01)),
        jitter_seconds=rng.choice((0.0001, 0.001, 0.01)),
        drop=rng.choice((0.0, 0.0, 0.01, 0.1)),
        duplicate=rng.choice((0.0, 0.0, 0.02, 0.1)),
        reorder=rng.choice((0.0, 0.0, 0.05, 0.3)),
        through_codec=rng.choice((0.05, 0.2, 1.0)),
    )


def _draw_clients(rng: Random, election_seconds: float) -> ClientPlan:
    count = rng.choice((1, 3, 5, 8))
    return ClientPlan(
        count=count,
        think_seconds=count * election_seconds * rng.choice((0.05, 0.1)),
        timeout_seconds=election_seconds * rng.choice((1.5, 4.0)),
        attempts_max=rng.choice((1, 3, 6)),
        latency_seconds=rng.choice((0.0005, 0.005)),
        request_ids=rng.choice((0.0, 0.7, 1.0)),
        lost_requests=rng.choice((0.0, 0.0, 0.05)),
        lost_answers=rng.choice((0.0, 0.0, 0.1)),
        twice_at_once=rng.choice((0.0, 0.0, 0.2)),
        impatient=rng.choice((0.0, 0.0, 0.2)),
    )
