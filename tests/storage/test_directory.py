"""A data directory belongs to one node and is used by one process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.errors import ConfigError, CorruptLog, DataDirectoryLocked, StorageError
from quorate.storage import DataDirectory, MemoryFileSystem, RealFileSystem, StoredIdentity

HOLDER = """
import sys
from pathlib import Path
from quorate.storage import DataDirectory, RealFileSystem
directory = DataDirectory(RealFileSystem(), Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""

IDENTITY = StoredIdentity(
    cluster_id="c0ffee", node_id=2, address="127.0.0.1:8081", members={1: "127.0.0.1:8080", 2: "127.0.0.1:8081"}
)


def test_the_directory_is_made_and_lays_out_its_groups(tmp_path: Path) -> None:
    directory = DataDirectory(RealFileSystem(), tmp_path / "data" / "node1")
    assert directory.path.is_dir()
    assert directory.group_path() == directory.path / "groups" / "0"
    assert directory.state_path(7) == directory.path / "groups" / "7" / "state.sqlite"
    directory.release()


def test_it_is_locked_until_released(tmp_path: Path) -> None:
    directory = DataDirectory(RealFileSystem(), tmp_path)
    with pytest.raises(DataDirectoryLocked, match=f"process {os.getpid()}"):
        DataDirectory(RealFileSystem(), tmp_path)
    directory.release()
    directory.release()
    DataDirectory(RealFileSystem(), tmp_path).release()


def test_another_process_that_holds_it_is_named_and_its_death_frees_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(DataDirectoryLocked, match=f"{tmp_path} is in use by process {holder.pid}"):
            DataDirectory(RealFileSystem(), tmp_path)
        holder.kill()
        holder.wait()
    DataDirectory(RealFileSystem(), tmp_path).release()


def test_a_file_in_its_place_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(ConfigError, match="cannot be used") as caught:
            DataDirectory(RealFileSystem(), path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    """A directory that may not be written to. Root may write anywhere, so it steps down for a while."""
    tmp_path.chmod(0o500)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield tmp_path
    finally:
        os.seteuid(user)


def test_an_unwritable_directory_is_a_clear_error(unwritable: Path) -> None:
    for path in (unwritable, unwritable / "data"):
        with pytest.raises(ConfigError, match="Permission denied"):
            DataDirectory(RealFileSystem(), path)


def test_a_full_disk_is_a_clear_error() -> None:
    fs = MemoryFileSystem()
    fs.lose_power_after(0)
    with pytest.raises(ConfigError, match="cannot be used"):
        DataDirectory(fs, Path("/data"))


def test_the_identity_survives_power_loss() -> None:
    fs = MemoryFileSystem()
    directory = DataDirectory(fs, Path("/data"))
    assert directory.load_identity(2) is None
    directory.save_identity(IDENTITY)
    fs.crash()
    assert DataDirectory(fs, Path("/data")).load_identity(2) == IDENTITY


def test_the_directory_of_another_node_is_refused() -> None:
    directory = DataDirectory(MemoryFileSystem(), Path("/data"))
    directory.save_identity(IDENTITY)
    with pytest.raises(ConfigError, match="this data directory belongs to node 2, not to node 1: /data"):
        directory.load_identity(1)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"node_id": "two"}', b"\xff\xfe"])
def test_an_unreadable_identity_is_an_error(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_bytes(text)
    directory = DataDirectory(RealFileSystem(), tmp_path)
    with pytest.raises(CorruptLog, match=r"identity\.json is damaged"):
        directory.load_identity(2)
    directory.release()


def test_an_identity_that_cannot_be_written_is_an_error() -> None:
    fs = MemoryFileSystem()
    directory = DataDirectory(fs, Path("/data"))
    fs.fail_next_write()
    with pytest.raises(StorageError, match="No space left"):
        directory.save_identity(IDENTITY)


def test_no_flipped_bit_of_the_identity_goes_unnoticed() -> None:
    fs = MemoryFileSystem()
    directory = DataDirectory(fs, Path("/data"))
    directory.save_identity(IDENTITY)
    path = Path("/data/identity.json")
    size = fs.open(path).size
    for offset in range(size):
        for bit in range(8):
            fs.flip_bit(path, offset, bit)
            try:
                assert directory.load_identity(2) == IDENTITY, "only layout may change without being noticed"
            except CorruptLog:
                pass
            fs.flip_bit(path, offset, bit)


def test_an_identity_of_an_earlier_version_has_no_checksum(tmp_path: Path) -> None:
    directory = DataDirectory(RealFileSystem(), tmp_path)
    text = '{"cluster_id": "c", "node_id": 2, "address": "127.0.0.1:8081", "members": {"2": "127.0.0.1:8081"}}'
    (tmp_path / "identity.json").write_text(text)
    loaded = directory.load_identity(2)
    assert loaded is not None
    assert loaded.members == {2: "127.0.0.1:8081"}
    directory.release()
