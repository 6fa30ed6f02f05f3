"""A1.44 (consistent_read) in Python: a read that does not say is as fresh as it would be over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quorate import App, event, field
from quorate.models import Model
from quorate.models.errors import DoneInPart
from quorate.models.local import LocalStore
from quorate.models.objects.binding import Binding
from quorate.models.objects.transaction import Transaction
from quorate.models.store.local_values import FILE, DiskValues
from quorate.node.reads import Consistency
from quorate.testing import TestCluster

from .support import LocalEngine, Replica


class Note(Model):
    id: int = field(primary_key=True)
    text: str = ""


class Account(Model):
    id: int = field(primary_key=True)
    balance: int = field(default=0, consistent_read=True)


class Vault(Model):
    """Objects have their hidden fields in Python."""

    id: int = field(primary_key=True)
    secret: int = field(default=0, consistent_read=True, expose=False)


class Page(Model):
    id: int = field(primary_key=True)
    title: str = ""
    seen: int = field(default=0, replicate=False)
    mood: str = field(default="", memory_only=True)

    @event
    def renamed(self, title: str) -> None:
        self.title = title


class Here(LocalEngine):
    """An engine with what its node keeps for itself."""

    def __init__(self, replica: Replica, disk: DiskValues) -> None:
        super().__init__(replica)
        self.disk = disk


@contextmanager
def kept(path: Path, *models: type[Model], consistency: Consistency = "strong") -> Iterator[Here]:
    """The models go to one node in miniature."""
    path.mkdir()
    replica, disk = Replica(path / "db", models), DiskValues(path / FILE)
    engine = Here(replica, disk)
    binding = Binding(models, replica.machine, engine, "here", LocalStore(disk), consistency)
    binding.begin()
    try:
        yield engine
    finally:
        binding.end()
        replica.close()
        disk.close()


S, E = "strong", "eventually"


@pytest.mark.parametrize(
    ("default", "model", "expected"),
    [
        ("strong", Note, [S, S, S, S, S, S, S]),
        ("strong", Account, [S, S, S, S, S, S, S]),
        ("eventually", Note, [E, E, E, E, E, E, E]),
        ("eventually", Account, [S, S, S, S, S, S, E]),
        ("eventually", Vault, [S, S, S, S, S, S, E]),
    ],
)
async def test_reads_follow_the_app_and_the_fields(
    tmp_path: Path, default: Consistency, model: type[Model], expected: list[str]
) -> None:
    with kept(tmp_path / "here", model, consistency=default) as engine:
        one = await model.create(id=1)
        engine.barriers.clear()
        await model.get(1)
        await model.get_or_none(2)
        await one.refresh()
        await model.filter()
        await model.filter().first()
        async for _ in model.filter(id=1):
            pass
        await model.filter().count()
        assert engine.barriers == expected


@pytest.mark.parametrize("default", ["strong", "eventually"])
@pytest.mark.parametrize("said", ["strong", "eventually"])
async def test_what_the_call_says_wins(tmp_path: Path, default: Consistency, said: Consistency) -> None:
    with kept(tmp_path / "here", Account, consistency=default) as engine:
        one = await Account.create(id=1)
        engine.barriers.clear()
        every = Account.filter().strong() if said == "strong" else Account.filter().eventually()
        await Account.get(1, consistency=said)
        await Account.get_or_none(2, consistency=said)
        await one.refresh(consistency=said)
        await every
        await every.count()
        assert engine.barriers == [said] * 5


async def test_the_apps_word_reaches_the_node() -> None:
    """A node that is cut off still reads what need not be strong."""
    async with TestCluster(3, app=App(models=[Note, Account], read_consistency="eventually")) as cluster:
        leader = await cluster.wait_for_leader()
        with leader.using():
            await Note.create(id=1, text="here")
            cluster.partition_network({leader.node_id})
            assert (await Note.get(1)).text == "here"
            assert await Account.filter().count() == 0


async def test_an_object_whose_own_values_were_not_kept_is_stored_nevertheless(tmp_path: Path) -> None:
    """The replicated part is done, and the object at hand says so: a later change begins from there."""
    with kept(tmp_path / "here", Page) as engine:
        page = await Page.create(id=1, title="a", seen=1)
        broken = DiskValues(tmp_path / "here" / FILE)
        broken._writer.execute(
            "CREATE TRIGGER full BEFORE INSERT ON local_values BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        before = engine.proposed
        with pytest.raises(DoneInPart, match=r"stored, as version 2, but seen, mood not kept on this node.*full"):
            await page.update(title="b", seen=2, mood="new")
        assert (page.title, page.seen, page.mood, page.version) == ("b", 1, "", 2)
        with pytest.raises(DoneInPart):
            await Page.create(id=2, seen=2)
        assert engine.proposed == before + 2
        broken._writer.execute("DROP TRIGGER full")
        broken.close()
        await page.update(seen=3, expected_version=2)
        await page.renamed("c")
        found = await Page.get(1)
        assert (found.title, found.seen, found.version) == ("c", 3, 4)


async def test_all_objects_of_a_transaction_are_those_that_it_made(tmp_path: Path) -> None:
    """Also where what the node has of its own for one of them cannot be read."""
    with kept(tmp_path / "here", Page, Note) as engine:
        page, note = await Page.create(id=1), await Note.create(id=1)
        engine.disk._reader.close()

        async def change_both() -> None:
            async with Transaction([Page, Note], optimistic=False, request_id=None):
                await page.renamed("a")
                await note.update(text="b")

        with pytest.raises(DoneInPart, match="as version 3, but its values on this node not read"):
            await change_both()
        assert (page.title, page.version, note.text, note.version) == ("a", 3, "b", 4)
