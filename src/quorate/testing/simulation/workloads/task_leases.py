"""The rule of leases, by nothing but the log's answers: two workers never have one task at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from quorate.tasks.commands import Cancel, Claims, Heartbeat, Report, Submit
from quorate.testing.simulation.workloads.task_facts import MILLISECOND_US, Carried, Ended


@dataclass(slots=True)
class _Given:
    """A lease as its worker knows it."""

    token: int
    until_us: int


def check_leases(carried: Mapping[str, Carried], fail: Callable[[str], NoReturn]) -> None:
    """Tokens grow, and no task is given away before the lease on it has ended or its time is over.

    ``carried`` is in the log's order. Of tasks that may be stopped by a time limit only the time up to the last
    heartbeat counts.
    """
    given: dict[str, _Given] = {}
    unlimited: set[str] = set()
    latest = 0
    for each in carried.values():
        if each.refusal:
            continue
        match each.command:
            case Submit() as submit:
                for new in submit.tasks:
                    (unlimited.discard if submit.specs[new.spec].timeout_ms else unlimited.add)(new.id)
            case Claims():
                for _, task_id, token, until_us in (lease for leases in each.result for lease in leases):
                    before = given.get(task_id)
                    if token <= latest:
                        fail(f"token {token} comes behind {latest}")
                    if before is not None and before.until_us > each.time_us:
                        fail(f"{task_id} was given away with token {token} at {each.time_us}: {before}")
                    given[task_id], latest = _Given(token, until_us), token
            case Heartbeat() as heartbeat:
                for task_id, token in heartbeat.leases:
                    held = given.get(task_id)
                    if held is None or held.token != token:
                        continue
                    is_kept = task_id in unlimited and task_id not in each.result  # what is lost its worker gives up
                    prolonged_us = each.time_us + heartbeat.lease_ms * MILLISECOND_US
                    held.until_us = prolonged_us if is_kept else min(held.until_us, each.time_us)
            case Report() as report:
                ended: list[Ended] = [*report.completed, *report.failed, *report.released]
                for lease, answer in zip(ended, each.result, strict=True):
                    held = given.get(lease.id)
                    if answer != "stale" and held is not None and held.token == lease.token:
                        held.until_us = 0
            case Cancel(force=True) as cancel:
                given.pop(cancel.id, None)
            case _:
                pass
