"""``@app.task``: what is declared, what is sent, and what records of such tasks say in Python."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from quorate import App, TaskNotDone, TaskRecord
from quorate.errors import ConfigError
from quorate.tasks.declaration import Registry, TaskOptions
from quorate.tasks.errors import InvalidTask
from quorate.tasks.handles import TaskHandle
from quorate.tasks.sending import SendOptions
from quorate.tasks.submission import Submissions, TaskRequest

NOW = datetime(2026, 11, 22, tzinfo=UTC)


class Parcel(BaseModel):
    weight: float
    to: str = "here"


def make_app() -> App:
    app = App()

    @app.task
    async def pack(parcel: Parcel, delay: timedelta = timedelta(0), **more: int) -> Parcel:
        """It has a doc."""
        return parcel

    @app.task(queue="post", retries=7, priority=3, timeout="1m")
    def weigh(parcels: list[Parcel]) -> float:
        return sum(parcel.weight for parcel in parcels)

    return app


APP = make_app()
PACK, WEIGH = APP.tasks.types["pack"], APP.tasks.types["weigh"]


def record(status: str, payload: object = None, result: object = None, **more: Any) -> TaskRecord:
    empty = dict.fromkeys(TaskRecord.__struct_fields__)
    given = {
        "task_id": "one",
        "status": status,
        "payload": msgspec.Raw(msgspec.json.encode(payload)),
        "result": None if result is None else msgspec.Raw(msgspec.json.encode(result)),
    }
    return TaskRecord(**{**empty, **given, **more})


def test_without_options_the_parentheses_may_be_left_out() -> None:
    assert (PACK.name, PACK.queue, PACK.is_async, PACK.__doc__) == ("pack", "default", True, "It has a doc.")
    assert WEIGH([Parcel(weight=2)]) == 2
    registry = Registry()

    @registry.task
    def bare() -> None: ...

    assert registry.types == {"bare": bare}


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda app: app.task("mail"), "stands before a function, not before 'mail'"),
        (lambda app: app.task(retires=3)(print), r"task print: there is no option 'retires', but .*retries"),
    ],
)
def test_what_is_no_declaration(declare: Callable[[App], object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        declare(App())


def test_options_of_a_task_go_into_its_request_and_arguments_may_have_any_name() -> None:
    before = TaskHandle[None]("first", None, None)  # type: ignore[arg-type]
    options = SendOptions(
        task_id="one", queue="late", retries=1, timeout="5s", priority=9, backoff=1, backoff_max=2, ttl=60,
        retention="1h", capabilities={"gpu"}, schema_version=2, exactly_once=True, run_at=NOW, unique_key="k",
        depends_on=[before, "second"],
    )  # fmt: skip
    request = PACK.with_options(**options).request(Parcel(weight=1), delay=timedelta(seconds=3), count=4)
    assert request == TaskRequest(
        type="pack", payload=request.payload, id="one", queue="late", max_retries=1, timeout="5s", priority=9,
        backoff=1, backoff_max=2, ttl=60, retention="1h", capabilities=["gpu"], schema_version=2, exactly_once=True,
        run_at=NOW, unique_key="k", depends_on=["first", "second"],
    )  # fmt: skip
    assert msgspec.json.decode(request.payload) == {"parcel": {"weight": 1, "to": "here"}, "delay": "PT3S", "count": 4}
    assert PACK.with_options(delay="5s").request(Parcel(weight=1)).delay == "5s"
    assert set(options) | {"delay"} == SendOptions.__annotations__.keys()
    assert TaskOptions.__annotations__.keys() - SendOptions.__annotations__.keys() == {
        "name", "cron", "timezone", "health",
    }  # fmt: skip


def test_options_may_stand_beside_the_arguments_unless_the_function_takes_their_names() -> None:
    request = WEIGH.request([], delay=5, priority=9)
    assert (request.delay, request.priority) == (5, 9)
    assert request.payload == WEIGH.request([]).payload
    request = PACK.request(Parcel(weight=1), delay=timedelta(seconds=3), priority=9)  # which takes any name
    assert (request.delay, request.priority) == (None, None)
    assert msgspec.json.decode(request.payload)["delay"] == "PT3S"
    assert msgspec.json.decode(request.payload)["priority"] == 9


def test_what_is_not_said_is_as_the_type_declares_it() -> None:
    submissions = Submissions(APP.tasks.types)
    plain = submissions.of_one(WEIGH.request([]), 0).specs[0]
    assert (plain.queue, plain.max_retries, plain.priority, plain.timeout_ms) == ("post", 7, 3, 60_000)
    other = submissions.of_one(WEIGH.with_options(priority=0).request([]), 0).specs[0]
    assert other == msgspec.structs.replace(plain, priority=0)


def test_what_cannot_be_sent_is_refused_before_it_is() -> None:
    with pytest.raises(TypeError, match=r"no option 'dely', but queue, .*delay"):
        PACK.with_options(dely=5)  # type: ignore[call-arg]
    with pytest.raises(InvalidTask, match=r"weigh: got an unexpected keyword argument 'dely'"):
        WEIGH.request([], dely=5)
    with pytest.raises(InvalidTask, match=r"weigh: parcels\.0\.weight"):
        WEIGH.request([{"weight": "much"}])
    with pytest.raises(InvalidTask, match="ids or handles"):
        WEIGH.with_options(depends_on=[3]).request([])  # type: ignore[list-item]
    with pytest.raises(InvalidTask, match="depends_on: should be a list, not 'other'"):
        WEIGH.request([], depends_on="other")
    with pytest.raises(InvalidTask, match="capabilities: should be a list, not 'gpu'"):
        WEIGH.with_options(capabilities="gpu").request([])
    with pytest.raises(InvalidTask, match="run_at: should be a datetime, not 'now'"):
        Submissions().of_one(WEIGH.request([], run_at="now"), 0)


def test_what_a_record_says_in_python() -> None:
    task = record("succeeded", {"parcel": {"weight": 2}, "count": 3}, {"weight": 2, "to": "there"})
    assert task.decoded_payload() == {"parcel": {"weight": 2}, "count": 3}
    assert task.decoded_result() == {"weight": 2, "to": "there"}
    assert PACK.arguments_of(task) == {"parcel": Parcel(weight=2), "delay": timedelta(0), "count": 3}
    assert PACK.result_of(task) == Parcel(weight=2, to="there")
    assert record("ready").decoded_result() is None
    assert record("ready").decoded_payload() is None
    with pytest.raises(InvalidTask, match="parcel"):
        PACK.arguments_of(record("ready", {}))


@pytest.mark.parametrize("status", ["ready", "dead"])
def test_a_task_that_has_not_succeeded_has_no_result(status: str) -> None:
    with pytest.raises(TaskNotDone, match=f"the task one is {status}: why") as caught:
        PACK.result_of(record(status, error="why"))
    assert caught.value.task.status == status
