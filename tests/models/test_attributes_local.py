"""A1.43, A2.17, A2.19, A2.20: ``replicate=False`` and ``memory_only``: values that each node has for itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import field_validator

from quorate import event
from quorate.errors import StorageError
from quorate.models import Model, field
from quorate.models.errors import DoneInPart
from quorate.models.local import LocalStore, is_gone
from quorate.models.model import schema_of
from quorate.models.rest.openapi import describe
from quorate.models.rest.resource import ModelResource
from quorate.models.rest.serving import Served
from quorate.models.rest.transactions import TransactionResource
from quorate.models.store.local_values import FILE, DiskValues
from quorate.models.store.tables import Table
from quorate.models.upkeep import Upkeep
from quorate.rest.http import RequestError
from quorate.web.problems import problem_of

from .support import JSON, MERGE_PATCH, Client, LocalEngine, Replica


class Page(Model):
    path: str = field(primary_key=True)
    title: str = ""
    seen: int = field(default=0, ge=0, replicate=False)
    score: Decimal | None = field(default=None, replicate=False)
    mood: str = field(default="new", memory_only=True)
    notes: dict[str, Any] = field(default={}, replicate=False)
    secret: str = field(default="", expose=False, memory_only=True)

    @event
    def viewed(self) -> None:
        self.seen += 1

    @event
    def renamed(self, title: str) -> None:
        self.title = f"{title} {self.seen} {self.mood}"


class Shared(Model):
    """Has no such fields."""

    id: int = field(primary_key=True)


class Checked(Model):
    """Has rules of its own, so its patches are judged as a whole."""

    id: int = field(primary_key=True)
    name: str = ""
    label: str = field(default="x", replicate=False)

    @field_validator("label")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not value:
            raise ValueError("is empty")
        return value.strip()


class Site:
    """One node's side of it, which can be restarted."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.disk = DiskValues(directory / FILE)
        self.store = LocalStore(self.disk)
        self.replica = Replica(directory / "db", [Page, Checked])
        self.engine = LocalEngine(self.replica)
        served = Served(local=self.store)
        self.pages, self.checked = [
            Client(ModelResource(schema_of(model), self.replica.machine, self.engine, served=served), self.engine)
            for model in (Page, Checked)
        ]

    def close(self) -> None:
        self.replica.close()
        self.store.close()


@contextmanager
def site(directory: Path) -> Iterator[Site]:
    made = Site(directory)
    try:
        yield made
    finally:
        made.close()


async def shown(client: Client, key: str) -> dict[str, Any]:
    found = await client.json("GET", key)
    return {name: value for name, value in found.items() if name not in ("path", "id")}


DEFAULTS = {"title": "", "seen": 0, "score": None, "mood": "new", "notes": {}}


async def test_a_change_of_nothing_else_stays_out_of_the_log(tmp_path: Path) -> None:
    """A1.43, A2.17 replicate: there is no replication of it."""
    with site(tmp_path / "1") as one:
        created = await one.pages.send("POST", "", {"path": "a"})
        before = one.engine.proposed
        changed = await one.pages.send("PATCH", "a", {"seen": 3, "mood": "read", "score": 1.10, "path": "a"})
        assert changed.status == 200
        assert dict(changed.headers)[b"etag"] == dict(created.headers)[b"etag"]
        assert await shown(one.pages, "a") == DEFAULTS | {"seen": 3, "mood": "read", "score": "1.1"}
        assert (await one.pages.json("GET", ""))[0]["seen"] == 3
        assert one.engine.proposed == before
        assert one.replica.rows()["Page"] == [("a", "")], "the replicated state knows nothing of it"


async def test_one_kind_survives_a_restart_and_the_other_does_not(tmp_path: Path) -> None:
    """A2.17 replicate; A2.19 memory_only; A2.20 auto_persist: all but memory_only is on disk."""
    with site(tmp_path / "1") as one:
        await one.pages.send("POST", "", {"path": "a", "seen": 1, "mood": "read", "score": "2.50", "notes": {"x": 1}})
        assert (await shown(one.pages, "a"))["mood"] == "read"
    with site(tmp_path / "1") as one:
        assert await shown(one.pages, "a") == DEFAULTS | {"seen": 1, "score": "2.5", "notes": {"x": 1}}


async def test_another_node_has_values_of_its_own(tmp_path: Path) -> None:
    """A1.43, A2.17 replicate."""
    with site(tmp_path / "1") as one, site(tmp_path / "2") as two:
        for each in (one, two):
            await each.pages.send("POST", "", {"path": "a"})  # as the log brings it to both
        await one.pages.send("PATCH", "a", {"seen": 1})
        await two.pages.send("PATCH", "a", {"seen": 2})
        assert [(await shown(each.pages, "a"))["seen"] for each in (one, two)] == [1, 2]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "_bulk"])
async def test_a_write_of_both_kinds_does_both(tmp_path: Path, method: str) -> None:
    with site(tmp_path / "1") as one:
        if method in ("PUT", "PATCH"):
            await one.pages.send("POST", "", {"path": "a", "notes": {"y": 2}})
        body = {"path": "a", "title": "t", "seen": 4, "mood": "m", "notes": {"x": 1}, "secret": "s"}
        if method == "_bulk":
            (answer,) = await one.pages.json("POST", "_bulk", [body])
        else:
            answer = await one.pages.json(method, "" if method == "POST" else "a", body)
        notes = {"y": 2, "x": 1} if method == "PATCH" else {"x": 1}
        expected = DEFAULTS | {"title": "t", "seen": 4, "mood": "m", "notes": notes}
        assert answer == {"path": "a"} | expected
        assert await shown(one.pages, "a") == expected
        assert one.replica.rows()["Page"] == [("a", "t")]


async def test_put_sets_what_it_does_not_name_to_the_default(tmp_path: Path) -> None:
    with site(tmp_path / "1") as one:
        await one.pages.send("POST", "", {"path": "a", "seen": 4, "mood": "m"})
        await one.pages.send("PUT", "a", {"title": "t", "seen": 5})
        assert await shown(one.pages, "a") == DEFAULTS | {"title": "t", "seen": 5}


async def test_an_object_that_is_made_again_has_nothing_of_the_former(tmp_path: Path) -> None:
    with site(tmp_path / "1") as one:
        await one.pages.send("POST", "", {"path": "a", "seen": 4, "mood": "m"})
        await one.pages.send("DELETE", "a")
        assert (await one.pages.refused("PATCH", "a", {"seen": 1})).status == 404
        await one.pages.send("POST", "", {"path": "a"})
        assert await shown(one.pages, "a") == DEFAULTS


async def test_what_deleted_objects_leave_is_swept_and_nothing_else(tmp_path: Path) -> None:
    with site(tmp_path / "1") as one:
        for path in "abc":
            await one.pages.send("POST", "", {"path": path, "seen": 4, "mood": "m"})
        await one.pages.send("DELETE", "a")
        await one.pages.send("DELETE", "b")
        await one.pages.send("POST", "", {"path": "b"})

        async def gone_of(owners: list[Any]) -> list[Any]:
            return [owner for owner in owners if is_gone(one.replica.machine, owner)]

        assert len(one.disk.owners_after(None, 10)) == len(one.store.memory.owners()) == 3
        await one.store.sweep(gone_of)
        assert [owner.key for owner in one.disk.owners_after(None, 10)] == ["c"]
        assert [owner.key for owner in one.store.memory.owners()] == ["c"]
        assert (await shown(one.pages, "c"))["seen"] == 4


async def test_a_value_outlives_a_state_that_is_behind(tmp_path: Path) -> None:
    """After a crash the tables may be older than what was acknowledged, until the log has been applied again."""
    with site(tmp_path / "1") as one:
        await one.pages.send("POST", "", {"path": "a", "seen": 4})
        owner = one.disk.owners_after(None, 10)[0]
    (tmp_path / "1" / "db").unlink()
    with site(tmp_path / "1") as one:
        assert not is_gone(one.replica.machine, owner)
        await one.pages.send("POST", "", {"path": "a"})  # the same entry of the log
        assert (await shown(one.pages, "a"))["seen"] == 4


async def test_values_are_checked_like_any_other(tmp_path: Path) -> None:
    with site(tmp_path / "1") as one:
        await one.pages.send("POST", "", {"path": "a"})
        await one.checked.send("POST", "", {"id": 1})
        for client, key, body, where in (
            (one.pages, "a", {"seen": -1}, "seen"),
            (one.pages, "a", {"seen": None}, "seen"),
            (one.pages, "a", {"seen": 2**63}, "seen"),
            (one.pages, "a", {"title": "t", "seen": -1}, "seen"),
            (one.checked, "1", {"label": ""}, "label"),
            (one.checked, "1", {"name": "n", "label": ""}, "label"),
        ):
            error = await client.refused("PATCH", key, body)
            assert (error.status, error.errors[0]["field"]) == (422, where)
        assert (await one.pages.refused("PATCH", "a", {"path": "b", "seen": 1})).status == 422
        assert await shown(one.pages, "a") == DEFAULTS
        assert (await one.checked.json("PATCH", "1", {"label": " y "}))["label"] == "y"
        assert await one.checked.json("PATCH", "1", {"label": "z", "name": "n"}) == {"id": 1, "name": "n", "label": "z"}


@pytest.mark.parametrize("model", ["pages", "checked"])
async def test_the_log_is_not_told_of_them(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with site(tmp_path / "1") as one:
        client, key, known, own = {
            "pages": (one.pages, {"path": "1"}, "title", "mood"),
            "checked": (one.checked, {"id": 1}, "name", "label"),
        }[model]
        commands: list[bytes] = []
        propose = one.engine.propose

        async def recorded(command: bytes, **keywords: Any) -> Any:
            commands.append(command)
            return await propose(command, **keywords)

        monkeypatch.setattr(one.engine, "propose", recorded)
        body = {known: "for all", own: "for one"}
        await client.send("POST", "", key | body)
        await client.send("POST", "_bulk", [{next(iter(key)): "2" if model == "pages" else 2} | body])
        await client.send("PUT", "1", body)
        await client.send("PATCH", "1", {known: "for all!", own: "for one"})
        assert len(commands) == 4
        for command in commands:
            assert b"for all" in command
            assert b"for one" not in command
            assert own.encode() not in command


async def test_a_merge_goes_into_what_this_node_has(tmp_path: Path) -> None:
    with site(tmp_path / "1") as one:
        await one.pages.send("POST", "", {"path": "a", "notes": {"x": 1, "z": {"a": 1}}})
        await one.pages.send("PATCH", "a", {"notes": {"y": 2, "x": None, "z": {"b": 2}}})
        assert (await shown(one.pages, "a"))["notes"] == {"y": 2, "z": {"a": 1, "b": 2}}


async def test_a_version_is_expected_of_the_object(tmp_path: Path) -> None:
    with site(tmp_path / "1") as one:
        await one.pages.send("POST", "", {"path": "a"})
        error = await one.pages.refused("PATCH", "a", {"seen": 1}, headers=[JSON, (b"if-match", b'"77"')])
        assert error.status == 412
        tag = dict((await one.pages.send("GET", "a")).headers)[b"etag"]
        assert (await one.pages.send("PATCH", "a", {"seen": 1}, headers=[JSON, (b"if-match", tag)])).status == 200
        known = await one.pages.send("GET", "a", headers=[(b"if-none-match", tag)])
        assert known.status == 200, "the version does not tell whether such a field has changed"


async def test_events_neither_see_nor_set_them(tmp_path: Path) -> None:
    with site(tmp_path / "1") as one:
        await one.pages.send("POST", "", {"path": "a", "seen": 7, "mood": "m"})
        error = await one.pages.refused_by_log("POST", "a/viewed", {})
        assert (error.status, error.detail) == (409, "seen is not replicated: an event cannot set it")
        assert (await one.pages.json("POST", "a/renamed", {"title": "t"}))["title"] == "t 0 new"
        data = one.replica.state.connection.execute("SELECT group_concat(hex(data)) FROM quorate_events").get
        assert b"seen".hex().upper() not in data


async def test_a_value_of_another_type_than_declared_is_not_there(tmp_path: Path) -> None:
    with site(tmp_path / "1") as one:
        await one.pages.send("POST", "", {"path": "a", "seen": 7})
    with DiskValues(tmp_path / "1" / FILE)._writer as connection:
        connection.execute("UPDATE local_values SET type = 'str' WHERE field = 'seen'")
    with site(tmp_path / "1") as one:
        assert (await shown(one.pages, "a"))["seen"] == 0


async def test_a_transaction_does_not_set_them(tmp_path: Path) -> None:
    with site(tmp_path / "1") as one:
        transactions = TransactionResource([schema_of(Page)], one.replica.machine, one.engine)
        operation = {"op": "create", "resource": "pages", "body": {"path": "a", "seen": 1}}
        body = json.dumps({"operations": [operation]}).encode()
        with pytest.raises(RequestError) as refused:
            await transactions.handle("POST", "", b"", [JSON], body)
        assert (refused.value.status, refused.value.errors[0]["field"]) == (422, "seen")
        assert one.engine.proposed == 0


async def test_the_upkeep_sweeps_by_itself_and_goes_on_behind_a_failure(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "db", [Page])
    engine = LocalEngine(replica)
    upkeep = Upkeep([schema_of(Page)], replica.machine)
    upkeep.open(tmp_path)
    pages = Client(ModelResource(schema_of(Page), replica.machine, engine, served=Served(local=upkeep.local)), engine)
    await pages.send("POST", "", {"path": "a", "seen": 1, "mood": "m"})
    await pages.send("DELETE", "a")
    failures = [StorageError("not now")]

    class Failing(LocalEngine):
        async def read_barrier(self, **keywords: Any) -> None:
            if failures:
                raise failures.pop()

    upkeep.begin(Failing(replica), lambda: False, lambda: 0, sweep_seconds=0.001)
    disk = upkeep.local.disk
    assert disk is not None
    async with asyncio.timeout(10):
        while disk.owners_after(None, 1) or upkeep.local.memory.owners():  # noqa: ASYNC110 - nothing tells when it is done
            await asyncio.sleep(0.001)
    await upkeep.end()
    await upkeep.end()
    replica.close()


async def test_values_of_a_model_that_is_no_more_go_too(tmp_path: Path) -> None:
    with site(tmp_path / "1") as one:
        await one.pages.send("POST", "", {"path": "a", "seen": 1})
        (owner,) = one.disk.owners_after(None, 10)
        assert not is_gone(one.replica.machine, owner)
        assert is_gone(one.replica.machine, owner._replace(model="Former"))
        assert not is_gone(one.replica.machine, owner._replace(model="Former", created=99)), "it may yet come"


async def test_a_long_list_is_completed_in_slices(tmp_path: Path) -> None:
    with site(tmp_path / "1") as one:
        given = [{"path": f"p{number:03}", "seen": number, "mood": str(number)} for number in range(250)]
        assert [each["seen"] for each in await one.pages.json("POST", "_bulk", given)] == list(range(250))
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count_turns())
        shown = await one.pages.json("GET", "", query="limit=250")
        counting.cancel()
        assert [(each["seen"], each["mood"]) for each in shown] == [(number, str(number)) for number in range(250)]
        assert turns >= 2


# -- writes of both kinds whose second part fails ------------------------------------------------------------


@contextmanager
def broken(disk: DiskValues) -> Iterator[None]:
    """The disk is full, as SQLite tells it."""
    with disk._writer as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON local_values BEGIN SELECT RAISE(ABORT, 'full'); END")
    try:
        yield
    finally:
        with disk._writer as connection:
            connection.execute("DROP TRIGGER full")


IDEMPOTENT = [JSON, (b"idempotency-key", b"k1")]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "_bulk", "whole PATCH"])
async def test_a_write_that_is_done_in_part_says_what_is_done_and_a_retry_does_the_rest(
    tmp_path: Path, method: str
) -> None:
    """The same request with the same key is applied once, and sets what was missing."""
    with site(tmp_path / "1") as one:
        pages = one.pages
        await pages.send("POST", "", {"path": "z"})
        if method not in ("POST", "_bulk"):
            await pages.send("POST", "", {"path": "a"})
        before = one.replica.machine.events.last
        body: Any = {"path": "a", "title": "t", "seen": 4, "notes": {"x": 1}, "mood": "m"}
        if method == "_bulk":
            body = [body, {"path": "b"}]
        request = {"POST": ("POST", ""), "_bulk": ("POST", "_bulk")}.get(method, (method.split()[-1], "a"))
        headers = IDEMPOTENT if method != "whole PATCH" else [MERGE_PATCH, IDEMPOTENT[1]]
        with broken(one.disk):
            for _ in range(2):
                with pytest.raises(DoneInPart) as failed:
                    await pages.send(*request, body, headers=headers)
                error = failed.value
                fields = ["seen", "score", "mood", "notes", "secret"] if method == "PUT" else ["seen", "mood", "notes"]
                assert (error.model, error.version, error.fields) == ("Page", before + 1, fields)
                assert error.ids == (["a", "b"] if method == "_bulk" else ["a"])
                assert "full" in str(error)
        assert one.replica.machine.events.last == before + (2 if method == "_bulk" else 1), "applied once"
        assert await shown(pages, "a") == DEFAULTS | {"title": "t"}
        again = await pages.send(*request, body, headers=headers)
        assert again.status == (201 if request[0] == "POST" else 200)
        assert one.replica.machine.events.last == before + (2 if method == "_bulk" else 1)
        given = {"title": "t", "seen": 4, "notes": {"x": 1}, "mood": "m"}
        assert await shown(pages, "a") == DEFAULTS | given


async def test_what_a_client_is_told_of_a_write_that_is_done_in_part() -> None:
    problem = problem_of(DoneInPart("Page", 7, ["a"], ["seen"], "cannot write to local.sqlite: full"))
    assert json.loads(problem.body()) == {
        "type": "about:blank",
        "title": "Done in part",
        "status": 500,
        "detail": "the Page is stored, as version 7, but seen not kept on this node: "
        "cannot write to local.sqlite: full",
        "outcome": "done_in_part",
        "version": 7,
        "ids": ["a"],
        "fields": ["seen"],
    }
    assert (b"etag", b'"7"') in problem.headers


async def test_an_event_whose_answer_cannot_be_made_says_that_it_is_applied(tmp_path: Path) -> None:
    with site(tmp_path / "1") as one:
        await one.pages.send("POST", "", {"path": "a", "seen": 1})
        one.disk._reader.close()
        with pytest.raises(DoneInPart, match="stored, as version 2, but its values on this node not read"):
            await one.pages.send("POST", "a/renamed", {"title": "t"})
        assert one.replica.rows()["Page"] == [("a", "t 0 new")]


@pytest.mark.parametrize("content_type", [JSON, MERGE_PATCH])
async def test_a_retry_gets_the_first_answer_though_the_object_is_gone(
    tmp_path: Path, content_type: tuple[bytes, bytes]
) -> None:
    with site(tmp_path / "1") as one:
        headers = [content_type, IDEMPOTENT[1]]
        change = {"title": "t", "seen": 3}
        await one.pages.send("POST", "", {"path": "a"})
        first = await one.pages.send("PATCH", "a", change, headers=headers)
        await one.pages.send("DELETE", "a")
        for _ in range(2):
            again = await one.pages.send("PATCH", "a", change, headers=headers)
            assert (again.status, again.body, again.headers) == (first.status, first.body, first.headers)
            other = await one.pages.refused_by_log("PATCH", "a", change, headers=[JSON, (b"idempotency-key", b"k2")])
            assert other.status == 404
        assert (await one.pages.refused("PATCH", "a", change)).status == 404


async def test_a_retry_leaves_a_later_object_with_that_id_alone(tmp_path: Path) -> None:
    with site(tmp_path / "1") as one:
        await one.pages.send("POST", "", {"path": "a"})
        await one.pages.send("PATCH", "a", {"title": "t", "seen": 3}, headers=IDEMPOTENT)
        await one.pages.send("DELETE", "a")
        await one.pages.send("POST", "", {"path": "a"})
        answer = await one.pages.json("PATCH", "a", {"title": "t", "seen": 3}, headers=IDEMPOTENT)
        assert (answer["title"], answer["seen"]) == ("t", 3)
        assert await shown(one.pages, "a") == DEFAULTS


async def test_a_snapshot_behind_the_change_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the log's answer and the look at the tables the state may be taken away."""
    with site(tmp_path / "1") as one:
        await one.pages.send("POST", "", {"path": "a"})
        steps: list[str] = []
        propose, table = one.engine.propose, Table.created

        async def proposed(*arguments: Any, **keywords: Any) -> Any:
            steps.append("propose")
            return await propose(*arguments, **keywords)

        async def barrier(**keywords: Any) -> None:
            steps.append("barrier")

        def created(*arguments: Any) -> Any:
            steps.append("look")
            return table(*arguments)

        monkeypatch.setattr(one.engine, "propose", proposed)
        monkeypatch.setattr(one.engine, "read_barrier", barrier)
        monkeypatch.setattr(Table, "created", created)
        for method, key, body in (
            ("PATCH", "a", {"title": "u", "seen": 3}),
            ("POST", "_bulk", [{"path": "b", "seen": 3}]),
            ("POST", "a/renamed", {"title": "t"}),
        ):
            await one.pages.send(method, key, body)
            behind = steps[len(steps) - steps[::-1].index("propose") :]
            assert behind[:2] == ["barrier", "look"]


def test_the_api_description_says_that_a_write_may_be_done_in_part() -> None:
    document = describe([schema_of(Page), schema_of(Shared)], title="t", version="1")
    paths = document["paths"]
    written = [paths["/api/pages"]["post"], paths["/api/pages/_bulk"]["post"], paths["/api/pages/{id}"]["patch"]]
    assert all("500" in operation["responses"] for operation in written)
    assert "500" not in paths["/api/pages/{id}"]["delete"]["responses"]
    assert "500" not in paths["/api/shareds"]["post"]["responses"]
    assert "done_in_part" in document["components"]["schemas"]["Problem"]["properties"]["outcome"]["enum"]
