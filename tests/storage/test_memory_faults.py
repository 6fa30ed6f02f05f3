"""The in-memory disk loses what a real one may lose, and nothing else."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from quorate.storage import MemoryFileSystem
from quorate.storage.filesystem import SECTOR_BYTES, read_bytes, write_atomically

ROOT = Path("/disk")
FILE = ROOT / "file"


@pytest.fixture
def fs() -> MemoryFileSystem:
    fs = MemoryFileSystem()
    fs.make_directories(ROOT)
    return fs


def test_power_loss_takes_all_that_was_not_synced(fs: MemoryFileSystem) -> None:
    write_atomically(fs, FILE, b"synced")
    file = fs.open(FILE)
    file.write_at(0, b"SYNCED and more")
    assert file.read_at(0, 6) == b"SYNCED"
    fs.crash()
    assert read_bytes(fs, FILE) == b"synced"
    with pytest.raises(OSError):
        file.size  # noqa: B018


def test_a_synced_file_without_a_synced_name_is_lost(fs: MemoryFileSystem) -> None:
    file = fs.open(FILE, create=True)
    file.write_at(0, b"x")
    file.sync()
    fs.crash()
    assert not fs.exists(FILE)


def test_removals_and_renames_come_back_unless_the_directory_was_synced(fs: MemoryFileSystem) -> None:
    write_atomically(fs, FILE, b"x")
    fs.remove(FILE)
    fs.crash()
    fs.rename(FILE, ROOT / "other")
    fs.crash()
    assert read_bytes(fs, FILE) == b"x"
    fs.rename(FILE, ROOT / "other")
    fs.sync_directory(ROOT)
    fs.crash()
    assert fs.list_files(ROOT) == ["other"]


def test_a_process_that_dies_loses_no_write_but_its_locks_and_handles(fs: MemoryFileSystem) -> None:
    file = fs.open(FILE, create=True)
    file.write_at(0, b"x")
    fs.lock(ROOT / "LOCK")
    fs.kill()
    assert read_bytes(fs, FILE) == b"x"
    with pytest.raises(OSError):
        file.write_at(0, b"y")
    fs.lock(ROOT / "LOCK")


def test_random_losses_tear_between_sectors_and_never_within_one(fs: MemoryFileSystem) -> None:
    sectors = 4
    seen = set()
    for seed in range(200):
        write_atomically(fs, FILE, b"o" * SECTOR_BYTES * sectors)
        file = fs.open(FILE)
        file.write_at(0, b"n" * SECTOR_BYTES * sectors)
        fs.crash(Random(seed))
        data = read_bytes(fs, FILE)
        pieces = [data[at : at + SECTOR_BYTES] for at in range(0, len(data), SECTOR_BYTES)]
        assert all(len(set(piece)) == 1 for piece in pieces)
        seen.add(bytes(piece[0] for piece in pieces))
    assert len(seen) == 2**sectors


def test_a_later_write_to_a_sector_never_survives_without_the_earlier_one(fs: MemoryFileSystem) -> None:
    seen = set()
    for seed in range(100):
        write_atomically(fs, FILE, b"..")
        file = fs.open(FILE)
        file.write_at(0, b"1")
        file.write_at(1, b"2")
        fs.crash(Random(seed))
        seen.add(read_bytes(fs, FILE))
    assert seen == {b"..", b"1.", b"12"}


def test_the_same_seed_loses_the_same(fs: MemoryFileSystem) -> None:
    def survivors(seed: int) -> bytes:
        write_atomically(fs, FILE, b"")
        file = fs.open(FILE)
        for at in range(50):
            file.write_at(at * 300, bytes([at]) * 400)
            if at % 7 == 6:
                file.truncate(at * 200)
        fs.crash(Random(seed))
        return read_bytes(fs, FILE)

    first = [survivors(seed) for seed in range(20)]
    assert first == [survivors(seed) for seed in range(20)]
    assert len(set(first)) > 5


def test_a_failed_sync_is_never_made_good_by_the_next_one(fs: MemoryFileSystem) -> None:
    write_atomically(fs, FILE, b"old")
    file = fs.open(FILE)
    file.write_at(0, b"new")
    fs.fail_next_sync(path=FILE)
    with pytest.raises(OSError) as caught:
        file.sync()
    assert caught.value.errno == errno.EIO
    file.sync()
    assert file.read_at(0, 3) == b"new"
    fs.crash()
    assert read_bytes(fs, FILE) == b"old"


def test_a_write_to_a_full_disk_changes_nothing(fs: MemoryFileSystem) -> None:
    file = fs.open(FILE, create=True)
    changes: list[Callable[[], None]] = [lambda: file.write_at(0, b"x"), lambda: file.allocate(10)]
    for change in changes:
        fs.fail_next_write()
        with pytest.raises(OSError) as caught:
            change()
        assert caught.value.errno == errno.ENOSPC
        assert file.size == 0


def test_decay_is_durable(fs: MemoryFileSystem) -> None:
    write_atomically(fs, FILE, b"\x00\x00")
    fs.flip_bit(FILE, 1, 7)
    assert read_bytes(fs, FILE) == b"\x00\x80"
    fs.crash()
    assert read_bytes(fs, FILE) == b"\x00\x80"


def test_after_power_loss_nothing_works_until_the_crash(fs: MemoryFileSystem) -> None:
    file = fs.open(FILE, create=True)
    fs.lose_power_after(1)
    file.write_at(0, b"x")
    changes: list[Callable[[], None]] = [
        lambda: file.write_at(0, b"y"),
        lambda: file.truncate(0),
        file.sync,
        lambda: fs.remove(FILE),
    ]
    for change in changes:
        with pytest.raises(OSError, match="power"):
            change()
    assert file.read_at(0, 1) == b"x"
    fs.crash()
    fs.open(FILE, create=True).write_at(0, b"z")
