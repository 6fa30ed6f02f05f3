"""Copies of the SQLite file: of one moment, whole, and refused when they are damaged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import apsw
import pytest

from quorate.errors import CorruptLog, StorageError
from quorate.machine import copies
from quorate.machine.sqlite import SqliteState


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SqliteState]:
    state = SqliteState(tmp_path / "state.sqlite")
    state.connection.execute("CREATE TABLE thing (number INTEGER PRIMARY KEY, text TEXT)")
    put(state, 1)
    yield state
    state.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a copy? 100%.sqlite"


def put(state: SqliteState, index: int, things: int = 200) -> None:
    """``things`` rows, a page for three of them, and the applied index."""
    state.begin()
    rows = [("x" * 1300,)] * things
    state.connection.executemany("INSERT INTO thing (text) VALUES (?)", rows)
    state.set_applied("one", index, index * 10)
    state.commit()


def count(path: Path) -> int:
    connection = apsw.Connection(str(path))
    try:
        found = connection.execute("SELECT count(*) FROM thing").get
        assert isinstance(found, int)
        return found
    finally:
        connection.close()


def test_a_copy_is_that_of_the_moment_it_was_pinned_at(state: SqliteState, path: Path) -> None:
    pinned = state.pin()
    put(state, 2)
    state.begin()
    state.set_applied("one", 3, 30)
    pinned.copy_to(path)
    pinned.close()
    assert copies.examine_copy(path) == {"one": (1, 10)}
    assert count(path) == 200
    state.commit()


def test_a_copy_leaves_nothing_beside_it(state: SqliteState, path: Path) -> None:
    pinned = state.pin()
    pinned.copy_to(path)
    pinned.close()
    state.examine(path)
    assert [each.name for each in path.parent.iterdir() if each.name.startswith(path.name)] == [path.name]


def test_a_copy_replaces_what_was_there(state: SqliteState, path: Path) -> None:
    path.write_bytes(b"half of an earlier copy" * 10_000)
    pinned = state.pin()
    pinned.copy_to(path)
    pinned.close()
    assert count(path) == 200


def test_a_copy_goes_on_beside_a_writer_and_never_restarts(
    state: SqliteState, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "PAGES_PER_STEP", 4)
    monkeypatch.setattr(copies, "STEPS_PER_FSYNC", 3)
    put(state, 2, things=3_000)
    pinned = state.pin()
    with ThreadPoolExecutor(1) as pool:
        copying = pool.submit(pinned.copy_to, path)
        index = 2
        while not copying.done():
            index += 1
            put(state, index, things=5)
    copying.result()
    pinned.close()
    assert index > 3
    assert copies.examine_copy(path) == {"one": (2, 20)}
    assert count(path) == 3_200


def test_while_a_moment_is_pinned_a_sync_works_but_is_not_complete(state: SqliteState) -> None:
    pinned = state.pin()
    assert state.sync().complete  # there is nothing behind it yet
    put(state, 2)
    synced = state.sync()
    assert not synced.complete
    assert synced.pages > 0
    pinned.close()
    assert state.sync().complete


def test_closing_ends_a_copy_under_way(state: SqliteState, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "PAGES_PER_STEP", 1)
    monkeypatch.setattr(copies, "STEPS_PER_FSYNC", 1)
    under_way, go_on = Event(), Event()

    def wait(descriptor: int) -> None:
        under_way.set()
        assert go_on.wait(10)

    monkeypatch.setattr(copies, "_sync_data", wait)
    pinned = state.pin()
    with ThreadPoolExecutor(1) as pool:
        copying = pool.submit(pinned.copy_to, path)
        assert under_way.wait(10)
        state.close()
        go_on.set()
        with pytest.raises(StorageError, match="given up"):
            copying.result()
    state.check_released()


def test_a_pin_is_closed_as_often_as_one_likes_and_gives_no_copy_then(state: SqliteState, path: Path) -> None:
    pinned = state.pin()
    pinned.close()
    pinned.close()
    with pytest.raises(StorageError, match="given up"):
        pinned.copy_to(path)


def test_a_copy_to_where_there_is_no_room_is_an_error_that_does_not_stop_the_node(state: SqliteState) -> None:
    pinned = state.pin()
    with pytest.raises(StorageError, match="cannot copy"):
        pinned.copy_to(Path("/dev/full"))
    with pytest.raises(StorageError, match="cannot copy"):
        pinned.copy_to(Path("/nowhere/at/all"))
    pinned.close()


@pytest.fixture
def copy(state: SqliteState, path: Path) -> Path:
    pinned = state.pin()
    pinned.copy_to(path)
    pinned.close()
    return path


def test_a_missing_or_an_empty_copy_is_refused(copy: Path) -> None:
    os.truncate(copy, 0)
    with pytest.raises(CorruptLog):
        copies.examine_copy(copy)
    copy.unlink()
    with pytest.raises(CorruptLog):
        copies.examine_copy(copy)


@pytest.mark.parametrize("less", [1, 4096, 40_960])
def test_a_copy_that_was_cut_is_refused(copy: Path, less: int) -> None:
    os.truncate(copy, copy.stat().st_size - less)
    with pytest.raises(CorruptLog, match="bytes instead of"):
        copies.examine_copy(copy)


@pytest.mark.parametrize("page", range(4))
def test_a_copy_with_a_decayed_page_is_refused(copy: Path, page: int) -> None:
    with copy.open("r+b") as file:
        file.seek(page * 4096 + (100 if page == 0 else 0))
        file.write(b"\xff" * 512)
    with pytest.raises(CorruptLog):
        copies.examine_copy(copy)


def test_a_database_of_another_program_is_refused(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE thing (number INTEGER)")
    connection.close()
    with pytest.raises(CorruptLog, match="quorate_applied"):
        copies.examine_copy(path)


def test_the_check_of_a_large_copy_ends_in_time(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "CHECK_SECONDS_MAX", -1.0)
    monkeypatch.setattr(copies, "_PROGRESS_OPCODES", 1)
    assert copies.examine_copy(copy) == {"one": (1, 10)}
