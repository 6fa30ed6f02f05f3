"""The key-value benchmark: three of our nodes, three of etcd and one Redis, all with fsync on, in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from quorate.ops.bench.cases import CASES, Case, Sample
from quorate.ops.bench.convergence import Convergence
from quorate.ops.bench.environment import Environment, look_around
from quorate.ops.bench.etcd import EtcdSystem
from quorate.ops.bench.repeats import Repeats
from quorate.ops.bench.servers import cpu_seconds, missing_packages, path_of, wait_quiet
from quorate.ops.bench.systems import QuorateSystem, RedisSystem, System

PORTS = 10
"""Three for our nodes, two for each of etcd's, and Redis's."""
TRIAL_OPERATIONS = 1000
"""The round that warms up takes so many, and 20 for each under way; later ones, as many as should fit their time."""
SLOW_ROUND_FACTOR = 10
SLOW_ROUND_SECONDS = 30.0

Tell = Callable[[str], None]


class Rival(StrEnum):
    """What our nodes can be compared with."""

    ETCD = "etcd"
    REDIS = "redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure."""

    seconds: float
    """About how long each case runs on each system in each round."""
    operations_max: int
    """Requests that a round has at most."""
    rounds: int
    keys: int
    """Every system holds so many keys before anything is measured."""
    rival: Rival | None = None
    """With this one alone our nodes are compared, and it has to be there; else with all that are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of one case on one system."""

    sample: Sample
    cpu_us: float | None
    """The time of all cores that one operation took from the system's processes, in microseconds.

    With what they did in the background right after the round.
    """
    fsyncs: float | None
    """fsyncs of the logs of all nodes for one operation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One case on one system: the round in the middle by throughput."""

    case: str
    system: str
    operations: int
    """In that round."""
    per_second: float
    per_second_rounds: list[float]
    """All rounds, in their order."""
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_us_per_operation: float | None
    fsyncs_per_operation: float | None
    to_rival: float | None
    """This throughput, divided by the rival's in the same case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvReport:
    """All of it."""

    environment: Environment
    rival: str
    """The name of the system by whose throughput the others' are divided."""
    systems: list[str]
    """What was measured, by what."""
    missing: list[str]
    """Packages without which a system was left out."""
    rounds: int
    keys: int
    repeated: list[str]
    """What was done once more, and why."""
    measurements: list[Measurement]
    converged: Convergence
    """Our nodes, at the end."""


async def run_kv(directory: Path, ports: Sequence[int], plan: Plan, tell: Tell) -> KvReport:
    """Measure whatever is installed; at least our nodes. ``tell`` is told what is about to run.

    Raises :class:`~quorate.errors.ConfigError` if redis-benchmark or the rival is not there, and
    :class:`~quorate.ops.bench.load.LoadFailed` if requests fail again and again (see :class:`Repeats`), or our nodes do
    not hold the same in the end.
    """
    path_of("redis-benchmark")
    environment = look_around(directory)
    repeats = Repeats(tell)
    async with AsyncExitStack() as running:
        folder = Path(running.enter_context(TemporaryDirectory(dir=directory, prefix="kv-")))
        rivals: dict[Rival, System] = {
            Rival.ETCD: EtcdSystem(folder, ports[3:9], plan.keys),
            Rival.REDIS: RedisSystem(folder, ports[9:], plan.keys),
        }
        rival = rivals[plan.rival or Rival.ETCD].name
        if plan.rival is not None:
            rivals = {plan.rival: rivals[plan.rival]}
            for program in rivals[plan.rival].programs:
                path_of(program)
        ours = QuorateSystem(folder, ports[:3], plan.keys)
        wanted = (ours, *rivals.values())
        systems: list[System] = [system for system in wanted if not missing_packages(system.programs)]
        told = []
        for system in systems:
            tell(f"starting {system.name}, and writing {plan.keys:,} keys")
            await running.enter_async_context(system)
            told.append(await system.start())
            await repeats.run(f"{system.name}, writing keys", system.fill)
        rounds = await _Turns(systems, plan, repeats, tell).run()
        tell("comparing the nodes")
        converged = await ours.check_convergence()
    return KvReport(
        environment=environment,
        systems=told,
        missing=missing_packages(dict.fromkeys(program for system in wanted for program in system.programs)),
        rounds=plan.rounds,
        keys=plan.keys,
        repeated=repeats.told,
        rival=rival,
        measurements=_summed_up(rounds, rival),
        converged=converged,
    )


Rounds = dict[tuple[Case, str], list[Round]]
"""By case and the system's name."""


class _Turns:
    """The systems take turns in every case: what else the machine does should hit all of them alike."""

    def __init__(self, systems: Sequence[System], plan: Plan, repeats: Repeats, tell: Tell) -> None:
        self._systems = systems
        self._plan = plan
        self._repeats = repeats
        self._tell = tell

    async def run(self) -> Rounds:
        rounds: Rounds = {(case, each.name): [] for case in CASES for each in self._systems if each.can_run(case)}
        operations = {(case, name): TRIAL_OPERATIONS + 20 * case.in_flight for case, name in rounds}
        for number in range(self._plan.rounds + 1):
            for case in CASES:
                which = f"round {number} of {self._plan.rounds}" if number else "warming up"
                self._tell(f"{which}: {case.name}")
                for system in self._of(case):
                    key = case, system.name
                    work = partial(self._round, system, case, operations[key])
                    done = await self._repeats.run(f"{system.name}, {case.name}", work)
                    operations[key] = round(done.sample.per_second * self._plan.seconds)
                    if number:
                        rounds[key].append(done)
        return rounds

    def _of(self, case: Case) -> list[System]:
        return [system for system in self._systems if system.can_run(case)]

    async def _round(self, system: System, case: Case, operations: int) -> Round:
        operations = max(case.in_flight, min(operations, self._plan.operations_max))
        fsyncs_before, cpu_before = await system.fsyncs(), cpu_seconds(system.pids())
        sample = await system.drive(case, operations, SLOW_ROUND_FACTOR * self._plan.seconds + SLOW_ROUND_SECONDS)
        await wait_quiet(system.pids())  # what a system puts off belongs to its bill, and to nobody else's round
        cpu_after, fsyncs_after = cpu_seconds(system.pids()), await system.fsyncs()
        return Round(
            sample=sample,
            cpu_us=_for_one(cpu_before, cpu_after, operations / 1e6),
            fsyncs=_for_one(fsyncs_before, fsyncs_after, operations),
        )


def _for_one(before: float | None, after: float | None, operations: float) -> float | None:
    return (after - before) / operations if before is not None and after is not None else None


def _middle(rounds: Sequence[Round]) -> Round:
    return sorted(rounds, key=lambda each: each.sample.per_second)[(len(rounds) - 1) // 2]


def _summed_up(rounds: Rounds, rival: str) -> list[Measurement]:
    middles = {key: _middle(each) for key, each in rounds.items()}
    measurements = []
    for (case, system), middle in middles.items():
        sample, against = middle.sample, middles.get((case, rival))
        measurements.append(
            Measurement(
                case=case.name,
                system=system,
                operations=sample.operations,
                per_second=sample.per_second,
                per_second_rounds=[each.sample.per_second for each in rounds[case, system]],
                p50_ms=sample.p50_ms,
                p95_ms=sample.p95_ms,
                p99_ms=sample.p99_ms,
                cpu_us_per_operation=round(middle.cpu_us, 1) if middle.cpu_us is not None else None,
                fsyncs_per_operation=round(middle.fsyncs, 3) if middle.fsyncs is not None else None,
                to_rival=round(sample.per_second / against.sample.per_second, 2) if against is not None else None,
            )
        )
    return measurements
