"""Snapshots: this node's own, and one that comes from a peer: stage, verify, switch, wherever power is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.errors import CorruptLog, FrameError, StorageError
from quorate.raft.output import Floor
from quorate.storage import (
    MACHINES_PART,
    SQLITE_PART,
    FileSystem,
    Incoming,
    Manifest,
    MemoryFileSystem,
    PartInfo,
    RealFileSystem,
    SnapshotDirectory,
)
from quorate.storage.filesystem import read_bytes, write_atomically
from quorate.storage.machines import encode_header

GROUP = Path("/data/groups/0")
SNAPSHOTS = GROUP / "snapshots"
STATE = GROUP / "state.sqlite"
FLOOR = Floor(100, 7, 90, b"configuration")
MACHINES = b"machines" * 300
SQLITE = b"sqlite.." * 400


def manifest_of(floor: Floor = FLOOR, machines: bytes = MACHINES, sqlite: bytes = SQLITE) -> Manifest:
    return Manifest(floor, (PartInfo.of_bytes(MACHINES_PART, machines), PartInfo.of_bytes(SQLITE_PART, sqlite)))


def chunks(
    incoming: Incoming, data: tuple[bytes, ...] = (MACHINES, SQLITE), size: int = 1000
) -> Iterator[tuple[int, int, bytes]]:
    """What a sender sends: always what is wanted next."""
    while not incoming.complete:
        part, offset = incoming.position
        yield part, offset, data[part][offset : offset + size]


def receive(incoming: Incoming, data: tuple[bytes, ...] = (MACHINES, SQLITE)) -> None:
    for chunk in chunks(incoming, data):
        assert incoming.write(*chunk)


def files(fs: FileSystem, directory: Path = GROUP) -> dict[str, bytes]:
    return {name: read_bytes(fs, directory / name) for name in fs.list_files(directory)}


@pytest.fixture(params=["real", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[FileSystem, Path]:
    fs: FileSystem = RealFileSystem() if request.param == "real" else MemoryFileSystem()
    fs.make_directories(tmp_path)
    return fs, tmp_path


# -- manifests ---------------------------------------------------------------------------------------------

parts = st.builds(
    PartInfo, st.from_regex(r"\A[a-z]{1,32}\Z"), st.integers(0, 2**63 - 1), st.integers(0, 2**32 - 1)
)  # fmt: skip
floors = st.builds(
    Floor, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.binary(max_size=100)
)


@given(floors, st.lists(parts, max_size=8, unique_by=lambda part: part.name))
def test_a_manifest_is_decoded_as_it_was(floor: Floor, found: list[PartInfo]) -> None:
    manifest = Manifest(floor, tuple(found))
    assert Manifest.decode(manifest.encode()) == manifest
    assert manifest.size_bytes == sum(part.size_bytes for part in found)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xc1",
        b"\x95" + bytes(3),
        manifest_of().encode()[:-1],
        manifest_of().encode() + b"\0",
        Manifest(Floor(-1)).encode(),
        Manifest(Floor(2**63)).encode(),
        Manifest(FLOOR, (PartInfo("a", 2**63, 0),)).encode(),
        Manifest(FLOOR, (PartInfo("a", 1, 2**32),)).encode(),
        Manifest(FLOOR, (PartInfo("../a", 1, 0),)).encode(),
        Manifest(FLOOR, (PartInfo("", 1, 0),)).encode(),
        Manifest(FLOOR, (PartInfo("a\n", 1, 0),)).encode(),
        Manifest(FLOOR, (PartInfo("a", 1, 0), PartInfo("a", 2, 0))).encode(),
        Manifest(FLOOR, tuple(PartInfo("abcdefghi"[n], 1, 0) for n in range(9))).encode(),
        Manifest(replace(FLOOR, configuration=bytes(2 << 20))).encode(),
    ],
)
def test_anything_else_is_no_manifest(bad: bytes) -> None:
    with pytest.raises(FrameError):
        Manifest.decode(bad)


@given(st.binary(max_size=100))
def test_garbage_is_no_manifest(data: bytes) -> None:
    try:
        assert Manifest.decode(data).encode()
    except FrameError:
        pass


def test_a_part_may_be_described_from_its_file(place: tuple[FileSystem, Path]) -> None:
    fs, root = place
    data = bytes(range(256)) * 10_000
    write_atomically(fs, root / "a", data)
    assert PartInfo.of_file(fs, "a", root / "a") == PartInfo.of_bytes("a", data)
    assert PartInfo.of_file(fs, "a", root / "a", 1000) == PartInfo.of_bytes("a", data[1000:])


# -- this node's own ---------------------------------------------------------------------------------------


def test_the_newest_state_of_the_machines_is_kept(place: tuple[FileSystem, Path]) -> None:
    fs, root = place
    snapshots = SnapshotDirectory(fs, root / "snapshots")
    assert snapshots.load_machines(1 << 40) is None
    for index in (9, 10, 11):
        snapshots.save_machines(Floor(index, 2, 1, b"x"), b"%d" % index)
    assert len(fs.list_files(snapshots.path)) == 1
    for each in (snapshots, SnapshotDirectory(fs, root / "snapshots")):
        assert each.load_machines(11) == (Floor(11, 2, 1, b"x"), b"11")
        assert each.load_machines(10) is None
    snapshots.save_machines(Floor(12), b"")
    assert snapshots.load_machines(12) == (Floor(12), b"")


def test_every_bit_flip_in_the_state_of_the_machines_is_found() -> None:
    fs = MemoryFileSystem()
    snapshots = SnapshotDirectory(fs, SNAPSHOTS)
    snapshots.save_machines(FLOOR, b"some state")
    path = SNAPSHOTS / fs.list_files(SNAPSHOTS)[0]
    whole = read_bytes(fs, path)
    for place in range(8 * len(whole)):
        fs.flip_bit(path, place // 8, place % 8)
        with pytest.raises(CorruptLog, match="damaged"):
            snapshots.load_machines(100)
        fs.flip_bit(path, place // 8, place % 8)
    for size in range(len(whole)):
        write_atomically(fs, path, whole[:size])
        with pytest.raises(CorruptLog, match="damaged"):
            snapshots.load_machines(100)
    write_atomically(fs, path.with_name("machines-00000000000000000077.snapshot"), whole)
    with pytest.raises(CorruptLog, match="damaged"):
        snapshots.load_machines(99)


@pytest.mark.parametrize("seed", [None, *range(10)])
def test_the_state_of_the_machines_is_the_old_or_the_new_one_wherever_power_is_lost(seed: int | None) -> None:
    rng = Random(seed)
    for changes in range(200):
        fs = MemoryFileSystem()
        snapshots = SnapshotDirectory(fs, SNAPSHOTS)
        snapshots.save_machines(Floor(10, 1), b"old" * 1000)
        fs.lose_power_after(changes)
        try:
            snapshots.save_machines(Floor(20, 1), b"new" * 1000)
        except StorageError:
            finished = False
        else:
            finished = True
        fs.crash(rng if seed is not None else None)
        snapshots = SnapshotDirectory(fs, SNAPSHOTS)
        snapshots.clear()
        found = snapshots.load_machines(100)
        assert found in ([] if finished else [(Floor(10, 1), b"old" * 1000)]) + [(Floor(20, 1), b"new" * 1000)]
        snapshots.save_machines(Floor(30, 1), b"next")
        assert len(fs.list_files(SNAPSHOTS)) == 1
        if finished:
            break
    assert finished
    assert changes > 5


def test_what_is_unfinished_is_cleared_away() -> None:
    fs = MemoryFileSystem()
    snapshots = SnapshotDirectory(fs, SNAPSHOTS)
    snapshots.save_machines(FLOOR, b"kept")
    kept = fs.list_files(SNAPSHOTS)
    for path in (
        snapshots.outgoing_path(1),
        snapshots.outgoing_path(2).with_name(snapshots.outgoing_path(2).name + "-journal"),
        SNAPSHOTS / "incoming-0.part",
        SNAPSHOTS / f"{kept[0]}.tmp",
    ):
        write_atomically(fs, path, b"rubbish")
    snapshots.clear()
    assert fs.list_files(SNAPSHOTS) == kept


def test_a_copy_is_removed_when_its_transfer_has_ended() -> None:
    fs = MemoryFileSystem()
    snapshots = SnapshotDirectory(fs, SNAPSHOTS)
    for number in (1, 10):
        write_atomically(fs, snapshots.outgoing_path(number), b"copy")
    snapshots.remove_outgoing(1)
    snapshots.remove_outgoing(1)
    assert fs.list_files(SNAPSHOTS) == [snapshots.outgoing_path(10).name]


# -- from a peer -------------------------------------------------------------------------------------------


def test_a_snapshot_is_received_verified_and_put_in_place(place: tuple[FileSystem, Path]) -> None:
    fs, root = place
    snapshots = SnapshotDirectory(fs, root / "snapshots")
    snapshots.save_machines(Floor(50, 1), b"old")
    for suffix in ("", "-wal", "-shm", "-journal"):
        write_atomically(fs, root / f"state.sqlite{suffix}", b"old")
    incoming = snapshots.begin(manifest_of())
    assert (incoming.position, incoming.complete, snapshots.staged()) == ((0, 0), False, None)
    receive(incoming)
    assert (incoming.position, incoming.complete, snapshots.staged()) == ((2, 0), True, None)
    incoming.verify()
    incoming.verify()
    assert snapshots.staged() == manifest_of()
    assert snapshots.load_machines(1000) == (Floor(50, 1), b"old")
    assert read_bytes(fs, root / "state.sqlite") == b"old"
    snapshots.switch(root / "state.sqlite")
    snapshots.switch(root / "state.sqlite")
    assert files(fs, root) == {"state.sqlite": SQLITE}
    assert len(fs.list_files(root / "snapshots")) == 1
    assert snapshots.load_machines(100) == (FLOOR, MACHINES)
    assert snapshots.staged() is None


def test_only_what_is_wanted_next_is_taken() -> None:
    snapshots = SnapshotDirectory(MemoryFileSystem(), SNAPSHOTS)
    incoming = snapshots.begin(manifest_of(machines=b"0123456789", sqlite=b"abc"))
    refused = [(0, 1, b"1"), (1, 0, b"a"), (2, 0, b""), (-1, 0, b"x"), (0, 0, b"0123456789+"), (0, -1, b"x")]
    for chunk in refused:
        assert not incoming.write(*chunk)
    assert incoming.position == (0, 0)
    assert incoming.write(0, 0, b"01234")
    assert not incoming.write(0, 0, b"01234")
    assert not incoming.write(0, 5, b"56789+")
    assert incoming.position == (0, 5)
    with pytest.raises(ValueError, match="more to come"):
        incoming.verify()
    assert incoming.write(0, 5, b"56789")
    assert incoming.position == (1, 0)
    assert incoming.write(1, 0, b"abc")
    assert incoming.complete
    assert not incoming.write(2, 0, b"")
    incoming.verify()


def test_parts_may_be_empty_and_there_may_be_none() -> None:
    fs = MemoryFileSystem()
    snapshots = SnapshotDirectory(fs, SNAPSHOTS)
    for manifest in (manifest_of(machines=b"", sqlite=b""), Manifest(replace(FLOOR, index=101))):
        incoming = snapshots.begin(manifest)
        assert incoming.complete
        incoming.verify()
        snapshots.switch(STATE)
    assert read_bytes(fs, STATE) == b""
    assert snapshots.load_machines(100) == (FLOOR, b"")


def test_a_part_that_has_no_place_is_refused() -> None:
    snapshots = SnapshotDirectory(MemoryFileSystem(), SNAPSHOTS)
    with pytest.raises(FrameError, match="unknown parts other"):
        snapshots.begin(Manifest(FLOOR, (PartInfo("other", 1, 1),)))


@pytest.mark.parametrize("restart", [False, True])
def test_a_transfer_goes_on_where_it_stopped(restart: bool) -> None:
    fs = MemoryFileSystem()
    snapshots = SnapshotDirectory(fs, SNAPSHOTS)
    positions = []
    incoming = snapshots.begin(manifest_of())
    for _ in range(20):
        if incoming.complete:
            break
        positions.append(incoming.position)
        chunk = next(chunks(incoming))
        assert incoming.write(*chunk)
        if restart:
            fs.kill()
            snapshots = SnapshotDirectory(fs, SNAPSHOTS)
            snapshots.clear()
        incoming = snapshots.begin(manifest_of())
    assert positions == [(0, 0), (0, 1000), (0, 2000), (1, 0), (1, 1000), (1, 2000), (1, 3000)]
    incoming.verify()
    fs.crash()
    snapshots = SnapshotDirectory(fs, SNAPSHOTS)
    snapshots.clear()
    snapshots.switch(STATE)
    assert read_bytes(fs, STATE) == SQLITE
    assert snapshots.load_machines(100) == (FLOOR, MACHINES)


def test_what_a_failed_sync_left_in_the_cache_is_written_again_when_the_transfer_goes_on() -> None:
    fs = MemoryFileSystem()
    receive(SnapshotDirectory(fs, SNAPSHOTS).begin(manifest_of()))
    fs.fail_next_sync()
    with pytest.raises(OSError):
        fs.open(SNAPSHOTS / "incoming-1.part").sync()
    fs.kill()
    snapshots = SnapshotDirectory(fs, SNAPSHOTS)
    incoming = snapshots.begin(manifest_of())
    assert incoming.complete
    incoming.verify()
    fs.crash()
    SnapshotDirectory(fs, SNAPSHOTS).switch(STATE)
    assert read_bytes(fs, STATE) == SQLITE


def test_another_snapshot_starts_anew() -> None:
    snapshots = SnapshotDirectory(MemoryFileSystem(), SNAPSHOTS)
    first = snapshots.begin(manifest_of())
    assert first.write(0, 0, MACHINES[:1000])
    newer = manifest_of(replace(FLOOR, index=101), sqlite=b"newer")
    second = snapshots.begin(newer)
    assert second.position == (0, 0)
    assert first.dropped
    assert not first.write(0, 1000, MACHINES[1000:])
    assert not first.complete
    receive(second, (MACHINES, b"newer"))
    second.verify()
    assert snapshots.staged() == newer


def test_a_staged_snapshot_gives_way_to_no_other() -> None:
    """Its floor may be durable already: then the log begins behind it, and nothing else has that state."""
    fs = MemoryFileSystem()
    snapshots = SnapshotDirectory(fs, SNAPSHOTS)
    incoming = snapshots.begin(manifest_of())
    receive(incoming)
    incoming.verify()
    for each in (snapshots, SnapshotDirectory(fs, SNAPSHOTS)):
        with pytest.raises(StorageError, match="at entry 100 is still to be put in place"):
            each.begin(manifest_of(replace(FLOOR, index=101)))
        again = each.begin(manifest_of())
        assert again.complete
        assert again.verified
        again.verify()
    snapshots.discard()
    assert snapshots.staged() is None
    assert fs.list_files(SNAPSHOTS) == []
    assert snapshots.begin(manifest_of()).position == (0, 0)


@pytest.mark.parametrize("part", [0, 1])
def test_every_bit_flip_in_a_part_is_found(part: int) -> None:
    fs = MemoryFileSystem()
    snapshots = SnapshotDirectory(fs, SNAPSHOTS)
    manifest = manifest_of(machines=b"some machines", sqlite=b"some sqlite")
    start = len(encode_header(FLOOR, manifest.parts[0])) if part == 0 else 0
    for place in range(8 * manifest.parts[part].size_bytes):
        incoming = snapshots.begin(manifest)
        assert incoming.position == (0, 0)
        receive(incoming, (b"some machines", b"some sqlite"))
        fs.flip_bit(SNAPSHOTS / f"incoming-{part}.part", start + place // 8, place % 8)
        with pytest.raises(CorruptLog, match="did not arrive intact"):
            incoming.verify()
        assert not incoming.complete
        assert fs.list_files(SNAPSHOTS) == []


def test_every_bit_flip_in_a_staged_manifest_is_refused() -> None:
    fs = MemoryFileSystem()
    snapshots = SnapshotDirectory(fs, SNAPSHOTS)
    incoming = snapshots.begin(manifest_of())
    receive(incoming)
    incoming.verify()
    path = SNAPSHOTS / "staged.manifest"
    for place in range(8 * len(read_bytes(fs, path))):
        fs.flip_bit(path, place // 8, place % 8)
        with pytest.raises(CorruptLog):
            snapshots.staged()
        fs.flip_bit(path, place // 8, place % 8)
    assert snapshots.staged() == manifest_of()


def test_a_transfer_whose_manifest_decayed_starts_anew() -> None:
    fs = MemoryFileSystem()
    receive(SnapshotDirectory(fs, SNAPSHOTS).begin(manifest_of()))
    fs.flip_bit(SNAPSHOTS / "incoming.manifest", 20, 1)
    snapshots = SnapshotDirectory(fs, SNAPSHOTS)
    assert snapshots.begin(manifest_of()).position == (0, 0)
    fs.flip_bit(SNAPSHOTS / "incoming.manifest", 20, 1)
    snapshots.clear()
    assert fs.list_files(SNAPSHOTS) == []


def test_a_full_disk_leaves_the_transfer_where_it_was() -> None:
    fs = MemoryFileSystem()
    snapshots = SnapshotDirectory(fs, SNAPSHOTS)
    incoming = snapshots.begin(manifest_of())
    fs.fail_next_write()
    with pytest.raises(StorageError, match="No space left"):
        incoming.write(0, 0, MACHINES[:10])
    assert incoming.position == (0, 0)
    receive(incoming)
    incoming.verify()


def test_a_failed_sync_discards_everything() -> None:
    fs = MemoryFileSystem()
    snapshots = SnapshotDirectory(fs, SNAPSHOTS)
    incoming = snapshots.begin(manifest_of())
    receive(incoming)
    fs.fail_next_sync(path=SNAPSHOTS / "incoming-1.part")
    with pytest.raises(StorageError, match="Input/output error"):
        incoming.verify()
    assert incoming.dropped
    assert fs.list_files(SNAPSHOTS) == []
    again = snapshots.begin(manifest_of())
    assert again.position == (0, 0)


def test_what_could_not_even_be_discarded_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = MemoryFileSystem()
    snapshots = SnapshotDirectory(fs, SNAPSHOTS)
    incoming = snapshots.begin(manifest_of())
    receive(incoming)
    fs.lose_power_after(3)
    with pytest.raises(StorageError):
        incoming.verify()
    fs.lose_power_after(1000)
    assert snapshots.begin(manifest_of()).position == (0, 0)


# -- wherever power is lost --------------------------------------------------------------------------------


def old_state(fs: FileSystem, *, machines: bool = True) -> SnapshotDirectory:
    snapshots = SnapshotDirectory(fs, SNAPSHOTS)
    if machines:
        snapshots.save_machines(Floor(50, 1), b"old")
    for suffix in ("", "-wal", "-shm"):
        write_atomically(fs, GROUP / f"state.sqlite{suffix}", b"old")
    return snapshots


def end(fs: MemoryFileSystem, ending: str | int, rng: Random) -> None:
    if ending == "killed":
        fs.kill()
    else:
        fs.crash(rng if isinstance(ending, int) else None)


@pytest.mark.parametrize("ending", ["killed", "lost", *range(10)])
def test_the_old_state_stays_usable_until_a_whole_snapshot_is_staged(ending: str | int) -> None:
    rng = Random(str(ending))
    for changes in range(200):
        fs = MemoryFileSystem()
        snapshots = old_state(fs)
        fs.lose_power_after(changes)
        try:
            incoming = snapshots.begin(manifest_of(sqlite=b"another"))
            assert incoming.write(0, 0, MACHINES[:500])
            incoming = snapshots.begin(manifest_of())
            receive(incoming)
            incoming.verify()
        except StorageError:
            finished = False
        else:
            finished = True
        end(fs, ending, rng)
        snapshots = SnapshotDirectory(fs, SNAPSHOTS)
        snapshots.clear()
        assert files(fs) == {"state.sqlite": b"old", "state.sqlite-wal": b"old", "state.sqlite-shm": b"old"}
        assert snapshots.load_machines(1000) == (Floor(50, 1), b"old")
        staged = snapshots.staged()
        if staged is None:
            assert not finished
            # The transfer is taken up again, from wherever; at worst what came before proves useless.
            incoming = snapshots.begin(manifest_of())
            receive(incoming)
            try:
                incoming.verify()
            except CorruptLog:
                assert ending != "killed"
                incoming = snapshots.begin(manifest_of())
                assert incoming.position == (0, 0)
                receive(incoming)
                incoming.verify()
        end(fs, "lost", rng)
        snapshots = SnapshotDirectory(fs, SNAPSHOTS)
        assert snapshots.staged() == manifest_of()
        snapshots.switch(STATE)
        assert files(fs) == {"state.sqlite": SQLITE}
        assert snapshots.load_machines(1000) == (FLOOR, MACHINES)
        if finished:
            break
    assert finished
    assert changes > 20


@pytest.mark.parametrize("machines", [True, False])
@pytest.mark.parametrize("ending", ["killed", "lost", *range(10)])
def test_a_switch_is_finished_by_the_next_start_wherever_power_is_lost(ending: str | int, machines: bool) -> None:
    rng = Random(str(ending))
    for changes in range(200):
        fs = MemoryFileSystem()
        snapshots = old_state(fs, machines=machines)
        incoming = snapshots.begin(manifest_of())
        receive(incoming)
        incoming.verify()
        fs.lose_power_after(changes)
        try:
            snapshots.switch(STATE)
        except StorageError:
            finished = False
        else:
            finished = True
        end(fs, ending, rng)
        for _ in range(3):
            fs.lose_power_after(rng.randint(0, 12))
            try:
                snapshots = SnapshotDirectory(fs, SNAPSHOTS)
                snapshots.clear()
                snapshots.switch(STATE)
            except StorageError:
                pass
            end(fs, ending, rng)
        snapshots = SnapshotDirectory(fs, SNAPSHOTS)
        snapshots.clear()
        if finished:
            assert snapshots.staged() is None
        snapshots.switch(STATE)
        fs.crash()
        snapshots = SnapshotDirectory(fs, SNAPSHOTS)
        assert files(fs) == {"state.sqlite": SQLITE}
        assert snapshots.load_machines(1000) == (FLOOR, MACHINES)
        assert snapshots.staged() is None
        assert len(fs.list_files(SNAPSHOTS)) == 1
        if finished:
            break
    assert finished
    assert changes > 8


@pytest.mark.parametrize("seed", range(10))
def test_a_staged_snapshot_is_discarded_whole_or_not_at_all(seed: int) -> None:
    rng = Random(seed)
    for changes in range(50):
        fs = MemoryFileSystem()
        snapshots = old_state(fs)
        incoming = snapshots.begin(manifest_of())
        receive(incoming)
        incoming.verify()
        fs.lose_power_after(changes)
        try:
            snapshots.discard()
        except StorageError:
            finished = False
        else:
            finished = True
        fs.crash(rng)
        snapshots = SnapshotDirectory(fs, SNAPSHOTS)
        snapshots.clear()
        if snapshots.staged() is not None:
            assert not finished
            snapshots.switch(STATE)
            assert read_bytes(fs, STATE) == SQLITE
            assert snapshots.load_machines(1000) == (FLOOR, MACHINES)
        else:
            assert snapshots.load_machines(1000) == (Floor(50, 1), b"old")
            assert len(fs.list_files(SNAPSHOTS)) == 1
        if finished:
            break
    assert finished
