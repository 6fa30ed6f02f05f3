"""Events and feeds of a node whose app declares what is not in force yet: refused, and gone on with afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quorate.models.commands import Create, Patch
from quorate.models.rest.event_pages import EventPages
from quorate.models.rest.watching import Watching
from quorate.node.reads import Consistency
from quorate.rest.http import RequestError, Stream
from quorate.web.problems import problem_of

from .evolving import EvolvingNode
from .test_migrations import converted, stocked


class Here:
    """An engine that only reads."""

    async def read_barrier(self, *, consistency: Consistency, timeout: float | None = None) -> None:
        pass


class Faces:
    """What clients ask of the events of one node."""

    def __init__(self, node: EvolvingNode) -> None:
        engine: Any = Here()
        self.pages = EventPages(node.machine, engine, node.app.schemas)
        self.watching = Watching(node.machine, engine, node.app.schemas, heartbeat_seconds=0.01)

    async def events(self) -> list[dict[str, Any]]:
        """All that are kept."""
        answer = await self.pages.handle("GET", "", b"after=0", [], b"")
        found: list[dict[str, Any]] = json.loads(answer.body)
        return found

    async def watch(self, *, behind: int) -> Stream:
        """A client that comes back."""
        return await self.watching.handle("GET", "", b"", [(b"last-event-id", b"%d" % behind)], b"")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[EvolvingNode]:
    """It was restarted with the second version of its app. The first is in force, and three changes were made."""
    node = EvolvingNode(tmp_path / "db", stocked())
    node.accept(node.declaration(), node.change(Create("Stocked", ("id", "stock"), [(1, 5)])))
    node.accept(node.change(Patch("Stocked", 1, ("stock",), (6,))), node.change(Patch("Stocked", 1, ("stock",), (7,))))
    node.restart(converted())
    yield node
    node.close()


async def texts(stream: Stream, last: int) -> list[tuple[int, dict[str, Any]]]:
    """Numbers and data of the events up to that one."""
    found: list[tuple[int, dict[str, Any]]] = []
    async for chunk in stream.chunks:
        for block in chunk.decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "data" in lines:
                found.append((int(lines["id"]), json.loads(lines["data"])["event_data"]))
        if found and found[-1][0] >= last:
            break
    await stream.chunks.aclose()
    return found


async def test_events_and_feeds_are_refused_until_the_declaration_and_go_on_behind_it(node: EvolvingNode) -> None:
    """A watcher told of two changes by a node of the first version comes to this one: it misses and repeats nothing."""
    assert node.machine.is_waiting
    faces = Faces(node)
    for ask in (faces.events(), faces.watch(behind=2)):
        with pytest.raises(RequestError, match="some node still runs an earlier program") as refused:
            await ask
        head = dict(problem_of(refused.value).as_answer().headers)
        assert (refused.value.status, head[b"retry-after"]) == (503, b"1")
    assert faces.watching.count == 0, "who is refused leaves room for others"
    node.accept(node.declaration())
    watcher = await faces.watch(behind=2)
    node.accept(node.change(Patch("Stocked", 1, ("stock",), (8.5,))))
    assert await texts(watcher, 4) == [(3, {"stock": 7.0}), (4, {"stock": 8.5})]
    assert [each["event_data"] for each in await faces.events()] == [
        {"id": 1, "stock": 5.0}, {"stock": 6.0}, {"stock": 7.0}, {"stock": 8.5},
    ]  # fmt: skip


async def test_a_stream_ends_where_a_snapshot_brings_an_earlier_form(node: EvolvingNode, tmp_path: Path) -> None:
    """A new node takes its own declarations for those in force, until the cluster's state comes."""
    new = EvolvingNode(tmp_path / "new", converted())
    faces = Faces(new)
    stream = await faces.watch(behind=0)
    await anext(aiter(stream.chunks))
    older = EvolvingNode(tmp_path / "older", stocked())
    older.accept(older.declaration(), older.change(Create("Stocked", ("id", "stock"), [(1, 5)])))
    new.continue_with(older)
    assert new.machine.is_waiting
    assert await texts(stream, 1) == []
    new.accept(new.declaration())
    assert await texts(await faces.watch(behind=0), 1) == [(1, {"id": 1, "stock": 5.0})]
    new.close()
    older.close()
