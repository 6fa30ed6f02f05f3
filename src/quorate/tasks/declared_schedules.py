"""Schedules that a program declares, ``@app.task(cron=…)``, kept in line with it by the leader."""

from __future__ import annotations

from collections.abc import Mapping

from quorate.tasks.commands import Schedule, Unschedule
from quorate.tasks.cron import next_slot_us
from quorate.tasks.store.schedules import Schedules
from quorate.tasks.submission import Kind

OWNER = "app"
"""Theirs: only what was declared is taken back when it is declared no more."""
PAYLOAD = b"{}"


def differences(kinds: Mapping[str, Kind], schedules: Schedules, now_us: int) -> list[Schedule | Unschedule]:
    """What brings the schedules in line. A program that declares no tasks at all has no say in it."""
    if not kinds:
        return []
    wanted = {name: kind for name, kind in kinds.items() if kind.cron is not None}
    there = {row.name: row for row in schedules.all()}
    commands: list[Schedule | Unschedule] = [
        Unschedule(row.name) for row in there.values() if row.owner == OWNER and row.name not in wanted
    ]
    for name, kind in wanted.items():
        assert kind.cron is not None
        row = there.get(name)
        declared = (kind.cron, kind.timezone, OWNER, kind.spec, PAYLOAD)
        if row is None or (row.cron, row.timezone, row.owner, row.spec, row.payload) != declared:
            next_us = next_slot_us(kind.cron, kind.timezone, now_us)
            commands.append(Schedule(name, kind.cron, kind.timezone, kind.spec, PAYLOAD, next_us, OWNER))
    return commands
