"""A cluster that hands tasks out, without a cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from quorate.errors import QuorateError
from quorate.tasks.commands import Claim, Completed, Enlist, Failed, Heartbeat, Released, Report
from quorate.tasks.errors import NoSuchWorker, StaleToken
from quorate.tasks.records import LeasedTask
from quorate.tasks.worker import Effects


class FakeSource:
    """Its leases end only when a test says so, by :meth:`take_away`."""

    def __init__(self) -> None:
        self.ready: list[LeasedTask] = []
        self.leased: dict[str, LeasedTask] = {}
        self.ended: dict[str, Completed | Failed | Released] = {}
        """How the last lease on a task has ended."""
        self.results: dict[str, Any] = {}
        self.effects: dict[str, Effects] = {}
        self.workers: dict[str, Enlist] = {}
        self.claims: list[Claim] = []
        self.heartbeats: list[Heartbeat] = []
        self.reports: list[Report] = []
        self.failing: dict[str, QuorateError] = {}
        """What a method raises, by its name."""
        self.refuse: Callable[[Completed | Failed | Released], QuorateError | None] = lambda said: None
        self.latency = 0.0
        """Seconds until an answer is there."""
        self._token = 0
        self._changed = asyncio.Condition()

    # -- what tests do -----------------------------------------------------------------------------------

    async def add(
        self, type: str, count: int = 1, *, timeout_ms: int = 0, exactly_once: bool = False, **payload: Any
    ) -> list[str]:
        """Tasks that are ready; their ids."""
        added = []
        for _ in range(count):
            self._token += 1
            task = LeasedTask(
                task_id=f"{type}-{self._token}",
                token=0,
                queue="default",
                type=type,
                payload=msgspec.Raw(json.dumps(payload).encode()),
                attempt=0,
                max_retries=3,
                lease_until=datetime.now(UTC),
                timeout_ms=timeout_ms,
                submitted_at=datetime.now(UTC),
                schema_version=0,
                exactly_once=exactly_once,
            )
            self.ready.append(task)
            added.append(task.task_id)
        await self._tell()
        return added

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when it holds."""
        async with asyncio.timeout(60):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.005)

    async def until_ended(self, *task_ids: str) -> None:
        """Return when all of these have ended."""
        await self.until(lambda: self.ended.keys() >= set(task_ids))

    async def take_away(self, task_id: str, *, again: bool = False) -> None:
        """The lease is over; with ``again`` the task is ready."""
        task = self.leased.pop(task_id)
        if again:
            self.ready.append(task)
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _may_fail(self, name: str) -> None:
        if name in self.failing:
            raise self.failing[name]

    # -- what workers ask --------------------------------------------------------------------------------

    async def enlist(self, worker: Enlist) -> None:
        self._may_fail("enlist")
        self.workers[worker.worker] = worker
        await self._tell()

    async def dismiss(self, worker_id: str) -> None:
        self._may_fail("dismiss")
        self.workers.pop(worker_id, None)
        await self._tell()

    async def claim(self, claim: Claim, seconds: float) -> list[LeasedTask]:
        self.claims.append(claim)
        await self._tell()
        await asyncio.sleep(self.latency)
        self._may_fail("claim")

        def fitting() -> list[LeasedTask]:
            return [task for task in self.ready if claim.types is None or task.type in claim.types]

        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(fitting)
        except TimeoutError:
            return []
        given = []
        for task in fitting()[: claim.limit]:
            self.ready.remove(task)
            self._token += 1
            leased = msgspec.structs.replace(task, token=self._token, attempt=task.attempt + 1)
            self.leased[task.task_id] = leased
            given.append(leased)
        await self._tell()
        return given

    async def heartbeat(self, heartbeat: Heartbeat) -> list[str]:
        self._may_fail("heartbeat")
        if heartbeat.worker not in self.workers:
            raise NoSuchWorker(heartbeat.worker)
        self.heartbeats.append(heartbeat)
        lost = [task_id for task_id, token in heartbeat.leases if not self._has(task_id, token)]
        await self._tell()
        return lost

    async def report(self, report: Report) -> list[str]:
        await asyncio.sleep(self.latency)
        self._may_fail("report")
        said = (*report.completed, *report.failed, *report.released)
        for each in said:
            if (error := self.refuse(each)) is not None:
                raise error
        self.reports.append(report)
        states = [self._end(each) for each in said]
        await self._tell()
        return states

    async def complete_with(self, completed: Completed, effects: Effects) -> None:
        self._may_fail("complete_with")
        if (error := self.refuse(completed)) is not None:
            raise error
        if self._end(completed) == "stale":
            raise StaleToken(completed.id, completed.token)
        self.effects[completed.id] = effects
        await self._tell()

    def _has(self, task_id: str, token: int) -> bool:
        return task_id in self.leased and self.leased[task_id].token == token

    def _end(self, said: Completed | Failed | Released) -> str:
        if not self._has(said.id, said.token):
            return "stale"
        task = self.leased.pop(said.id)
        self.ended[said.id] = said
        match said:
            case Completed():
                self.results[said.id] = json.loads(said.result)
                return "succeeded"
            case Released():
                self.ready.append(msgspec.structs.replace(task, attempt=task.attempt - 1))
                return "ready"
        return "failed" if said.may_retry else "dead"
