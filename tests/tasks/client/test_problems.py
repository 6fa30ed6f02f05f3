"""Refusals that went over HTTP are what they were."""

from __future__ import annotations

import json

import pytest

from quorate.tasks import errors
from quorate.tasks.client.problems import refusal_of
from quorate.tasks.errors import (
    DoneBefore,
    IdTaken,
    InvalidTask,
    NoSuchSchedule,
    NoSuchTask,
    NoSuchWorker,
    NotUnique,
    QueueFull,
    StaleToken,
    TaskRefusal,
    TooMany,
    UnknownDependency,
    WrongState,
)
from quorate.tasks.rest.refusals import from_refusal

REFUSALS = [
    InvalidTask("priority", "range", "should be a whole number from 0 to 255, not 256"),
    InvalidTask("payload", "too_large", "is too large"),
    InvalidTask("type", "unknown", "no such type", 17),
    NoSuchTask("a-b.c:d@e+f=g"),
    NoSuchWorker("w.1"),
    NoSuchSchedule("nightly"),
    IdTaken("x", 3),
    NotUnique("it's \"one\" is 'x' and has not ended", "t", 2),
    NotUnique("plain", "t"),
    UnknownDependency("t", 1),
    WrongState("t", "running", "cancel"),
    StaleToken("t", 18),
    DoneBefore("t", 18),
    QueueFull("mail", 1000),
    TooMany("combinations of queue, type and capabilities", 10_000),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: type(refusal).__name__)
def test_a_refusal_comes_back_as_it_was(refusal: TaskRefusal) -> None:
    sent = from_refusal(refusal, in_batch=True)
    body = json.dumps({"status": sent.status, "title": sent.title, "detail": sent.detail, "errors": sent.errors})
    back = refusal_of(sent.status, body.encode())
    assert type(back) is type(refusal)
    assert vars(back) == vars(refusal)
    assert str(back) == str(refusal)


def test_every_class_is_among_them() -> None:
    classes = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, TaskRefusal)}
    assert {type(refusal) for refusal in REFUSALS} == classes - {TaskRefusal}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"detail": "something new"}', "something new"),
        (b"<html>", "the cluster answered with the status 409"),
        (b"\xff", "the cluster answered with the status 409"),
        (b'{"detail": 7}', "the cluster answered with the status 409"),
    ],
)
def test_what_is_not_known_is_a_refusal_all_the_same(body: bytes, text: str) -> None:
    refusal = refusal_of(409, body)
    assert type(refusal) is TaskRefusal
    assert str(refusal) == text
