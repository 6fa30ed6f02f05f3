"""The models that histories are judged by, next to plain objects that do what the models say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from quorate.testing.linearizability import (
    Append,
    Bank,
    CompareAndSet,
    Contains,
    Counter,
    Delete,
    ExpiringRegister,
    Increment,
    Insert,
    ListAppend,
    Model,
    Operation,
    Outcome,
    Prolong,
    PutUntil,
    Read,
    ReadAt,
    Register,
    RemoveRevision,
    ReplaceRevision,
    Take,
    Transfer,
    UniqueSet,
    VersionedRegister,
    Write,
)


@dataclass(frozen=True)
class Subject:
    """A model, an implementation of it that knows nothing of the model, requests, and wrong answers."""

    name: str
    model: Model[Any]
    start: Callable[[], Callable[[Any], Any]]
    request: Callable[[Random, int], Any]
    wrong: Callable[[Random, Operation], Any]


def register() -> Callable[[Any], Any]:
    value: Any = 0

    def apply(asked: Any) -> Any:
        nonlocal value
        match asked:
            case Write(new):
                value = new
                return None
            case CompareAndSet(expected, new):
                if value != expected:
                    return False
                value = new
                return True
        return value

    return apply


def growing_list() -> Callable[[Any], Any]:
    values: list[Any] = []

    def apply(asked: Any) -> Any:
        if isinstance(asked, Append):
            values.append(asked.value)
            return None
        return list(values)

    return apply


def counter(tells: bool) -> Callable[[Any], Any]:
    number = 0

    def apply(asked: Any) -> Any:
        nonlocal number
        if isinstance(asked, Increment):
            number += asked.amount
            return number if tells else None
        return number

    return apply


def unique_set() -> Callable[[Any], Any]:
    values: set[Any] = set()

    def apply(asked: Any) -> Any:
        there = asked.value in values
        match asked:
            case Insert(value):
                values.add(value)
                return not there
            case Delete(value):
                values.discard(value)
        return there

    return apply


START: dict[Any, int] = {"a": 3, "b": 2, "c": 0}


def bank() -> Callable[[Any], Any]:
    balances = dict(START)

    def apply(asked: Any) -> Any:
        if isinstance(asked, Transfer):
            if balances[asked.source] < asked.amount:
                return False
            balances[asked.source] -= asked.amount
            balances[asked.target] += asked.amount
            return True
        return dict(balances)

    return apply


def versioned_register() -> Callable[[Any], Any]:
    value, revision, changes = None, 0, 0

    def apply(asked: Any) -> Any:
        nonlocal value, revision, changes
        match asked:
            case ReplaceRevision(expected, new):
                if expected != revision:
                    return None
                changes += 1
                value, revision = new, changes
                return revision
            case RemoveRevision(expected):
                if not revision or expected != revision:
                    return False
                value, revision = None, 0
                return True
        return (value, revision) if revision else None

    return apply


def expiring_register() -> Callable[[Any], Any]:
    held: list[tuple[Any, int]] = []

    def apply(asked: Any) -> Any:
        if isinstance(asked, PutUntil):
            held[:] = [(asked.value, asked.deadline)]
            return None
        live = [value for value, deadline in held if not deadline or asked.at < deadline]
        match asked:
            case Prolong(_, deadline) if live:
                held[:] = [(live[0], deadline)]
                return True
            case Prolong():
                return False
            case Take() if live:
                held.clear()
        return live[0] if live else None

    return apply


def versioned_request(random: Random, serial: int) -> Any:
    kind, revision = random.random(), random.randrange(max(serial // 8, 1) + 2)
    if kind < 0.3:
        return Read()
    return ReplaceRevision(random.choice((0, revision)), serial) if kind < 0.7 else RemoveRevision(revision)


def wrong_version(random: Random, operation: Operation) -> Any:
    if isinstance(operation.input, Read):
        return None if operation.output else (1, 1)
    if isinstance(operation.input, RemoveRevision):
        return not operation.output
    return None if operation.output else 10_000


def expiring_request(random: Random, serial: int) -> Any:
    deadline = serial + random.randrange(1, 6)
    match random.randrange(8):
        case 0 | 1:
            return PutUntil(serial, random.choice((0, deadline)))
        case 2:
            return Prolong(serial, deadline)
        case 3:
            return Take(serial)
    return ReadAt(serial)


def wrong_at_that_time(random: Random, operation: Operation) -> Any:
    if isinstance(operation.input, PutUntil):
        return None
    if isinstance(operation.input, Prolong):
        return not operation.output
    return -1 if operation.output is None else None


def register_request(random: Random, serial: int) -> Any:
    kind = random.random()
    if kind < 0.45:
        return Read()
    value = random.randrange(4)
    return Write(value) if kind < 0.8 else CompareAndSet(random.randrange(4), value)


def unique_register_request(random: Random, serial: int) -> Any:
    return Read() if random.random() < 0.5 else Write(serial + 1)


def bank_request(random: Random, serial: int) -> Any:
    if random.random() < 0.4:
        return Read()
    source, target = random.sample(sorted(START), 2)
    return Transfer(source, target, random.randrange(1, 4))


def wrong_balances(random: Random, operation: Operation) -> Any:
    if isinstance(operation.input, Transfer):
        return not operation.output
    source, target = random.sample(sorted(START), 2)
    balances = dict(operation.output)
    return {**balances, source: balances[source] - 1, target: balances[target] + 1}


def wrong_list(random: Random, operation: Operation) -> Any:
    if not isinstance(operation.input, Read):
        return None
    values = list(operation.output)
    change = random.randrange(3)
    if change == 0 and values:
        del values[random.randrange(len(values))]
    elif change == 1:
        random.shuffle(values)
    else:
        values.append(random.randrange(6))
    return values


def wrong_number(random: Random, operation: Operation) -> Any:
    return None if operation.output is None else operation.output + random.choice([-1, 1])


def wrong_value(random: Random, operation: Operation) -> Any:
    if isinstance(operation.input, Write):
        return None
    return random.randrange(4) if isinstance(operation.input, Read) else not operation.output


def counter_request(least: int, most: int) -> Callable[[Random, int], Any]:
    return lambda random, serial: Read() if random.random() < 0.5 else Increment(random.randint(least, most))


def set_request(random: Random, serial: int) -> Any:
    return random.choice([Insert, Insert, Delete, Contains])(random.randrange(2))


SUBJECTS = [
    Subject("register", Register(0), register, register_request, wrong_value),
    Subject("register of unique values", Register(0), register, unique_register_request, wrong_value),
    Subject(
        "list",
        ListAppend(),
        growing_list,
        lambda random, serial: Read() if random.random() < 0.5 else Append(serial),
        wrong_list,
    ),
    Subject(
        "list of repeated values",
        ListAppend(),
        growing_list,
        lambda random, serial: Read() if random.random() < 0.4 else Append(random.randrange(2)),
        wrong_list,
    ),
    Subject("counter", Counter(), lambda: counter(tells=False), counter_request(1, 2), wrong_number),
    Subject("counter that tells", Counter(), lambda: counter(tells=True), counter_request(1, 2), wrong_number),
    Subject("counter up and down", Counter(), lambda: counter(tells=True), counter_request(-2, 2), wrong_number),
    Subject("set", UniqueSet(), unique_set, set_request, lambda random, operation: not operation.output),
    Subject("versioned register", VersionedRegister(), versioned_register, versioned_request, wrong_version),
    Subject("expiring register", ExpiringRegister(), expiring_register, expiring_request, wrong_at_that_time),
    Subject("bank", Bank(START), bank, bank_request, wrong_balances),
]


by_subject = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)


@by_subject
def test_a_model_accepts_what_the_object_does_and_follows_it_without_the_answers(subject: Subject) -> None:
    random = Random(1)
    apply = subject.start()
    told = guessed = subject.model.initial()
    for serial in range(300):
        asked = subject.request(random, serial)
        answer = apply(asked)
        operation = Operation(0, asked, answer, serial, serial, Outcome.OK)
        before = told
        told = subject.model.step(told, asked, answer)
        assert told is not None
        after = subject.model.step_unknown(guessed, asked)
        guessed = guessed if after is None else after
        assert guessed == told
        if subject.model.changes_nothing(operation):
            assert told == before


@by_subject
def test_a_model_refuses_wrong_answers(subject: Subject) -> None:
    random = Random(2)
    apply = subject.start()
    state = subject.model.initial()
    refused = 0
    for serial in range(300):
        asked = subject.request(random, serial)
        answer = apply(asked)
        wrong = subject.wrong(random, Operation(0, asked, answer, serial, serial, Outcome.OK))
        if wrong != answer:
            assert subject.model.step(state, asked, wrong) is None
            refused += 1
        state = subject.model.step(state, asked, answer)
    assert refused > 30


def test_an_answer_that_does_not_tell_is_taken_as_such() -> None:
    assert Counter(4).step(4, Increment(2), None) == 6
    assert UniqueSet().step(frozenset({1}), Delete(1), None) == frozenset()
    assert UniqueSet().step(frozenset(), Delete(1), None) == frozenset()
