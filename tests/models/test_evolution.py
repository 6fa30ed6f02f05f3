"""Declarations change between two starts: what a node may do by itself, and what it must refuse."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from uuid import UUID

import apsw
import pytest
from pydantic import create_model

from quorate.app import App
from quorate.errors import ConfigError, StorageError
from quorate.models import Model, field
from quorate.models.commands import Create
from quorate.models.model import schema_of

from .support import Replica

KEY = UUID(int=1).bytes


def model(name: str = "Item", /, **fields: object) -> type[Model]:
    made: type[Model] = create_model(
        name, __base__=Model, **{"id": (UUID, field(primary_key=True)), "name": (str, field()), **fields}
    )
    return made


def run(path: Path, *models: type[Model]) -> list[tuple[object, ...]]:
    replica = Replica(path, models)
    try:
        if not replica.machine.tables["Item"].count:
            replica.apply(Create("Item", ("id", "name"), [(KEY, "Oak")]))
        return replica.rows()["Item"]
    finally:
        replica.close()


def indexes(path: Path, item: type[Model]) -> set[str]:
    replica = Replica(path, [item])
    names = replica.state.connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql NOT NULL")
    found = {name for (name,) in names.fetchall()}
    replica.close()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "db"
    run(path, model())
    return path


def test_a_field_with_a_default_is_added(path: Path) -> None:
    wider = model(
        colour=(str, field(default="it's red")),
        price=(Decimal, field(default="1.50", indexed=True)),
        note=(str | None, None),
        code=(str | None, field(default=None, unique=True)),
        blob=(bytes, b"\x00\xff"),
        tags=(list[int], [1]),
    )
    expected = [(KEY, "Oak", "it's red", "250015", None, None, b"\x00\xff", "[1]")]
    assert run(path, wider) == expected
    assert run(path, wider) == expected
    assert indexes(path, wider) == {"model_item__price", "model_item__code"}


def test_a_field_may_be_added_anywhere(path: Path) -> None:
    early = create_model("Item", __base__=Model, note=(str, "n"), name=(str, ...), id=(UUID, field(primary_key=True)))
    assert run(path, early) == [("n", "Oak", KEY)]


def test_a_foreign_key_is_added(path: Path) -> None:
    group = model("Group")
    assert run(path, group, model(group=(UUID | None, field(default=None, foreign_key=group)))) == [(KEY, "Oak", None)]


def test_an_index_comes_and_goes(path: Path) -> None:
    assert indexes(path, model(name=(str, field(indexed=True)))) == {"model_item__name"}
    assert indexes(path, model()) == set()


def test_a_model_is_added(path: Path) -> None:
    assert run(path, model(), model("Other")) == [(KEY, "Oak")]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"colour": (str, field())}, r"Item\.colour: a field added to stored data needs a default"),
        ({"code": (str, field(default="a", unique=True))}, r"Item\.code: a unique field or foreign key added"),
        ({"name": (int, field())}, r"Item\.name: type was str when the data was stored and is now int"),
        ({"name": (str | None, field())}, r"Item\.name: nullable was False"),
        ({"name": (str, field(unique=True))}, r"Item\.name: unique was False"),
        ({"name": (str, field(immutable=True))}, r"Item\.name: immutable was False"),
        ({"id": (UUID, field()), "name": (str, field(primary_key=True))}, r"Item\.id: primary_key was True"),
    ],
)
def test_an_incompatible_change_is_refused_and_changes_nothing(
    path: Path, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Replica(path, [model("Other"), model(**fields)])
    assert run(path, model()) == [(KEY, "Oak")]


def test_a_field_that_is_no_longer_declared_is_refused(path: Path) -> None:
    narrower = create_model("Item", __base__=Model, id=(UUID, field(primary_key=True)))
    with pytest.raises(ConfigError, match=r"Item\.name: stored in the data directory but no longer declared"):
        Replica(path, [narrower])


def test_a_model_that_is_no_longer_declared_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="holds the model Item, which the app does not declare"):
        Replica(path, [model("Other")])


def test_the_fingerprint_tells_what_commands_depend_on() -> None:
    def fingerprint(**fields: object) -> str:
        return App(models=[model(**fields)]).schema_fingerprint

    assert fingerprint() == fingerprint(name=(str, field(min_length=1)))
    assert fingerprint() != fingerprint(name=(str, field(unique=True)))
    assert fingerprint() != fingerprint(colour=(str, "red"))
    assert schema_of(model()).fingerprint()["table"] == "model_item"


@pytest.mark.parametrize("damaged", ["{", '{"table": "Item"}', '{"columns": [{}], "table": "Item"}', "[]"])
def test_a_record_of_a_declaration_that_decayed_is_named(tmp_path: Path, damaged: str) -> None:
    path = tmp_path / "state.sqlite"
    run(path, model())
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE quorate_models SET fingerprint = ?", (damaged,))
    connection.close()
    with pytest.raises(StorageError, match="damaged"):
        run(path, model())


def test_a_file_that_decayed_cannot_be_opened_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    run(path, model())
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = delete")
    page_bytes = connection.pragma("page_size")
    root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'quorate_models'").get
    connection.close()
    with path.open("r+b") as file:
        file.seek(page_bytes * (root - 1))
        file.write(b"\xff" * 100)
    with pytest.raises(StorageError, match="cannot be opened"):
        run(path, model())
