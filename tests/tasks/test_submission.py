"""What is asked for is checked before it gets into the log; each mistake has a name and a field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from quorate.tasks.commands import New, Spec
from quorate.tasks.durations import microseconds
from quorate.tasks.errors import InvalidTask
from quorate.tasks.limits import (
    BATCH_DEPENDENCIES_MAX,
    BATCH_TASKS_MAX,
    DEPENDENCIES_MAX,
    ID_CHARACTERS_MAX,
    PAYLOAD_BYTES_MAX,
    SCHEDULE_BYTES_MAX,
    SCHEDULE_NAME_CHARACTERS_MAX,
)
from quorate.tasks.store.schedules import task_id_of
from quorate.tasks.submission import Submissions, TaskRequest, in_order

NOW_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000


def request(**more: Any) -> TaskRequest:
    return TaskRequest(**{"type": "send", **more})


def refused(**more: Any) -> tuple[str, str]:
    with pytest.raises(InvalidTask) as found:
        Submissions().of_one(request(**more), NOW_US)
    return found.value.field, found.value.reason


def test_a_bare_request_has_the_documented_defaults() -> None:
    command = Submissions().of_one(request(), NOW_US)
    assert command.specs == [Spec("default", "send")]
    spec = command.specs[0]
    assert (spec.max_retries, spec.backoff_ms, spec.backoff_ms_max, spec.priority) == (3, 5_000, 3_600_000, 0)
    (task,) = command.tasks
    assert (task.payload, task.run_at_us, task.delay_us) == (b"null", 0, 0)
    assert len(task.id) == 36


def test_everything_that_can_be_said_gets_into_the_command() -> None:
    command = Submissions().of_one(
        request(
            id="a@2026-11-21T10:00:00Z",
            payload=msgspec.Raw(b'{"n": 1}'),
            queue="mail",
            priority=255,
            delay="1h",
            timeout=1.5,
            max_retries=0,
            backoff=timedelta(seconds=1),
            backoff_max="2m",
            ttl="7d",
            retention=0,
            unique_key="ann",
            depends_on=["b", "c", "b"],
            capabilities=["gpu", "disk", "gpu"],
            schema_version=3,
            exactly_once=True,
        ),
        NOW_US,
    )
    assert command.specs == [
        Spec("mail", "send", ("disk", "gpu"), 255, 1_500, 0, 1_000, 120_000, 604_800_000, 0, 3, True)
    ]
    assert command.tasks == [New(0, "a@2026-11-21T10:00:00Z", b'{"n": 1}', 0, HOUR_US, "ann", ("b", "c"))]


@pytest.mark.parametrize(
    ("more", "field", "reason"),
    [
        ({"type": ""}, "type", "name"),
        ({"type": "a b"}, "type", "name"),
        ({"type": "x" * 101}, "type", "name"),
        ({"queue": "ma/il"}, "queue", "name"),
        ({"queue": ""}, "queue", "name"),
        ({"id": ""}, "id", "name"),
        ({"id": "a/b"}, "id", "name"),
        ({"id": "x" * 129}, "id", "name"),
        ({"id": "ü"}, "id", "name"),
        ({"id": "a\n"}, "id", "name"),
        ({"priority": 256}, "priority", "range"),
        ({"priority": -1}, "priority", "range"),
        ({"delay": -1}, "delay", "duration"),
        ({"delay": "-1s"}, "delay", "duration"),
        ({"delay": "soon"}, "delay", "duration"),
        ({"delay": float("nan")}, "delay", "duration"),
        ({"delay": float("inf")}, "delay", "duration"),
        ({"delay": 1e308}, "delay", "duration"),
        ({"delay": 10**400}, "delay", "duration"),
        ({"delay": "4000d"}, "delay", "range"),
        ({"timeout": "25h"}, "timeout", "range"),
        ({"max_retries": -1}, "max_retries", "range"),
        ({"max_retries": 1001}, "max_retries", "range"),
        ({"run_at": datetime(2030, 1, 1)}, "run_at", "timezone"),
        ({"run_at": datetime(2060, 1, 1, tzinfo=UTC)}, "run_at", "range"),
        ({"run_at": datetime(2024, 1, 1, tzinfo=UTC), "delay": 1}, "delay", "contradiction"),
        ({"unique_key": ""}, "unique_key", "name"),
        ({"unique_key": "a\0b"}, "unique_key", "name"),
        ({"unique_key": "\ud800"}, "unique_key", "name"),
        ({"depends_on": ["a/b"]}, "depends_on", "name"),
        ({"id": "a", "depends_on": ["a"]}, "depends_on", "cycle"),
        ({"depends_on": [f"t{n}" for n in range(101)]}, "depends_on", "too_many"),
        ({"capabilities": [f"c{n}" for n in range(17)]}, "capabilities", "too_many"),
        ({"payload": msgspec.Raw(b'"' + b"x" * PAYLOAD_BYTES_MAX + b'"')}, "payload", "too_large"),
    ],
)
def test_a_mistake_is_refused_and_named(more: dict[str, Any], field: str, reason: str) -> None:
    assert refused(**more) == (field, reason)


def test_the_largest_payload_is_taken() -> None:
    payload = b'"' + b"x" * (PAYLOAD_BYTES_MAX - 2) + b'"'
    (task,) = Submissions().of_one(request(payload=msgspec.Raw(payload)), NOW_US).tasks
    assert task.payload == payload


def test_a_moment_that_has_passed_is_now() -> None:
    (task,) = Submissions().of_one(request(run_at=datetime(1969, 1, 1, tzinfo=UTC)), NOW_US).tasks
    assert task.run_at_us == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [(1, 1_000_000), (0.5, 500_000), ("30s", 30_000_000), ("500ms", 500_000), ("1.5h", 5_400_000_000),
     ("7d", 604_800_000_000), ("250us", 250), ("12", 12_000_000), (" 2 m", 120_000_000),
     (timedelta(days=1), 86_400_000_000)],
)  # fmt: skip
def test_durations_are_what_people_write(text: Any, expected: int) -> None:
    assert microseconds(text) == expected


def test_tasks_of_a_batch_that_are_alike_share_a_spec() -> None:
    requests = [request(id=f"t{n}", priority=n % 2) for n in range(6)]
    command, order = Submissions().of_many(requests, NOW_US)
    assert len(command.specs) == 2
    assert [command.specs[task.spec].priority for task in command.tasks] == [0, 1, 0, 1, 0, 1]
    assert order == list(range(6))


@pytest.mark.parametrize("count", [0, BATCH_TASKS_MAX + 1])
def test_a_batch_has_bounds(count: int) -> None:
    with pytest.raises(InvalidTask):
        Submissions().of_many([request()] * count, NOW_US)


def test_the_payloads_of_a_batch_have_a_bound_together() -> None:
    large = msgspec.Raw(b'"' + b"x" * (PAYLOAD_BYTES_MAX - 10) + b'"')
    with pytest.raises(InvalidTask, match="bytes at most"):
        Submissions().of_many([request(payload=large)] * 2, NOW_US)


def test_the_dependencies_of_a_batch_have_a_bound_together() -> None:
    those = [f"t{number}" for number in range(DEPENDENCIES_MAX)]
    most = BATCH_DEPENDENCIES_MAX // DEPENDENCIES_MAX
    Submissions().of_many([request(depends_on=those)] * most, NOW_US)
    with pytest.raises(InvalidTask, match="dependencies at most"):
        Submissions().of_many([*[request(depends_on=those)] * most, request(depends_on=["a"])], NOW_US)


def tasks(*edges: str) -> list[New]:
    """``a<bc``: a depends on b and c."""
    parts = [edge.partition("<") for edge in edges]
    return [New(0, name, b"", depends_on=tuple(targets)) for name, _, targets in parts]


def test_those_that_others_depend_on_come_first_and_the_rest_keeps_its_order() -> None:
    assert in_order(tasks("a", "b<a", "c")) == [0, 1, 2]
    assert in_order(tasks("a<d", "b", "c<a", "d<b")) == [1, 3, 0, 2]
    assert in_order(tasks("a<z", "b")) == [0, 1], "z is none of them"


@pytest.mark.parametrize("edges", [("a<b", "b<a"), ("a<b", "b<c", "c<d", "d<b"), ("x", "a<xb", "b<xa")])
def test_a_circle_is_refused(edges: tuple[str, ...]) -> None:
    with pytest.raises(InvalidTask) as found:
        in_order(tasks(*edges))
    assert found.value.reason == "cycle"


def test_a_long_chain_needs_no_deep_recursion() -> None:
    chain = [New(0, f"t{n}", b"", depends_on=(f"t{n + 1}",)) for n in range(5000)]
    assert in_order(chain) == list(range(4999, -1, -1))


@pytest.mark.parametrize(
    ("cron", "timezone", "field", "reason"),
    [
        ("every day", "UTC", "cron", "cron"),
        ("61 * * * *", "UTC", "cron", "cron"),
        ("0 0 31 2 *", "UTC", "cron", "cron"),
        ("* * * * *", "Europe/Atlantis", "timezone", "timezone"),
        ("* * * * *", "../../etc/passwd", "timezone", "timezone"),
        ("* " * 150, "UTC", "cron", "too_long"),
    ],
)
def test_a_schedule_that_never_comes_is_refused(cron: str, timezone: str, field: str, reason: str) -> None:
    with pytest.raises(InvalidTask) as found:
        Submissions().of_schedule("s", cron, timezone, request(), NOW_US)
    assert (found.value.field, found.value.reason) == (field, reason)


@pytest.mark.parametrize("more", [{"delay": 1}, {"id": "x"}, {"run_at": datetime.now(UTC)}, {"depends_on": ["a"]},
                                  {"unique_key": "k"}])  # fmt: skip
def test_a_schedule_says_itself_when_its_tasks_run(more: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask):
        Submissions().of_schedule("s", "* * * * *", "UTC", request(**more), NOW_US)


def test_the_tasks_of_a_schedule_have_ids_that_can_be_asked_for() -> None:
    longest = "s" * SCHEDULE_NAME_CHARACTERS_MAX
    next_us = Submissions().of_schedule(longest, "* * * * *", "UTC", request(), NOW_US).next_us
    assert len(task_id_of(longest, next_us)) == ID_CHARACTERS_MAX
    with pytest.raises(InvalidTask, match="name"):
        Submissions().of_schedule(longest + "s", "* * * * *", "UTC", request(), NOW_US)


def test_a_schedule_has_no_large_payload() -> None:
    large = request(payload=msgspec.Raw(b'"' + b"x" * SCHEDULE_BYTES_MAX + b'"'))
    with pytest.raises(InvalidTask, match="in a schedule"):
        Submissions().of_schedule("s", "* * * * *", "UTC", large, NOW_US)


def test_the_slots_of_a_schedule_are_those_of_its_time_zone() -> None:
    start = datetime(2026, 3, 28, 12, tzinfo=UTC)  # the night before clocks are put forward in Europe
    next_us = (
        Submissions().of_schedule("s", "30 2 * * *", "Europe/Berlin", request(), int(start.timestamp() * 1e6)).next_us
    )
    slot = datetime.fromtimestamp(next_us / 1e6, UTC)
    assert slot == datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "half past two does not exist: right behind the gap"
