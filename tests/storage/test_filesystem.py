"""Conformance of the file systems: what the log relies on must hold for each of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from quorate.errors import DataDirectoryLocked
from quorate.storage import FileSystem, MemoryFileSystem, RealFileSystem
from quorate.storage.filesystem import read_bytes, write_atomically


@pytest.fixture(params=["real", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[FileSystem, Path]:
    fs: FileSystem = RealFileSystem() if request.param == "real" else MemoryFileSystem()
    fs.make_directories(tmp_path)
    return fs, tmp_path


def test_bytes_are_read_back_where_they_were_written(place: tuple[FileSystem, Path]) -> None:
    fs, root = place
    file = fs.open(root / "a", create=True)
    file.write_at(0, b"hello world")
    file.write_at(6, b"there")
    assert file.read_at(0, 11) == b"hello there"
    assert file.read_at(6, 100) == b"there"
    assert file.read_at(50, 10) == b""
    assert file.size == 11
    file.sync()
    file.close()
    assert read_bytes(fs, root / "a") == b"hello there"


def test_a_gap_reads_as_zeros(place: tuple[FileSystem, Path]) -> None:
    fs, root = place
    file = fs.open(root / "a", create=True)
    file.write_at(4, b"x")
    assert file.read_at(0, 10) == b"\0\0\0\0x"
    file.close()


def test_truncate_drops_and_allocate_extends_with_zeros_and_never_shrinks(place: tuple[FileSystem, Path]) -> None:
    fs, root = place
    file = fs.open(root / "a", create=True)
    file.write_at(0, b"abcdef")
    file.truncate(3)
    file.allocate(6)
    assert file.read_at(0, 10) == b"abc\0\0\0"
    file.allocate(2)
    assert file.size == 6
    file.close()


def test_opening_what_is_missing_raises(place: tuple[FileSystem, Path]) -> None:
    fs, root = place
    with pytest.raises(FileNotFoundError):
        fs.open(root / "a")
    with pytest.raises(FileNotFoundError):
        fs.open(root / "missing" / "a", create=True)
    with pytest.raises(FileNotFoundError):
        fs.list_files(root / "missing")
    with pytest.raises(FileNotFoundError):
        fs.remove(root / "a")
    with pytest.raises(FileNotFoundError):
        fs.rename(root / "a", root / "b")


def test_create_keeps_what_is_there(place: tuple[FileSystem, Path]) -> None:
    fs, root = place
    write_atomically(fs, root / "a", b"kept")
    fs.open(root / "a", create=True).close()
    assert read_bytes(fs, root / "a") == b"kept"


def test_rename_replaces_and_open_handles_follow_the_file(place: tuple[FileSystem, Path]) -> None:
    fs, root = place
    write_atomically(fs, root / "b", b"old")
    file = fs.open(root / "a", create=True)
    file.write_at(0, b"new")
    fs.rename(root / "a", root / "b")
    file.write_at(3, b"er")
    file.close()
    assert read_bytes(fs, root / "b") == b"newer"
    assert not fs.exists(root / "a")


def test_a_removed_file_stays_usable_while_it_is_open(place: tuple[FileSystem, Path]) -> None:
    fs, root = place
    file = fs.open(root / "a", create=True)
    file.write_at(0, b"x")
    fs.remove(root / "a")
    assert file.read_at(0, 1) == b"x"
    assert not fs.exists(root / "a")
    file.close()


def test_files_are_listed_in_order_and_without_directories(place: tuple[FileSystem, Path]) -> None:
    fs, root = place
    fs.make_directories(root / "sub" / "deeper")
    for name in ("b", "c", "a", "sub/d"):
        fs.open(root / name, create=True).close()
    assert fs.list_files(root) == ["a", "b", "c"]
    assert fs.exists(root / "sub" / "deeper")
    fs.make_directories(root / "sub" / "deeper")


def test_no_directory_can_be_made_below_a_file(place: tuple[FileSystem, Path]) -> None:
    fs, root = place
    fs.open(root / "a", create=True).close()
    for path in (root / "a", root / "a" / "b"):
        with pytest.raises(OSError):
            fs.make_directories(path)


def test_a_closed_file_is_unusable(place: tuple[FileSystem, Path]) -> None:
    fs, root = place
    file = fs.open(root / "a", create=True)
    file.close()
    file.close()
    with pytest.raises(OSError):
        file.read_at(0, 1)
    with pytest.raises(OSError):
        file.write_at(0, b"x")


def test_a_lock_excludes_until_released(place: tuple[FileSystem, Path]) -> None:
    fs, root = place
    lock = fs.lock(root / "LOCK")
    with pytest.raises(DataDirectoryLocked, match="in use by"):
        fs.lock(root / "LOCK")
    lock.release()
    lock.release()
    fs.lock(root / "LOCK").release()


def test_write_atomically_replaces_the_whole_content(place: tuple[FileSystem, Path]) -> None:
    fs, root = place
    write_atomically(fs, root / "a", b"a long first content")
    write_atomically(fs, root / "a", b"short")
    assert read_bytes(fs, root / "a") == b"short"
    assert fs.list_files(root) == ["a"]
