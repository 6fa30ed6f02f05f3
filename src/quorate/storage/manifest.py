"""What a snapshot consists of: where in the log it was taken, and its parts with their checksums."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from google_crc32c import extend
from google_crc32c import value as crc32c

from quorate.errors import FrameError
from quorate.raft.output import Floor
from quorate.storage.filesystem import FileSystem

MACHINES_PART = "machines"
"""The part with the states of the machines that live in memory: opaque bytes."""
SQLITE_PART = "sqlite"
"""The part that is a copy of the group's ``state.sqlite``."""
PARTS_MAX = 8
CHUNK_BYTES = 1024 * 1024
"""How much of a part is in memory at a time."""

_INT_MAX = 2**63 - 1
_Size = Annotated[int, msgspec.Meta(ge=0, le=_INT_MAX)]
_Checksum = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_Name = Annotated[str, msgspec.Meta(pattern="^[a-z]{1,32}\\Z")]
_Configuration = Annotated[bytes, msgspec.Meta(max_length=1024 * 1024)]


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One part of a snapshot: its size, and the CRC-32C of all of it."""

    name: str
    size_bytes: int
    checksum: int

    @classmethod
    def of_bytes(cls, name: str, data: bytes) -> PartInfo:
        """The part that consists of ``data``."""
        return cls(name, len(data), crc32c(data))

    @classmethod
    def of_file(cls, fs: FileSystem, name: str, path: Path, offset: int = 0) -> PartInfo:
        """The part that consists of the file from ``offset`` on: reads all of it. Raises :class:`OSError`."""
        file = fs.open(path)
        try:
            checksum, position = 0, offset
            while chunk := file.read_at(position, CHUNK_BYTES):
                checksum = extend(checksum, chunk)
                position += len(chunk)
            return cls(name, position - offset, checksum)
        finally:
            file.close()


@dataclass(frozen=True, slots=True)
class Manifest:
    """A snapshot of everything up to ``floor``. Two with the same parts and floor are the same snapshot."""

    floor: Floor
    parts: tuple[PartInfo, ...] = ()

    @property
    def size_bytes(self) -> int:
        """The size of all parts together."""
        return sum(part.size_bytes for part in self.parts)

    def encode(self) -> bytes:
        """The manifest as it is sent and stored."""
        floor = self.floor
        parts = tuple(_Part(part.name, part.size_bytes, part.checksum) for part in self.parts)
        return _encoder.encode(_Wire(floor.index, floor.term, floor.configuration_index, floor.configuration, parts))

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """The inverse of :meth:`encode`. Raises :class:`FrameError` for anything else."""
        try:
            wire = _decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FrameError(f"not the manifest of a snapshot: {error}") from error
        if len({part.name for part in wire.parts}) != len(wire.parts):
            raise FrameError("the manifest of a snapshot names a part twice")
        floor = Floor(wire.index, wire.term, wire.configuration_index, wire.configuration)
        return cls(floor, tuple(PartInfo(part.name, part.size_bytes, part.checksum) for part in wire.parts))


class _Part(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    name: _Name
    size_bytes: _Size
    checksum: _Checksum


class _Wire(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    index: _Size
    term: _Size
    configuration_index: _Size
    configuration: _Configuration
    parts: Annotated[tuple[_Part, ...], msgspec.Meta(max_length=PARTS_MAX)]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Wire)
