"""A snapshot on its way from a peer: written part by part, verified as a whole, and only then staged.

::

    incoming.manifest   what is coming; its parts are as long as what has come of them
    staged.manifest     all of it is here, durable and verified; the former, renamed
    incoming-<n>.part   the parts of either, by their numbers
"""

from __future__ import annotations

from pathlib import Path

from quorate.errors import CorruptLog, FrameError, StorageError
from quorate.storage.filesystem import File, FileSystem, reporting
from quorate.storage.machines import encode_header
from quorate.storage.manifest import CHUNK_BYTES, MACHINES_PART, Manifest, PartInfo
from quorate.storage.sealed import read_sealed, write_sealed

INCOMING = "incoming.manifest"
STAGED = "staged.manifest"
_PART_PREFIX = "incoming-"
_MAGIC = b"QUORSNP\n"


class Incoming:
    """Receives the parts of one snapshot, strictly in order. Not synchronised: one call at a time."""

    def __init__(self, fs: FileSystem, directory: Path, manifest: Manifest, *, staged: bool = False) -> None:
        """Go on behind what is there already. Of a ``staged`` one, that is everything."""
        self._fs = fs
        self._directory = directory
        self.manifest = manifest
        self.verified = staged
        """Whether the snapshot is staged."""
        self.dropped = False
        """Whether it was given up: then nothing is taken any more."""
        self._headers = [
            encode_header(manifest.floor, part) if part.name == MACHINES_PART else b"" for part in manifest.parts
        ]
        self._file: File | None = None
        self._resumed = any(fs.exists(part_path(directory, number)) for number in range(len(manifest.parts)))
        self._position = (len(manifest.parts), 0) if staged else self._missing_from(0)

    @property
    def position(self) -> tuple[int, int]:
        """The number of the part and the byte in it that is wanted next; behind the last part if none is."""
        return self._position

    @property
    def complete(self) -> bool:
        """Whether everything has come, which says nothing of its being intact."""
        return self._position[0] == len(self.manifest.parts) and not self.dropped

    def write(self, part: int, offset: int, data: bytes) -> bool:
        """Take what is wanted next; anything else is ignored, and so is more than the part may hold.

        Returns whether it was taken. Raises :class:`StorageError`: the position has not moved then.
        """
        if self.dropped or self.complete or (part, offset) != self._position:
            return False
        size, end = self.manifest.parts[part].size_bytes, offset + len(data)
        if end > size:
            return False
        with reporting(self._directory):
            if self._file is None:
                self._file = self._fs.open(part_path(self._directory, part), create=True)
            self._file.write_at(len(self._headers[part]) + offset, data)
            self._position = (part, end) if end < size else self._missing_from(part + 1)
        if end == size:
            self.close()
        return True

    def verify(self) -> None:
        """Make everything durable, read it again, and stage it if every checksum matches. Blocks.

        Raises :class:`CorruptLog` if one does not, and :class:`StorageError`. Either way everything is discarded.
        """
        if self.verified:
            return
        if not self.complete:
            raise ValueError("there is more to come")
        try:
            with reporting(self._directory):
                for number, part in enumerate(self.manifest.parts):
                    self._verify_part(number, part)
                # The parts' names first: the staged manifest vouches for them.
                self._fs.sync_directory(self._directory)
                self._fs.rename(self._directory / INCOMING, self._directory / STAGED)
                self._fs.sync_directory(self._directory)
        except StorageError:
            self.close()
            self.dropped = True
            with reporting(self._directory):
                discard_parts(self._fs, self._directory)
            raise
        self.verified = True

    def close(self) -> None:
        """Close the file that is being written."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _verify_part(self, number: int, part: PartInfo) -> None:
        path, header = part_path(self._directory, number), self._headers[number]
        file = self._fs.open(path, create=True)
        try:
            file.truncate(len(header) + part.size_bytes)
            file.write_at(0, header)
            if self._resumed:
                write_again(file)
            file.sync()
        finally:
            file.close()
        found = PartInfo.of_file(self._fs, part.name, path, len(header))
        if found != part:
            raise CorruptLog(
                f"the snapshot at entry {self.manifest.floor.index} did not arrive intact: part {part.name!r} "
                f"has checksum {found.checksum:08x}, expected {part.checksum:08x}"
            )

    def _missing_from(self, first: int) -> tuple[int, int]:
        """The position of what is missing first in the parts from number ``first`` on."""
        for number in range(first, len(self.manifest.parts)):
            there = self._bytes_there(number)
            if there < self.manifest.parts[number].size_bytes:
                return number, there
        return len(self.manifest.parts), 0

    def _bytes_there(self, number: int) -> int:
        """How much of a part has come before. After a power loss it may be less than it seems: checksums tell."""
        path = part_path(self._directory, number)
        if not self._fs.exists(path):
            return 0
        file = self._fs.open(path)
        try:
            there = file.size - len(self._headers[number])
        finally:
            file.close()
        return there if 0 <= there <= self.manifest.parts[number].size_bytes else 0


def write_again(file: File) -> None:
    """Give the next sync something to do: after one that failed in an earlier life, the kernel takes all for clean."""
    for offset in range(0, file.size, CHUNK_BYTES):
        file.write_at(offset, file.read_at(offset, CHUNK_BYTES))


def part_path(directory: Path, number: int) -> Path:
    """The file of a part, named by its number, as its name came from a peer."""
    return directory / f"{_PART_PREFIX}{number}.part"


def save_incoming(fs: FileSystem, directory: Path, manifest: Manifest) -> None:
    """Note what is coming; durable on return."""
    write_sealed(fs, directory / INCOMING, _MAGIC, manifest.encode())


def load_manifest(fs: FileSystem, path: Path) -> Manifest | None:
    """A stored manifest, if there is one. Raises :class:`CorruptLog` if it cannot be read."""
    content = read_sealed(fs, path, _MAGIC)
    try:
        return None if content is None else Manifest.decode(content)
    except FrameError as error:
        raise CorruptLog(f"{path}: {error}") from error


def discard_parts(fs: FileSystem, directory: Path) -> None:
    """Remove an incoming or staged snapshot, durably."""
    for name in (INCOMING, STAGED):
        if fs.exists(directory / name):
            fs.remove(directory / name)
    # Before the parts: a staged manifest without them would pass for one whose parts are in place.
    fs.sync_directory(directory)
    for name in fs.list_files(directory):
        if name.startswith(_PART_PREFIX):
            fs.remove(directory / name)
    fs.sync_directory(directory)
