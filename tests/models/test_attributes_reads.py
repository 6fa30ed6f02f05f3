"""A1.44: ``consistent_read``, and the consistency of reads that do not say."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest

from quorate import App
from quorate.errors import ConfigError
from quorate.models import Model, field
from quorate.models.model import schema_of
from quorate.models.rest.openapi import describe
from quorate.models.rest.resource import ModelResource
from quorate.models.rest.serving import Served
from quorate.node.reads import Consistency

from .support import Client, LocalEngine, Replica


class Note(Model):
    id: UUID = field(primary_key=True)
    text: str = ""


class Account(Model):
    id: UUID = field(primary_key=True)
    balance: int = field(default=0, consistent_read=True)


class Vault(Model):
    id: UUID = field(primary_key=True)
    secret: int = field(default=0, consistent_read=True, expose=False)


S, E = "strong", "eventually"


@pytest.mark.parametrize(
    ("default", "model", "expected"),
    [
        ("strong", Note, [S, S, S, S]),
        ("strong", Account, [S, S, S, S]),
        ("eventually", Note, [E, E, E, E]),
        ("eventually", Account, [S, S, E, E]),
        ("eventually", Vault, [E, E, E, E]),
    ],
)
async def test_what_returns_such_a_field_is_read_strongly(
    tmp_path: Path, default: Consistency, model: type[Model], expected: list[str]
) -> None:
    """A1.44 consistent_read."""
    replica = Replica(tmp_path / "db", [model])
    engine = LocalEngine(replica)
    client = Client(ModelResource(schema_of(model), replica.machine, engine, served=Served(default)), engine)
    key = str(uuid4())
    await client.send("POST", "", {"id": key})
    for query, consistencies in (
        ("", expected),
        ("consistency=strong", [S] * 4),
        ("consistency=eventually", [E] * 4),
    ):
        engine.barriers.clear()
        for tail in ("", key, "count", "random-id"):
            await client.send("GET", tail, query=query)
        assert engine.barriers == consistencies
    replica.close()


async def test_links_to_other_pages_keep_what_was_asked_for(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "db", [Note])
    engine = LocalEngine(replica)
    client = Client(ModelResource(schema_of(Note), replica.machine, engine, served=Served("eventually")), engine)
    await client.send("POST", "_bulk", [{}, {}])
    for query, said in (("limit=1", False), ("limit=1&consistency=strong", True)):
        links = dict((await client.send("GET", "", query=query)).headers)[b"link"]
        assert (b"consistency=strong" in links) is said
    replica.close()


def test_the_api_description_says_the_default() -> None:
    schemas = [schema_of(Note), schema_of(Account)]
    document = describe(schemas, title="t", version="1", read_consistency="eventually")

    def default_of(path: str) -> str:
        parameters = document["paths"][path]["get"]["parameters"]
        return next(str(each["schema"]["default"]) for each in parameters if each["name"] == "consistency")

    assert default_of("/api/notes") == default_of("/api/accounts/count") == "eventually"
    assert default_of("/api/accounts") == default_of("/api/accounts/{id}") == "strong"


def test_the_app_takes_one_of_two() -> None:
    assert App(models=[Note]).read_consistency == "strong"
    with pytest.raises(ConfigError, match="read_consistency='sometimes' should be"):
        App(models=[Note], read_consistency="sometimes")  # type: ignore[arg-type]
