"""A cluster whose nodes are restarted one after the other with another version of the app, in miniature."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import create_model

from quorate import event
from quorate.app import App
from quorate.errors import CommandFailed, ConfigError
from quorate.models import Model, field
from quorate.models.commands import Call, Change, Command, Create, Delete, MergePatch, Operation, Patch, Replace
from quorate.models.errors import SchemaAhead, SchemaBehind
from quorate.models.migrations import (
    AddField,
    ChangeField,
    ChangeModel,
    ChangeType,
    Migration,
    RemoveField,
    RemoveModel,
    RenameField,
    RenameModel,
)
from quorate.models.store.columns import DECIMAL

from .evolving import EvolvingNode


def declared(name: str, /, *, category: type[Model], **fields: Any) -> type[Model]:
    base = {
        "id": (int, field(primary_key=True)),
        "category": (int | None, field(default=None, foreign_key=category, on_delete="cascade")),
    }
    made: type[Model] = create_model(name, __base__=Model, **{**base, **fields})
    return made


def category() -> type[Model]:
    made: type[Model] = create_model("Category", __base__=Model, id=(int, field(primary_key=True)), label=(str, "none"))
    return made


def first_app() -> App:
    target = category()
    product = declared(
        "Product",
        category=target,
        title=(str, field(unique=True, track_history=True)),
        price=(int, field(default=0, audited=True)),
        old=(str, field(default="-", unique=False, immutable=False)),
    )
    return App(models=[target, product, declared("Gone", category=target)])


MIGRATIONS: list[Migration] = [
    RenameField("Product", "title", "name"),
    RemoveField("Product", "old"),
    ChangeType("Product", "price", convert=lambda price: Decimal(price) / 100),
    AddField("Product", "slug", value=lambda product: product["name"].lower()),
    RemoveModel("Gone"),
    RenameModel("Product", "Article"),
]


def second_app(migrations: list[Migration] = MIGRATIONS) -> App:
    target = category()
    article = declared(
        "Article",
        category=target,
        name=(str, field(unique=True, track_history=True)),
        price=(Decimal, field(default="0", audited=True)),
        slug=(str, field(indexed=True)),
        note=(str | None, None),
    )
    return App(models=[target, article, declared("Added", category=target)], migrations=migrations)


@contextmanager
def nodes(count: int, app: App) -> Iterator[list[EvolvingNode]]:
    with TemporaryDirectory() as directory, ExitStack() as closing:
        made = []
        for number in range(count):
            made.append(EvolvingNode(Path(directory) / f"node{number}", app))
            closing.callback(made[-1].close)
        yield made


# -- the property --------------------------------------------------------------------------------------------

KEYS = st.integers(1, 3)
TITLES = st.sampled_from(["Oak", "Elm", "Fir"])
COLUMNS = ("id", "category", "title", "price", "old")
VALUES = st.tuples(st.none() | KEYS, TITLES, st.integers(0, 300), TITLES)
OPERATIONS = st.one_of(
    st.builds(lambda key: Create("Category", ("id", "label"), [(key, "c")]), KEYS),
    st.builds(lambda key: Delete("Category", key), KEYS),
    st.builds(lambda key, values: Create("Product", COLUMNS, [(key, *values)]), KEYS, VALUES),
    st.builds(lambda key, values: Replace("Product", key, COLUMNS[1:], values), KEYS, VALUES),
    st.builds(lambda key, price: Patch("Product", key, ("price",), (price,)), KEYS, st.integers(0, 300)),
    st.builds(lambda key, title: Patch("Product", key, ("title", "old"), (title, title)), KEYS, TITLES),
    st.builds(lambda key: Delete("Product", key), KEYS),
    st.builds(lambda key: Create("Gone", ("id", "category"), [(key, key)]), KEYS),
)


PRELUDE: list[Operation] = [
    Create("Category", ("id", "label"), [(1, "c"), (2, "c")]),
    Create("Product", COLUMNS, [(1, 1, "Ash", 100, "a"), (2, 1, "Oak", 5, "b"), (3, 2, "Elm", 250, "c")]),
    Create("Gone", ("id", "category"), [(1, 2)]),
]


@settings(max_examples=20)
@given(st.lists(st.lists(OPERATIONS, min_size=1, max_size=3), max_size=12), st.data())
def test_it_makes_no_difference_when_a_node_is_restarted(batches: list[list[Operation]], data: st.DataObject) -> None:
    """Whenever each node got the new program, all are in the same state behind every command, and in one form."""
    old, new = first_app(), second_app()
    with nodes(4, old) as cluster:
        restarts = [data.draw(st.integers(0, len(batches))) for _ in cluster]
        leader = cluster[0]
        declaration = leader.declaration()
        changes = [leader.change(*batch) for batch in batches]
        for node in cluster:
            node.accept(declaration, leader.change(*PRELUDE))
        for position, change in enumerate([*changes, None]):
            for node, at in zip(cluster, restarts, strict=True):
                if at == position:
                    node.restart(new)
            if change is not None:
                assert len({repr(node.apply(change)) for node in cluster}) == 1
                assert len({node.router.digest() for node in cluster}) == 1
        declaration = leader.declaration()
        assert {repr(node.apply(declaration)) for node in cluster} == {"[None]"}
        late = changes[-1:]  # checked by the earlier version, and behind the declaration of the later one
        assert len({repr(node.apply(*late)) for node in cluster}) == 1
        assert len({node.router.digest() for node in cluster}) == 1
        for node in cluster:
            node.restart(new)
        assert len({node.router.digest() for node in cluster}) == 1
        for product in leader.rows("Article"):
            assert product["slug"] == product["name"].lower()


# -- what each migration does --------------------------------------------------------------------------------


def migrated(node: EvolvingNode, app: App) -> list[Any]:
    node.restart(app)
    return node.apply(node.declaration())


@pytest.fixture
def node(tmp_path: Path) -> Iterator[EvolvingNode]:
    node = EvolvingNode(tmp_path / "db", first_app())
    node.accept(
        node.declaration(),
        node.change(Create("Category", ("id", "label"), [(1, "trees")])),
        node.change(Create("Product", COLUMNS, [(1, 1, "Oak", 1999, "x"), (2, None, "Elm", 5, "y")])),
        node.change(Patch("Product", 1, ("price", "old"), (2000, "z"))),
        node.change(Create("Gone", ("id", "category"), [(7, 1)])),
    )
    yield node
    node.close()


def test_a_migration_brings_objects_events_and_history_into_the_new_form(node: EvolvingNode) -> None:
    versions = [node.machine.tables["Product"].stored(key).version for key in (1, 2)]  # type: ignore[union-attr]
    assert migrated(node, second_app()) == [None]
    twenty, cents = DECIMAL.encode(Decimal("20")), DECIMAL.encode(Decimal("0.05"))
    assert node.rows("Article") == [
        {"id": 1, "category": 1, "name": "Oak", "price": twenty, "slug": "oak", "note": None},
        {"id": 2, "category": None, "name": "Elm", "price": cents, "slug": "elm", "note": None},
    ]
    assert [node.machine.tables["Article"].stored(key).version for key in (1, 2)] == versions  # type: ignore[union-attr]
    assert set(node.machine.tables) == {"Category", "Article", "Added"}
    events = [each for each in node.machine.events.after(0, 100).events if each.model == "Article"]
    assert [each.columns for each in events] == [("id", "category", "name", "price")] * 2 + [("price",)]
    assert events[2].values == (twenty,)
    entries = node.machine.histories["Article"].of(1, 0, 10)
    assert [{name: (change.old, change.new) for name, change in each.changes.items()} for each in entries][1:] == [
        {"price": (DECIMAL.encode(Decimal("19.99")), twenty)}
    ]
    (created,) = node.accept(node.change(Create("Article", ("id", "name", "price", "slug"), [(3, "Fir", twenty, "f")])))
    assert created == [[6, 3]]


def test_references_are_kept_and_still_guarded(node: EvolvingNode) -> None:
    migrated(node, second_app())
    node.accept(node.change(Delete("Category", 1)))  # which takes along those that refer to it
    assert [product["id"] for product in node.rows("Article")] == [2]
    (refused,) = node.apply(node.change(Patch("Article", 2, ("category",), (9,))))
    assert isinstance(refused, CommandFailed)


def app_with(migrations: list[Migration], **fields: Any) -> App:
    target = category()
    base = {
        "title": (str, field(unique=True, track_history=True)),
        "price": (int, field(default=0, audited=True)),
        "old": (str, "-"),
    }
    product = declared("Product", category=target, **{**base, **fields})
    return App(models=[target, product, declared("Gone", category=target)], migrations=migrations)


def test_a_field_becomes_unique_if_its_values_are(node: EvolvingNode) -> None:
    app = app_with([ChangeField("Product", "old")], old=(str, field(unique=True)))
    assert migrated(node, app) == [None]
    (refused,) = node.apply(node.change(Patch("Product", 1, ("old",), ("y",))))
    assert "another Product has the old 'y'" in str(refused)


def test_a_migration_that_does_not_fit_what_is_stored_is_refused_and_changes_nothing(node: EvolvingNode) -> None:
    node.accept(node.change(Patch("Product", 1, ("old",), ("y",))))
    digest = node.router.digest()
    for app, message in (
        (app_with([ChangeField("Product", "old")], old=(str, field(unique=True))), "do not fit what is declared"),
        (app_with([ChangeType("Product", "old", convert=int)], old=(int, 0)), "a migration failed: ValueError"),
    ):
        (refused,) = migrated(node, app)
        assert isinstance(refused, CommandFailed)
        assert message in str(refused)
        assert node.machine.is_waiting
        assert node.router.digest() != digest  # the log goes on, and with it the time
        node.accept(Change([Patch("Product", 1, ("price",), (1,))]))
    node.restart(first_app())
    assert [product["old"] for product in node.rows("Product")] == ["y", "y"]


def test_history_is_switched_on_and_off(node: EvolvingNode) -> None:
    on = [ChangeField("Product", "old"), ChangeField("Product", "price")]
    app = app_with(list(on), old=(str, field(default="-", audited=True)), price=(int, 0))
    assert migrated(node, app) == [None]
    node.accept(node.change(Patch("Product", 1, ("price", "old"), (1, "new"))))
    assert list(node.machine.histories["Product"].of(1, 0, 10)[-1].changes) == ["old"]
    off = [*on, ChangeField("Product", "old"), ChangeField("Product", "title")]
    assert migrated(node, app_with(off, title=(str, field(unique=True)), price=(int, 0))) == [None]
    assert node.machine.histories == {}
    tables = node.machine.tables["Product"].connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    assert "history_model_product" not in {name for (name,) in tables}


def test_fields_become_unique_together(node: EvolvingNode) -> None:
    def pair(*groups: tuple[str, ...]) -> type[Model]:
        class Pair(Model, resource="pairs", unique_together=groups):
            id: int = field(primary_key=True)
            left: int
            right: int

        return Pair

    app = app_with([])
    assert migrated(node, App(models=[*app.models, pair()])) == [None]
    grouped = App(models=[*app.models, pair(("left", "right"))], migrations=[ChangeModel("Pair")])
    assert migrated(node, grouped) == [None]
    node.accept(node.change(Create("Pair", ("id", "left", "right"), [(1, 1, 2)])))
    (refused,) = node.apply(node.change(Create("Pair", ("id", "left", "right"), [(2, 1, 2)])))
    assert isinstance(refused, CommandFailed)


def tree(field_name: str) -> type[Model]:
    made: type[Model] = create_model(
        "Tree",
        __base__=Model,
        id=(int, field(primary_key=True)),
        **{field_name: (int | None, field(default=None, foreign_key="self"))},
    )
    return made


def test_objects_that_refer_to_each_other_in_a_circle_are_migrated(tmp_path: Path) -> None:
    node = EvolvingNode(tmp_path / "trees", App(models=[tree("parent")]))
    node.accept(
        node.declaration(),
        node.change(Create("Tree", ("id", "parent"), [(1, None), (2, 1)])),
        node.change(Patch("Tree", 1, ("parent",), (2,))),
    )
    assert migrated(node, App(models=[tree("above")], migrations=[RenameField("Tree", "parent", "above")])) == [None]
    assert node.rows("Tree") == [{"id": 1, "above": 2}, {"id": 2, "above": 1}]
    (refused,) = node.apply(node.change(Patch("Tree", 1, ("above",), (9,))))
    assert isinstance(refused, CommandFailed)
    node.close()


def guild(name: str, above: str) -> type[Model]:
    made: type[Model] = create_model(
        "Guild",
        __base__=Model,
        id=(int, field(primary_key=True)),
        **{above: (int, field(foreign_key="self")), name: (str, field(indexed=True, track_history=True))},
    )
    return made


def test_a_model_is_migrated_again_and_again(tmp_path: Path) -> None:
    """Its objects refer to others of it, in a circle and always; and a table that was replaced keeps its indexes."""
    node = EvolvingNode(tmp_path / "guilds", App(models=[guild("name", "above")]))
    node.accept(
        node.declaration(),
        node.change(Create("Guild", ("id", "above", "name"), [(1, 1, "Masons"), (2, 1, "Smiths")])),
        node.change(Patch("Guild", 1, ("above",), (2,))),
    )
    migrations: list[Migration] = []
    names = [("label", "head"), ("name", "above"), ("title", "over")]
    before = ("name", "above")
    for now in names:
        migrations += [RenameField("Guild", *pair) for pair in zip(before, now, strict=True)]
        app = App(models=[guild(*now)], migrations=list(migrations))
        assert migrated(node, app) == [None]
        before, (name, above) = now, now
        assert node.rows("Guild") == [
            {"id": 1, above: 2, name: "Masons"},
            {"id": 2, above: 1, name: "Smiths"},
        ]
        node.accept(node.change(Patch("Guild", 2, (name,), ("Smiths",))))
        (entry, *_) = node.machine.histories["Guild"].of(2, 0, 10)
        assert entry.changes[name].new == "Smiths"
        assert not node.machine.has_leftovers
        node.restart(app)
        execute = node.machine.tables["Guild"].connection.execute
        indexed = execute(
            "SELECT m.name, i.name FROM sqlite_schema m, pragma_index_info(m.name) i "
            "WHERE m.type = 'index' AND m.sql IS NOT NULL AND m.tbl_name = 'model_guild' AND i.seqno = 0"
        ).fetchall()
        assert sorted(column for _, column in indexed) == sorted([name, above])
        tables = {each for (each,) in execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert {"model_guild", "history_model_guild"} <= tables
        assert not [each for each in tables if each.startswith(("quorate_next_", "quorate_former_"))]
    (refused,) = node.apply(node.change(Patch("Guild", 1, ("over",), (9,))))
    assert isinstance(refused, CommandFailed)
    node.close()


def test_what_a_declaration_leaves_behind_guards_nothing(node: EvolvingNode) -> None:
    """A table that was replaced refers to others, which go on: deleting there must not meet it."""
    migrated(node, second_app())
    assert node.machine.has_leftovers
    node.accept(node.change(Create("Category", ("id", "label"), [(5, "c")])))
    node.accept(node.change(Delete("Category", 5)), node.change(Delete("Category", 1)))


# -- nodes of different versions -----------------------------------------------------------------------------


def test_a_node_behind_stops_at_the_declaration_and_follows_once_it_is_upgraded(
    node: EvolvingNode, tmp_path: Path
) -> None:
    behind = EvolvingNode(tmp_path / "behind", node.app)
    behind.continue_with(node)
    node.restart(second_app())
    declaration = node.declaration()
    node.accept(declaration)
    with pytest.raises(SchemaBehind, match=r"has declared version 6 .* upgrade this node"):
        behind.apply(declaration)
    behind.router.close()
    behind.restart(second_app())
    behind.accept(declaration)
    assert behind.router.digest() == node.router.digest()
    behind.close()


def test_a_new_node_replays_what_earlier_versions_have_written(node: EvolvingNode, tmp_path: Path) -> None:
    old = EvolvingNode(tmp_path / "old", first_app())
    log: list[Command] = [
        old.declaration(),
        old.change(Create("Product", COLUMNS, [(1, None, "Oak", 1999, "x")])),
        old.change(Patch("Product", 1, ("old",), ("y",))),
    ]
    old.accept(*log)
    old.restart(second_app())
    log.append(old.declaration())
    old.accept(log[-1])
    fresh = EvolvingNode(tmp_path / "fresh", second_app())
    fresh.accept(*log)
    assert fresh.router.digest() == old.router.digest()
    fresh.close()
    old.close()


def test_a_snapshot_of_an_earlier_form_is_taken_and_one_of_a_later_form_is_not(
    node: EvolvingNode, tmp_path: Path
) -> None:
    ahead = EvolvingNode(tmp_path / "ahead", second_app())
    ahead.continue_with(node)
    assert ahead.machine.is_waiting
    assert ahead.router.digest() == node.router.digest()
    ahead.accept(ahead.declaration())
    with pytest.raises(Exception, match="version 6 of the schema, and the app has only 0"):
        node.continue_with(ahead)
    with pytest.raises(ConfigError, match="start this node with the newer version"):
        EvolvingNode(node.path, first_app())
    node.router.close()
    node.restart(second_app())
    assert node.router.digest() == ahead.router.digest()
    ahead.close()


def test_until_then_the_node_can_go_back_to_the_earlier_version(node: EvolvingNode) -> None:
    digest = node.router.digest()
    node.restart(second_app())
    node.restart(first_app())
    assert node.router.digest() == digest
    assert not node.machine.is_waiting


def test_a_declaration_that_was_overtaken_is_refused(node: EvolvingNode) -> None:
    stale = EvolvingNode(node.path.with_name("stale"), first_app()).declaration()
    (refused,) = node.apply(stale)
    assert "something else was declared meanwhile" in str(refused)


# -- changes that take the model's code ----------------------------------------------------------------------


def stocked() -> App:
    class Stocked(Model, resource="stock"):
        id: int = field(primary_key=True)
        stock: int = 0

        @event
        def stock_changed(self, delta: int) -> None:
            if self.stock + delta < 0:
                raise ValueError("out of stock")
            self.stock += delta

    return App(models=[Stocked])


def renamed() -> App:
    class Stocked(Model, resource="stock"):
        id: int = field(primary_key=True)
        note: str = "new"
        in_stock: int = 0

        @event
        def stock_changed(self, delta: int) -> None:
            if self.in_stock + delta < 0:
                raise ValueError("out of stock")
            self.in_stock += delta

    return App(models=[Stocked], migrations=[RenameField("Stocked", "stock", "in_stock")])


def converted() -> App:
    class Stocked(Model, resource="stock"):
        id: int = field(primary_key=True)
        stock: float = 0.0

        @event
        def stock_changed(self, delta: int) -> None:
            self.stock += delta

    return App(models=[Stocked], migrations=[ChangeType("Stocked", "stock", convert=float)])


CALLS: list[Operation] = [
    Call("Stocked", 1, "stock_changed", '{"delta": 3}'),
    Call("Stocked", 1, "stock_changed", '{"delta": -9}'),
    MergePatch("Stocked", 1, '{"stock": 2}'),
    MergePatch("Stocked", 1, '{"stock": "many"}'),
]


def test_events_and_rules_judge_as_before_where_fields_were_renamed_or_added(tmp_path: Path) -> None:
    nodes = [EvolvingNode(tmp_path / name, stocked()) for name in ("old", "new")]
    before = [nodes[0].declaration(), nodes[0].change(Create("Stocked", ("id", "stock"), [(1, 5)]))]
    for node in nodes:
        node.accept(*before)
    nodes[1].restart(renamed())
    for operation in CALLS:
        command = nodes[0].change(operation)
        one, other = (node.apply(command) for node in nodes)
        assert [type(each) for each in one] == [type(each) for each in other]
        assert nodes[0].router.digest() == nodes[1].router.digest()
    assert nodes[1].rows("Stocked") == [{"id": 1, "stock": 2}]
    nodes[1].accept(nodes[1].declaration())
    assert nodes[1].rows("Stocked") == [{"id": 1, "note": "new", "in_stock": 2}]
    (late,) = nodes[1].apply(nodes[0].change(MergePatch("Stocked", 1, '{"stock": 4}')))
    assert late[0][0] == (1, "new", 4)
    for node in nodes:
        node.close()


@pytest.mark.parametrize("operation", [CALLS[0], CALLS[2]])
def test_a_node_does_not_guess_what_the_code_of_an_earlier_version_would_do(
    tmp_path: Path, operation: Operation
) -> None:
    node = EvolvingNode(tmp_path / "db", stocked())
    node.accept(node.declaration(), node.change(Create("Stocked", ("id", "stock"), [(1, 5)])))
    command = node.change(operation)
    node.restart(converted())
    with pytest.raises(SchemaAhead, match="earlier version"):
        node.apply(command)
    node.router.close()
    node.restart(stocked())
    node.accept(command)
    node.close()
