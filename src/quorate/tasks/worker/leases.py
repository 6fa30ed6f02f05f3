"""What a worker has, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from quorate.tasks.records import LeasedTask


@dataclass(slots=True, eq=False)
class Lease:
    """A task that was claimed here."""

    task: LeasedTask
    since: float
    """When it was given, by the clock of the loop."""
    until: float
    """When others may have it, should nothing be heard of this worker: not later than the cluster thinks."""
    has_ended: bool = field(default=False)
    """Its outcome is on its way: whatever becomes of the lease, the answer to that tells."""


class Leases:
    """By task. At most one of each is held: if a task comes again, the lease before was lost."""

    def __init__(self, on_loss: Callable[[Lease], None]) -> None:
        self._on_loss = on_loss
        self._by_task: dict[str, Lease] = {}

    def __len__(self) -> int:
        return len(self._by_task)

    def __iter__(self) -> Iterator[Lease]:
        return iter(list(self._by_task.values()))

    def add(self, lease: Lease) -> None:
        """It was given."""
        before = self._by_task.get(lease.task.task_id)
        if before is not None:
            self.lose(before)
        self._by_task[lease.task.task_id] = lease

    def drop(self, lease: Lease) -> None:
        """It is over, or not wanted any more. Idempotent."""
        if self._by_task.get(lease.task.task_id) is lease:
            del self._by_task[lease.task.task_id]

    def lose(self, lease: Lease) -> None:
        """It is another worker's by now, for all that is known."""
        if self._by_task.get(lease.task.task_id) is lease and not lease.has_ended:
            self.drop(lease)
            self._on_loss(lease)

    def lose_overdue(self, now: float) -> None:
        """All those that could not be prolonged in time."""
        for lease in self:
            if lease.until <= now:
                self.lose(lease)
