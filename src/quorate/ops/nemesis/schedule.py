"""Which faults happen when: drawn from a seed, so that a run can be repeated as far as real processes allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

LEAST_ROUND_SECONDS, MOST_ROUND_SECONDS = 30.0, 60.0
SHORT_RUN_SECONDS = 180.0
"""Runs that are shorter than this have rounds of a quarter of the length."""
KINDS_OF_A_ROUND = (4, 7)
HEAVY_OF_A_ROUND = 2
EVENT_EVERY_SECONDS = 4.0
MAKE_UP_SECONDS = 9.0
CALM_SECONDS = 1.0
"""A round begins with so long a calm."""


class Kind(StrEnum):
    """What can be done to a cluster."""

    KILL_ONE = "kill -9 one"
    KILL_LEADER = "kill -9 leader"
    KILL_ALL = "kill -9 all"
    RESTART = "restart"
    PAUSE_SHORT = "pause short"
    PAUSE_ELECTION = "pause election"
    PAUSE_LEASE = "pause lease"
    CUT_ONE_WAY = "cut one way"
    ISOLATE = "isolate"
    SPLIT = "split"
    DELAY = "delay"
    LOSS = "loss"
    CLOCK_FORWARD = "clock forward"
    CLOCK_BACK = "clock back"
    TRANSFER = "transfer"
    DISK_FULL = "disk full"
    WIPE = "wiped disk"
    CORRUPT = "corrupt log"
    REPLACE = "replace"


HEAVY = (Kind.DISK_FULL, Kind.WIPE, Kind.CORRUPT, Kind.REPLACE)
"""One of these at a time: each costs a copy of the data, and a majority must be left that has it."""

DURATIONS: dict[Kind, tuple[float, float]] = {
    Kind.KILL_ONE: (0.0, 5.0),
    Kind.KILL_LEADER: (0.0, 5.0),
    Kind.KILL_ALL: (0.0, 1.0),
    Kind.PAUSE_SHORT: (0.02, 0.15),
    Kind.PAUSE_ELECTION: (0.4, 1.5),
    Kind.PAUSE_LEASE: (2.0, 8.0),
    Kind.CUT_ONE_WAY: (1.0, 8.0),
    Kind.ISOLATE: (1.0, 8.0),
    Kind.SPLIT: (1.0, 8.0),
    Kind.DELAY: (2.0, 8.0),
    Kind.LOSS: (2.0, 8.0),
    Kind.CLOCK_FORWARD: (1.0, 10.0),
    Kind.CLOCK_BACK: (1.0, 10.0),
    Kind.DISK_FULL: (1.0, 4.0),
    Kind.WIPE: (0.0, 2.0),
    Kind.CORRUPT: (0.0, 2.0),
    Kind.REPLACE: (0.0, 2.0),
}
"""How long each lasts, in seconds; kinds that are not named are done at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fault. ``at`` is in seconds since its round began."""

    at: float
    kind: Kind
    seconds: float
    leader: bool
    """Whether it is to hit the leader, if that is free."""
    draw: int
    """Decides what is left to decide, such as which of the nodes that can be had it hits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A time of faults, after which everything is healed."""

    number: int
    seconds: float
    kinds: tuple[Kind, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A whole run."""

    seed: int
    rounds: tuple[Round, ...]
    lease_reads: bool
    forward_writes: bool

    @property
    def planned(self) -> frozenset[Kind]:
        """The kinds that occur in it: each has to happen."""
        return frozenset(event.kind for each in self.rounds for event in each.events)


def make_schedule(seed: int, seconds: float, kinds: Sequence[Kind] = tuple(Kind)) -> Schedule:
    """Rounds that take ``seconds`` together, each with some of ``kinds``, which all have their turn if time allows."""
    rng = Random(seed)
    scale = 0.25 if seconds < SHORT_RUN_SECONDS else 1.0
    rounds: list[Round] = []
    deck: list[Kind] = []
    left = seconds
    while left > 0:
        length = min(left, rng.uniform(LEAST_ROUND_SECONDS, MOST_ROUND_SECONDS) * scale)
        if left - length < LEAST_ROUND_SECONDS * scale:
            length = left
        enabled = _deal(rng, deck, kinds)
        rounds.append(_round(rng, len(rounds), length, enabled))
        left -= length
    lease_reads, forward_writes = rng.random() < 0.5, rng.random() < 0.5
    return Schedule(seed=seed, rounds=tuple(rounds), lease_reads=lease_reads, forward_writes=forward_writes)


def make_up_round(seed: int, number: int, kinds: Sequence[Kind]) -> Round:
    """One round more, for what had no effect in its time: all of ``kinds``, one after the other."""
    rng = Random(seed + number)
    apart = [(1.0 + at * MAKE_UP_SECONDS, kind) for at, kind in enumerate(kinds)]
    events = [replace(_event(rng, kind, MAKE_UP_SECONDS), at=at) for at, kind in apart]
    seconds = MAKE_UP_SECONDS * (1 + len(kinds))
    return Round(number=number, seconds=seconds, kinds=tuple(kinds), events=tuple(events))


def _deal(rng: Random, deck: list[Kind], kinds: Sequence[Kind]) -> tuple[Kind, ...]:
    """Some kinds for one round, off a deck that is shuffled anew when it is empty."""
    wanted = min(rng.randint(*KINDS_OF_A_ROUND), len(kinds))
    dealt: list[Kind] = []
    put_back: list[Kind] = []
    while len(dealt) < wanted:
        if not deck:
            missing = [kind for kind in kinds if kind not in dealt and kind not in put_back]
            if not missing:
                break
            deck += rng.sample(missing, len(missing))
        kind = deck.pop()
        if kind in HEAVY and sum(1 for each in dealt if each in HEAVY) >= HEAVY_OF_A_ROUND:
            put_back.append(kind)
        else:
            dealt.append(kind)
    deck += put_back
    return tuple(dealt)


def _round(rng: Random, number: int, seconds: float, kinds: tuple[Kind, ...]) -> Round:
    light = [kind for kind in kinds if kind not in HEAVY and kind is not Kind.KILL_ALL]
    extra = max(0, round(seconds / EVENT_EVERY_SECONDS) - len(kinds)) if light else 0
    drawn = [*kinds, *(rng.choice(light) for _ in range(extra))]
    events = [_event(rng, kind, seconds) for kind in drawn]
    return Round(number=number, seconds=seconds, kinds=kinds, events=tuple(sorted(events, key=lambda event: event.at)))


def _event(rng: Random, kind: Kind, seconds: float) -> Event:
    # What takes a copy of the data begins early, for it is finished before the round is.
    latest = max(CALM_SECONDS, seconds * (0.5 if kind in HEAVY else 0.85))
    return Event(
        at=rng.uniform(CALM_SECONDS, latest),
        kind=kind,
        seconds=rng.uniform(*DURATIONS.get(kind, (0.0, 0.0))),
        leader=rng.random() < 0.4,
        draw=rng.getrandbits(32),
    )
