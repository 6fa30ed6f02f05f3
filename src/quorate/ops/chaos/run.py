"""A whole run: load, faults, and a look at everything when both are over. Every wait in it is bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from quorate.errors import ConfigError, QuorateError
from quorate.ops.calls.record import Thing
from quorate.ops.chaos.judging import Consistency, judge
from quorate.ops.chaos.load import OPERATIONS_MAX, Load, LoadSettings
from quorate.ops.chaos.readback import check_password, read_back, remove
from quorate.ops.chaos.report import ChaosReport, Setup, Thresholds, look_at_machine, make_report
from quorate.ops.chaos.scenarios import Attack, Scenario
from quorate.ops.chaos.target import Target
from quorate.web.open_files import raise_open_files_max

CALM_SECONDS = 1.0
"""Load without faults at the beginning and at the end, so that there is something to compare with."""
CLEAN_UP_SECONDS_MAX, ABANDON_SECONDS_MAX = 30.0, 3.0
"""For the removal of the keys, after a run and when one is interrupted."""
FILES_RESERVED = 100
"""Open files beside those that are connections of the load."""
PATIENCE_SECONDS, PATIENCE_SECONDS_BROKEN = 30.0, 3.0
"""With a node that is read at the end; the second, if the cluster has not recovered anyway."""
PROGRESS_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosSettings:
    """What a run is to be."""

    scenarios: Sequence[Scenario]
    seconds: float
    """How long there is load."""
    every_seconds: float
    """From one fault to the next."""
    seed: int
    load: LoadSettings
    thresholds: Thresholds

    def check(self) -> None:
        """Raises :class:`ConfigError` if it cannot be done."""
        distance_ms = 1000 / self.load.rate
        if distance_ms > self.thresholds.interruption_ms:
            raise ConfigError(
                f"with --rate {self.load.rate:g} an operation is due every {distance_ms:g} ms, which is longer than "
                f"--max-interruption {self.thresholds.interruption_ms:g} ms: give more of either"
            )
        if self.seconds * self.load.rate > OPERATIONS_MAX:
            most = OPERATIONS_MAX / self.seconds
            raise ConfigError(f"a run has {OPERATIONS_MAX:,} operations at most: give --rate {most:.0f} or less")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is."""

    seconds: float
    operations: int
    failed: int
    doing: str


class ChaosRun:
    """``await ChaosRun(…).run()`` gives the report. ``tell`` is told what is done, ``show`` how far it is."""

    def __init__(
        self, settings: ChaosSettings, target: Target, tell: Callable[[str], None], show: Callable[[Progress], None]
    ) -> None:
        settings.check()
        self._settings = settings
        self._target = target
        self._tell = tell
        self._show = show
        self._machine = look_at_machine()
        self._findings: list[str] = []
        self._is_whole = True
        """Whether the cluster has always recovered."""

    async def run(self) -> ChaosReport:
        """Raises :class:`QuorateError` if the cluster cannot be attacked."""
        settings, target = self._settings, self._target
        rng = Random(settings.seed)
        async with target:
            await self._check(target)
            await target.settle()
            # Chance that the seed does not decide: no two runs may use the same keys.
            prefix = f"chaos:{settings.seed}:{time.time_ns():x}:"
            load = Load(list(target.addresses.values()), prefix, settings.load, Random(rng.random()))
            attack = Attack(target, rng, self._tell, settings.every_seconds)
            try:
                await self._attack(load, attack)
            except asyncio.CancelledError:
                await self._abandon(load)
                raise
            consistency = await self._look(load)
            report = make_report(
                self._setup(),
                load.record,
                load.waits,
                load.errors,
                attack.faults,
                consistency,
                [*self._findings, *attack.findings],
                settings.thresholds,
            )
            await self._clean_up(load, report)
        return report

    async def _check(self, target: Target) -> None:
        """Raises :class:`ConfigError` if the load cannot be had of this cluster."""
        files, wanted = raise_open_files_max(), self._settings.load.clients * len(target.addresses) + FILES_RESERVED
        if files < wanted:
            told = f"so many clients of so many nodes need {wanted} open files, and this process may have {files}"
            raise ConfigError(f"{told}: give --load-test-concurrent less, or ulimit -n more")
        try:
            for address in target.addresses.values():
                await check_password(address, self._settings.load.password)
        except QuorateError as error:
            raise ConfigError(str(error)) from None

    def _setup(self) -> Setup:
        settings = self._settings
        return Setup(
            target=self._target.name,
            scenarios=[str(scenario) for scenario in settings.scenarios],
            seed=settings.seed,
            nodes=len(self._target.addresses),
            clients=settings.load.clients,
            rate=settings.load.rate,
            deadline_seconds=settings.load.deadline_seconds,
            machine=f"{self._machine} before, {look_at_machine()} after",
        )

    async def _attack(self, load: Load, attack: Attack) -> None:
        stop = asyncio.Event()
        loading = asyncio.create_task(load.run(stop))
        showing = asyncio.create_task(self._keep_showing(load, attack))
        began = time.monotonic()
        try:
            await asyncio.sleep(CALM_SECONDS)
            over = began + self._settings.seconds - CALM_SECONDS
            for at, scenario in enumerate(self._settings.scenarios):
                left = len(self._settings.scenarios) - at
                await attack.run(scenario, max(0.0, over - time.monotonic()) / left)
            await asyncio.sleep(max(0.0, began + self._settings.seconds - time.monotonic()))
        except QuorateError as error:
            self._is_whole = False
            self._findings.append(str(error))
        except asyncio.CancelledError:
            loading.cancel()
            raise
        finally:
            showing.cancel()
            stop.set()
            await loading
        if load.exhausted:
            self._findings.append(
                f"the run took longer than asked for, and had no load after {OPERATIONS_MAX:,} operations: lower --rate"
            )

    async def _keep_showing(self, load: Load, attack: Attack) -> None:
        began = time.monotonic()
        while True:
            failed = load.failed
            doing = attack.current.told if attack.current is not None else "nothing is broken"
            progress = Progress(
                seconds=time.monotonic() - began, operations=len(load.record.calls), failed=failed, doing=doing
            )
            self._show(progress)
            await asyncio.sleep(PROGRESS_SECONDS)

    async def _look(self, load: Load) -> Consistency:
        if self._is_whole:
            try:
                await self._target.settle()
            except QuorateError as error:
                self._is_whole = False
                self._findings.append(str(error))
        self._tell(f"{'everything is healed' if self._is_whole else 'it is over'}: reading it back from every node")
        calls = load.record.calls
        names = {
            thing: list(dict.fromkeys(call.key[1] for call in calls if call.key[0] == thing))
            for thing in (Thing.LIST, Thing.REGISTER)
        }
        password = self._settings.load.password
        held, failures = await read_back(
            self._target.addresses,
            names[Thing.LIST],
            names[Thing.REGISTER],
            password,
            patience_seconds=PATIENCE_SECONDS if self._is_whole else PATIENCE_SECONDS_BROKEN,
        )
        self._findings += failures
        return await asyncio.to_thread(judge, calls, held)

    async def _clean_up(self, load: Load, report: ChaosReport) -> None:
        if not self._target.stays:
            return
        if report.findings:
            self._tell(f"the keys are kept for a look at them: they begin with {load.prefix}")
            return
        await self._remove(load, CLEAN_UP_SECONDS_MAX)

    async def _abandon(self, load: Load) -> None:
        """We were interrupted: leave things as they were, within bounded time."""
        await self._target.heal()
        if self._target.stays:
            await self._remove(load, ABANDON_SECONDS_MAX)

    async def _remove(self, load: Load, seconds_max: float) -> None:
        address = next(iter(self._target.addresses.values()))
        try:
            await remove(address, load.keys, self._settings.load.password, seconds_max=seconds_max)
        except QuorateError as error:
            self._tell(f"keys that begin with {load.prefix} are left behind: {error}")
