"""What is wrong is refused with a word that helps, and never gets into the log."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import msgspec
import pytest

from quorate.rest import json_pieces
from quorate.tasks.rest import payloads
from quorate.tasks.rest.payloads import DEPTH_MAX, LARGE_BYTES, checked_json
from quorate.tasks.rest.resource import TasksResource
from quorate.testing import TestCluster

from .support import JSON, Api


def with_payload(payload: bytes) -> bytes:
    return b'{"type":"mail","payload":%b}' % payload


NO_JSON = {
    "nothing": b"",
    "half": b'{"type":"mail"',
    "more": b'{"type":"mail"} {}',
    "not UTF-8": b'{"type":"\xff"}',
    "not a number": with_payload(b"NaN"),
    "in lower case": with_payload(b"nan"),
    "no end": with_payload(b"Infinity"),
    "beyond all bounds": with_payload(b"1e999"),
    "beyond all bounds within": with_payload(b'{"a":[-1e999]}'),
    "too many digits": with_payload(b"9" * 5000),
    "half a surrogate pair": with_payload(b'"\\ud800"'),
    "the other half": with_payload(b'"\\udc00x"'),
    "a surrogate in UTF-8": with_payload(b'"\xed\xa0\x80"'),
    "text that is not UTF-8": with_payload(b'"\xff"'),
    "a name that is not UTF-8": with_payload(b'{"\xff":1}'),
    "a comma at the end": with_payload(b"[1,]"),
    "a comma at the end of an object": with_payload(b'{"a":1,}'),
    "a control character": with_payload(b'"\x00"'),
    "deep": with_payload(b"[" * (DEPTH_MAX + 2) + b"]" * (DEPTH_MAX + 2)),
    "deeper": with_payload(b"[" * 900 + b"]" * 900),
    "deepest": with_payload(b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "without end": with_payload(b"[" * 1_000_000),
}
NOT_VALID: dict[str, tuple[dict[str, Any], str]] = {
    "no type": ({}, ""),
    "an odd type": ({"type": "a b"}, "type"),
    "an empty type": ({"type": ""}, "type"),
    "a long type": ({"type": "x" * 101}, "type"),
    "a type that is no text": ({"type": 7}, "type"),
    "an odd queue": ({"type": "t", "queue": "../x"}, "queue"),
    "an odd id": ({"type": "t", "id": "a/b"}, "id"),
    "a long id": ({"type": "t", "id": "x" * 129}, "id"),
    "a priority too high": ({"type": "t", "priority": 256}, "priority"),
    "a priority too low": ({"type": "t", "priority": -1}, "priority"),
    "a priority in between": ({"type": "t", "priority": 1.5}, "priority"),
    "a negative delay": ({"type": "t", "delay": -1}, "delay"),
    "a delay without end": ({"type": "t", "delay": "11000d"}, "delay"),
    "a delay that is none": ({"type": "t", "delay": "soon"}, "delay"),
    "a delay that is a truth": ({"type": "t", "delay": True}, "delay"),
    "a time without a zone": ({"type": "t", "run_at": "2030-01-01T00:00:00"}, "run_at"),
    "a time that is none": ({"type": "t", "run_at": "tomorrow"}, "run_at"),
    "a time in a hundred years": ({"type": "t", "run_at": "2130-01-01T00:00:00Z"}, "run_at"),
    "two times": ({"type": "t", "run_at": "2030-01-01T00:00:00Z", "delay": 1}, "delay"),
    "a negative timeout": ({"type": "t", "timeout": "-1s"}, "timeout"),
    "a long timeout": ({"type": "t", "timeout": "2d"}, "timeout"),
    "negative retries": ({"type": "t", "max_retries": -1}, "max_retries"),
    "many retries": ({"type": "t", "max_retries": 1001}, "max_retries"),
    "itself before it": ({"type": "t", "id": "a", "depends_on": ["a"]}, "depends_on"),
    "many before it": ({"type": "t", "depends_on": [f"t{n}" for n in range(101)]}, "depends_on"),
    "an odd key": ({"type": "t", "unique_key": "a\nb"}, "unique_key"),
    "many capabilities": ({"type": "t", "capabilities": [f"c{n}" for n in range(17)]}, "capabilities"),
    "an unknown member": ({"type": "t", "colour": "red"}, ""),
    "a cron that is none": ({"type": "t", "cron": "61 * * * *"}, "cron"),
    "a cron that has passed": ({"type": "t", "cron": "0 0 30 2 *"}, "cron"),
    "a zone that is none": ({"type": "t", "cron": "* * * * *", "timezone": "Mars/Olympus"}, "timezone"),
    "a schedule with a delay": ({"type": "t", "cron": "* * * * *", "delay": 5}, "delay"),
}


@pytest.fixture
async def alone() -> Any:
    """A cluster of one, and its log's end."""
    async with TestCluster(1, tasks=True) as cluster:
        node = await cluster.wait_for_leader()
        yield Api(TasksResource(node.tasks, node)), node


async def test_what_is_no_json_never_reaches_the_log(alone: Any) -> None:
    api, node = alone
    before = node.status.last_index
    for name, body in NO_JSON.items():
        refused = await api("POST", "tasks", body or b" ")
        assert refused.status == 400, (name, refused)
        assert len(refused.document["detail"]) < 400, name
        batch = await api("POST", "tasks/_batch", b'{"tasks":[{"type":"t"},%b]}' % body)
        assert batch.status == 400, (name, batch)
    assert node.status.last_index == before


@pytest.mark.parametrize("payload", [b"1e999", b'"\\ud800"', b'"\xff"', b"[" * 300 + b"]" * 300], ids=range(4))
async def test_what_is_large_is_looked_at_as_closely(alone: Any, payload: bytes) -> None:
    api, node = alone
    before = node.status.last_index
    for padding in (b'"%b",' % (b"x" * LARGE_BYTES), b"1," * LARGE_BYTES):
        padded = with_payload(b"[%b%b]" % (padding, payload))
        assert (await api("POST", "tasks", padded)).status == 400
    assert node.status.last_index == before
    assert gc.isenabled()


async def test_what_has_very_many_values_is_checked_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "SLICE_SECONDS", 0.0)
    document = b"[%b1]" % (b"[]," * 100_000)
    checking = asyncio.create_task(checked_json(msgspec.Raw(document), "payload"))
    turns = 0
    while not checking.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > len(document) / json_pieces.PIECE_BYTES
    assert await checking == document


async def test_large_requests_wait_for_their_turn_and_small_ones_do_not(alone: Any) -> None:
    api, _ = alone
    large = with_payload(b'"%b"' % (b"x" * 2_000_000))
    async with api.resource._turns.turn(10_000_000):
        waiting = asyncio.create_task(api("POST", "tasks", large))
        assert (await api("POST", "tasks", {"type": "small"})).status == 201
        assert not waiting.done()
    assert (await waiting).status == 201


async def test_what_is_not_valid_is_named_and_never_reaches_the_log(alone: Any) -> None:
    api, node = alone
    before = node.status.last_index
    for name, (body, field) in NOT_VALID.items():
        refused = await api("POST", "tasks", body)
        assert (refused.status, refused.document["errors"][0]["field"]) == (422, field), (name, refused)
        if "cron" not in body:
            batch = await api("POST", "tasks/_batch", {"tasks": [{"type": "t"}, body]})
            error = batch.document["errors"][0]
            assert (batch.status, error["position"], error["field"]) == (422, 1, field), (name, batch)
    assert node.status.last_index == before


@pytest.mark.parametrize(
    "payload",
    [b"null", b"0", b'"\\u0000 \xc3\xa9"', b"[" * DEPTH_MAX + b"]" * DEPTH_MAX, b'{"a":1,"a":2}', b"1e308", b"9" * 400],
    ids=lambda payload: str(payload[:20]),
)
async def test_what_is_odd_but_json_is_kept_as_it_came(alone: Any, payload: bytes) -> None:
    api, _ = alone
    task_id = (await api("POST", "tasks", with_payload(payload))).document["task_id"]
    answer = await api.resource.handle("GET", f"tasks/{task_id}", b"", [], b"")
    assert b'"payload":%b,' % payload in answer.body
    listed = await api.resource.handle("GET", "tasks", b"", [], b"")
    assert payload in listed.body


async def test_a_circle_in_a_batch_is_refused_and_an_unknown_task_to_depend_on(alone: Any) -> None:
    api, _ = alone
    circle = [{"type": "t", "id": "a", "depends_on": ["b"]}, {"type": "t", "id": "b", "depends_on": ["a"]}]
    refused = await api("POST", "tasks/_batch", {"tasks": circle})
    assert (refused.status, refused.document["errors"][0]["reason"]) == (422, "cycle")
    unknown = await api("POST", "tasks", {"type": "t", "depends_on": ["nobody"]})
    assert (unknown.status, unknown.document["errors"][0]["field"]) == (422, "depends_on")


async def test_a_payload_has_10_mib_at_most_and_a_result_1_mib(alone: Any) -> None:
    api, node = alone
    largest = b'"%b"' % (b"x" * ((10 << 20) - 2))
    assert (await api("POST", "tasks", with_payload(largest))).status == 201
    before = node.status.last_index
    larger = await api("POST", "tasks", with_payload(b'"%b"' % (b"x" * ((10 << 20) - 1))))
    assert (larger.status, larger.document["errors"][0]["field"]) == (413, "payload")
    two = b'{"tasks":[%b,%b]}' % (with_payload(largest), with_payload(b'"%b"' % (b"x" * (3 << 20))))
    assert (await api("POST", "tasks/_batch", two)).status == 413
    result = b'{"token":1,"result":"%b"}' % (b"x" * (1 << 20))
    assert (await api("POST", "tasks/t/complete", result)).status == 413
    assert node.status.last_index == before


async def test_a_batch_has_1_to_1000_tasks(alone: Any) -> None:
    api, _ = alone
    for count, status in ((0, 422), (1, 201), (1000, 201), (1001, 422)):
        assert (await api("POST", "tasks/_batch", {"tasks": [{"type": "t"}] * count})).status == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "nothing", 404),
        ("GET", "", 404),
        ("GET", "tasks/", 404),
        ("GET", "tasks/a/", 404),
        ("GET", "tasks/a/b", 404),
        ("GET", "tasks/a/cancel/b", 404),
        ("GET", "tasks/%ff", 404),
        ("GET", "tasks/nobody", 404),
        ("PUT", "tasks", 405),
        ("POST", "tasks/_watch", 405),
        ("GET", "tasks/a/cancel", 405),
        ("PUT", "tasks/a", 405),
        ("POST", "workers", 405),
        ("POST", "queues/a", 405),
        ("POST", "tasks/nobody/retry", 404),
    ],
)
async def test_paths_and_methods(alone: Any, method: str, path: str, status: int) -> None:
    api, _ = alone
    answer = await api(method, path)
    assert answer.status == status
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("tasks", {"status": "asleep"}),
        ("tasks", {"status": ""}),
        ("tasks", {"limit": 0}),
        ("tasks", {"limit": 1001}),
        ("tasks", {"after": "x"}),
        ("tasks", {"colour": "red"}),
        ("tasks", {"consistency": "maybe"}),
        ("tasks/a", {"wait": 61}),
        ("tasks/a", {"wait": "soon"}),
        ("tasks/_watch", {"after": "x"}),
        ("tasks/_watch", {"status": "ready"}),
        ("stats", {"queue": "a"}),
    ],
)
async def test_parameters(alone: Any, path: str, query: dict[str, Any]) -> None:
    assert (await alone[0]("GET", path, None, **query)).status == 422


async def test_writes_have_no_parameters_and_bodies_are_json(alone: Any) -> None:
    api, node = alone
    before = node.status.last_index
    assert (await api("POST", "tasks", {"type": "t"}, colour="red")).status == 422
    assert (await api("POST", "queues/a/pause", None, now=1)).status == 422
    assert (await api("PATCH", "queues/a", {})).status == 422
    assert (await api("PATCH", "queues/a", {"pending_max": 0})).status == 422
    assert (await api("PATCH", "queues/a%20b", {"paused": True})).status == 422
    assert (await api("POST", "queues/a b/pause")).status == 422
    assert (await api("DELETE", "tasks/a", None, force="yes")).status == 422
    assert (await api("POST", "tasks/a/cancel", {"force": 1})).status == 422
    assert (await api("PUT", "schedules/a", {"type": "t", "cron": "* * * * *", "name": "b"})).status == 422
    assert (await api("PUT", "schedules/a%20b", {"type": "t", "cron": "* * * * *"})).status == 422
    assert (await api("POST", "tasks", {"type": "t"}, key="no id\u00e9")).status == 400
    assert (await api("POST", "tasks", {"type": "t"}, key="no id")).status == 422
    assert (await api("POST", "tasks", {"type": "t", "id": "a"}, key="no id")).status == 422
    text = [(b"content-type", b"text/plain")]
    for method, path in (("POST", "tasks"), ("POST", "tasks/_batch"), ("PUT", "workers/w"), ("PATCH", "queues/a")):
        with pytest.raises(Exception, match="application/json"):
            await api.resource.handle(method, path, b"", text, b'{"type":"t","tasks":[]}')
    with pytest.raises(Exception, match="printable"):
        await api.resource.handle("POST", "tasks", b"", [*JSON, (b"idempotency-key", b"")], b'{"type":"t"}')
    assert node.status.last_index == before
