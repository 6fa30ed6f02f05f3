"""The stream of changes: nothing is skipped or told twice, numbers mean the same on every node, and it is bounded."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from quorate.rest.http import RequestError
from quorate.tasks.feed import CHANGES_KEPT
from quorate.tasks.rest.patience import Patience
from quorate.tasks.rest.resource import TasksResource
from quorate.tasks.rest.watching import Watching
from quorate.testing import TestCluster

from .support import Api, events


async def submit(api: Api, count: int = 1, queue: str = "default", kind: str = "send") -> None:
    tasks = [{"type": kind, "queue": queue} for _ in range(count)]
    assert (await api("POST", "tasks/_batch", {"tasks": tasks})).status == 201


async def test_a_tasks_life_is_told_in_order(api: Api) -> None:
    stream = await api.watch()
    assert dict(stream.headers)[b"content-type"] == b"text/event-stream; charset=utf-8"
    chunks = aiter(stream.chunks)
    assert await anext(chunks) == b"retry: 1000\nid: 0\n\n"
    await api("POST", "tasks", {"type": "send", "id": "a"})
    (leased,) = (await api("POST", "workers/bob/claim", {"wait": 20})).document["tasks"]
    await api("POST", "tasks/a/complete", {"token": leased["token"]})
    told = await events(chunks, 3)
    assert [(number, name) for number, name, _ in told] == [(1, "ready"), (2, "running"), (3, "succeeded")]
    assert [data["status"] for *_, data in told] == [name for _, name, _ in told]
    assert (told[1][2]["task_id"], told[1][2]["worker"], told[1][2]["attempt"]) == ("a", "bob", 1)
    await stream.chunks.aclose()
    assert api.resource.watching.count == 0


async def test_who_comes_back_goes_on_where_it_was_at_whichever_node(api: Api, follower: Api) -> None:
    first = await api.watch()
    await submit(api, 5)
    told = await events(aiter(first.chunks), 5)
    await first.chunks.aclose()
    await submit(api, 3)
    for node, how in ((follower, "header"), (api, "parameter")):
        headers = [(b"last-event-id", b"3")] if how == "header" else []
        again = await node.watch(headers, **({} if headers else {"after": 3}))
        rest = await events(aiter(again.chunks), 5)
        assert [number for number, *_ in rest] == [4, 5, 6, 7, 8]
        assert rest[:2] == told[3:]
        await again.chunks.aclose()


async def test_a_watcher_may_want_one_queue_or_type(api: Api) -> None:
    mail, calls = await api.watch(queue="mail"), await api.watch(type="call")
    await submit(api, 2, "other")
    await submit(api, 1, "mail")
    await submit(api, 1, "other", "call")
    assert [number for number, *_ in await events(aiter(mail.chunks), 1)] == [3]
    assert [number for number, *_ in await events(aiter(calls.chunks), 1)] == [4]
    for stream in (mail, calls):
        await stream.chunks.aclose()


async def test_many_changes_are_told_once_each_while_they_come(api: Api, follower: Api) -> None:
    stream = await follower.watch()
    reading = asyncio.ensure_future(events(aiter(stream.chunks), 3000))
    for _ in range(30):
        await submit(api, 100)
    numbers = [number for number, *_ in await reading]
    assert numbers == list(range(1, 3001))
    await stream.chunks.aclose()


async def test_who_is_too_far_behind_is_told_to_begin_anew(api: Api) -> None:
    slow = await api.watch()
    chunks = aiter(slow.chunks)
    await anext(chunks)
    await submit(api, 1000)
    for _ in range(CHANGES_KEPT // 1000):
        await submit(api, 1000)
    ((_, name, data),) = await events(chunks, 1)
    assert (name, data["last"]) == ("gone", CHANGES_KEPT + 1000)
    with pytest.raises(StopAsyncIteration):
        await anext(chunks)
    await slow.chunks.aclose()
    assert (await api("GET", "tasks/_watch", after=5)).status == 410


async def test_heartbeats_say_how_far_all_has_been_looked_at(cluster: TestCluster) -> None:
    node = await cluster.wait_for_leader()
    watching = Watching(node.tasks.feed, node, Patience(), heartbeat_seconds=0.01)
    api = Api(TasksResource(node.tasks, node, watching=watching))
    stream = await api.watch(queue="mail")
    async with aclosing(aiter(stream.chunks)) as chunks:  # type: ignore[type-var]
        await anext(chunks)
        assert (await anext(chunks)).endswith(b"id: 0\n\n")
        await submit(api, 4, "other")
        async with asyncio.timeout(10):
            while (text := await anext(chunks)) != b": nothing new\nid: 4\n\n":
                assert text == b": nothing new\nid: 0\n\n"
    await stream.chunks.aclose()


async def test_watchers_are_bounded_and_end_with_the_node(cluster: TestCluster) -> None:
    node = await cluster.wait_for_leader()
    patience = Patience()
    watching = Watching(node.tasks.feed, node, patience, watchers_max=2)
    api = Api(TasksResource(node.tasks, node, watching=watching))
    streams = [await api.watch() for _ in range(2)]
    assert (await api("GET", "tasks/_watch")).status == 503
    reading = [asyncio.ensure_future(_rest(stream.chunks)) for stream in streams]
    async with asyncio.timeout(10):
        while len(patience._waits) != 2:  # noqa: ASYNC110 - nothing tells when they do
            await asyncio.sleep(0.001)
    patience.end()
    assert await asyncio.gather(*reading) == [[b"retry: 1000\nid: 0\n\n"]] * 2
    for stream in streams:
        await stream.chunks.aclose()
    assert watching.count == 0
    with pytest.raises(RequestError, match="about to stop"):
        await api.watch()


async def _rest(chunks: object) -> list[bytes]:
    return [text async for text in chunks]  # type: ignore[attr-defined]
