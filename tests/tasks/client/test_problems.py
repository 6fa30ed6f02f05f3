"""Refusals that went over HTTP are what they were."""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest

from quorate.tasks import errors
from quorate.tasks.client import OtherRefusal
from quorate.tasks.client.problems import refusal_of
from quorate.tasks.codes import TABLE, Coded
from quorate.tasks.errors import IdTaken, InvalidTask, NoSuchTask, NotUnique, QueueFull, TaskRefusal, TooMany
from quorate.tasks.reference import renewed
from quorate.tasks.rest.refusals import from_refusal
from quorate.web.problems import problem_of

DOCS = Path(__file__).parents[3] / "docs"

by_code = pytest.mark.parametrize("coded", TABLE, ids=lambda coded: coded.code)


def over_http(refusal: TaskRefusal, *, in_batch: bool = True) -> TaskRefusal:
    problem = problem_of(from_refusal(refusal, in_batch=in_batch))
    return refusal_of(problem.status, problem.body())


def an_example(coded: Coded) -> TaskRefusal:
    """With another value for everything that it has."""
    values = {
        name: f'it\'s "{name}"' if kind is str else number
        for number, (name, kind) in enumerate(coded.members.items(), 7)
    }
    return coded.kind(**values)


@by_code
def test_a_refusal_comes_back_as_it_was(coded: Coded) -> None:
    refusal = an_example(coded)
    problem = json.loads(problem_of(refusal).body())
    assert (problem["code"], problem["status"], problem["detail"]) == (coded.code, coded.status, str(refusal))
    back = over_http(refusal)
    assert type(back) is coded.kind
    assert (back.args, str(back), back.retry_after) == (refusal.args, str(refusal), refusal.retry_after)
    assert {name: getattr(back, name) for name in coded.members} == {
        name: getattr(refusal, name) for name in coded.members
    }


@by_code
def test_the_table_has_what_each_exception_consists_of(coded: Coded) -> None:
    hints = get_type_hints(coded.kind.__init__)
    taken = {name: hints[name] for name in signature(coded.kind).parameters}
    assert {name: kind for name, kind in coded.members.items() if name != "position"} == {
        name: kind for name, kind in taken.items() if name != "position"
    }
    assert ("position" in coded.members) is ("position" in taken)


def test_every_class_has_a_code_and_every_code_a_class() -> None:
    classes = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, TaskRefusal)}
    assert {coded.kind for coded in TABLE} == classes - {TaskRefusal}
    assert len({coded.code for coded in TABLE}) == len({coded.kind for coded in TABLE}) == len(TABLE)


def test_the_codes_are_what_they_ever_were() -> None:
    """Programs of others go by them: a code may be added here, none changed."""
    assert [coded.code for coded in TABLE] == [
        "invalid-task", "task-not-found", "queue-not-found", "worker-not-found", "schedule-not-found", "id-taken",
        "not-unique", "unknown-dependency", "wrong-state", "stale-token", "done-before", "queue-in-use", "queue-full",
        "too-many",
    ]  # fmt: skip


def test_the_page_lists_them() -> None:
    page = (DOCS / "http.md").read_text()
    assert renewed(page) == page, "make reference"
    for coded in TABLE:
        assert f"| `{coded.code}` | {coded.status} |" in page


@pytest.mark.parametrize(
    "refusal",
    [
        InvalidTask("payload", "too_large", "is too large"),
        InvalidTask("", "empty", "should say something"),
        IdTaken("x"),
        NotUnique("it's \"one\" is 'x' and has not ended", "there is no task y"),
        NoSuchTask("a, which is full: 7 tasks wait in it"),
        TooMany("combinations of queue, type and capabilities", 10_000),
    ],
    ids=lambda refusal: type(refusal).__name__,
)
def test_texts_and_places_make_no_difference(refusal: TaskRefusal) -> None:
    back = over_http(refusal, in_batch=False)
    assert (type(back), back.args, vars(back) | {"retry_after": 0}) == (
        type(refusal),
        refusal.args,
        vars(refusal) | {"retry_after": 0},
    )


def test_what_is_too_large_is_413_and_what_may_pass_says_when() -> None:
    assert from_refusal(InvalidTask("payload", "too_large", "is too large")).status == 413
    full = from_refusal(QueueFull("mail", 10))
    assert (full.headers, full.members["retry_after"]) == ([(b"retry-after", b"1")], 1)


def test_what_was_refused_before_it_was_taken_for_a_task_says_where_it_is_wrong() -> None:
    body = {"detail": "no", "errors": [{"field": "limit", "reason": "range", "message": "too many", "position": 3}]}
    back = refusal_of(422, msgspec.json.encode(body))
    assert type(back) is InvalidTask
    assert back.args == ("limit", "range", "too many", 3)


@pytest.mark.parametrize(
    ("body", "parts", "text"),
    [
        (
            b'{"title": "Conflict", "detail": "something new", "code": "task-on-fire", "errors": [{}]}',
            ("Conflict", "something new", "task-on-fire"),
            "something new",
        ),
        (b'{"title": "Conflict", "code": "task-not-found", "task_id": 7}', ("Conflict", "", "task-not-found"), None),
        (b'{"title": "Conflict", "code": "task-not-found"}', ("Conflict", "", "task-not-found"), None),
        (b'{"detail": "the queue mail is full: 1000 tasks wait in it"}', ("", "the queue mail is full", ""), None),
        (b"<html>", ("", "", ""), "the cluster answered with the status 409"),
        (b"\xff", ("", "", ""), "the cluster answered with the status 409"),
        (b'{"detail": 7}', ("", "", ""), "the cluster answered with the status 409"),
    ],
)
def test_what_is_not_known_keeps_what_it_says(body: bytes, parts: tuple[str, str, str], text: str | None) -> None:
    refusal = refusal_of(409, body)
    assert isinstance(refusal, OtherRefusal)
    title, detail, code = parts
    assert (refusal.status, refusal.title, refusal.code) == (409, title, code)
    assert refusal.detail.startswith(detail)
    assert str(refusal) == (text or refusal.detail or "the cluster answered with the status 409 Conflict")
