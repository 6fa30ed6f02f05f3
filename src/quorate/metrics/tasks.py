"""Tasks by state and queue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    sizes = {queue.name: sum(sum(lane.counts) for lane in queue.lanes.values()) for queue in queues}
    ranked = sorted(queues, key=lambda queue: (-sizes[queue.name], queue.name))
    shown = {queue.name: _by_state([queue]) for queue in ranked[:QUEUES_MAX]}
    if len(ranked) > QUEUES_MAX:
        shown[OTHERS] = _by_state(ranked[QUEUES_MAX:])
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


def _by_state(queues: Sequence[Queue]) -> list[int]:
    lanes = [lane.counts for queue in queues for lane in queue.lanes.values()]
    return [sum(column) for column in zip([0] * len(State), *lanes, strict=True)]
