"""A2.25: foreign keys: what follows a deletion, trees of one model, and the bounds of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from quorate.models import Model, changes, field

from .support import Client, serving


class Node(Model):
    id: int = field(primary_key=True)
    parent: int | None = field(default=None, foreign_key="self", on_delete="cascade")
    friend: int | None = field(default=None, foreign_key="self", on_delete="set_null", audited=True)
    boss: int | None = field(default=None, foreign_key="self")


class Leaf(Model, resource="leaves"):
    id: int = field(primary_key=True)
    node: int = field(foreign_key=Node, on_delete="cascade")
    other: int | None = field(default=None, foreign_key=Node, on_delete="set_null")


class Root(Model):
    """Its first object can only refer to itself."""

    id: int = field(primary_key=True)
    above: int = field(foreign_key="self", on_delete="cascade")


async def ids(client: Client) -> list[int]:
    return [each["id"] for each in await client.json("GET", "")]


async def plant(nodes: Client, **parents: Any) -> None:
    for name, fields in parents.items():
        await nodes.json("POST", "", {"id": int(name[1:]), **fields})


async def test_a_tree_goes_with_its_root_and_others_stay(tmp_path: Path) -> None:
    """A2.25."""
    with serving(tmp_path / "db", Node, Leaf) as (nodes, leaves):
        await plant(nodes, n1={}, n2={"parent": 1}, n3={"parent": 2}, n4={}, n5={"friend": 3})
        await leaves.json("POST", "", {"id": 1, "node": 3})
        await leaves.json("POST", "", {"id": 2, "node": 4, "other": 2})
        assert (await nodes.send("DELETE", "1")).status == 204
        assert await ids(nodes) == [4, 5]
        assert (await nodes.json("GET", "5"))["friend"] is None
        assert await leaves.json("GET", "") == [{"id": 2, "node": 4, "other": None}]


async def test_a_reference_that_restricts_undoes_the_whole_deletion(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Node, Leaf) as (nodes, _):
        await plant(nodes, n1={}, n2={"parent": 1}, n3={"boss": 2})
        error = await nodes.refused_by_log("DELETE", "1")
        assert (error.status, error.errors[0]["field"], error.errors[0]["reason"]) == (409, "Node.boss", "referenced")
        assert await ids(nodes) == [1, 2, 3]
        assert (await nodes.json("GET", "count"))["count"] == 3


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_a_circle_of_objects_can_be_deleted(tmp_path: Path, size: int) -> None:
    with serving(tmp_path / "db", Node, Leaf) as (nodes, _):
        await plant(nodes, **{f"n{number}": {} for number in range(size)})
        for number in range(size):
            await nodes.json("PATCH", str(number), {"parent": (number + 1) % size, "friend": (number + 2) % size})
        await plant(nodes, n100={"friend": 0})
        assert (await nodes.send("DELETE", "0")).status == 204
        assert await nodes.json("GET", "") == [{"id": 100, "parent": None, "friend": None, "boss": None}]
        connection = nodes.engine.replica.state.connection
        assert connection.execute("SELECT count(*) FROM quorate_events WHERE kind = 'deleted'").get == size


async def test_what_the_history_tells_of_a_circle_is_what_was(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Node, Leaf) as (nodes, _):
        await plant(nodes, n1={}, n2={"parent": 1})
        await nodes.json("PATCH", "1", {"parent": 2, "friend": 2})
        await nodes.send("DELETE", "1")
        history = nodes.engine.replica.machine.histories["Node"]
        assert history.of(1, 0, 100)[-1].changes["friend"].old == 2


async def test_an_object_may_have_to_refer_to_itself(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Root) as (roots,):
        error = await roots.refused_by_log("POST", "", {"id": 1, "above": 2})
        assert (error.status, error.errors[0]["reason"]) == (409, "foreign_key")
        await roots.json("POST", "_bulk", [{"id": 1, "above": 1}, {"id": 2, "above": 1}, {"id": 3, "above": 2}])
        error = await roots.refused_by_log("POST", "", {"id": 1, "above": 1})
        assert (error.errors[0]["field"], error.errors[0]["reason"]) == ("id", "unique")
        assert (await roots.send("DELETE", "1")).status == 204
        assert await ids(roots) == []


async def test_a_refusal_names_the_reference_that_dangles_and_not_the_one_to_itself(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Node, Leaf) as (nodes, _):
        error = await nodes.refused_by_log("POST", "", {"id": 1, "boss": 1, "parent": 99})
        assert error.detail == "Node.parent refers to 99, which does not exist"


async def test_a_long_chain_is_deleted_without_recursion(tmp_path: Path) -> None:
    with serving(tmp_path / "db", Node, Leaf) as (nodes, _):
        for first in range(0, 5000, 1000):
            chain = [{"id": number, "parent": number - 1 if number else None} for number in range(first, first + 1000)]
            await nodes.send("POST", "_bulk", chain)
        assert (await nodes.send("DELETE", "0")).status == 204
        assert (await nodes.json("GET", "count"))["count"] == 0


async def test_no_more_than_a_bounded_number_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "CASCADE_MAX", 3)
    with serving(tmp_path / "db", Node, Leaf) as (nodes, _):
        await plant(nodes, n1={}, n2={"parent": 1}, n3={"parent": 2}, n4={"friend": 3}, n5={"parent": 1})
        error = await nodes.refused_by_log("DELETE", "1")
        assert (error.status, error.errors[0]["reason"]) == (409, "too_many")
        assert error.detail.startswith("too many objects would follow the Node 1")
        assert (await nodes.json("GET", "4"))["friend"] == 3
        assert (await nodes.send("DELETE", "5")).status == 204
        assert (await nodes.send("DELETE", "1")).status == 204
        assert await ids(nodes) == [4]


async def test_several_ways_to_one_object_are_one_deletion(tmp_path: Path) -> None:
    class Apex(Model, resource="apexes"):
        id: UUID = field(primary_key=True)

    class Zone(Model):
        id: UUID = field(primary_key=True)
        apex: UUID = field(foreign_key=Apex, on_delete="cascade")

    class Both(Model, resource="boths"):
        id: UUID = field(primary_key=True)
        apex: UUID = field(foreign_key=Apex, on_delete="cascade")
        zone: UUID | None = field(default=None, foreign_key=Zone, on_delete="cascade")

    with serving(tmp_path / "db", Apex, Zone, Both) as (apexes, zones, boths):
        apex = (await apexes.json("POST", "", {"id": str(uuid4())}))["id"]
        zone = (await zones.json("POST", "", {"apex": apex}))["id"]
        await boths.json("POST", "", {"apex": apex, "zone": zone})
        assert (await apexes.send("DELETE", apex)).status == 204
        for client in (apexes, zones, boths):
            assert (await client.json("GET", "count"))["count"] == 0
