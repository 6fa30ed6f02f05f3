"""Declarations change between two starts: what is just declared, and what is refused without a migration."""

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


def run(path: Path, *models: type[Model], declare: bool = True) -> list[tuple[object, ...]]:
    """The items, after a start with these models that puts them in force."""
    replica = Replica(path, models)
    try:
        wanted = replica.machine.declarations.wanted
        if declare and wanted is not None:
            replica.command(wanted)
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


@pytest.fixture(params=[True, False], ids=["declared", "undeclared"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A file with an item. In the log of an embedded machine there may be no declaration."""
    path = tmp_path / "db"
    run(path, model(), declare=request.param)
    return path


def test_what_is_added_comes_with_the_declaration_and_not_before(path: Path) -> None:
    wider = model(colour=(str, "red"))
    assert run(path, wider, declare=False) == [(KEY, "Oak")]
    replica = Replica(path, [wider])
    assert replica.machine.is_waiting
    replica.apply(Create("Item", ("id", "name"), [(UUID(int=2).bytes, "Elm")]))
    wanted = replica.machine.declarations.wanted
    assert wanted is not None
    replica.command(wanted)
    assert not replica.machine.is_waiting
    assert replica.machine.declarations.wanted is None
    assert [row[2] for row in replica.rows()["Item"]] == ["red", "red"]
    replica.close()
    assert run(path, wider, declare=False)[0] == (KEY, "Oak", "red")


def test_a_default_may_change_and_what_is_stored_keeps_the_one_it_got(path: Path) -> None:
    run(path, model(colour=(str, "red")))
    assert run(path, model(colour=(str, "blue"))) == [(KEY, "Oak", "red")]


def test_a_field_that_is_hidden_from_now_on_needs_no_migration(path: Path) -> None:
    assert run(path, model(name=(str, field(expose=False)))) == [(KEY, "Oak")]


def test_an_added_field_may_have_a_history_which_begins_with_it(path: Path) -> None:
    run(path, model(), model("Other", note=(str, field(default="", audited=True))))
    assert run(
        path,
        model(note=(str, field(default="n", audited=True))),
        model("Other", note=(str, field(default="", audited=True))),
    ) == [(KEY, "Oak", "n")]


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
        (
            {"name": (int, field())},
            r"name: type was str when the data was stored and is now int: ChangeType\('Item', 'name',",
        ),
        ({"name": (str | None, field())}, r"Item\.name: nullable was False"),
        ({"name": (str, field(unique=True))}, r"unique was False .* now True: ChangeField\('Item', 'name'\) would"),
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
    with pytest.raises(ConfigError, match=r"no longer declared: RemoveField\('Item', 'name'\) would"):
        Replica(path, [narrower])


def test_a_model_that_is_no_longer_declared_is_refused(path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"holds the model Item, which the app does not declare: RemoveModel\('Item'\)"
    ):
        Replica(path, [model("Other")])


def test_the_fingerprint_tells_what_commands_depend_on() -> None:
    def fingerprint(**fields: object) -> str:
        return App(models=[model(**fields)]).schema_fingerprint

    assert fingerprint() == fingerprint(name=(str, field(description="what it is called")))
    assert fingerprint() != fingerprint(name=(str, field(min_length=1)))
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
