"""The checker against an oracle on small random histories, and on large ones whose truth is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

from quorate.testing.linearizability import (
    Model,
    Operation,
    Outcome,
    Read,
    ReadAt,
    Register,
    Verdict,
    Write,
    applied_though_refused,
    check,
    monotonic_reads,
)
from quorate.testing.linearizability.operations import Prefixes
from tests.testing.test_linearizability_models import SUBJECTS, Subject, by_subject

OK, UNKNOWN, NOT_APPLIED = Outcome.OK, Outcome.UNKNOWN, Outcome.NOT_APPLIED


def really_happened(
    subject: Subject,
    random: Random,
    *,
    count: int,
    processes: int,
    unknown_rate: float = 0.1,
    unknown_max: int | None = None,
    refused_rate: float = 0.0,
) -> list[Operation]:
    """The history of a correct object: each request takes effect at one instant between invocation and answer.

    An unknown one takes effect late, or at once, or never, and a refused one never; their callers go on as other
    processes. Instants are whole numbers, so that some coincide.
    """
    apply = subject.start()
    free = [(0, process) for process in range(processes)]
    span = 4 * processes
    effects: list[tuple[float, int, Operation]] = []
    open_ended = 0
    for serial in range(count):
        at = min(range(len(free)), key=lambda index: free[index])
        now, process = free[at]
        invoked = now + random.randrange(1, 4)
        returned = invoked + random.randrange(0, span)
        effect: float = random.uniform(invoked, returned)
        outcome = OK
        chance = random.random()
        if chance < unknown_rate and (unknown_max is None or open_ended < unknown_max):
            open_ended += 1
            outcome = UNKNOWN
            effect = random.choice([effect, invoked + random.uniform(0, 4 * span), float("inf")])
        elif chance > 1 - refused_rate:
            outcome, effect = NOT_APPLIED, float("inf")
        asked = subject.request(random, serial)
        effects.append((effect, serial, Operation(process, asked, None, invoked, returned, outcome)))
        free[at] = (returned, process if outcome is OK else processes + serial)
    history = []
    for effect, _, operation in sorted(effects, key=lambda each: each[:2]):
        answer = apply(operation.input) if effect != float("inf") else None
        history.append(replace(operation, output=answer if operation.outcome is OK else None))
    return history


def corrupted(subject: Subject, random: Random, history: list[Operation]) -> list[Operation]:
    """The same history with one wrong answer, which may still be possible."""
    places = [place for place, operation in enumerate(history) if operation.outcome is OK]
    if not places:
        return history
    chosen = random.choice(places)
    operation = history[chosen]
    wrong = replace(operation, output=subject.wrong(random, operation))
    return [*history[:chosen], wrong, *history[chosen + 1 :]]


def possible(history: list[Operation], model: Model[Any]) -> bool:
    """The oracle: tries all orders, forgetting and pruning nothing."""
    remaining = [operation for operation in history if operation.outcome is not NOT_APPLIED]
    return any(_orders(remaining, model, model.initial()))


def _orders(remaining: list[Operation], model: Model[Any], state: Any) -> Iterator[bool]:
    ends = [op.returned for op in remaining if op.outcome is OK and op.returned is not None]
    if not ends:
        yield True
    for place, operation in enumerate(remaining):
        if ends and operation.invoked <= min(ends):
            if operation.outcome is OK:
                after = model.step(state, operation.input, operation.output)
            else:
                after = model.step_unknown(state, operation.input)
            if after is not None:
                yield from _orders(remaining[:place] + remaining[place + 1 :], model, after)


def small(subject: Subject, random: Random) -> list[Operation]:
    history = really_happened(
        subject,
        random,
        count=random.randrange(2, 9),
        processes=random.randrange(1, 5),
        unknown_rate=random.choice([0, 0.2, 0.4]),
        refused_rate=0.1,
    )
    random.shuffle(history)  # the order in which a history is recorded does not count
    return history


@by_subject
def test_the_checker_says_what_the_oracle_says(subject: Subject) -> None:
    said: Counter[bool] = Counter()
    for seed in range(1000):
        random = Random(seed)
        history = small(subject, random)
        assert check(history, subject.model).linearizable, seed
        for _ in range(3):
            history = corrupted(subject, random, history)
            truth = possible(history, subject.model)
            said[truth] += 1
            result = check(history, subject.model)
            assert result.verdict is (Verdict.LINEARIZABLE if truth else Verdict.VIOLATION), seed
            if not truth:
                assert "cannot be" in result.explanation
                assert_shortest(history, result.culprit, list(result.prefix), subject.model)
    assert min(said[True], said[False]) > 250


def assert_shortest(history: list[Operation], culprit: Operation | None, prefix: list[Operation], model: Any) -> None:
    assert culprit in prefix
    assert not possible(prefix, model)
    prefixes = Prefixes(history)
    places = [place for place in range(1, len(prefixes) + 1) if prefixes.answered(place) is culprit]
    assert possible(prefixes.prefix(places[0] - 1), model)


@by_subject
def test_what_really_happened_passes_at_any_size(subject: Subject) -> None:
    for seed, (count, processes) in enumerate([(50, 3), (100, 10), (200, 5), (500, 10)]):
        for unknown_max in (0, 4, 10):
            history = really_happened(
                subject, Random(seed), count=count, processes=processes, unknown_max=unknown_max, refused_rate=0.05
            )
            # Measured: below 31,000 steps, that is tens of milliseconds.
            result = check(history, subject.model, step_limit=100_000)
            assert result.linearizable, str(result)
            assert not applied_though_refused(history, subject.model)
            if subject.name != "counter up and down":
                assert not monotonic_reads(history, subject.model.read_version)


@by_subject
def test_an_impossible_answer_in_a_large_history_is_found(subject: Subject) -> None:
    """The last answer is wrong whatever came before, which makes the search try everything."""
    history = really_happened(subject, Random(7), count=300, processes=6, unknown_max=4)
    end = max(operation.returned or 0.0 for operation in history)
    output: Any = {} if subject.name == "bank" else -1
    if subject.name.startswith("list"):
        output = [-1]
    asked: Any = Read() if subject.name != "set" else subject.request(Random(0), 0)
    if subject.name.startswith("expiring"):
        asked = ReadAt(300)
    impossible = Operation(0, asked, output, end + 1, end + 2, OK)
    result = check([*history, impossible], subject.model)
    assert result.verdict is Verdict.VIOLATION
    assert result.culprit is impossible
    assert result.steps < 100_000


def test_every_key_is_an_object_of_its_own() -> None:
    subject = SUBJECTS[0]
    together = [
        replace(operation, key=f"key {seed}")
        for seed in range(20)
        for operation in really_happened(subject, Random(seed), count=60, processes=4)
    ]
    assert check(together, subject.model).linearizable
    spoilt = [
        replace(op, output=77) if op.key == "key 7" and isinstance(op.input, Read) and op.outcome is OK else op
        for op in together
    ]
    result = check(spoilt, subject.model)
    assert result.verdict is Verdict.VIOLATION
    assert result.key == "key 7"
    assert "key 'key 7'" in result.explanation


def test_a_search_that_is_too_long_is_given_up() -> None:
    history = [Operation(n, Write(n), None, 0, 100, OK) for n in range(40)]
    history += [Operation(40 + n, Read(), n % 40, 0, 100, OK) for n in range(80)]
    history += [Operation(200 + n, Write(n), None, 0, 100, OK) for n in range(40)]
    history += [Operation(300, Read(), -1, 101, 102, OK)]
    result = check(history, Register(), step_limit=2000)
    assert result.verdict is Verdict.UNDECIDED
    assert not result.linearizable
    assert "gave up after 2000 steps" in str(result)


def test_a_violation_outweighs_what_could_not_be_decided() -> None:
    hard = [Operation(n, Write(n % 20), None, 0, 100, OK, "hard") for n in range(40)]
    hard += [Operation(300, Read(), -1, 101, 102, OK, "hard")]
    easy = [Operation(0, Read(), -1, 1, 2, OK, "easy")]
    result = check([*hard, *easy], Register(), step_limit=2000)
    assert result.verdict is Verdict.VIOLATION
    assert result.key == "easy"
