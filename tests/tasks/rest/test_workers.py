"""What workers do over HTTP: leases are given once, kept by heartbeats, and end once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quorate.rest.http import RequestError
from quorate.tasks.effects import Effect
from quorate.tasks.rest.resource import TasksResource
from quorate.testing import TestCluster

from .support import Api

ABLE = {"queues": ["mail"], "types": None, "capabilities": ["gpu"], "concurrency": 4, "lease": "30s"}


async def submit(api: Api, count: int = 1, **more: Any) -> list[str]:
    tasks = [{"type": "send", "queue": "mail", "payload": n, **more} for n in range(count)]
    answer = await api("POST", "tasks/_batch", {"tasks": tasks})
    assert answer.status == 201, answer
    return [task["task_id"] for task in answer.document["tasks"]]


async def claim(api: Api, limit: int = 1, worker: str = "w", **more: Any) -> list[dict[str, Any]]:
    answer = await api("POST", f"workers/{worker}/claim", {"limit": limit, "wait": 20, **more})
    assert answer.status == 200, answer
    return list(answer.document["tasks"])


async def test_a_worker_comes_is_seen_and_goes(api: Api, follower: Api) -> None:
    assert (await follower("PUT", "workers/w1", ABLE)).status == 204
    (worker,) = (await api("GET", "workers")).document["workers"]
    assert (worker["worker_id"], worker["queues"], worker["types"], worker["capabilities"]) == (
        "w1",
        ["mail"],
        None,
        ["gpu"],
    )
    assert (worker["concurrency"], worker["running"], worker["health"]) == (4, 0, "")
    assert (await api("POST", "workers/w1/heartbeat", {"health": "disk full"})).document == {"lost": []}
    assert (await follower("GET", "workers")).document["workers"][0]["health"] == "disk full"
    assert (await api("PUT", "workers/w2", ABLE)).status == 204
    first = (await follower("GET", "workers", limit=1)).document
    last = (await api("GET", "workers", limit=1, after=first["next"])).document
    assert [(worker["worker_id"], page["next"]) for page in (first, last) for worker in page["workers"]] == [
        ("w1", "w1"),
        ("w2", None),
    ]
    assert (await api("DELETE", "workers/w2")).status == 204
    assert (await follower("DELETE", "workers/w1")).status == 204
    assert (await api("GET", "workers")).document == {"workers": [], "next": None}
    assert (await api("POST", "workers/w1/heartbeat")).status == 404
    assert (await api("POST", "workers/%20/heartbeat")).status == 404


async def test_tasks_are_claimed_done_failed_and_given_back_in_one_report(api: Api, follower: Api) -> None:
    ids = await submit(api, 4)
    leases = await claim(follower, 4)
    assert [lease["task_id"] for lease in leases] == ids
    assert [lease["payload"] for lease in leases] == [0, 1, 2, 3]
    assert len({lease["token"] for lease in leases}) == 4
    names = [{"task_id": lease["task_id"], "token": lease["token"]} for lease in leases]
    report = {
        "completed": [names[0] | {"result": {"sent": True}}, names[1] | {"token": 99}],
        "failed": [names[2] | {"error": "no", "retry": False}],
        "released": [names[3]],
    }
    answer = await api("POST", "workers/w/report", report)
    assert answer.document == {"outcomes": ["succeeded", "stale", "dead", "ready"]}
    assert (await follower("GET", f"tasks/{ids[0]}")).document["result"] == {"sent": True}
    assert (await follower("GET", f"tasks/{ids[2]}")).document["reason"] == "rejected"
    assert (await api("POST", "workers/w/report", {})).document == {"outcomes": []}


async def test_a_claim_waits_for_what_comes_and_gets_only_what_its_worker_can_do(api: Api, follower: Api) -> None:
    waiting = asyncio.ensure_future(claim(follower, worker="able", capabilities=["gpu"], types=["send"]))
    unable = asyncio.ensure_future(claim(follower, worker="unable", types=["call"]))
    (task_id,) = await submit(api, capabilities=["gpu"])
    assert [lease["task_id"] for lease in await waiting] == [task_id]
    assert not unable.done()
    await submit(api, type="call")
    assert [lease["type"] for lease in await unable] == ["call"]


async def test_leases_that_are_over_are_told_to_their_worker(api: Api) -> None:
    await submit(api, 2)
    await api("PUT", "workers/w", ABLE)
    kept, lost = await claim(api, 2)
    await api("DELETE", f"tasks/{lost['task_id']}", force="true")
    leases = [{"task_id": lease["task_id"], "token": lease["token"]} for lease in (kept, lost)]
    answer = await api("POST", "workers/w/heartbeat", {"leases": leases, "lease": "60s"})
    assert answer.document == {"lost": [lost["task_id"]]}
    prolonged = (await api("GET", f"tasks/{kept['task_id']}")).document["lease_until"]
    assert prolonged > kept["lease_until"]


async def test_completing_twice_under_one_lease_is_answered_alike_and_under_another_refused(
    api: Api, follower: Api
) -> None:
    (task_id,) = await submit(api)
    (lease,) = await claim(api)
    body = {"token": lease["token"], "result": 1}
    assert (await api("POST", f"tasks/{task_id}/complete", body)).document == {"status": "succeeded"}
    again = await follower("POST", f"tasks/{task_id}/complete", body)
    assert (again.status, again.document) == (200, {"status": "succeeded"})
    stale = await follower("POST", f"tasks/{task_id}/complete", body | {"token": lease["token"] + 1})
    assert (stale.status, stale.document["errors"][0]["reason"]) == (409, "stale")
    assert (await api("POST", "tasks/nobody/complete", body)).status == 409


async def test_a_failure_says_when_to_try_again(api: Api) -> None:
    (task_id,) = await submit(api)
    (lease,) = await claim(api)
    body = {"token": lease["token"], "error": "x" * 10_000, "delay": "1h"}
    assert (await api("POST", f"tasks/{task_id}/fail", body)).document == {"status": "failed"}
    task = (await api("GET", f"tasks/{task_id}")).document
    assert (task["status"], len(task["error"])) == ("failed", 4096)
    assert (await api("POST", f"tasks/{task_id}/fail", body | {"token": 77})).status == 409


async def test_a_claim_whose_client_has_gone_takes_no_task(api: Api) -> None:
    leaving = asyncio.ensure_future(claim(api, worker="gone"))
    await api.until_waiting(1)
    leaving.cancel()
    await asyncio.wait([leaving])
    (task_id,) = await submit(api)
    (lease,) = await claim(api, worker="there")
    assert (lease["task_id"], lease["attempt"]) == (task_id, 1)


class RefusedEffects:
    """Effects of which nothing comes."""

    def parts(self, document: bytes) -> list[Effect]:
        raise RequestError(422, f"no {document.decode()}")


async def test_effects_are_asked_for_before_anything_is_done(cluster: TestCluster) -> None:
    node = await cluster.wait_for_leader()
    api = Api(TasksResource(node.tasks, node, effects=RefusedEffects()))
    (task_id,) = await submit(api)
    (lease,) = await claim(api)
    body = {"token": lease["token"], "effects": {"keys": []}}
    refused = await api("POST", f"tasks/{task_id}/complete", body)
    assert (refused.status, refused.document["detail"]) == (422, 'no {"keys": []}')
    assert (await api("GET", f"tasks/{task_id}")).document["status"] == "running"
    nothing_else = Api(TasksResource(node.tasks, node))
    assert (await nothing_else("POST", f"tasks/{task_id}/complete", body)).status == 422
    assert (await api("POST", f"tasks/{task_id}/complete", body | {"effects": None})).status == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("workers/w/claim", {"limit": 0}),
        ("workers/w/claim", {"limit": 257}),
        ("workers/w/claim", {"wait": 31}),
        ("workers/w/claim", {"wait": -1}),
        ("workers/w/claim", {"wait": "soon"}),
        ("workers/w/claim", {"lease": "0.5s"}),
        ("workers/w/claim", {"lease": "2h"}),
        ("workers/w/claim", {"queues": ["no such name!"]}),
        ("workers/w/claim", {"queues": ["q"] * 1001}),
        ("workers/w/claim", {"capabilities": [f"c{n}" for n in range(17)]}),
        ("workers/-w/claim", {}),
        ("workers/w/heartbeat", {"leases": [{"task_id": "t"}]}),
        ("workers/w/heartbeat", {"leases": [{"task_id": "t" * 129, "token": 1}]}),
        ("workers/w/heartbeat", {"health": "x" * 1001}),
        ("workers/w/report", {"completed": [{"task_id": "t", "token": -1}]}),
        ("workers/w/report", {"failed": [{"task_id": "t", "token": 1, "delay": -1}]}),
        ("workers/w/report", {"done": []}),
        ("workers/w%20/report", {}),
        ("workers/w/report", {"released": [{"task_id": "t", "token": 1}] * 10_001}),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_a_worker_should_not_say_never_reaches_the_log(
    cluster: TestCluster, api: Api, path: str, body: dict[str, Any]
) -> None:
    leader = await cluster.wait_for_leader()
    before = leader.status.last_index
    assert (await api("POST", path, body)).status == 422
    assert leader.status.last_index == before
