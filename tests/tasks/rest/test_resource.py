"""Every operation on tasks, queues, dead letters and schedules, as a client sees it; each node takes each of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quorate.errors import NotApplied, OutcomeUnknown
from quorate.tasks.rest.resource import TasksResource
from quorate.testing import TestCluster

from .support import Api

MAIL = {"type": "mail", "payload": {"to": "ann"}}


async def submit(api: Api, **more: Any) -> str:
    answer = await api("POST", "tasks", MAIL | more)
    assert answer.status == 201, answer
    return str(answer.document["task_id"])


async def lease(api: Api, worker: str = "w", **more: Any) -> dict[str, Any]:
    answer = await api("POST", f"workers/{worker}/claim", {"wait": 20, **more})
    (leased,) = answer.document["tasks"]
    return dict(leased)


async def kill(api: Api, **more: Any) -> str:
    """A task that is dead."""
    task_id = await submit(api, max_retries=0, **more)
    leased = await lease(api, queues=[more.get("queue", "default")])
    assert (await api("POST", f"tasks/{task_id}/fail", {"token": leased["token"], "error": "no"})).status == 200
    return task_id


# -- submitting ------------------------------------------------------------------------------------------


async def test_a_task_is_submitted_at_any_node_and_read_at_any_other(api: Api, follower: Api) -> None:
    answer = await follower("POST", "tasks", MAIL)
    task_id = answer.document["task_id"]
    assert answer == (201, answer.headers, {"task_id": task_id, "status": "ready"})
    assert answer.headers["location"] == f"/api/v1/tasks/{task_id}"
    read = await api("GET", f"tasks/{task_id}")
    assert read.status == 200
    assert read.document | {"submitted_at": ""} == {
        "task_id": task_id,
        "status": "ready",
        "queue": "default",
        "type": "mail",
        "priority": 0,
        "payload": {"to": "ann"},
        "result": None,
        "attempt": 0,
        "max_retries": 3,
        "reason": None,
        "error": None,
        "worker": None,
        "submitted_at": "",
        "run_at": None,
        "expires_at": None,
        "started_at": None,
        "lease_until": None,
        "ended_at": None,
        "forgotten_at": None,
        "timeout_ms": 0,
        "schema_version": 0,
        "exactly_once": False,
        "capabilities": [],
        "unique_key": None,
        "waits_for": [],
    }
    submitted_at = datetime.fromisoformat(read.document["submitted_at"])
    assert abs(datetime.now(UTC) - submitted_at) < timedelta(minutes=1)


async def test_everything_that_a_task_may_say(api: Api) -> None:
    task_id = await submit(
        api,
        id="all",
        queue="post",
        priority=200,
        delay="1h",
        timeout=30,
        max_retries=7,
        backoff="500ms",
        backoff_max="2m",
        ttl="2d",
        retention=60,
        unique_key="ann",
        capabilities=["gpu"],
        schema_version=2,
        exactly_once=True,
    )
    task = (await api("GET", f"tasks/{task_id}")).document
    assert (task["status"], task["queue"], task["priority"], task["max_retries"]) == ("scheduled", "post", 200, 7)
    assert (task["timeout_ms"], task["unique_key"], task["capabilities"]) == (30_000, "ann", ["gpu"])
    assert (task["schema_version"], task["exactly_once"]) == (2, True)
    wait = datetime.fromisoformat(task["run_at"]) - datetime.fromisoformat(task["submitted_at"])
    assert wait == timedelta(hours=1)
    assert datetime.fromisoformat(task["expires_at"]) > datetime.fromisoformat(task["run_at"])


@pytest.mark.parametrize("by_header", [False, True])
async def test_what_is_submitted_again_is_there_once(api: Api, follower: Api, by_header: bool) -> None:
    key, body = ("order-7", MAIL) if by_header else (None, MAIL | {"id": "order-7"})
    first = await api("POST", "tasks", body, key=key)
    again = await follower("POST", "tasks", body, key=key)
    assert [first.status, again.status] == [201, 200]
    assert first.document == again.document == {"task_id": "order-7", "status": "ready"}
    other = await api("POST", "tasks", {"type": "other"}, key="order-7")
    assert (other.status, other.document["errors"][0]["field"]) == (409, "id")


async def test_the_id_in_the_body_counts_before_the_header(api: Api) -> None:
    answer = await api("POST", "tasks", MAIL | {"id": "mine"}, key="other")
    assert answer.document["task_id"] == "mine"


async def test_a_batch_is_added_as_a_whole_or_not_at_all(api: Api, follower: Api) -> None:
    await submit(api, id="b")
    tasks = [MAIL | {"id": "c", "depends_on": ["a"]}, MAIL | {"id": "a"}, MAIL | {"id": "b"}]
    answer = await follower("POST", "tasks/_batch", {"tasks": tasks})
    assert answer.status == 201
    assert answer.document == {
        "tasks": [
            {"task_id": "c", "status": "waiting", "duplicate": False},
            {"task_id": "a", "status": "ready", "duplicate": False},
            {"task_id": "b", "status": "ready", "duplicate": True},
        ]
    }
    refused = await api("POST", "tasks/_batch", {"tasks": [MAIL | {"id": "d"}, {"type": "other", "id": "a"}]})
    assert (refused.status, refused.document["errors"][0]["position"]) == (409, 1)
    assert (await api("GET", "tasks/d")).status == 404


async def test_a_key_for_a_batch_is_refused_rather_than_ignored(api: Api) -> None:
    assert (await api("POST", "tasks/_batch", {"tasks": [MAIL]}, key="k")).status == 400


async def test_a_unique_key_is_one_tasks_at_a_time(api: Api) -> None:
    first = await submit(api, unique_key="ann")
    refused = await api("POST", "tasks", MAIL | {"unique_key": "ann"})
    assert (refused.status, refused.document["errors"][0]["field"]) == (409, "unique_key")
    assert first in refused.document["detail"]


async def test_a_full_queue_says_when_to_come_again(api: Api) -> None:
    assert (await api("PATCH", "queues/mail", {"pending_max": 2})).document["pending_max"] == 2
    for _ in range(2):
        await submit(api, queue="mail")
    for body, path in ((MAIL | {"queue": "mail"}, "tasks"), ({"tasks": [MAIL | {"queue": "mail"}]}, "tasks/_batch")):
        refused = await api("POST", path, body)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert refused.document["errors"][0]["reason"] == "full"
    await submit(api, queue="other")


# -- reading ---------------------------------------------------------------------------------------------


async def test_a_list_is_filtered_and_paged(api: Api, follower: Api) -> None:
    for number in range(5):
        await submit(api, id=f"t{number}", queue="even" if number % 2 == 0 else "odd")
    await submit(api, id="other", type="call")
    leased = await lease(api, worker="bob", queues=["odd"])
    assert leased["task_id"] == "t1"

    async def ids(**query: object) -> list[str]:
        answer = await follower("GET", "tasks", None, **query)
        assert answer.status == 200, answer
        return [task["task_id"] for task in answer.document["tasks"]]

    assert await ids() == ["other", "t4", "t3", "t2", "t1", "t0"]
    assert await ids(queue="even") == ["t4", "t2", "t0"]
    assert await ids(type="call") == ["other"]
    assert await ids(status="running") == await ids(worker="bob") == ["t1"]
    assert await ids(status="running,ready", queue="odd") == ["t3", "t1"]
    assert await ids(queue="nowhere") == []
    first = (await api("GET", "tasks", limit=4)).document
    assert [task["task_id"] for task in first["tasks"]] == ["other", "t4", "t3", "t2"]
    second = (await api("GET", "tasks", limit=4, after=first["next"])).document
    assert [task["task_id"] for task in second["tasks"]] == ["t1", "t0"]
    assert second["next"] is None


async def test_a_page_has_so_many_bytes_at_most(api: Api) -> None:
    for name in ("a", "b", "c"):
        await submit(api, id=name, payload="x" * (7 << 20))
    seen, after = [], {}
    while True:
        page = (await api("GET", "tasks", limit=10, **after)).document
        seen.append([task["task_id"] for task in page["tasks"]])
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == [["c", "b"], ["a"]]


async def test_a_read_may_wait_for_the_end_of_the_task(api: Api, follower: Api) -> None:
    task_id = await submit(api)
    waiting = asyncio.ensure_future(follower("GET", f"tasks/{task_id}", wait="30s"))
    leased = await lease(api)
    assert not waiting.done()
    await api("POST", f"tasks/{task_id}/complete", {"token": leased["token"], "result": [1]})
    answer = await waiting
    assert (answer.document["status"], answer.document["result"]) == ("succeeded", [1])
    still = await follower("GET", f"tasks/{await submit(api)}", wait=0.01)
    assert still.document["status"] == "ready"


async def test_counts_of_all_and_of_each_queue(api: Api, follower: Api) -> None:
    await submit(api, queue="a")
    await submit(api, queue="b", delay=60)
    stats = (await follower("GET", "stats")).document
    assert (stats["tasks"]["ready"], stats["tasks"]["scheduled"], stats["pending"]) == (1, 1, 2)
    assert stats["queues"]["b"]["scheduled"] == 1
    names = [queue["name"] for queue in (await follower("GET", "queues")).document["queues"]]
    assert names == ["a", "b"]
    queue = (await follower("GET", "queues/a")).document
    assert (queue["paused"], queue["pending"], queue["tasks"]["ready"]) == (False, 1, 1)
    assert (await follower("GET", "queues/c")).status == 404


# -- operating -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_body", [False, True])
async def test_a_task_is_cancelled_but_one_that_runs_only_by_force(api: Api, by_body: bool) -> None:
    async def cancel(task_id: str, *, force: bool = False) -> int:
        if by_body:
            body = {"force": True} if force else None
            return (await api("POST", f"tasks/{task_id}/cancel", body)).status
        return (await api("DELETE", f"tasks/{task_id}", **({"force": "true"} if force else {}))).status

    task_id = await submit(api)
    assert await cancel(task_id) == 204
    assert (await api("GET", f"tasks/{task_id}")).document["status"] == "cancelled"
    assert await cancel(task_id) == 409
    running = await submit(api)
    leased = await lease(api)
    assert await cancel(running) == 409
    assert await cancel(running, force=True) == 204
    late = await api("POST", f"tasks/{running}/complete", {"token": leased["token"]})
    assert late.status == 409
    assert await cancel("nobody") == 404
    assert await cancel("no%20id") == 404


async def test_dead_letters_are_looked_at_tried_again_and_removed(api: Api) -> None:
    one, two, three = [await kill(api, queue=queue) for queue in ("a", "a", "b")]
    dead = (await api("GET", "dead-letters")).document["tasks"]
    assert [(task["task_id"], task["reason"], task["error"]) for task in dead] == [
        (three, "failed", "no"),
        (two, "failed", "no"),
        (one, "failed", "no"),
    ]
    assert len((await api("GET", "dead-letters", queue="b", limit=1)).document["tasks"]) == 1
    retried = await api("POST", f"tasks/{one}/retry")
    assert (retried.status, retried.document["status"], retried.document["attempt"]) == (200, "ready", 0)
    assert (await api("POST", f"tasks/{one}/retry")).status == 409
    assert (await api("POST", "dead-letters/retry", {"queue": "a"})).document == {"retried": 1}
    assert (await api("GET", f"tasks/{two}")).document["status"] == "ready"
    assert (await api("POST", "dead-letters/purge")).document == {"purged": 1}
    assert (await api("GET", f"tasks/{three}")).status == 404
    assert (await api("POST", "dead-letters/purge", {"queue": "nowhere"})).document == {"purged": 0}
    assert (await api("POST", "dead-letters/purge", {"queue": "no where"})).status == 422


async def test_a_queue_is_paused_resumed_and_purged(api: Api, follower: Api) -> None:
    task_id = await submit(api, queue="mail")
    assert (await follower("POST", "queues/mail/pause")).document["paused"] is True
    assert (await api("POST", "workers/w/claim", {"limit": 5})).document == {"tasks": []}
    assert (await follower("POST", "queues/mail/resume")).document["paused"] is False
    assert (await lease(api))["task_id"] == task_id
    assert (await api("PATCH", "queues/mail", {"paused": True, "pending_max": 9})).document["pending_max"] == 9
    await submit(api, queue="mail")
    await submit(api, queue="mail", delay=60)
    assert (await follower("POST", "queues/mail/purge")).document == {"purged": 2}
    assert (await api("GET", f"tasks/{task_id}")).document["status"] == "running"
    dead = await kill(api, queue="other")
    assert (await api("POST", "queues/other/purge")).document == {"purged": 0}
    assert (await api("POST", "queues/other/purge", {"status": ["dead", "cancelled"]})).document == {"purged": 1}
    assert (await api("GET", f"tasks/{dead}")).status == 404
    assert (await api("POST", "queues/nowhere/purge")).document == {"purged": 0}
    assert (await api("POST", "queues/mail/purge", {"status": ["running"]})).status == 409


async def test_a_queue_is_removed_with_its_settings_and_what_has_ended(api: Api, follower: Api) -> None:
    dead = await kill(api, queue="mail")
    task_id = await submit(api, queue="mail", delay=60)
    refused = await follower("DELETE", "queues/mail")
    assert (refused.status, refused.document["detail"]) == (
        409,
        "the queue mail is in use: 1 of its tasks has not ended",
    )
    assert (await api("DELETE", f"tasks/{task_id}")).status == 204
    assert (await api("PATCH", "queues/mail", {"paused": True})).document["tasks"]["cancelled"] == 1
    assert (await follower("DELETE", "queues/mail")).status == 204
    assert (await api("GET", "queues")).document == {"queues": []}
    assert (await api("GET", f"tasks/{dead}")).status == 404
    for method, path in (("DELETE", "mail"), ("GET", "mail"), ("DELETE", "no%20such")):
        assert (await api(method, f"queues/{path}")).document["detail"].startswith("there is no queue"), path


async def test_a_queue_without_tasks_is_there_while_it_has_settings(api: Api) -> None:
    assert (await api("POST", "queues/mail/pause")).document["paused"] is True
    assert [queue["name"] for queue in (await api("GET", "queues")).document["queues"]] == ["mail"]
    resumed = (await api("POST", "queues/mail/resume")).document
    assert (resumed["name"], resumed["paused"], resumed["pending"], resumed["tasks"]["ready"]) == ("mail", False, 0, 0)
    assert (await api("GET", "queues")).document == {"queues": []}


# -- schedules -------------------------------------------------------------------------------------------


async def test_schedules_are_added_replaced_and_removed(api: Api, follower: Api) -> None:
    added = await follower("POST", "tasks", MAIL | {"cron": "0 6 * * *", "timezone": "Europe/Berlin", "id": "morning"})
    assert (added.status, added.headers["location"]) == (201, "/api/v1/schedules/morning")
    assert (added.document["name"], added.document["timezone"]) == ("morning", "Europe/Berlin")
    daily = await api("POST", "schedules", MAIL | {"cron": "0 0 * * *", "name": "daily"})
    assert (daily.status, daily.headers["location"]) == (201, "/api/v1/schedules/daily")
    put = await follower("PUT", "schedules/noon", MAIL | {"cron": "0 12 * * *"})
    assert (put.status, put.document["cron"], put.document["payload"]) == (200, "0 12 * * *", {"to": "ann"})
    again = await api("PUT", "schedules/noon", MAIL | {"cron": "30 12 * * *"})
    assert again.document["next_at"].endswith("12:30:00Z")
    names = {schedule["name"] for schedule in (await follower("GET", "schedules")).document["schedules"]}
    assert names == {"morning", "daily", "noon"}
    first = (await follower("GET", "schedules", limit=2)).document
    assert ([schedule["name"] for schedule in first["schedules"]], first["next"]) == (["daily", "morning"], "morning")
    last = (await follower("GET", "schedules", limit=2, after="morning")).document
    assert ([schedule["name"] for schedule in last["schedules"]], last["next"]) == (["noon"], None)
    assert (await follower("GET", "schedules/noon")).document == again.document
    assert (await api("DELETE", "schedules/noon")).status == 204
    assert (await api("DELETE", "schedules/noon")).status == 404
    assert (await follower("GET", "schedules/noon")).status == 404
    assert (await api("DELETE", "schedules/%20")).status == 404


# -- stopping --------------------------------------------------------------------------------------------


async def test_who_waits_is_answered_when_the_node_stops(api: Api) -> None:
    task_id = await submit(api, delay=60)
    reading = asyncio.ensure_future(api("GET", f"tasks/{task_id}", wait=60))
    claiming = asyncio.ensure_future(api("POST", "workers/w/claim", {"wait": 30}))
    await api.until_waiting(2)
    api.resource.close()
    assert (await reading).document["status"] == "scheduled"
    assert (await claiming).document == {"tasks": []}
    assert (await api("GET", f"tasks/{task_id}", wait=60)).document["status"] == "scheduled"


async def test_without_a_majority_nothing_is_promised(cluster: TestCluster) -> None:
    leader = await cluster.wait_for_leader()
    api = Api(TasksResource(leader.tasks, leader))
    for node in cluster.nodes:
        if node is not leader:
            await cluster.kill(node.node_id)
    with pytest.raises((NotApplied, OutcomeUnknown)):
        await api("POST", "tasks", MAIL)
