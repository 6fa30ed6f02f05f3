"""A whole data directory: whose it is, term and vote, the log, snapshots, the state, and what is damaged."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from quorate.errors import ConfigError, CorruptLog, QuorateError
from quorate.ops.inspect.entries import EntryReport, configuration_report, report_entry
from quorate.ops.inspect.files import ReadOnlyFileSystem, user_of
from quorate.ops.inspect.log import LogReport, read_log
from quorate.ops.inspect.state import StateReport, read_state
from quorate.ops.recoveries import RECOVERY_RECORDS
from quorate.raft.configurations import Configurations
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.membership import Configuration, Member
from quorate.raft.output import Floor, HardState
from quorate.storage.directory import IDENTITY, StoredIdentity, read_identity
from quorate.storage.filesystem import FileSystem
from quorate.storage.floor import load_floor
from quorate.storage.hard_state import read_copies
from quorate.storage.incoming import INCOMING, STAGED, load_manifest
from quorate.storage.machines import machines_indexes, machines_path, read_machines
from quorate.storage.repair import damaged_path, load_marker

T = TypeVar("T")

GROUP = 0
ENTRIES_MAX = 10_000


@dataclass(slots=True, kw_only=True)
class HardStateReport:
    """Term and vote. One of the ``copies`` is enough; ``None`` is one that cannot be read."""

    term: int = 0
    voted_for: int | None = None
    copies: list[dict[str, Any] | None] = field(default_factory=list)
    problem: str | None = None

    @property
    def state(self) -> HardState:
        """What the node would go on with."""
        return HardState(self.term, self.voted_for)


@dataclass(slots=True, kw_only=True)
class FloorReport:
    """Where the log begins. ``resetting``: the log is still to be replaced by what comes behind a snapshot."""

    index: int = 0
    term: int = 0
    configuration_index: int = 0
    resetting: bool = False
    problem: str | None = None


@dataclass(slots=True, kw_only=True)
class SnapshotReport:
    """A file of, or a snapshot in, ``snapshots``. ``kind``: machines, incoming or staged."""

    kind: str
    index: int | None = None
    term: int | None = None
    bytes: int | None = None
    problem: str | None = None


@dataclass(slots=True, kw_only=True)
class DirectoryReport:
    """All that is in a data directory. ``problems`` are those that keep the node from starting with it."""

    path: str
    used_by: str | None
    """The process that uses it now: then this is a glimpse of something that moves."""
    identity: StoredIdentity | None = None
    hard_state: HardStateReport = field(default_factory=HardStateReport)
    floor: FloorReport = field(default_factory=FloorReport)
    log: LogReport = field(default_factory=LogReport)
    configuration: dict[str, Any] | None = None
    """The one in force, as far as the log can be read."""
    configuration_index: int = 0
    configuration_entries: list[EntryReport] = field(default_factory=list)
    entries: list[EntryReport] = field(default_factory=list)
    """Those that were asked for."""
    snapshots: list[SnapshotReport] = field(default_factory=list)
    state: StateReport | None = None
    repairing: str | None = None
    """Why the node is in repair, if it is."""
    quarantined: list[str] = field(default_factory=list)
    """The files that the last repair has set aside."""
    recoveries: list[str] = field(default_factory=list)
    """The records of recoveries by force."""
    problems: list[str] = field(default_factory=list)


def inspect_directory(
    path: Path,
    *,
    entries: range | None = None,
    payload: bool = False,
    fs: FileSystem | None = None,
    is_ours: bool = False,
) -> DirectoryReport:
    """Read the data directory at ``path``; with ``entries``, those as well (10,000 at most), with their ``payload``.

    Never writes. ``is_ours``: the caller holds the directory's lock. Raises :class:`ConfigError` if there is no such
    directory, or nothing of ours in it.
    """
    if not path.is_dir():
        raise ConfigError(f"there is no directory {path}")
    if not (path / IDENTITY).exists() and not (path / "groups").exists():
        raise ConfigError(f"{path} is no data directory: it has neither identity.json nor groups")
    report = DirectoryReport(path=str(path), used_by=None if is_ours else user_of(path))
    _Inspection(fs or ReadOnlyFileSystem(), path, report, entries, payload=payload).run()
    return report


class _Inspection:
    """One inspection, under way."""

    def __init__(
        self, fs: FileSystem, path: Path, report: DirectoryReport, entries: range | None, *, payload: bool
    ) -> None:
        self._fs = fs
        self._path = path
        self._group = path / "groups" / str(GROUP)
        self._report = report
        self._wanted = entries if entries is not None else range(0)
        self._payload = payload
        self._configurations: list[Entry] = []
        self._floor = Floor()

    def run(self) -> None:
        """Fill the report."""
        report = self._report
        report.identity = self._tried(IDENTITY, self._identity)
        self._hard_state()
        self._read_floor()
        report.state = read_state(self._group / "state.sqlite", in_use=report.used_by is not None)
        report.log = read_log(
            self._fs, self._group / "log", floor_index=self._floor.index, group=GROUP, visit=self._visit
        )
        self._snapshots()
        self._repair()
        report.recoveries = fnmatch.filter(self._fs.list_files(self._path), RECOVERY_RECORDS)
        self._tried("the configuration", self._configuration)
        self._judge()

    def _tried(self, what: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except (QuorateError, OSError, ValueError) as error:
            self._report.problems.append(f"{what}: {_short(error)}")
            return None

    def _identity(self) -> StoredIdentity | None:
        identity = read_identity(self._fs, self._path)
        if identity is None:
            raise CorruptLog("it is missing, so nobody knows whose data this is")
        return identity

    def _hard_state(self) -> None:
        path, report = self._group / "hard_state", self._report.hard_state
        if not self._fs.exists(path):
            return
        try:
            file = self._fs.open(path)
            try:
                copies = read_copies(file)
            finally:
                file.close()
        except OSError as error:
            report.problem = str(error)
            return
        report.copies = [
            {"sequence": copy[0], "term": copy[1].term, "voted_for": copy[1].voted_for} if copy else None
            for copy in copies
        ]
        newest = max((copy for copy in copies if copy is not None), key=lambda copy: copy[0], default=None)
        if newest is None:
            report.problem = "neither copy of the term and vote can be read: this node could vote twice"
        else:
            report.term, report.voted_for = newest[1].term, newest[1].voted_for

    def _read_floor(self) -> None:
        report = self._report.floor
        try:
            stored = load_floor(self._fs, self._group)
        except (CorruptLog, OSError) as error:
            report.problem = _short(error)
            return
        self._floor = stored.floor
        report.index, report.term = stored.floor.index, stored.floor.term
        report.configuration_index, report.resetting = stored.floor.configuration_index, stored.resetting

    def _visit(self, segment: str, byte: int, entry: Entry) -> None:
        if entry.kind is EntryKind.MEMBERSHIP:
            self._configurations.append(entry)
            self._report.configuration_entries.append(report_entry(segment, byte, entry))
        if entry.index in self._wanted and len(self._report.entries) < ENTRIES_MAX:
            self._report.entries.append(report_entry(segment, byte, entry, payload=self._payload))

    def _configuration(self) -> None:
        report = self._report
        identity = report.identity
        members = identity.members if identity is not None and report.repairing is None else {}
        initial = Configuration(tuple(Member(peer, address) for peer, address in sorted(members.items())))
        configurations = Configurations(initial, self._floor)
        for entry in self._configurations:
            if self._floor.index < entry.index <= report.log.last_index:
                configurations.appended(entry)
        report.configuration_index = configurations.index
        report.configuration = configuration_report(configurations.latest)

    def _snapshots(self) -> None:
        directory = self._group / "snapshots"
        found = self._report.snapshots
        for index in machines_indexes(self._fs, directory):
            size = machines_path(directory, index).stat().st_size
            snapshot = SnapshotReport(kind="machines", index=index, bytes=size)
            try:
                snapshot.term = read_machines(self._fs, directory, index)[0].term
            except (QuorateError, OSError) as error:
                snapshot.problem = _short(error)
            found.append(snapshot)
        for kind, name in (("incoming", INCOMING), ("staged", STAGED)):
            try:
                manifest = load_manifest(self._fs, directory / name)
            except (QuorateError, OSError) as error:
                found.append(SnapshotReport(kind=kind, problem=_short(error)))
                continue
            if manifest is not None:
                floor = manifest.floor
                found.append(SnapshotReport(kind=kind, index=floor.index, term=floor.term, bytes=manifest.size_bytes))

    def _repair(self) -> None:
        marker = load_marker(self._fs, self._group)
        if marker is not None:
            self._report.repairing = marker.reason + (" (its files are still being moved)" if marker.moving else "")
        damaged = damaged_path(self._group)
        for below in (".", "log", "snapshots"):
            for name in self._fs.list_files(damaged / below):
                self._report.quarantined.append(str(Path(below) / name))

    # -- what keeps it from starting ---------------------------------------------------------------------

    def _judge(self) -> None:
        report = self._report
        log, floor, problems = report.log, self._floor, report.problems
        problems += [f"{what}: {problem}" for what, problem in self._parts() if problem is not None]
        problems += [f"log: {problem}" for problem in log.problems]
        for segment in log.segments:
            for damage in segment.damage:
                if not damage.torn:
                    problems.append(
                        f"{segment.name}: byte {damage.byte}: expected entry {damage.expected_index}, but "
                        f"{damage.problem}, and this is no torn write: {damage.evidence}"
                    )
        if report.used_by is not None:
            return  # the parts were read at different moments: what they say of each other means nothing
        if log.segments and not report.floor.resetting:
            if not log.first_index - 1 <= floor.index <= log.last_index and not log.is_damaged:
                problems.append(
                    f"the log has the entries {log.first_index} to {log.last_index}, but should go on behind entry "
                    f"{floor.index}"
                )
            if log.last_term > report.hard_state.term and report.hard_state.problem is None:
                problems.append(
                    f"the log has entries of term {log.last_term}, but hard_state says term {report.hard_state.term}"
                )
        applied = report.state.applied_index if report.state is not None else 0
        if applied > max(log.last_index, floor.index):
            problems.append(f"the state has applied entry {applied}, but the log can be read up to {log.last_index}")

    def _parts(self) -> Sequence[tuple[str, str | None]]:
        report = self._report
        snapshots = [(f"snapshot ({each.kind})", each.problem) for each in report.snapshots if each.kind != "incoming"]
        state = report.state.problem if report.state is not None and report.used_by is None else None
        return [
            ("hard_state", report.hard_state.problem),
            ("floor", report.floor.problem),
            *snapshots,
            ("state.sqlite", state),
        ]


def _short(error: Exception) -> str:
    """The error without the advice that is meant for the start of a node."""
    return (str(error) or repr(error)).partition(". Nothing was changed")[0]
