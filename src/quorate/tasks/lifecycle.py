"""The life of a task, as one table.

A task is in one :class:`State`, and an :class:`Event` leads it to another. Where several rows have the same state and
event, the first whose guard holds counts; a pair without a row cannot happen, and what asks for it is refused. Nothing
else in this program decides what follows what, and the diagram in ``docs/tasks.md`` is drawn from the same rows.

A lease is as long as RUNNING lasts: it has a fencing token that no other lease ever had, and an end that heartbeats
put off. Whoever comes with a token of an earlier lease finds the task in another state, or under another token.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import NamedTuple


class State(IntEnum):
    """What a task is. The numbers are those of the file, so they never change."""

    SCHEDULED = 0
    """Its time has not come."""
    WAITING = 1
    """It depends on tasks that have not succeeded yet."""
    READY = 2
    """The next worker that can do it gets it."""
    RUNNING = 3
    """A worker has a lease on it."""
    SUCCEEDED = 4
    FAILED = 5
    """It failed, and will be tried again when its back-off is over."""
    DEAD = 6
    """It will not be tried again unless somebody says so: a dead letter."""
    CANCELLED = 7

    @property
    def label(self) -> str:
        """Its name for people and programs."""
        return _LABELS[self]

    @property
    def phrase(self) -> str:
        """What a task in it does, for sentences: "is ready", "has succeeded"."""
        return _PHRASES.get(self) or f"is {self.label}"

    @property
    def is_pending(self) -> bool:
        """Whether a worker may yet get it: these count against a queue's bound."""
        return self in PENDING

    @property
    def is_ended(self) -> bool:
        """Whether nothing happens to it any more, unless somebody asks for it."""
        return self in ENDED


_LABELS = {state: state.name.lower() for state in State}
_PHRASES = {State.SUCCEEDED: "has succeeded", State.FAILED: "has failed", State.CANCELLED: "was cancelled"}
BY_LABEL = {label: state for state, label in _LABELS.items()}
PENDING = frozenset({State.SCHEDULED, State.WAITING, State.READY, State.FAILED})
ENDED = frozenset({State.SUCCEEDED, State.DEAD, State.CANCELLED})


class Event(StrEnum):
    """What happens to a task."""

    SUBMIT = "submit"
    DUE = "due"
    """Its time has come: that at which it was to run, or the end of its back-off."""
    UNBLOCK = "unblock"
    """The last task that it depends on has succeeded."""
    BREAK = "break"
    """A task that it depends on will not succeed."""
    CLAIM = "claim"
    COMPLETE = "complete"
    FAIL = "fail"
    LOSE = "lose"
    """The lease has ended without a word of the worker."""
    RELEASE = "release"
    """The worker gives it back undone."""
    EXPIRE = "expire"
    """Its time to live is over before it was done."""
    CANCEL = "cancel"
    FORCE = "force"
    """A cancellation that takes the task from its worker, too."""
    RETRY = "retry"
    """Somebody wants it tried (again), from the first attempt on."""
    FORGET = "forget"
    """Its result need not be kept any longer."""


class Facts(NamedTuple):
    """What guards ask."""

    is_blocked: bool = False
    """Whether it depends on a task that has not succeeded."""
    is_early: bool = False
    """Whether the time at which it is to run has not come."""
    may_retry: bool = False
    """Whether fewer attempts were made than it has, and the failure does not rule another out."""


class Transition(NamedTuple):
    """One row of the table. ``after`` is ``None`` where the task is removed, ``before`` where it did not exist."""

    before: State | None
    event: Event
    after: State | None
    guard: Callable[[Facts], bool] | None = None
    condition: str = ""
    """The guard, in words, of which the task is the subject."""


def _blocked(facts: Facts) -> bool:
    return facts.is_blocked


def _early(facts: Facts) -> bool:
    return facts.is_early


def _may_retry(facts: Facts) -> bool:
    return facts.may_retry


TRANSITIONS: tuple[Transition, ...] = (
    Transition(None, Event.SUBMIT, State.WAITING, _blocked, "depends on unfinished tasks"),
    Transition(None, Event.SUBMIT, State.SCHEDULED, _early, "is for later"),
    Transition(None, Event.SUBMIT, State.READY),
    Transition(State.WAITING, Event.UNBLOCK, State.SCHEDULED, _early, "is for later"),
    Transition(State.WAITING, Event.UNBLOCK, State.READY),
    Transition(State.WAITING, Event.BREAK, State.DEAD),
    Transition(State.SCHEDULED, Event.DUE, State.READY),
    Transition(State.FAILED, Event.DUE, State.READY),
    Transition(State.READY, Event.CLAIM, State.RUNNING),
    Transition(State.RUNNING, Event.COMPLETE, State.SUCCEEDED),
    Transition(State.RUNNING, Event.FAIL, State.FAILED, _may_retry, "has attempts left"),
    Transition(State.RUNNING, Event.FAIL, State.DEAD),
    Transition(State.RUNNING, Event.LOSE, State.READY, _may_retry, "has attempts left"),
    Transition(State.RUNNING, Event.LOSE, State.DEAD),
    Transition(State.RUNNING, Event.RELEASE, State.READY),
    Transition(State.SCHEDULED, Event.EXPIRE, State.DEAD),
    Transition(State.WAITING, Event.EXPIRE, State.DEAD),
    Transition(State.READY, Event.EXPIRE, State.DEAD),
    Transition(State.FAILED, Event.EXPIRE, State.DEAD),
    Transition(State.SCHEDULED, Event.CANCEL, State.CANCELLED),
    Transition(State.WAITING, Event.CANCEL, State.CANCELLED),
    Transition(State.READY, Event.CANCEL, State.CANCELLED),
    Transition(State.FAILED, Event.CANCEL, State.CANCELLED),
    Transition(State.SCHEDULED, Event.FORCE, State.CANCELLED),
    Transition(State.WAITING, Event.FORCE, State.CANCELLED),
    Transition(State.READY, Event.FORCE, State.CANCELLED),
    Transition(State.FAILED, Event.FORCE, State.CANCELLED),
    Transition(State.RUNNING, Event.FORCE, State.CANCELLED),
    Transition(State.FAILED, Event.RETRY, State.READY),
    Transition(State.DEAD, Event.RETRY, State.READY),
    Transition(State.CANCELLED, Event.RETRY, State.READY),
    Transition(State.SUCCEEDED, Event.FORGET, None),
    Transition(State.DEAD, Event.FORGET, None),
    Transition(State.CANCELLED, Event.FORGET, None),
)

_BY_CAUSE: dict[tuple[State | None, Event], list[Transition]] = {}
for _transition in TRANSITIONS:
    _BY_CAUSE.setdefault((_transition.before, _transition.event), []).append(_transition)

NO_FACTS = Facts()


class ImpossibleTransition(Exception):
    """The table has no row for it. Whoever asks has to look at the state first: this is a mistake of the program."""


def is_possible(state: State, event: Event) -> bool:
    """Whether the event can happen to a task in this state."""
    return (state, event) in _BY_CAUSE


def after(state: State | None, event: Event, facts: Facts = NO_FACTS) -> State | None:
    """The state behind the event; ``None`` for a task that is removed. Raises :class:`ImpossibleTransition`."""
    for transition in _BY_CAUSE.get((state, event), ()):
        if transition.guard is None or transition.guard(facts):
            return transition.after
    raise ImpossibleTransition(f"{event.value} of a task that is {'new' if state is None else state.label}")
