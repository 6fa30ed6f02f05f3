"""What the storage tests share: entries, logs on an in-memory disk, and what a log may look like after a crash."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from quorate.raft.entry import Entry, EntryKind
from quorate.storage import Codec, MemoryFileSystem, Wal

LOG = Path("/data/log")


def entry(index: int, term: int = 1, payload: bytes = b"payload") -> Entry:
    return Entry(index, term, EntryKind.COMMANDS, payload)


def run(first: int, last: int, term: int = 1, size: int = 7) -> list[Entry]:
    """Entries first … last, each with a payload of its own."""
    return [entry(index, term, f"{term}.{index}.".encode().ljust(size, b"*")) for index in range(first, last + 1)]


def disk(files: dict[Path, bytes] | None = None) -> MemoryFileSystem:
    """A disk with an empty log directory and these files, all durable."""
    fs = MemoryFileSystem()
    fs.make_directories(LOG)
    for path, data in (files or {}).items():
        file = fs.open(path, create=True)
        file.write_at(0, data)
        file.sync()
        fs.sync_directory(path.parent)
    return fs


def contents(fs: MemoryFileSystem, directory: Path = LOG) -> dict[Path, bytes]:
    found = {}
    for name in fs.list_files(directory):
        file = fs.open(directory / name)
        found[directory / name] = file.read_at(0, file.size)
    return found


def places(codec: Codec, data: bytes) -> list[tuple[int, int, int]]:
    """(where it begins, the byte behind it, kind) of each record in a file, from its header on."""
    _, _, offset = codec.read_header(data)
    found = []
    while offset < len(data.rstrip(b"\0")):
        stop, kind, *_ = codec.record_at(data, offset)
        found.append((offset, stop, kind))
        offset = stop
    return found


def everything(wal: Wal) -> list[Entry]:
    return wal.read(wal.first_index, wal.last_index + 1, 1 << 40)


class Promises:
    """Follows a log through its calls, and knows what may and what must be there after a crash at any point."""

    def __init__(self, wal: Wal) -> None:
        self.wal = wal
        self.promised = 0
        self.versions: list[list[Entry]] = [[]]

    @property
    def written(self) -> list[Entry]:
        return self.versions[-1]

    def append(self, entries: Sequence[Entry]) -> None:
        kept = entries[0].index - 1
        self.promised = min(self.promised, kept)
        self.versions.append([*self.written[:kept], *entries])
        self.wal.append(entries)
        del self.versions[0]

    def sync(self) -> None:
        self.wal.sync()
        self.promised = len(self.written)

    def check(self, recovered: Wal) -> None:
        """What was synced is there, and what is there is the beginning of what was written."""
        found = everything(recovered)
        assert recovered.last_index >= self.promised
        assert found in [version[recovered.first_index - 1 : recovered.last_index] for version in self.versions]
        assert recovered.term_starts == term_starts(found)

    def resume(self, recovered: Wal) -> None:
        """Go on with what a crash has left: all of it counts as durable now."""
        self.check(recovered)
        cut_away = self.written[: recovered.first_index - 1]
        self.wal, self.versions = recovered, [[*cut_away, *everything(recovered)]]
        self.promised = recovered.last_index


def term_starts(entries: Iterable[Entry]) -> tuple[tuple[int, int], ...]:
    starts: list[tuple[int, int]] = []
    for item in entries:
        if not starts or starts[-1][1] != item.term:
            starts.append((item.index, item.term))
    return tuple(starts)
