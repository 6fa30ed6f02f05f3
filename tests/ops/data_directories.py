"""Data directories as a stopped node leaves them, and what can befall them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from quorate.machine.commands import Batch, Command, encode_batch
from quorate.machine.sqlite import SqliteState
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.membership import Configuration, Member, MemberRole
from quorate.raft.output import HardState, Write
from quorate.storage.directory import DataDirectory, StoredIdentity, read_identity
from quorate.storage.real import RealFileSystem
from quorate.storage.settings import DURABLE, StorageSettings
from quorate.storage.store import GroupStore

MEMBERS = {1: "127.0.0.1:8080", 2: "127.0.0.1:8081", 3: "127.0.0.1:8082"}
TIME_US = 1_700_000_000_000_000


def commands(index: int, term: int) -> Entry:
    batch = Batch(
        TIME_US + index, 7, [Command("default", f"command {index}".encode()), Command("models", b"\x81\xa1a\x01")]
    )
    return Entry(index, term, EntryKind.COMMANDS, encode_batch(batch))


def membership(index: int, term: int, role: MemberRole = MemberRole.VOTER) -> Entry:
    members = tuple(Member(node_id, address) for node_id, address in MEMBERS.items())
    learner = Member(4, "127.0.0.1:8083", role if role is not MemberRole.VOTER else MemberRole.LEARNER)
    return Entry(index, term, EntryKind.MEMBERSHIP, Configuration((*members, learner)).encode())


def make_directory(
    path: Path,
    *,
    node_id: int = 1,
    last_index: int = 30,
    segment_bytes: int = 1024,
    settings: StorageSettings = DURABLE,
) -> Path:
    """Entries 1 … ``last_index`` of terms 1 and 2, a configuration in entry 10; the state has applied all but two."""
    fs = RealFileSystem()
    directory = DataDirectory(fs, path)
    directory.save_identity(
        StoredIdentity(cluster_id="quorate", node_id=node_id, address=MEMBERS[1], store=0xABC, members=MEMBERS)
    )
    store = GroupStore.open(fs, directory.group_path(), segment_bytes=segment_bytes, settings=settings)
    for index in range(1, last_index + 1):
        term = 1 if index <= 15 else 2
        entry = membership(index, term) if index == 10 else commands(index, term)
        hard_state = HardState(term, 2) if index in (1, 16) else None
        store.persist([Write(index, hard_state, (entry,))])
    store.mark()
    store.close()
    state = SqliteState(directory.state_path())
    state.begin()
    state.set_applied("default", last_index - 2, TIME_US)
    state.connection.execute("CREATE TABLE things (id INTEGER PRIMARY KEY)")
    state.connection.execute("INSERT INTO things VALUES (1), (2), (3)")
    state.commit()
    state.close()
    directory.release()
    return path


def segments(path: Path) -> list[Path]:
    return sorted((path / "groups" / "0" / "log").glob("*.raftlog"))


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def footprint(path: Path) -> dict[str, tuple[str, int]]:
    """Every file's content and time of change: what must be the same after a look."""
    return {
        str(each.relative_to(path)): (hashlib.sha256(each.read_bytes()).hexdigest(), os.stat(each).st_mtime_ns)
        for each in sorted(path.rglob("*"))
        if each.is_file()
    }


def identity_of(path: Path) -> StoredIdentity:
    identity = read_identity(RealFileSystem(), path)
    assert identity is not None
    return identity


def change_identity(path: Path, **changes: object) -> None:
    """Write another identity into the directory."""
    directory = DataDirectory(RealFileSystem(), path)
    directory.save_identity(msgspec.structs.replace(identity_of(path), **changes))
    directory.release()
