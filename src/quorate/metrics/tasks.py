"""Tasks by state and queue."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from quorate.metrics.families import counter, gauge, gauges
from quorate.tasks.lifecycle import State
from quorate.tasks.machine import TasksMachine
from quorate.tasks.store.tables import Queue

QUEUES_MAX = 20
"""So many queues have samples of their own: the largest. The others are counted together."""
OTHERS = "(others)"
"""Their label: no queue can have this name."""


def tasks(machine: TasksMachine) -> Iterator[Metric]:
    """What is there."""
    queues = list(machine.tables.queues.values()) if machine.is_open else []
    counts = {queue.name: _by_state(queue) for queue in queues}
    ranked = sorted(counts, key=lambda name: (-sum(counts[name]), name))
    shown = {name: counts[name] for name in ranked[:QUEUES_MAX]}
    rest = ranked[QUEUES_MAX:]
    if rest:
        shown[OTHERS] = [sum(column) for column in zip(*(counts[name] for name in rest), strict=True)]
    samples = {
        (name, state.label): float(count)
        for name, each in shown.items()
        for state, count in zip(State, each, strict=True)
    }
    yield gauges("tasks", "Tasks that there are", ("queue", "state"), samples)
    yield gauge(
        "tasks_pending", "Tasks that a worker may yet get, in all queues", sum(queue.pending for queue in queues)
    )
    yield gauge("task_queues", "Queues that there are", len(queues))
    yield gauge("task_queues_paused", "Queues that are paused", sum(queue.paused for queue in queues))
    changes = machine.tables.numbers.change if machine.is_open else 0
    yield counter("task_changes_total", "Changes of tasks' states in the whole cluster, ever", changes)


def _by_state(queue: Queue) -> list[int]:
    return [
        sum(column) for column in zip([0] * len(State), *(lane.counts for lane in queue.lanes.values()), strict=True)
    ]
