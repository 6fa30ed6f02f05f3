"""The SQLite file: transactions, checkpoints beside a writer, and failures as one kind of error."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest

from quorate.errors import StorageFailed
from quorate.machine import sqlite
from quorate.machine.sqlite import SqliteState


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


def rows(path: Path) -> list[tuple[object, ...]]:
    connection = apsw.Connection(str(path))
    try:
        return list(connection.execute("SELECT machine, entry_index, time_us FROM quorate_applied"))
    finally:
        connection.close()


def test_what_is_committed_is_seen_by_others_and_what_is_not_is_forgotten(path: Path) -> None:
    state = SqliteState(path)
    state.begin()
    state.set_applied("one", 5, 50)
    assert rows(path) == []
    state.commit()
    assert rows(path) == [("one", 5, 50)]
    state.begin()
    state.set_applied("one", 6, 60)
    state.close()
    assert rows(path) == [("one", 5, 50)]


def test_begin_and_commit_may_be_repeated(path: Path) -> None:
    state = SqliteState(path)
    state.begin()
    state.begin()
    state.commit()
    state.commit()
    state.rollback()
    state.close()


def fill_and_fail(state: SqliteState) -> None:
    state.set_applied("two", 2, 2)
    raise ZeroDivisionError


def test_a_savepoint_undoes_its_block_only(path: Path) -> None:
    state = SqliteState(path)
    state.begin()
    state.set_applied("one", 1, 1)
    with pytest.raises(ZeroDivisionError), state.savepoint():
        fill_and_fail(state)
    with state.savepoint():
        state.set_applied("three", 3, 3)
    state.commit()
    state.close()
    assert rows(path) == [("one", 1, 1), ("three", 3, 3)]


def test_a_checkpoint_that_finds_the_file_busy_is_no_failure(path: Path) -> None:
    class Busy:
        def wal_checkpoint(self, mode: int) -> tuple[int, int]:
            raise apsw.BusyError("database is locked")

    state = SqliteState(path)
    real = state._checkpointer
    state._checkpointer = Busy()  # type: ignore[assignment]
    assert state.sync() == (0, False)
    state._checkpointer = real
    state.begin()
    state.set_applied("one", 1, 1)
    state.commit()
    synced = state.sync()
    assert synced.complete
    assert synced.pages > 0
    state.close()


def test_a_checkpoint_of_a_closed_file_is_not_complete(path: Path) -> None:
    state = SqliteState(path)
    state.close()
    assert state.sync() == (0, False)


def test_a_file_that_another_program_has_open_must_not_be_replaced(path: Path) -> None:
    state = SqliteState(path)
    other = apsw.Connection(str(path))
    other.execute("SELECT * FROM quorate_applied").fetchall()
    state.close()
    with pytest.raises(StorageFailed, match="another program"):
        state.check_released()
    other.close()
    state = SqliteState(path)
    state.close()
    state.check_released()


def test_checkpoints_run_beside_a_writer(path: Path) -> None:
    state = SqliteState(path)
    with ThreadPoolExecutor(1) as pool:
        for index in range(1, 101):
            state.begin()
            state.set_applied("one", index, index)
            checkpoint = pool.submit(state.sync)
            if index % 3 == 0:
                state.commit()
            checkpoint.result()
    state.commit()
    state.close()
    assert rows(path) == [("one", 100, 100)]


def test_a_file_that_another_process_keeps_locked_is_a_storage_failure(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_MS", 1)
    state = SqliteState(path)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageFailed, match="cannot write"):
        state.begin()
    other.close()
    state.begin()
    state.close()


def test_the_state_survives_a_process_that_never_closes_it(path: Path, tmp_path: Path) -> None:
    state = SqliteState(path)
    state.begin()
    state.set_applied("one", 1, 1)
    state.commit()
    state.begin()
    state.set_applied("one", 2, 2)
    copy = tmp_path / "copy.sqlite"
    for suffix in ("", "-wal"):
        Path(f"{copy}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    state.close()
    assert rows(copy) == [("one", 1, 1)]
