"""Looking into data directories, whole and damaged: all that is readable is shown, damage has its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from google_crc32c import value as crc32c

from quorate.errors import ConfigError
from quorate.machine.sqlite import SqliteState
from quorate.ops.inspect.directory import DirectoryReport, inspect_directory
from quorate.ops.inspect.files import ReadOnlyFileSystem
from quorate.raft.output import Floor, Write
from quorate.storage import BINARY, JSON_LINES, Codec, GroupStore, StorageSettings
from quorate.storage.floor import StoredFloor, save_floor
from quorate.storage.real import RealFileSystem
from quorate.storage.repair import quarantine
from quorate.storage.snapshots import SnapshotDirectory

from .data_directories import commands, footprint, make_directory, overwrite, segments

EVERYTHING = range(1, 2**63)


@pytest.fixture(params=[BINARY, JSON_LINES], ids=["binary", "json"])
def codec(request: pytest.FixtureRequest) -> Codec:
    """Both forms of the log (A2.59, A2.60)."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def settings(codec: Codec) -> StorageSettings:
    return StorageSettings(enable_binary=codec is BINARY)


@pytest.fixture
def directory(tmp_path: Path, settings: StorageSettings) -> Path:
    """A healthy one."""
    return make_directory(tmp_path / "node1", segment_bytes=1024 if settings.enable_binary else 4096, settings=settings)


def looked(path: Path, **options: object) -> DirectoryReport:
    """The report; the look must have left no trace."""
    before = footprint(path)
    report = inspect_directory(path, **options)  # type: ignore[arg-type]
    assert footprint(path) == before
    return report


def test_a_healthy_directory_is_shown_whole(directory: Path, codec: Codec) -> None:
    report = looked(directory, entries=EVERYTHING, payload=True)
    assert report.problems == []
    assert report.used_by is None
    assert report.identity is not None
    assert (report.identity.node_id, report.identity.store) == (1, 0xABC)
    assert (report.hard_state.term, report.hard_state.voted_for) == (2, 2)
    assert len([copy for copy in report.hard_state.copies if copy]) == 2
    assert (report.log.first_index, report.log.last_index, report.log.last_term) == (1, 30, 2)
    assert len(report.log.segments) > 1
    assert {segment.form for segment in report.log.segments} == {codec.name}
    assert sum(segment.entries for segment in report.log.segments) == 30
    assert max(segment.proven_index for segment in report.log.segments) == 30
    assert report.configuration is not None
    assert [member["node_id"] for member in report.configuration["members"]] == [1, 2, 3, 4]
    assert (report.configuration_index, len(report.configuration_entries)) == (10, 1)
    assert report.state is not None
    assert (report.state.applied_index, report.state.tables) == (28, {"things": 3})
    assert [entry.index for entry in report.entries] == list(range(1, 31))
    first = report.entries[0]
    assert (first.commands, first.byte) == ({"default": 1, "models": 1}, len(codec.header(0, 1)))
    assert first.time == "2023-11-14T22:13:20.000+00:00"
    assert [(body.body, body.form) for body in first.bodies or ()] == [("command 1", "text"), ('{"a":1}', "msgpack")]


def test_only_the_entries_that_are_asked_for_are_listed(directory: Path) -> None:
    report = looked(directory, entries=range(14, 17))
    assert [(entry.index, entry.term, entry.bodies) for entry in report.entries] == [
        (14, 1, None),
        (15, 1, None),
        (16, 2, None),
    ]


def test_damage_in_the_middle_has_its_place_and_what_follows_is_read(directory: Path) -> None:
    whole = looked(directory, entries=range(3, 4)).entries[0]
    overwrite(directory / "groups/0/log" / whole.segment, whole.byte + 30, b"\xff\xff")
    report = looked(directory, entries=EVERYTHING)
    (damage,) = report.log.segments[0].damage
    assert (damage.byte, damage.expected_index, damage.torn) == (whole.byte, 3, False)
    assert damage.next_index == 4
    assert "later segments follow" in damage.evidence
    assert report.log.last_index == 2
    assert [entry.index for entry in report.entries] == [1, 2, *range(4, 31)]
    assert any(f"byte {damage.byte}: expected entry 3" in problem for problem in report.problems)
    assert any("the state has applied entry 28" in problem for problem in report.problems)


def test_a_log_of_both_forms_is_shown_whole(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "node1", segment_bytes=1024 * 1024)
    json = StorageSettings(enable_binary=False)
    store = GroupStore.open(RealFileSystem(), path / "groups/0", settings=json)
    store.persist([Write(31, None, (commands(31, 2),))])
    store.close()
    report = looked(path, entries=EVERYTHING, payload=True)
    assert [segment.form for segment in report.log.segments] == ["binary", "json"]
    assert [entry.index for entry in report.entries] == list(range(1, 32))
    assert [body.body for body in report.entries[-1].bodies or ()] == ["command 31", '{"a":1}']
    assert report.problems == []


def test_a_line_that_was_written_by_hand_is_damage_and_not_a_crash(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "node1", segment_bytes=1024 * 1024, settings=StorageSettings(enable_binary=False))
    (file,) = segments(path)
    line = b'{"index":31,"term":2,"kind":"NOOP","bytes":9,"payload":{"$text":""}'
    file.write_bytes(file.read_bytes() + line + b',"crc32c":"%08x"}\n' % crc32c(line))
    report = looked(path, entries=EVERYTHING)
    (damage,) = report.log.segments[0].damage
    assert (damage.expected_index, damage.torn, damage.evidence) == (31, False, "the record is intact")
    assert "not what the line says" in damage.problem
    assert report.log.last_index == 30


def test_a_lost_page_loses_its_entries_only(tmp_path: Path, settings: StorageSettings) -> None:
    path = make_directory(tmp_path / "node1", last_index=300, segment_bytes=1024 * 1024, settings=settings)
    overwrite(segments(path)[0], 4096, bytes(4096))
    report = looked(path, entries=EVERYTHING)
    (damage,) = report.log.segments[0].damage
    assert damage.next_index is not None
    assert 4096 - 400 < damage.byte <= 4096
    assert 8192 <= (damage.next_byte or 0) < 8192 + 800
    assert not damage.torn
    assert damage.evidence == "a later sync mark says that entries up to 300 were durable"
    readable = [entry.index for entry in report.entries]
    assert readable == [*range(1, damage.expected_index), *range(damage.next_index, 301)]


def test_a_torn_tail_is_told_from_damage(directory: Path) -> None:
    last = segments(directory)[-1]
    end = looked(directory).log.segments[-1].end_byte
    overwrite(last, end, b"\x01\x02\x03\x00\x00\x00\x20half a record")
    report = looked(directory)
    (damage,) = report.log.segments[-1].damage
    assert (damage.torn, damage.byte, damage.expected_index, damage.next_index) == (True, end, 31, None)
    assert report.problems == []
    assert report.log.last_index == 30


def damage_header(path: Path) -> None:
    overwrite(segments(path)[1], 3, b"\xff")


def remove_segment(path: Path) -> None:
    segments(path)[1].unlink()


def lose_votes(path: Path) -> None:
    overwrite(path / "groups/0/hard_state", 9, b"\xff")
    overwrite(path / "groups/0/hard_state", 4096 + 9, b"\xff")


def break_floor(path: Path) -> None:
    save_floor(RealFileSystem(), path / "groups/0", StoredFloor(Floor(5, 1)))
    overwrite(path / "groups/0/floor", 12, b"\xff\xff")


def raise_floor_too_far(path: Path) -> None:
    save_floor(RealFileSystem(), path / "groups/0", StoredFloor(Floor(99, 2)))


def break_state(path: Path) -> None:
    overwrite(path / "groups/0/state.sqlite", 0, b"no database at all")


def break_identity(path: Path) -> None:
    (path / "identity.json").write_text("{")


def break_machines(path: Path) -> None:
    SnapshotDirectory(RealFileSystem(), path / "groups/0/snapshots").save_machines(Floor(7, 1), b"state")
    overwrite(next((path / "groups/0/snapshots").glob("machines-*")), 40, b"\xff\xff")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (damage_header, "the header cannot be read"),
        (remove_segment, "should come next"),
        (lose_votes, "neither copy of the term and vote can be read"),
        (break_floor, "floor:"),
        (raise_floor_too_far, "should go on behind entry 99"),
        (break_state, "state.sqlite: "),
        (break_identity, "identity.json: "),
        (break_machines, "snapshot (machines): "),
    ],
)
def test_every_kind_of_damage_is_named_and_the_rest_is_shown(
    directory: Path, harm: Callable[[Path], None], words: str
) -> None:
    harm(directory)
    report = looked(directory, entries=EVERYTHING)
    assert any(words in problem for problem in report.problems), report.problems
    assert report.entries[0].index == 1
    if harm is not lose_votes:
        assert report.hard_state.term == 2


def test_one_lost_copy_of_the_votes_is_no_problem_and_is_shown(directory: Path) -> None:
    overwrite(directory / "groups/0/hard_state", 9, b"\xff")
    report = looked(directory)
    assert (report.problems, report.hard_state.term) == ([], 2)
    assert [copy is None for copy in report.hard_state.copies] == [True, False]


def test_what_sqlite_keeps_in_its_own_log_counts(directory: Path, tmp_path: Path) -> None:
    state = SqliteState(directory / "groups/0/state.sqlite")
    state.begin()
    state.set_applied("default", 30, 1)
    state.commit()
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for file in sorted((directory / "groups/0").glob("state.sqlite*")):
        if not file.name.endswith("-shm"):
            (crashed / file.name).write_bytes(file.read_bytes())
    state.close()
    for file in crashed.iterdir():
        (directory / "groups/0" / file.name).write_bytes(file.read_bytes())
    report = looked(directory)
    assert report.state is not None
    assert report.state.wal_bytes > 0
    assert report.state.applied_index == 30


def test_a_quarantined_group_shows_why_and_what_was_set_aside(directory: Path) -> None:
    quarantine(RealFileSystem(), directory / "groups/0", "it was damaged")
    report = looked(directory)
    assert report.repairing == "it was damaged"
    assert "hard_state" in report.quarantined


def test_what_is_no_data_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no data directory"):
        inspect_directory(tmp_path)
    with pytest.raises(ConfigError, match="there is no directory"):
        inspect_directory(tmp_path / "nowhere")


def test_the_file_system_only_reads(tmp_path: Path) -> None:
    fs = ReadOnlyFileSystem()
    (tmp_path / "file").write_bytes(b"content")
    file = fs.open(tmp_path / "file")
    for refused in (
        lambda: file.write_at(0, b"x"),
        lambda: file.truncate(0),
        lambda: file.allocate(9),
        file.sync,
        lambda: fs.rename(tmp_path / "file", tmp_path / "other"),
        lambda: fs.remove(tmp_path / "file"),
        lambda: fs.make_directories(tmp_path / "new"),
        lambda: fs.sync_directory(tmp_path),
        lambda: fs.lock(tmp_path / "LOCK"),
    ):
        with pytest.raises(OSError, match="only reads"):
            refused()
    file.close()
    assert (tmp_path / "file").read_bytes() == b"content"
