"""The machine is closed and opened again on another file, as happens when a snapshot is installed."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from quorate.app import App
from quorate.errors import CommandFailed
from quorate.machine.commands import Batch, encode_batch
from quorate.machine.commands import Command as RoutedCommand
from quorate.machine.router import Router
from quorate.models import Model, field
from quorate.models.commands import Change, Create, Delete, Operation, Patch, encode_command
from quorate.models.machine import MACHINE, ModelsMachine
from quorate.models.store.columns import DECIMAL
from quorate.raft.entry import Entry, EntryKind

from .shop import Category, Product
from .support import FIRST_TIME_US

COLUMNS = ("id", "name", "price", "stock", "category_id")
OAK, ELM = UUID(int=1).bytes, UUID(int=2).bytes
ONE = DECIMAL.encode(Decimal(1))


class Shop:
    """The shop's machine under a router."""

    def __init__(self, path: Path, *models: type[Model]) -> None:
        self.path = path
        self.machine = ModelsMachine(App(models=models or (Category, Product)).schemas)
        self.router = Router({MACHINE: self.machine})
        self.router.open(path)

    def apply(self, *operations: Operation, request_id: str | None = None) -> list[object]:
        """The outcomes of as many commands."""
        index = self.router.applied + 1
        wrapped = [RoutedCommand(MACHINE, encode_command(Change([each])), request_id) for each in operations]
        payload = encode_batch(Batch(FIRST_TIME_US + index, index, wrapped))
        return self.router.apply(Entry(index, 1, EntryKind.COMMANDS, payload))

    def continue_with(self, other: Shop) -> None:
        """Take over the other's state."""
        copy = self.path.with_suffix(".copy")
        capture = other.router.capture()
        capture.copy_state(copy)
        capture.close()
        self.router.check_copy(copy, capture.machines, capture.index)
        self.router.replace_state(lambda: os.replace(copy, self.path), capture.machines, capture.index)


def create(key: bytes, name: str) -> Create:
    return Create("Product", COLUMNS, [(key, name, ONE, 5, None)])


def test_rows_counts_and_statements_are_those_of_the_new_file(tmp_path: Path) -> None:
    ahead, behind = Shop(tmp_path / "ahead"), Shop(tmp_path / "behind")
    table = behind.machine.tables["Product"]
    behind.apply(create(OAK, "Oak"), Patch("Product", OAK, ("stock",), (1,)), create(ELM, "Elm"))
    ahead.apply(create(ELM, "Ash"), request_id="a")
    ahead.apply(create(UUID(int=3).bytes, "Fir"))
    behind.continue_with(ahead)

    again = behind.machine.tables["Product"]
    assert again is not table
    assert (again.count, again.get(OAK)) == (2, None)
    assert again.page(10, 0) == ahead.machine.tables["Product"].page(10, 0)
    for shop in (ahead, behind):
        patched, deleted, refused = shop.apply(
            Patch("Product", ELM, ("stock",), (9,)), Delete("Product", OAK), create(OAK, "Ash")
        )
        assert patched == [[(ELM, "Ash", ONE, 9, None), 3]]
        assert isinstance(deleted, CommandFailed)
        assert isinstance(refused, CommandFailed)
        assert shop.apply(create(ELM, "Ash"), request_id="a") == [[[1, ELM]]]
        assert shop.machine.tables["Product"].count == 2
    assert behind.router.digest() == ahead.router.digest()
    for shop in (ahead, behind):
        shop.router.close()
        assert not Path(f"{shop.path}-wal").exists()


def test_a_state_is_replaced_again_and_again(tmp_path: Path) -> None:
    ahead, behind = Shop(tmp_path / "ahead"), Shop(tmp_path / "behind")
    for number in range(5):
        ahead.apply(create(UUID(int=number + 1).bytes, f"tree {number}"))
        behind.continue_with(ahead)
        assert behind.machine.tables["Product"].count == number + 1
        assert behind.router.durable_index == behind.router.applied == number + 1
    ahead.router.close()
    behind.router.close()


def test_an_index_that_is_declared_on_some_nodes_only_makes_no_other_digest(tmp_path: Path) -> None:
    def model(indexed: bool) -> type[Model]:
        class Item(Model):
            id: UUID = field(primary_key=True)
            size: int = field(default=0, indexed=indexed)

        return Item

    one, other = Shop(tmp_path / "one", model(True)), Shop(tmp_path / "other", model(False))
    for shop in (one, other):
        shop.apply(Create("Item", ("id", "size"), [(OAK, 1)]))
    assert one.router.digest() == other.router.digest()
    other.continue_with(one)
    assert one.router.digest() == other.router.digest()
    one.router.close()
    other.router.close()
