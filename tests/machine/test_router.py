"""Several machines on one log: refusals, failures, exactly once, log time, and what a restart replays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from quorate.errors import CommandFailed, ConfigError, ProtocolViolation, RequestIdReused, StorageFailed
from quorate.machine.commands import Command
from quorate.machine.contract import DiskStateMachine, StateMachine
from quorate.machine.router import Router
from quorate.raft.entry import Entry, EntryKind

from .support import Ledger, Refusal, Script, entry, no_op

Machines = Mapping[str, StateMachine | DiskStateMachine]
Open = Callable[[Machines], Router]


@pytest.fixture
def state_path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


@pytest.fixture
def opened(state_path: Path) -> Open:
    def open_router(machines: Machines) -> Router:
        router = Router(machines)
        router.open(state_path)
        return router

    return open_router


# -- outcomes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", [Script, Ledger])
def test_each_command_has_its_outcome(opened: Open, machine: type[Script] | type[Ledger]) -> None:
    router = opened({"default": machine()})
    first, refused, failed, last = router.apply(entry(1, b"5", b"refuse", b"value error", b"6"))
    assert isinstance(refused, Refusal)
    assert type(failed) is CommandFailed
    assert str(failed) == "ValueError: not a number"
    assert isinstance(failed.__cause__, ValueError)
    assert (first, last) == ((1, 2) if machine is Script else (5, 11))
    router.close()


def test_a_broken_constraint_is_a_refusal(opened: Open) -> None:
    router = opened({"default": Ledger()})
    accepted, refused = router.apply(entry(1, b"5", b"5"))
    assert accepted == 5
    assert isinstance(refused, CommandFailed)
    router.close()


def test_a_command_for_a_machine_that_is_not_there_is_refused(opened: Open) -> None:
    router = opened({"default": Script()})
    (outcome,) = router.apply(entry(1, b"1", machine="other"))
    assert isinstance(outcome, CommandFailed)


def test_an_entry_that_is_no_batch_stops_the_node(opened: Open) -> None:
    router = opened({"default": Script()})
    with pytest.raises(ProtocolViolation):
        router.apply(Entry(1, 1, EntryKind.COMMANDS, b"rubbish"))


@pytest.mark.parametrize("command", [b"disk", b"memory", b"storage failed"])
@pytest.mark.parametrize("machine", [Script, Ledger])
def test_what_other_nodes_need_not_run_into_stops_the_node(
    opened: Open, machine: type[Script] | type[Ledger], command: bytes
) -> None:
    router = opened({"default": machine()})
    with pytest.raises(StorageFailed):
        router.apply(entry(1, Command("default", command, "id")))
    with pytest.raises(StorageFailed):
        router.apply(entry(2, b"1"))
    router.close()


def test_a_half_applied_entry_is_not_kept(opened: Open) -> None:
    router = opened({"default": Ledger()})
    router.apply(entry(1, b"1"))
    router.flush()
    router.apply(entry(2, b"2"))
    with pytest.raises(StorageFailed):
        router.apply(entry(3, b"3", b"disk", b"4"))
    router.close()
    ledger = Ledger()
    again = opened({"default": ledger})
    assert again.applied == 1
    again.apply(entry(2, b"2"))
    again.apply(entry(3, b"3", b"30", b"4"))
    assert ledger.total == 40
    again.close()


def test_a_failed_commit_leaves_the_earlier_state(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    router = opened({"default": Ledger()})
    router.apply(entry(1, b"1"))
    router.flush()
    router.apply(entry(2, b"2"))
    assert router._state is not None

    def fail() -> None:
        raise StorageFailed("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(router._state, "commit", fail)
        with pytest.raises(StorageFailed):
            router.flush()
    router.close()
    ledger = Ledger()
    again = opened({"default": ledger})
    assert (again.applied, ledger.total) == (1, 1)
    again.close()


# -- exactly once ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", [Script, Ledger])
def test_a_request_is_applied_once_and_its_retries_get_the_same_answer(
    opened: Open, machine: type[Script] | type[Ledger]
) -> None:
    router = opened({"default": machine()})
    request, refused = Command("default", b"5", "a"), Command("default", b"refuse", "b")
    first = router.apply(entry(1, request, refused))
    again = router.apply(entry(2, b"6", refused, request))
    assert again[2] == first[0]
    assert isinstance(again[1], Refusal)
    assert again[1].args == ("no", 7)
    router.close()


def test_a_request_id_belongs_to_one_command(opened: Open) -> None:
    router = opened({"default": Script(), "other": Script()})
    router.apply(entry(1, Command("default", b"5", "a")))
    (reused,) = router.apply(entry(2, Command("default", b"6", "a")))
    assert isinstance(reused, RequestIdReused)
    (elsewhere,) = router.apply(entry(3, Command("other", b"6", "a")))
    assert elsewhere == 1


def test_the_memory_of_requests_is_as_durable_as_the_state(opened: Open) -> None:
    router = opened({"default": Ledger()})
    router.apply(entry(1, Command("default", b"5", "a")))
    router.close()
    ledger = Ledger()
    again = opened({"default": ledger})
    assert again.apply(entry(2, Command("default", b"5", "a"))) == [5]
    assert ledger.applied == 0
    again.close()


# -- log time --------------------------------------------------------------------------------------------


def test_log_time_increases_whatever_the_leaders_clocks_say(opened: Open) -> None:
    script = Script()
    router = opened({"default": script})
    for index, time_us in enumerate([5_000, 5_000, 4_000, 9_000, 100], start=1):
        router.apply(entry(index, b"x", time_us=time_us))
    assert script.times == [5_000, 5_001, 5_002, 9_000, 9_001]


def test_log_time_goes_on_where_it_was_after_a_restart(opened: Open) -> None:
    class Clock(Ledger):
        times: list[int]

        def apply(self, command: bytes, context: object) -> object:
            self.times.append(context.time_us)  # type: ignore[attr-defined]
            return None

    whole, cut = Clock(), Clock()
    whole.times, cut.times = [], []
    times = [5_000, 4_000, 3_000, 2_000]
    router = opened({"default": cut})
    for index in (1, 2):
        router.apply(entry(index, b"x", time_us=times[index - 1]))
    router.close()
    router = opened({"default": cut})
    for index in (3, 4):
        router.apply(entry(index, b"x", time_us=times[index - 1]))
    router.close()
    router = opened({"whole": whole})
    for index in (1, 2, 3, 4):
        router.apply(entry(index, b"x", time_us=times[index - 1], machine="whole"))
    router.close()
    assert cut.times == whole.times == [5_000, 5_001, 5_002, 5_003]


# -- restarts --------------------------------------------------------------------------------------------


def test_a_restart_replays_only_what_is_missing(opened: Open) -> None:
    entries = [no_op(1), *(entry(index, b"%d" % index) for index in range(2, 9))]
    router = opened({"default": Ledger()})
    for each in entries[:5]:
        router.apply(each)
    router.flush()
    for each in entries[5:]:
        router.apply(each)
    router.close(flush=False)

    ledger = Ledger()
    again = opened({"default": ledger})
    assert again.applied == again.applied_by_any == 5
    for each in entries[again.applied :]:
        again.apply(each)
    assert ledger.applied == 3
    assert ledger.total == sum(range(2, 9))
    again.close()


def test_each_machine_skips_what_it_has(opened: Open) -> None:
    router = opened({"one": Ledger()})
    for index in (1, 2):
        router.apply(entry(index, b"%d" % index, machine="one"))
    router.close()
    one, script = Ledger(), Script()
    again = opened({"one": one, "script": script})
    assert (again.applied, again.applied_by_any) == (0, 2)
    both = [(Command("one", b"%d" % index), Command("script", b"%d" % index)) for index in (1, 2, 3)]
    for index, commands in enumerate(both, start=1):
        again.apply(entry(index, *commands))
    assert (one.applied, one.total, script.seen) == (1, 6, [b"1", b"2", b"3"])
    again.close()


def test_an_applied_index_never_goes_back_while_another_machine_replays(opened: Open) -> None:
    router = opened({"one": Ledger()})
    router.apply(entry(5, b"1", machine="one"))
    router.close()
    again = opened({"one": Ledger(), "script": Script()})
    again.apply(entry(1, b"1", machine="script"))
    again.close()
    assert opened({"one": Ledger()}).applied == 5


# -- opening and closing ---------------------------------------------------------------------------------


def test_machines_in_memory_need_no_file(opened: Open, state_path: Path) -> None:
    router = opened({"default": Script()})
    router.apply(entry(1, b"1"))
    router.flush()
    router.sync()
    router.close()
    assert not state_path.exists()


def test_close_closes_each_machine_once_and_only_those_it_opened(opened: Open) -> None:
    class Unfit(Ledger):
        def open(self, state: object) -> None:
            raise ConfigError("the tables do not fit")

    first, last = Ledger(), Ledger()
    router = Router({"first": first, "unfit": Unfit(), "last": last})
    with pytest.raises(ConfigError, match="do not fit"):
        router.open(":memory:")
    router.close()
    router.close()
    assert (first.closed, last.closed) == (1, 0)


def test_everything_is_closed_when_closing_a_machine_fails(opened: Open, state_path: Path) -> None:
    class Stuck(Ledger):
        def close(self) -> None:
            raise RuntimeError("stuck")

    ledger = Ledger()
    router = opened({"ledger": ledger, "stuck": Stuck()})
    router.apply(entry(1, b"1", machine="ledger"))
    with pytest.raises(RuntimeError, match="stuck"):
        router.close()
    assert ledger.closed == 1
    assert not Path(f"{state_path}-wal").exists()  # SQLite removes it with the last connection
    assert opened({"ledger": Ledger()}).applied == 1


def test_what_is_no_machine_is_refused(state_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither"):
        Router({"default": object()}).open(state_path)  # type: ignore[dict-item]


def test_a_file_that_cannot_be_opened_is_a_storage_failure(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="cannot open"):
        Router({"default": Ledger()}).open(tmp_path / "missing" / "state.sqlite")


def test_a_file_that_is_no_database_is_a_storage_failure(state_path: Path) -> None:
    state_path.write_bytes(b"not a database " * 100)
    with pytest.raises(StorageFailed):
        Router({"default": Ledger()}).open(state_path)
