"""A node far behind gets a whole state over the network, while clients ask it long questions and follow its changes.

A question ends with a refusal that says to ask again, or with the right answer; nobody who follows the changes is told
one twice or misses one; and what is read never goes back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from quorate import App, Model
from quorate import field as model_field
from quorate.embedded import Node
from quorate.errors import ReadUnavailable
from quorate.models.commands import Create
from quorate.models.rest.watching import PATH, Watching
from quorate.models.submitting import Submitter
from quorate.node.events import SnapshotInstalled
from quorate.rest.http import Stream
from quorate.testing import TestCluster
from quorate.web.site import Site

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
ROWS = 400
"""So many objects does one command create."""


class Parcel(Model):
    id: int = model_field(primary_key=True)
    text: str = ""
    seen: int = model_field(default=0, replicate=False)


app = App(models=[Parcel])


def site_of(node: Node) -> Site:
    assert node.upkeep is not None
    return Site(
        node,
        app,
        node.models,
        max_body_bytes=1 << 20,
        forward_writes=True,
        local=node.upkeep.local,
        admin_sql=True,
        redirects=False,
    )


def client_of(site: Site) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=site)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://here", timeout=30)


async def fill(node: Node, first: int, commands: int) -> int:
    """Create many objects; the number of the last."""
    assert node.models is not None
    submitter = Submitter(node, node.models)
    for _ in range(commands):
        rows = [(number, f"parcel {number}" * 10) for number in range(first, first + ROWS)]
        await submitter.one(Create("Parcel", ("id", "text"), rows))
        first += ROWS
    return first - 1


@asynccontextmanager
async def a_node_far_behind(path: Path) -> AsyncIterator[tuple[TestCluster, Node, Node, int]]:
    """A cluster, its leader, and a follower that was cut off until the log had gone on without it."""
    settings = {"snapshot_threshold": 20, "snapshot_trailing_entries": 5}
    async with TestCluster(3, app=app, tcp=True, directory=path, settings=settings) as cluster:
        leader = await cluster.wait_for_leader()
        assert leader.models is not None
        await cluster.wait_until(lambda: leader.models is not None and leader.models.declarations.are_served)
        last = await fill(leader, 1, 5)
        behind = next(node for node in cluster.nodes if node is not leader)
        await cluster.wait_until(lambda: behind.applied_index >= leader.applied_index, 30)
        cluster.partition_network({behind.node_id})
        last = await fill(leader, last + 1, 35)
        await cluster.wait_until(lambda: leader.status.log_first_index > behind.status.last_index, 30, "the cut")
        yield cluster, leader, behind, last


@dataclass
class Reader:
    """Asks for counts and lists as fast as it can."""

    client: httpx.AsyncClient
    answered: int = 0
    refused: int = 0
    counts: list[int] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            for path in ("/count", "?limit=300&order_by=-text", "/1", "/_aggregate?max=id", "/random-id"):
                said = f"{'&' if '?' in path else '?'}consistency=eventually"
                answer = await self.client.get(f"/api/parcels{path}{said}")
                assert answer.status_code in (200, 503), answer.text
                if answer.status_code == 503:
                    assert answer.headers["retry-after"] == "1"
                    self.refused += 1
                    continue
                self.answered += 1
                if path == "/count":
                    self.counts.append(answer.json()["count"])


async def numbers(stream: Stream, last: int) -> list[int]:
    """What a watcher was told, until the change of that number."""
    told: list[int] = []
    async for chunk in stream.chunks:
        for block in chunk.decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "data" in lines:
                assert json.loads(lines["data"])["sequence_number"] == int(lines["id"])
                told.append(int(lines["id"]))
        if told and told[-1] >= last:
            break
    await stream.chunks.aclose()
    return told


async def installed(node: Node) -> int:
    async for each in node.events():
        if isinstance(each, SnapshotInstalled):
            return each.index
    raise AssertionError("the node stopped")


async def test_questions_and_watchers_outlive_the_state_that_they_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quorate.machine.queries.QUERY_SECONDS_MAX", 120.0)  # they are to end because of the snapshot
    async with a_node_far_behind(tmp_path) as (cluster, leader, behind, last), client_of(site_of(behind)) as client:
        site = site_of(behind)
        watching = site._resources[PATH]
        assert isinstance(watching, Watching)
        streams = [
            await watching.handle("GET", "", b"consistency=eventually", [(b"last-event-id", b"%d" % after)], b"")
            for after in (0, 700, 5 * ROWS)
        ]
        reader = Reader(client)
        question = {"sql": ENDLESS, "consistency": "eventually"}
        tasks = [asyncio.create_task(numbers(stream, last + ROWS)) for stream in streams]
        reading = asyncio.create_task(reader.run())
        asking = [asyncio.create_task(client.post("/admin/sql", json=question)) for _ in range(2)]
        answer = asyncio.create_task(installed(behind))
        await cluster.wait_until(lambda: reader.answered > 10, 30)
        assert set(reader.counts) == {5 * ROWS}
        assert not any(task.done() for task in asking)
        cluster.heal()
        assert await asyncio.wait_for(answer, 30) > 0
        for refused in [await task for task in asking]:
            assert refused.status_code == 503, refused.text
            assert "the query was ended" in refused.json()["detail"]
            assert refused.headers["retry-after"] == "1"
        last = await fill(leader, last + 1, 1)
        told = [await asyncio.wait_for(task, 30) for task in tasks]
        assert told == [list(range(after + 1, last + 1)) for after in (0, 700, 5 * ROWS)]
        await cluster.wait_until(lambda: last in reader.counts, 30)
        reading.cancel()
        assert reader.counts == sorted(reader.counts), "never back"
        again = await client.post("/admin/sql", json={"sql": "SELECT count(*) AS n FROM model_parcel"})
        assert again.json()["rows"] == [[last]]
        assert behind.failure is None


async def test_full_lists_and_objects_in_python_end_in_order_where_the_state_is_replaced(tmp_path: Path) -> None:
    async with a_node_far_behind(tmp_path) as (cluster, _, behind, last):
        site = site_of(behind)
        parcels: Any = site._resources["parcels"]
        stream = await parcels.handle("GET", "", b"limit=all&fields=id,text&consistency=eventually", [], b"")
        chunks = aiter(stream.chunks)
        first = await anext(chunks)
        with behind.using():
            objects = aiter(Parcel.filter().eventually())
            one = await anext(objects)

            async def lists() -> list[int]:
                lengths: list[int] = []
                while not lengths or lengths[-1] < 10_000:
                    with suppress(ReadUnavailable):  # to be asked again
                        found = await Parcel.filter().eventually().limit(10_000)
                        assert [each.id for each in found] == list(range(1, len(found) + 1))
                        lengths.append(len(found))
                    await asyncio.sleep(0)
                return lengths

            listing = asyncio.create_task(lists())
            answer = asyncio.create_task(installed(behind))
            await asyncio.sleep(0)
            cluster.heal()
            await asyncio.wait_for(answer, 30)
            with suppress(ReadUnavailable):  # the connection is cut then, so nobody takes it for the whole
                rest = b"".join([chunk async for chunk in chunks])
                assert len(json.loads(first + rest)) == 5 * ROWS
            await stream.chunks.aclose()
            assert [one.id, *[each.id async for each in objects]] == list(range(1, last + 1))
            assert set(await asyncio.wait_for(listing, 30)) == {5 * ROWS, 10_000}
        assert behind.failure is None
