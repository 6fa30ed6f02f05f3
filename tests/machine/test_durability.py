"""What is durable without the log, which entries count as applied, and what a witness does not do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from quorate.errors import ProtocolViolation, StorageError, StorageFailed
from quorate.machine.contract import DiskStateMachine, StateMachine
from quorate.machine.router import Router
from quorate.machine.sqlite import SqliteState, Synced

from .support import Ledger, Script, entry, membership, no_op, witnessed

Machines = Mapping[str, StateMachine | DiskStateMachine]
Open = Callable[..., Router]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    routers: list[Router] = []

    def open_router(machines: Machines | Router, *, witness: bool = False) -> Router:
        router = machines if isinstance(machines, Router) else Router(machines, witness=witness)
        routers.append(router)
        router.open(tmp_path / "state.sqlite")
        return router

    yield open_router
    for router in routers:
        router.close(flush=False)


# -- the durable index -----------------------------------------------------------------------------------


def test_on_disk_what_was_flushed_is_durable_with_the_next_complete_sync(opened: Open) -> None:
    router = opened({"default": Ledger()})
    assert router.durable_index == 0
    router.apply(entry(1, b"1"))
    assert router.sync().complete
    assert router.durable_index == 0  # nothing was flushed
    router.flush()
    assert router.durable_index == 0
    assert router.sync().complete
    assert router.durable_index == 1


def test_what_is_flushed_during_a_sync_does_not_count(opened: Open) -> None:
    class Meanwhile(SqliteState):
        def sync(self) -> Synced:
            synced = super().sync()
            if router.unflushed:
                router.flush()
            return synced

    router = Router({"default": Ledger()}, open_state=Meanwhile)
    opened(router)
    router.apply(entry(1, b"1"))
    router.flush()
    router.apply(entry(2, b"2"))
    assert router.sync().complete
    assert router.durable_index == 1
    router.sync()
    assert router.durable_index == 2


def test_a_sync_that_is_not_complete_makes_nothing_durable(opened: Open) -> None:
    router = opened({"default": Ledger()})
    router.apply(entry(1, b"1"))
    capture = router.capture()
    router.apply(entry(2, b"2"))
    router.flush()
    assert not router.sync().complete
    assert router.durable_index == 0
    capture.close()
    assert router.sync().complete
    assert router.durable_index == 2


def test_what_the_file_holds_is_durable_once_it_is_open(opened: Open) -> None:
    router = opened({"default": Ledger()})
    router.apply(entry(1, b"1"))
    router.close()
    assert opened({"default": Ledger()}).durable_index == 1


def test_in_memory_what_was_saved_is_durable(opened: Open) -> None:
    router = opened({"default": Script()})
    for index in (1, 2, 3):
        router.apply(entry(index, b"x"))
    assert router.sync() == Synced(0, True)
    assert router.durable_index == 0
    router.machines_saved(2)
    router.machines_saved(1)
    assert router.durable_index == 2


def test_with_both_kinds_of_machines_the_lower_counts(opened: Open) -> None:
    router = opened({"disk": Ledger(), "memory": Script()})
    for index in (1, 2, 3):
        router.apply(no_op(index))
    router.machines_saved(2)
    assert router.durable_index == 0
    router.flush()
    router.sync()
    assert router.durable_index == 2
    router.machines_saved(5)
    assert router.durable_index == 3


def test_a_machine_that_still_replays_holds_back_what_is_durable(opened: Open) -> None:
    router = opened({"one": Ledger()})
    router.apply(entry(1, b"1", machine="one"))
    router.apply(entry(2, b"2", machine="one"))
    router.close()
    again = opened({"one": Ledger(), "two": Ledger()})
    assert again.durable_index == 0
    again.apply(entry(1, b"1", machine="one"))
    again.flush()
    again.sync()
    assert again.durable_index == 1


# -- the applied index -----------------------------------------------------------------------------------


@pytest.mark.parametrize("machines", [{"default": Script()}, {"default": Ledger()}, {}], ids=["memory", "disk", "none"])
def test_entries_without_commands_are_applied_too(opened: Open, machines: Machines) -> None:
    router = opened(machines)
    for index, each in enumerate([no_op(1), membership(2), no_op(3)], start=1):
        assert router.apply(each) == []
        assert (router.applied, router.applied_by_any) == (index, index)
    assert router.unflushed == 0


def test_an_applied_index_without_commands_is_kept_by_a_flush(opened: Open) -> None:
    router = opened({"default": Ledger()})
    router.apply(no_op(1))
    router.apply(membership(2))
    router.flush()
    router.close(flush=False)
    assert opened({"default": Ledger()}).applied == 2


# -- witnesses -------------------------------------------------------------------------------------------


def test_a_node_that_holds_data_never_applies_a_hole(opened: Open) -> None:
    router = opened({"default": Ledger()})
    router.apply(entry(1, b"1"))
    router.flush()
    with pytest.raises(ProtocolViolation, match="only a witness"):
        router.apply(witnessed(2))
    with pytest.raises(StorageFailed):
        router.apply(entry(2, b"2"))
    router.close()
    assert opened({"default": Ledger()}).applied == 1


def test_a_witness_gives_its_machines_nothing_and_makes_no_file(opened: Open, tmp_path: Path) -> None:
    script = Script()
    router = opened({"script": script, "ledger": Ledger()}, witness=True)
    for each in (no_op(1), witnessed(2), entry(3, b"x", machine="script"), membership(4)):
        assert router.apply(each) == []
    router.flush()
    assert router.sync() == Synced(0, True)
    assert (router.applied, router.applied_by_any, router.durable_index, script.seen) == (4, 4, 4, [])
    assert router.digest() == ""
    with pytest.raises(StorageError):
        router.capture()
    with pytest.raises(StorageError):
        router.replace_state(lambda: None, b"", 4)
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_becomes_a_witness_keeps_what_it_had_and_says_so(opened: Open) -> None:
    ledger = Ledger()
    router = opened({"default": ledger})
    router.apply(entry(1, b"1"))
    router.become_witness()
    assert router.apply(entry(2, b"2")) == []
    assert router.apply(witnessed(3)) == []
    assert (router.applied, ledger.total) == (3, 1)
    router.close()
    assert opened({"default": Ledger()}).applied == 1
