"""A moment of all machines is captured, restored elsewhere, and takes the place of an older state."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import apsw
import pytest

from quorate.errors import ConfigError, CorruptLog, StorageError, StorageFailed
from quorate.machine.capture import SavedMachine, SavedMachines
from quorate.machine.commands import Command
from quorate.machine.contract import DiskStateMachine, StateMachine
from quorate.machine.router import Router

from .support import Ledger, Refusal, Script, entry, membership, no_op

Machines = Mapping[str, StateMachine | DiskStateMachine]
Open = Callable[..., Router]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens routers, each in a directory of its own; closes them in the end."""
    routers: list[Router] = []

    def open_router(machines: Machines, name: str = "node1", saved: bytes = b"") -> Router:
        router = Router(machines)
        routers.append(router)
        (tmp_path / name).mkdir(exist_ok=True)
        router.open(tmp_path / name / "state.sqlite", saved)
        return router

    yield open_router
    for router in routers:
        router.close(flush=False)


def both() -> dict[str, StateMachine | DiskStateMachine]:
    return {"ledger": Ledger(), "script": Script()}


def fill(router: Router, *indexes: int) -> None:
    for index in indexes:
        commands = [Command("ledger", b"%d" % index, f"l{index}"), Command("script", b"%d" % index, f"s{index}")]
        router.apply(entry(index, *commands))


def snapshot(router: Router, path: Path) -> tuple[int, bytes]:
    """The index and the machines in memory; the file's copy is at ``path``."""
    capture = router.capture()
    if capture.has_state:
        capture.copy_state(path)
    capture.close()
    return capture.index, capture.machines


# -- capturing -------------------------------------------------------------------------------------------


def test_a_capture_is_of_one_moment_whatever_is_applied_behind_it(opened: Open, tmp_path: Path) -> None:
    router = opened(both())
    fill(router, 1, 2, 3)
    capture = router.capture()
    fill(router, 4)
    router.flush()
    capture.copy_state(tmp_path / "copy")
    capture.close()
    assert (capture.index, capture.time_us, capture.has_state) == (3, 3_000, True)

    script, ledger = Script(), Ledger()
    (tmp_path / "node2").mkdir()
    os.rename(tmp_path / "copy", tmp_path / "node2" / "state.sqlite")
    other = opened({"ledger": ledger, "script": script}, "node2", capture.machines)
    assert (other.applied, other.applied_by_any, ledger.total, script.seen) == (3, 3, 6, [b"1", b"2", b"3"])


def test_a_capture_holds_what_was_not_flushed_yet_and_entries_without_commands(opened: Open, tmp_path: Path) -> None:
    router = opened({"ledger": Ledger()})
    router.apply(entry(1, b"5", machine="ledger"))
    router.apply(no_op(2))
    router.apply(membership(3))
    index, machines = snapshot(router, tmp_path / "copy")
    assert (index, machines) == (3, b"")
    router.check_copy(tmp_path / "copy", b"", 3)


def test_machines_in_memory_have_no_file_to_copy(opened: Open, tmp_path: Path) -> None:
    router = opened({"script": Script()})
    router.apply(entry(1, b"x", machine="script"))
    capture = router.capture()
    assert not capture.has_state
    with pytest.raises(StorageError, match="no state machine keeps"):
        capture.copy_state(tmp_path / "copy")
    capture.close()
    capture.close()


def test_there_is_nothing_to_capture_before_the_first_entry_and_during_a_replay(opened: Open) -> None:
    router = opened({"ledger": Ledger()})
    with pytest.raises(StorageError):
        router.capture()
    router.apply(entry(1, b"1", machine="ledger"))
    router.apply(entry(2, b"2", machine="ledger"))
    router.close()
    again = opened(both())
    again.apply(entry(1, b"1", machine="ledger"))
    assert not again.is_level
    with pytest.raises(StorageError):
        again.capture()
    with pytest.raises(StorageError):
        again.digest()
    again.apply(entry(2, b"2", machine="ledger"))
    assert again.is_level
    again.capture().close()


def test_a_machine_that_cannot_make_its_snapshot_does_not_stop_the_node(opened: Open) -> None:
    class Shy(Script):
        def snapshot(self) -> bytes:
            raise RuntimeError("not now")

    router = opened({"shy": Shy()})
    router.apply(entry(1, b"x", machine="shy"))
    with pytest.raises(StorageError, match="'shy' cannot make its snapshot"):
        router.capture()
    router.apply(entry(2, b"x", machine="shy"))


# -- restoring at the start ------------------------------------------------------------------------------


def test_a_restored_machine_continues_as_the_others_do(opened: Open, tmp_path: Path) -> None:
    whole, cut = Script(), Script()
    router = opened({"script": whole})
    router.apply(entry(1, Command("script", b"a", "id-a"), time_us=9_000))
    router.apply(entry(2, Command("script", b"refuse", "id-b"), time_us=5_000))
    _, machines = snapshot(router, tmp_path / "copy")
    other = opened({"script": cut}, "node2", machines)
    assert other.applied == 2
    for each in (router, other):
        each.apply(entry(3, b"c", machine="script", time_us=1))
    assert cut.seen == whole.seen == [b"a", b"c"]
    assert cut.times == [9_002] == whole.times[-1:]
    assert other.digest() == router.digest()


def test_a_retry_of_a_request_from_before_the_snapshot_gets_the_first_answer(opened: Open, tmp_path: Path) -> None:
    router = opened(both())
    fill(router, 1, 2)
    refused = Command("script", b"refuse", "refused")
    router.apply(entry(3, refused))
    _, machines = snapshot(router, tmp_path / "copy")
    other = opened(both(), "node2")
    other.replace_state(lambda: os.rename(tmp_path / "copy", tmp_path / "node2" / "state.sqlite"), machines, 3)
    retries = [Command("ledger", b"2", "l2"), Command("script", b"2", "s2"), refused, Command("script", b"3", "s2")]
    ledger, script, refusal, reused = other.apply(entry(4, *retries))
    assert (ledger, script) == (3, 2)
    assert isinstance(refusal, Refusal)
    assert "was used for another command" in str(reused)


def test_the_oldest_requests_give_way_in_a_restored_machine_too(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quorate.machine.sessions.REQUESTS_MAX", 2)
    router = opened({"script": Script()})
    for index in (1, 2):
        router.apply(entry(index, Command("script", b"%d" % index, f"s{index}")))
    _, machines = snapshot(router, tmp_path / "copy")
    other = opened({"script": Script()}, "node2", machines)
    for each in (router, other):
        each.apply(entry(3, Command("script", b"3", "s3")))
        assert each.apply(entry(4, Command("script", b"1", "s1"))) == [4]
    assert other.digest() == router.digest()


def test_what_is_no_snapshot_of_machines_is_refused(opened: Open) -> None:
    with pytest.raises(CorruptLog, match="cannot be read"):
        opened({"script": Script()}, saved=b"rubbish")
    rubbish = SavedMachines(1, 1, [SavedMachine("script", b"rubbish", [])]).encode()
    with pytest.raises(CorruptLog, match="'script' cannot be restored"):
        opened({"script": Script()}, saved=rubbish)


@pytest.mark.parametrize(
    ("run_here", "message"),
    [
        ({}, "holds the state machine 'script', which is not run here"),
        ({"script": Script(), "other": Script()}, "'other' is run here, but the snapshot does not hold it"),
    ],
)
def test_a_snapshot_of_other_machines_is_a_mistake_in_the_configuration(
    opened: Open, tmp_path: Path, run_here: Machines, message: str
) -> None:
    router = opened({"script": Script()})
    router.apply(entry(1, b"x", machine="script"))
    _, machines = snapshot(router, tmp_path / "copy")
    with pytest.raises(ConfigError, match=message):
        opened(run_here, "node2", machines)


# -- replacing a running state ---------------------------------------------------------------------------


def test_a_snapshot_takes_the_place_of_an_older_state(opened: Open, tmp_path: Path) -> None:
    ahead, behind = opened(both()), opened(both(), "node2")
    fill(behind, 1)
    fill(ahead, 1, 2, 3)
    ahead.apply(no_op(4))
    index, machines = snapshot(ahead, tmp_path / "copy")
    behind.check_copy(tmp_path / "copy", machines, index)
    state = tmp_path / "node2" / "state.sqlite"
    behind.replace_state(lambda: os.replace(tmp_path / "copy", state), machines, index)
    assert (behind.applied, behind.applied_by_any, behind.durable_index, behind.unflushed) == (4, 4, 4, 0)
    assert behind.digest() == ahead.digest()
    for router in (ahead, behind):
        fill(router, 5)
        router.flush()
        assert router.sync().complete
    assert behind.digest() == ahead.digest()
    ledger = behind.machines["ledger"]
    assert isinstance(ledger, Ledger)
    assert (ledger.closed, ledger.total) == (1, 11)
    behind.close()
    assert opened({"ledger": Ledger()}, "node2").applied == 5


def test_a_capture_under_way_ends_when_the_state_is_replaced(opened: Open, tmp_path: Path) -> None:
    router = opened({"ledger": Ledger()})
    router.apply(entry(1, b"1", machine="ledger"))
    snapshot(router, tmp_path / "copy")
    capture = router.capture()
    router.replace_state(lambda: os.replace(tmp_path / "copy", tmp_path / "node1" / "state.sqlite"), b"", 1)
    with pytest.raises(StorageError, match="given up"):
        capture.copy_state(tmp_path / "late")
    capture.close()
    router.apply(entry(2, b"2", machine="ledger"))
    router.flush()
    assert router.sync().complete
    assert router.durable_index == 2


def failing_switch() -> None:
    raise OSError(5, "Input/output error")


def test_a_switch_that_fails_leaves_the_router_broken_and_the_old_state_on_disk(opened: Open, tmp_path: Path) -> None:
    router = opened(both())
    fill(router, 1)
    _, machines = snapshot(router, tmp_path / "copy")
    with pytest.raises(StorageFailed, match="cannot be replaced"):
        router.replace_state(failing_switch, machines, 1)
    for call in (lambda: router.apply(no_op(2)), router.flush, router.capture, router.digest):
        with pytest.raises(StorageFailed):
            call()
    assert not router.sync().complete
    router.close()
    assert opened({"ledger": Ledger()}).applied == 1


def test_a_snapshot_whose_machines_disagree_leaves_the_router_broken(opened: Open, tmp_path: Path) -> None:
    router = opened(both())
    fill(router, 1)
    _, machines = snapshot(router, tmp_path / "old")
    fill(router, 2)
    snapshot(router, tmp_path / "new")
    with pytest.raises(CorruptLog, match="different entries"):
        router.replace_state(lambda: os.replace(tmp_path / "new", tmp_path / "node1" / "state.sqlite"), machines, 2)
    with pytest.raises(StorageFailed):
        router.apply(no_op(3))


def test_a_machine_that_cannot_be_opened_again_leaves_the_router_broken(opened: Open, tmp_path: Path) -> None:
    class Once(Ledger):
        def open(self, state: object) -> None:
            if self.closed:
                raise ConfigError("the tables do not fit")
            super().open(state)  # type: ignore[arg-type]

    router = opened({"ledger": Once()})
    router.apply(entry(1, b"1", machine="ledger"))
    with pytest.raises(StorageFailed, match="do not fit"):
        router.replace_state(lambda: None, b"", 1)
    with pytest.raises(StorageFailed):
        router.capture()


def test_a_file_that_another_program_reads_is_not_replaced(opened: Open, tmp_path: Path) -> None:
    router = opened({"ledger": Ledger()})
    router.apply(entry(1, b"1", machine="ledger"))
    other = apsw.Connection(str(tmp_path / "node1" / "state.sqlite"))
    other.execute("SELECT * FROM ledger").fetchall()
    switched: list[bool] = []
    with pytest.raises(StorageFailed, match="another program"):
        router.replace_state(lambda: switched.append(True), b"", 1)
    other.close()
    assert switched == []


def test_other_machines_are_refused_before_anything_is_closed(opened: Open) -> None:
    router = opened(both())
    fill(router, 1)
    with pytest.raises(ConfigError, match="'script' is run here"):
        router.replace_state(failing_switch, b"", 1)
    with pytest.raises(CorruptLog):
        router.replace_state(failing_switch, b"rubbish", 1)
    fill(router, 2)
    router.flush()


# -- checking a snapshot before it is used ---------------------------------------------------------------


def test_a_copy_of_another_entry_is_refused(opened: Open, tmp_path: Path) -> None:
    router = opened(both())
    fill(router, 1, 2)
    index, machines = snapshot(router, tmp_path / "copy")
    router.check_copy(tmp_path / "copy", machines, index)
    for wrong in (1, 3):
        with pytest.raises(CorruptLog, match=f"stand at entry 2 instead of {wrong}"):
            router.check_copy(tmp_path / "copy", machines, wrong)
    alone = opened({"ledger": Ledger()}, "node2")
    for wrong in (1, 3):
        with pytest.raises(CorruptLog, match=f"that of entry 2 instead of {wrong}"):
            alone.check_copy(tmp_path / "copy", b"", wrong)


def test_a_damaged_copy_is_refused(opened: Open, tmp_path: Path) -> None:
    router = opened(both())
    fill(router, 1)
    index, machines = snapshot(router, tmp_path / "copy")
    with pytest.raises(CorruptLog):
        router.check_copy(tmp_path / "copy", machines[:-1], index)
    os.truncate(tmp_path / "copy", 8192)
    with pytest.raises(CorruptLog):
        router.check_copy(tmp_path / "copy", machines, index)


def test_a_copy_that_no_machine_has_written_to_is_refused(opened: Open, tmp_path: Path) -> None:
    router = opened({"ledger": Ledger()}, "node2")
    router.close()
    (tmp_path / "copy").write_bytes((tmp_path / "node2" / "state.sqlite").read_bytes())
    with pytest.raises(CorruptLog, match="is that of entry 0 instead of 1"):
        opened({"ledger": Ledger()}).check_copy(tmp_path / "copy", b"", 1)


@pytest.mark.parametrize(
    ("run_here", "message"),
    [
        ({"other": Ledger()}, "holds the state machine 'ledger', which is not run here"),
        ({"ledger": Ledger(), "script": Script()}, "'script' is run here"),
        ({}, "has state machines that keep their state in a file, but none here does"),
    ],
)
def test_a_copy_of_other_machines_is_a_mistake_in_the_configuration(
    opened: Open, tmp_path: Path, run_here: Machines, message: str
) -> None:
    router = opened({"ledger": Ledger()})
    router.apply(entry(1, b"1", machine="ledger"))
    index, machines = snapshot(router, tmp_path / "copy")
    with pytest.raises(ConfigError, match=message):
        opened(run_here, "node2").check_copy(tmp_path / "copy", machines, index)


def test_a_snapshot_without_a_file_does_not_fit_machines_that_need_one(opened: Open) -> None:
    with pytest.raises(ConfigError, match="has no state machines that keep their state in a file"):
        opened({"ledger": Ledger()}).check_copy(None, b"", 1)


def test_a_machine_that_was_given_up_long_ago_does_not_spoil_a_snapshot(opened: Open, tmp_path: Path) -> None:
    router = opened({"old": Ledger()})
    router.apply(entry(1, b"1", machine="old"))
    router.close()
    (tmp_path / "node1" / "state.sqlite").rename(tmp_path / "kept")
    (tmp_path / "node3").mkdir()
    (tmp_path / "kept").rename(tmp_path / "node3" / "state.sqlite")
    router = opened({"ledger": Ledger()}, "node3")
    for index in (1, 2):
        router.apply(entry(index, b"%d" % (index * 10), machine="ledger"))
    index, machines = snapshot(router, tmp_path / "copy")
    router.check_copy(tmp_path / "copy", machines, index)
