"""Where the log is not synced before entries are applied: nothing reaches the file that the log does not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from quorate.errors import StorageFailed
from quorate.machine.flushing import PATIENCE_SECONDS
from quorate.machine.router import Router
from quorate.machine.sqlite import SqliteState

from .support import Ledger, entry, no_op
from .test_cached import Tally


class Log:
    """A log of which somebody else makes nothing durable."""

    def __init__(self, router: Router) -> None:
        self.durable_index = 0
        self.syncs = 0
        self.fails = False
        self._router = router

    def sync(self) -> None:
        if self.fails:
            raise StorageFailed("the disk of the log is gone")
        self.syncs += 1
        self.durable_index = self._router.applied_by_any


class Clocked(SqliteState):
    """Its clock stands still until it is told to go on."""

    now = 0.0

    def clock(self) -> float:
        return self.now


@pytest.fixture
def router(tmp_path: Path) -> Router:
    return made(tmp_path, Ledger())


def made(tmp_path: Path, machine: Ledger | Tally) -> Router:
    router = Router({"default": machine}, open_state=Clocked)
    router.log = Log(router)
    router.open(tmp_path / "state.sqlite")
    return router


def log_of(router: Router) -> Log:
    assert isinstance(router.log, Log)
    return router.log


def committed(tmp_path: Path) -> int:
    state = SqliteState(tmp_path / "state.sqlite")
    try:
        return state.applied().get("default", (0, 0))[0]
    finally:
        state.close()


def test_a_flush_syncs_the_log_before_it_commits(router: Router, tmp_path: Path) -> None:
    router.apply(entry(1, b"1"))
    assert router.awaits_log
    router.flush()
    assert (log_of(router).syncs, committed(tmp_path)) == (1, 1)
    assert not router.awaits_log
    router.apply(entry(2, b"2"))
    log_of(router).durable_index = 2
    router.flush()
    assert (log_of(router).syncs, committed(tmp_path)) == (1, 2), "the log's writer was here first"
    router.close()


def test_a_log_that_cannot_be_synced_leaves_the_file_as_it_was(router: Router, tmp_path: Path) -> None:
    router.apply(entry(1, b"1"))
    router.flush()
    router.apply(entry(2, b"2"))
    log_of(router).fails = True
    with pytest.raises(StorageFailed, match="the log is gone"):
        router.flush()
    with pytest.raises(StorageFailed):
        router.apply(entry(3, b"3"))
    router.close()
    assert committed(tmp_path) == 1


def test_that_nothing_has_changed_is_not_worth_a_sync_for_a_while(router: Router, tmp_path: Path) -> None:
    router.apply(entry(1, b"1"))
    router.flush()
    for index in range(2, 10):
        router.apply(no_op(index))
        router.flush()
    assert (log_of(router).syncs, committed(tmp_path)) == (1, 1)
    log_of(router).durable_index = 9
    router.apply(entry(10, b"refuse"))
    log_of(router).durable_index = 10
    router.flush()
    assert (log_of(router).syncs, committed(tmp_path)) == (1, 10)
    router.apply(entry(11, b"refuse"))
    router.flush()
    state = router._state
    assert isinstance(state, Clocked)
    state.now += PATIENCE_SECONDS
    router.apply(entry(12, b"refuse"))
    router.flush()
    assert (log_of(router).syncs, committed(tmp_path)) == (2, 12), "else the log could not be cut for ever"
    router.close()


def test_what_was_put_off_is_committed_with_what_changes_next(router: Router, tmp_path: Path) -> None:
    router.apply(no_op(1))
    router.flush()
    assert committed(tmp_path) == 0
    router.apply(entry(2, b"5"))
    router.flush()
    assert (log_of(router).syncs, committed(tmp_path)) == (1, 2)
    router.close()


def test_a_checkpoint_syncs_the_log_once_up_to_where_it_began(tmp_path: Path) -> None:
    router = made(tmp_path, Tally())
    for index in range(1, 6):
        router.apply(entry(index, b"1"))
    router.flush()
    assert log_of(router).syncs == 0
    router.begin_checkpoint()
    for index in range(6, 20):
        router.apply(entry(index, b"1"))
        router.flush(0.0)
    assert (log_of(router).syncs, committed(tmp_path)) == (1, 5)
    router.close(flush=False)


def test_without_a_log_nothing_waits(tmp_path: Path) -> None:
    router = Router({"default": Ledger()})
    router.open(tmp_path / "state.sqlite")
    router.apply(entry(1, b"1"))
    assert not router.awaits_log
    router.flush()
    assert committed(tmp_path) == 1
    router.close()
