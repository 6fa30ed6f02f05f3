"""The file of a snapshot of the machines that live in memory: a header that describes it, then the opaque bytes.

The header follows from the manifest alone, so a snapshot that comes from a peer is received in this form and has
only to be renamed when it is complete.
"""

from __future__ import annotations

import struct
from pathlib import Path

from google_crc32c import value as crc32c

from quorate.errors import CorruptLog, FrameError
from quorate.raft.output import Floor
from quorate.storage.filesystem import File, FileSystem, write_atomically
from quorate.storage.manifest import MACHINES_PART, Manifest, PartInfo

_PREFIX = "machines-"
_SUFFIX = ".snapshot"
_MAGIC = b"QUORMEM\n"
_START = struct.Struct(">8sI")  # magic, length of the manifest that follows
_CHECKSUM = struct.Struct(">I")
_MANIFEST_BYTES_MAX = 2 * 1024 * 1024


def machines_path(directory: Path, index: int) -> Path:
    """The file of the snapshot taken at ``index``; names sort like their indexes."""
    return directory / f"{_PREFIX}{index:020d}{_SUFFIX}"


def machines_indexes(fs: FileSystem, directory: Path) -> list[int]:
    """Where the snapshots in the directory were taken, in ascending order."""
    return [
        int(name[len(_PREFIX) : -len(_SUFFIX)])
        for name in fs.list_files(directory)
        if name.startswith(_PREFIX) and name.endswith(_SUFFIX) and name[len(_PREFIX) : -len(_SUFFIX)].isdecimal()
    ]


def encode_header(floor: Floor, part: PartInfo) -> bytes:
    """What stands in the file before the bytes that ``part`` describes."""
    manifest = Manifest(floor, (part,)).encode()
    header = _START.pack(_MAGIC, len(manifest)) + manifest
    return header + _CHECKSUM.pack(crc32c(header))


def write_machines(fs: FileSystem, directory: Path, floor: Floor, data: bytes) -> None:
    """Make a snapshot; it is there whole or not at all, and durable on return. Raises :class:`OSError`."""
    header = encode_header(floor, PartInfo.of_bytes(MACHINES_PART, data))
    write_atomically(fs, machines_path(directory, floor.index), header, data)


def read_machines(fs: FileSystem, directory: Path, index: int) -> tuple[Floor, bytes]:
    """A snapshot and its floor. Raises :class:`CorruptLog` if it is not intact, and :class:`OSError`."""
    path = machines_path(directory, index)
    file = fs.open(path)
    try:
        manifest, offset = _read_header(file, path)
        data = file.read_at(offset, file.size - offset)
    finally:
        file.close()
    if manifest.floor.index != index or manifest.parts != (PartInfo.of_bytes(MACHINES_PART, data),):
        raise _corrupt(path)
    return manifest.floor, data


def read_machines_part(fs: FileSystem, path: Path, floor: Floor, part: PartInfo) -> bytes:
    """The bytes that ``part`` describes, from such a file that was received and verified. Raises :class:`OSError`."""
    file = fs.open(path)
    try:
        return file.read_at(len(encode_header(floor, part)), part.size_bytes)
    finally:
        file.close()


def remove_machines_below(fs: FileSystem, directory: Path, index: int) -> None:
    """Remove the snapshots taken before ``index``, which a durable one replaces."""
    old = [each for each in machines_indexes(fs, directory) if each < index]
    for each in old:
        fs.remove(machines_path(directory, each))
    if old:
        fs.sync_directory(directory)


def _read_header(file: File, path: Path) -> tuple[Manifest, int]:
    """What the header says, and where it ends."""
    start = file.read_at(0, _START.size)
    if len(start) < _START.size:
        raise _corrupt(path)
    magic, length = _START.unpack(start)
    if magic != _MAGIC or length > _MANIFEST_BYTES_MAX:
        raise _corrupt(path)
    encoded = file.read_at(_START.size, length)
    checksum = file.read_at(_START.size + length, _CHECKSUM.size)
    if checksum != _CHECKSUM.pack(crc32c(start + encoded)):
        raise _corrupt(path)
    try:
        return Manifest.decode(encoded), _START.size + length + _CHECKSUM.size
    except FrameError as error:
        raise _corrupt(path) from error


def _corrupt(path: Path) -> CorruptLog:
    return CorruptLog(f"{path} is damaged: have this node repaired from its peers, or restore a backup")
