"""Refusals that concern tasks. Over HTTP each has a code, see :mod:`quorate.tasks.codes`.

::

    CommandFailed
    └── TaskRefusal
        ├── InvalidTask        the request is wrong by itself (``field``, ``reason``, ``position`` in a batch)
        ├── NoSuchTask         404
        ├── NoSuchQueue        404
        ├── NoSuchWorker       404: a worker that was silent too long, or never enlisted
        ├── NoSuchSchedule     404
        ├── IdTaken            409: another task has this id
        ├── NotUnique          409: a task with this unique key has not ended
        ├── UnknownDependency  422
        ├── WrongState         409: not in this state
        ├── QueueInUse         409: it has tasks that have not ended
        ├── StaleToken         409: the lease is over, or another's
        ├── DoneBefore         409: this lease was completed by an earlier request
        ├── QueueFull          429
        └── TooMany            429: of queues, types, workers, schedules
"""

from __future__ import annotations

from quorate.errors import CommandFailed
from quorate.tasks.lifecycle import BY_LABEL, Event, State


class TaskRefusal(CommandFailed):
    """The machine, or the node before it, refused a request about tasks."""

    retry_after: int | None = None
    """Seconds after which the same request may be taken, where that is so."""


class InvalidTask(TaskRefusal):
    """A request is wrong by itself, whatever the state is."""

    def __init__(self, field: str, reason: str, message: str, position: int | None = None) -> None:
        super().__init__(field, reason, message, position)
        self.field = field
        self.reason = reason
        self.message = message
        self.position = position

    def __str__(self) -> str:
        where = "" if self.position is None else f"task {self.position}: "
        return f"{where}{self.field}: {self.message}" if self.field else f"{where}{self.message}"


class NoSuchTask(TaskRefusal):
    """There is no task with this id, or not any more."""

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)
        self.task_id = task_id

    def __str__(self) -> str:
        return f"there is no task {self.task_id}"


class NoSuchQueue(TaskRefusal):
    """There is no queue of this name: it has neither tasks nor settings."""

    def __init__(self, queue: str) -> None:
        super().__init__(queue)
        self.queue = queue

    def __str__(self) -> str:
        return f"there is no queue {self.queue}: it has neither tasks nor settings"


class NoSuchWorker(TaskRefusal):
    """The worker never enlisted, or was silent for so long that it was dismissed."""

    def __init__(self, worker: str) -> None:
        super().__init__(worker)
        self.worker = worker

    def __str__(self) -> str:
        return f"there is no worker {self.worker}: it has to enlist (again)"


class NoSuchSchedule(TaskRefusal):
    """There is no schedule of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"there is no schedule {self.name}"


class IdTaken(TaskRefusal):
    """A task with this id exists, and it is another one: an id stands for one task, whose retries get the same."""

    def __init__(self, task_id: str, position: int = 0) -> None:
        super().__init__(task_id, position)
        self.task_id = task_id
        self.position = position

    def __str__(self) -> str:
        return f"the id {self.task_id} belongs to another task"


class NotUnique(TaskRefusal):
    """A task with this unique key is in the queue and has not ended."""

    def __init__(self, unique_key: str, task_id: str, position: int = 0) -> None:
        super().__init__(unique_key, task_id, position)
        self.unique_key = unique_key
        self.task_id = task_id
        """The one that is there."""
        self.position = position

    def __str__(self) -> str:
        return f"the task {self.task_id} has the unique key {self.unique_key!r} and has not ended"


class UnknownDependency(TaskRefusal):
    """A task depends on one that does not exist, or not any more."""

    def __init__(self, task_id: str, position: int = 0) -> None:
        super().__init__(task_id, position)
        self.task_id = task_id
        self.position = position

    def __str__(self) -> str:
        return f"there is no task {self.task_id} to depend on"


_DONE: dict[str, str] = {
    Event.CANCEL: "be cancelled",
    Event.FORCE: "be cancelled",
    Event.RETRY: "be tried again",
}
"""What callers may ask for, behind "it cannot"."""


class WrongState(TaskRefusal):
    """A task is not in a state in which this can be done."""

    def __init__(self, task_id: str, state: str, event: str) -> None:
        super().__init__(task_id, state, event)
        self.task_id = task_id
        self.state = state
        self.event = event

    def __str__(self) -> str:
        state = BY_LABEL.get(self.state)
        is_so = f"is {self.state}" if state is None else state.phrase
        if (state, self.event) == (State.RUNNING, Event.CANCEL):
            return f"the task {self.task_id} {is_so}: it can only be cancelled with force"
        return f"the task {self.task_id} {is_so}, so it cannot {_DONE.get(self.event) or self.event}"


class StaleToken(TaskRefusal):
    """The lease with this fencing token is over: the task is somebody else's by now, or nobody's."""

    def __init__(self, task_id: str, token: int) -> None:
        super().__init__(task_id, token)
        self.task_id = task_id
        self.token = token

    def __str__(self) -> str:
        return f"the lease {self.token} on the task {self.task_id} is over"


class DoneBefore(TaskRefusal):
    """The task was completed under this very lease: the request came twice, and its first is what counts."""

    def __init__(self, task_id: str, token: int) -> None:
        super().__init__(task_id, token)
        self.task_id = task_id
        self.token = token

    def __str__(self) -> str:
        return f"the task {self.task_id} was completed before under the lease {self.token}"


class QueueInUse(TaskRefusal):
    """A queue has tasks that have not ended, so it is not removed."""

    def __init__(self, queue: str, unfinished: int) -> None:
        super().__init__(queue, unfinished)
        self.queue = queue
        self.unfinished = unfinished

    def __str__(self) -> str:
        have = "has" if self.unfinished == 1 else "have"
        return f"the queue {self.queue} is in use: {self.unfinished} of its tasks {have} not ended"


class QueueFull(TaskRefusal):
    """As many tasks wait in the queue as may: try again later."""

    retry_after = 1

    def __init__(self, queue: str, pending_max: int) -> None:
        super().__init__(queue, pending_max)
        self.queue = queue
        self.pending_max = pending_max

    def __str__(self) -> str:
        wait = "task waits" if self.pending_max == 1 else "tasks wait"
        return f"the queue {self.queue} is full: {self.pending_max} {wait} in it, the most that may"


class TooMany(TaskRefusal):
    """A bound of the cluster is reached."""

    retry_after = 1

    def __init__(self, what: str, most: int) -> None:
        super().__init__(what, most)
        self.what = what
        self.most = most

    def __str__(self) -> str:
        return f"there are {self.most} {self.what} already, the most there can be"
