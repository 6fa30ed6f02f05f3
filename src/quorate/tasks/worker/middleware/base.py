"""Hooks of a worker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from quorate.tasks.commands import Claim
from quorate.tasks.worker.job import Job
from quorate.tasks.worker.outcomes import Failure

log = logging.getLogger(__name__)


class Middleware:
    """Derive from it, and override what you need. Hooks run on the event loop, so they must be quick.

    Of several, those that come first are asked first. What a hook raises is logged and changes nothing, but for
    :meth:`before_run`.
    """

    def before_claim(self, claim: Claim) -> Claim:
        """The worker is about to ask for tasks: with ``limit`` 0 it does not, and looks again a bit later."""
        return claim

    def before_run(self, job: Job) -> None:
        """The handler is about to be called. It is not if this raises: the task fails as if the handler had raised."""

    def after_run(self, job: Job, seconds: float) -> None:
        """The handler has returned."""

    def after_failure(self, job: Job, failure: Failure, seconds: float) -> None:
        """The handler has raised, or was stopped: ``failure`` may be changed."""

    def after_loss(self, job: Job, seconds: float) -> None:
        """The task is another worker's by now, or nobody's: what this job did is not reported."""

    def after_release(self, task_id: str, type: str) -> None:
        """A task was given back before it was begun."""

    def after_report(self, job: Job, state: str) -> None:
        """The cluster has taken the outcome: the task's state by now, or ``stale``."""


class Hooks:
    """The hooks of several, without those that nobody has overridden."""

    def __init__(self, middleware: Iterable[Middleware]) -> None:
        everyone = list(middleware)
        self._before_claim = _overridden(everyone, "before_claim")
        self._before_run = _overridden(everyone, "before_run")
        self._after: dict[str, list[Callable[..., None]]] = {
            name: _overridden(everyone, name)
            for name in ("after_run", "after_failure", "after_loss", "after_release", "after_report")
        }

    def before_claim(self, claim: Claim) -> Claim:
        """What to ask for."""
        for hook in self._before_claim:
            try:
                claim = hook(claim)
            except Exception:
                log.exception("the hook before_claim failed")
        return claim

    def before_run(self, job: Job) -> None:
        """Raises what one of them raises."""
        for hook in self._before_run:
            hook(job)

    def after(self, name: str, *arguments: Any) -> None:
        """Tell all who want to know."""
        for hook in self._after[name]:
            try:
                hook(*arguments)
            except Exception:
                log.exception("the hook %s failed", name)


def _overridden(middleware: Sequence[Middleware], name: str) -> list[Callable[..., Any]]:
    return [getattr(each, name) for each in middleware if getattr(type(each), name) is not getattr(Middleware, name)]
