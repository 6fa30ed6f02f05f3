"""Commands applied one after the other: results, refusals, atomicity, counting."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import apsw
import pytest

from quorate.errors import CommandFailed, StorageFailed
from quorate.machine.outcome import decode_outcome, encode_outcome
from quorate.models.commands import Create, Delete, MergePatch, Patch, Replace
from quorate.models.errors import (
    Conflict,
    Immutable,
    InTransaction,
    Invalid,
    ModelRefusal,
    NotFound,
    RuleBroken,
    SchemaBehind,
    VersionMismatch,
)
from quorate.models.store.columns import DECIMAL

from .shop import Booking, Category, Product, Tag
from .support import Replica, context_of

COLUMNS = ("id", "name", "price", "stock", "category_id")
KEY = UUID(int=7).bytes
PRICE, ONE = DECIMAL.encode(Decimal("19.99")), DECIMAL.encode(Decimal(1))


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "db", [Category, Product, Booking, Tag])
    yield replica
    replica.close()


def oak(key: bytes | None = KEY, name: str = "Oak") -> tuple[object, ...]:
    return (key, name, PRICE, 5, None)


def create(*rows: tuple[object, ...]) -> Create:
    return Create("Product", COLUMNS, list(rows))


def test_create_returns_the_keys_and_stamps_the_missing_ones(replica: Replica) -> None:
    assert replica.apply(create(oak())) == [1, KEY]
    first, *keys = replica.apply(create(oak(None, "Elm"), oak(None, "Ash")))
    assert first == 2
    assert keys == sorted(keys)
    assert [UUID(bytes=key).version for key in keys] == [7, 7]
    assert replica.machine.tables["Product"].count == 3


def test_replace_and_patch_return_the_stored_row_and_its_version(replica: Replica) -> None:
    replica.apply(create(oak()))
    assert replica.apply(Patch("Product", KEY, ("stock",), (6,))) == [(KEY, "Oak", PRICE, 6, None), 2]
    assert replica.apply(Patch("Product", KEY, (), ())) == [(KEY, "Oak", PRICE, 6, None), 2]
    assert replica.apply(Patch("Product", KEY, ("stock",), (6,))) == [(KEY, "Oak", PRICE, 6, None), 2]
    changed = Replace("Product", KEY, COLUMNS[1:], ("Elm", ONE, 0, None))
    assert replica.apply(changed) == [(KEY, "Elm", ONE, 0, None), 3]
    assert replica.apply(MergePatch("Product", KEY, '{"stock": 9}')) == [(KEY, "Elm", ONE, 9, None), 4]


def test_delete_returns_nothing_and_counts_down(replica: Replica) -> None:
    replica.apply(create(oak()))
    assert replica.apply(Delete("Product", KEY)) is None
    assert replica.machine.tables["Product"].count == 0


@pytest.mark.parametrize(
    "command",
    [
        Delete("Product", KEY),
        Patch("Product", KEY, ("stock",), (1,)),
        Patch("Product", KEY, (), ()),
        Replace("Product", KEY, COLUMNS[1:], ("Elm", ONE, 0, None)),
        MergePatch("Product", KEY, "{}"),
    ],
)
def test_an_unknown_id_is_not_found(replica: Replica, command: Delete) -> None:
    with pytest.raises(NotFound, match="no Product has the id 00000000-0000-0000-0000-000000000007"):
        replica.apply(command)


def test_a_bulk_that_fails_leaves_nothing_and_names_the_row(replica: Replica) -> None:
    replica.apply(create(oak()))
    before = replica.rows()
    with pytest.raises(Conflict) as refusal:
        replica.apply(create(oak(None, "Elm"), oak(None, "Ash"), oak(None, "Oak"), oak(None, "Fir")))
    assert (refusal.value.field, refusal.value.value, refusal.value.row) == ("name", "Oak", 2)
    assert replica.rows() == before
    assert replica.machine.tables["Product"].count == 1


def test_a_bulk_may_conflict_with_itself(replica: Replica) -> None:
    with pytest.raises(Conflict) as refusal:
        replica.apply(create(oak(None, "Elm"), oak(None, "Elm")))
    assert refusal.value.row == 1
    assert replica.rows()["Product"] == []


def test_several_broken_constraints_are_judged_in_the_order_of_the_declaration(replica: Replica) -> None:
    replica.apply(create(oak()))
    with pytest.raises(Conflict) as refusal:
        replica.apply(create((KEY, "Oak", ONE, 0, UUID(int=9).bytes)))
    assert refusal.value.field == "id"
    with pytest.raises(Conflict) as refusal:
        replica.apply(create((None, "Oak", ONE, 0, UUID(int=9).bytes)))
    assert refusal.value.field == "name"
    with pytest.raises(Conflict) as refusal:
        replica.apply(create((None, "Elm", ONE, 0, UUID(int=9).bytes)))
    assert (refusal.value.field, refusal.value.reason) == ("category_id", "foreign_key")


def test_a_refusal_inside_a_transaction_keeps_what_went_before(replica: Replica) -> None:
    replica.state.begin()
    replica.apply(create(oak()))
    for command in (create(oak()), create(oak(None, "Elm"), oak(None, "Oak"))):
        with pytest.raises(Conflict):
            replica.apply(command)
    replica.state.commit()
    assert [row[1] for row in replica.rows()["Product"]] == ["Oak"]


def test_rules_over_several_fields_are_judged_when_the_command_is_applied(replica: Replica) -> None:
    replica.apply(Create("Booking", ("id", "first", "last", "note"), [(KEY, 1, 5, "")]))
    assert replica.apply(MergePatch("Booking", KEY, '{"first": 5}')) == [(KEY, 5, 5, ""), 2]
    with pytest.raises(Invalid, match="last lies before first"):
        replica.apply(MergePatch("Booking", KEY, '{"first": 6}'))
    assert replica.rows()["Booking"] == [(KEY, 5, 5, "")]


def test_a_key_is_immutable(replica: Replica) -> None:
    replica.apply(create(oak()))
    with pytest.raises(Immutable, match=r"Product\.id is immutable"):
        replica.apply(MergePatch("Product", KEY, f'{{"id": "{UUID(int=8)}"}}'))


def test_what_the_declaration_does_not_know_stops_the_node(replica: Replica) -> None:
    for command in (
        Create("Unknown", ("id",), [(None,)]),
        Create("Product", (*COLUMNS, "colour"), [(*oak(), "red")]),
        Patch("Product", KEY, ("colour",), ("red",)),
    ):
        with pytest.raises(SchemaBehind):
            replica.apply(command)
    with pytest.raises(SchemaBehind):
        replica.machine.apply(b"\x91\xa5hello", context_of(1))
    assert issubclass(SchemaBehind, StorageFailed)
    assert not issubclass(SchemaBehind, CommandFailed)


def test_trouble_of_this_node_alone_is_no_refusal(replica: Replica) -> None:
    replica.state.connection.execute("PRAGMA query_only = on")
    with pytest.raises(apsw.ReadOnlyError):
        replica.apply(create(oak()))
    replica.state.connection.execute("PRAGMA query_only = off")


def test_an_older_command_leaves_a_newer_field_at_its_default(replica: Replica) -> None:
    replica.apply(Create("Product", ("id", "name", "price"), [(KEY, "Oak", ONE)]))
    assert replica.rows()["Product"] == [(KEY, "Oak", ONE, 0, None)]


@pytest.mark.parametrize(
    "refusal",
    [
        NotFound("Product", "1"),
        Conflict("Product", "name", "unique", "Oak", 3),
        Immutable("Product", "name"),
        Invalid.of("Product", [("name", "type", "no"), ("", "rule", "bad")], 1),
        VersionMismatch("Product", "1", 7),
        RuleBroken("Product", "sold", "no stock"),
    ],
)
def test_a_refusal_is_rebuilt_from_plain_data(refusal: CommandFailed) -> None:
    remembered = decode_outcome(encode_outcome(refusal))
    assert type(remembered) is type(refusal)
    assert (str(remembered), remembered.__dict__) == (str(refusal), refusal.__dict__)
    assert isinstance(refusal, ModelRefusal)
    in_transaction = InTransaction.of(3, refusal)
    remembered = decode_outcome(encode_outcome(in_transaction))
    assert isinstance(remembered, InTransaction)
    assert (str(remembered), str(remembered.refusal)) == (str(in_transaction), str(refusal))
    assert (remembered.position, type(remembered.refusal)) == (3, type(refusal))


def test_a_random_id_is_that_of_an_object(replica: Replica) -> None:
    table = replica.machine.tables["Product"]
    assert table.random_key() is None
    _, *keys = replica.apply(create(*(oak(None, f"tree {number}") for number in range(20))))
    for key in keys[::2]:
        replica.apply(Delete("Product", key))
    found = {table.random_key() for _ in range(500)}
    assert found == set(keys[1::2])


def test_counts_and_rows_are_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "again"
    first = Replica(path, [Product, Category])
    first.apply(create(oak()))
    rows = first.rows()
    first.close()
    second = Replica(path, [Category, Product])
    assert second.rows() == rows
    assert second.machine.tables["Product"].count == 1
    second.close()
