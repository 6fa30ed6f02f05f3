"""The digest of the state: equal wherever the same entries were applied, and different where anything else was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from quorate.machine.commands import Command
from quorate.machine.contract import ApplyContext, DiskStateMachine
from quorate.machine.router import Router
from quorate.machine.sqlite import SqliteState

from .support import Ledger, Script, entry, no_op


class Shelf(DiskStateMachine):
    """Takes SQL as its commands."""

    local_tables = frozenset({"notes"})

    def __init__(
        self, schema: str = "CREATE TABLE IF NOT EXISTS item (name TEXT, weight REAL, PRIMARY KEY (name))"
    ) -> None:
        self._schema = schema

    def open(self, state: SqliteState) -> None:
        self._connection: apsw.Connection = state.connection
        self._connection.execute(self._schema + "; CREATE TABLE IF NOT EXISTS notes (text)")

    def apply(self, command: bytes, context: ApplyContext) -> object:
        self._connection.execute(command.decode())
        return None


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Callable[..., Router]]:
    routers: list[Router] = []

    def open_router(*commands: str, machine: Shelf | None = None) -> Router:
        router = Router({"default": machine or Shelf()})
        routers.append(router)
        router.open(tmp_path / f"{len(routers)}.sqlite")
        router.apply(entry(1, *(command.encode() for command in commands)))
        return router

    yield open_router
    for router in routers:
        router.close()


OAK, ELM = "INSERT INTO item (name, weight) VALUES ('oak', 1.5)", "INSERT INTO item (name, weight) VALUES ('elm', NULL)"


def test_equal_rows_have_an_equal_digest_in_whatever_order_they_came(shelf: Callable[..., Router]) -> None:
    assert shelf(OAK, ELM).digest() == shelf(ELM, OAK).digest()


@pytest.mark.parametrize("other", ["DELETE FROM item", "UPDATE item SET weight = 2", "UPDATE item SET name = 'Oak'"])
def test_any_other_row_makes_another_digest(shelf: Callable[..., Router], other: str) -> None:
    assert shelf(OAK).digest() != shelf(OAK, other).digest()


def test_what_is_local_to_a_node_does_not_count(shelf: Callable[..., Router]) -> None:
    assert shelf(OAK).digest() == shelf(OAK, "INSERT INTO notes VALUES ('mine')").digest()


def test_a_column_that_was_added_later_counts_as_one_that_was_there(shelf: Callable[..., Router]) -> None:
    other_order = Shelf("CREATE TABLE IF NOT EXISTS item (weight REAL, name TEXT PRIMARY KEY)")
    assert shelf(OAK).digest() == shelf(OAK, machine=other_order).digest()


def test_requests_that_are_remembered_count(tmp_path: Path) -> None:
    digests = set()
    for number, request_id in enumerate(["a", "b", None, "a"]):
        router = Router({"ledger": Ledger(), "script": Script()})
        router.open(tmp_path / f"{number}.sqlite")
        router.apply(entry(1, Command("ledger", b"5", request_id)))
        digests.add(router.digest())
        router.close()
    assert len(digests) == 3


def test_a_flush_a_restart_and_an_empty_entry_change_nothing(tmp_path: Path) -> None:
    router = Router({"default": Ledger()})
    router.open(tmp_path / "state.sqlite")
    router.apply(entry(1, b"1", b"2"))
    digest = router.digest()
    router.apply(no_op(2))
    router.flush()
    assert router.digest() == digest
    router.close()
    again = Router({"default": Ledger()})
    again.open(tmp_path / "state.sqlite")
    assert again.digest() == digest
    again.close()


def test_machines_in_memory_count(tmp_path: Path) -> None:
    digests = set()
    for command in (b"x", b"y", b"x"):
        router = Router({"default": Script()})
        router.open(tmp_path / "none")
        router.apply(entry(1, command))
        digests.add(router.digest())
    assert len(digests) == 2
