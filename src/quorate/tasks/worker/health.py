"""Whether handlers can work at all, as they say themselves."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from quorate.tasks.declaration import HealthCheck, TaskType
from quorate.tasks.worker.threads import Threads

log = logging.getLogger(__name__)

EVERY_SECONDS = 5.0
CHECK_SECONDS_MAX = 5.0
TEXT_CHARACTERS_MAX = 100
"""Of what is wrong with one type."""
REPORT_CHARACTERS_MAX = 900


class HealthChecks:
    """Asks the types that have a check from time to time. ``on_change`` is told when one says something else."""

    def __init__(
        self,
        types: Mapping[str, TaskType[..., Any, Any]],
        on_change: Callable[[], None],
        *,
        every_seconds: float = EVERY_SECONDS,
        check_seconds_max: float = CHECK_SECONDS_MAX,
    ) -> None:
        self._checks = {name: each.health for name, each in types.items() if each.health is not None}
        self._on_change = on_change
        self._every_seconds = every_seconds
        self._check_seconds_max = check_seconds_max
        self._threads = Threads("quorate-health")
        self._under_way: dict[str, asyncio.Future[str | None]] = {}
        self.wrong: dict[str, str] = {}
        """What is wrong, by type; nothing if nothing is."""

    def report(self) -> str:
        """For the cluster; empty if all is well."""
        return "; ".join(f"{name}: {wrong}" for name, wrong in sorted(self.wrong.items()))[:REPORT_CHARACTERS_MAX]

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while self._checks:
                await asyncio.sleep(self._every_seconds)
                await self.check()
            await asyncio.get_running_loop().create_future()
        finally:
            self._threads.end()

    async def check(self) -> None:
        """All of them, at the same time."""
        found = await asyncio.gather(*(self._ask(name, check) for name, check in self._checks.items()))
        wrong = {name: text for name, text in zip(self._checks, found, strict=True) if text is not None}
        if wrong != self.wrong:
            for name in wrong.keys() - self.wrong.keys():
                log.warning("no tasks of type %s are taken: %s", name, wrong[name])
            for name in self.wrong.keys() - wrong.keys():
                log.info("tasks of type %s are taken again", name)
            self.wrong = wrong
            self._on_change()

    async def _ask(self, name: str, check: HealthCheck) -> str | None:
        """One that does not answer is not asked again before it does."""
        future = self._under_way.get(name)
        if future is None:
            future = self._under_way[name] = self._begin(check)
        await asyncio.wait([future], timeout=self._check_seconds_max)
        if not future.done():
            if isinstance(future, asyncio.Task):
                future.cancel()
            return f"its check takes longer than {self._check_seconds_max:g} s"
        del self._under_way[name]
        return None if future.cancelled() else future.result()

    def _begin(self, check: HealthCheck) -> asyncio.Future[str | None]:
        if inspect.iscoroutinefunction(check):
            return asyncio.get_running_loop().create_task(_awaited(check))
        return self._threads.call(partial(_called, check))


async def _awaited(check: Callable[[], Any]) -> str | None:
    try:
        return _text(await check())
    except Exception as error:
        return _failed(error)


def _called(check: Callable[[], Any]) -> str | None:
    try:
        return _text(check())
    except BaseException as error:
        return _failed(error)


def _text(said: object) -> str | None:
    return None if said is None else " ".join(str(said).split())[:TEXT_CHARACTERS_MAX] or "something is wrong"


def _failed(error: BaseException) -> str:
    return _text(f"its check failed: {type(error).__name__}: {error}") or ""
