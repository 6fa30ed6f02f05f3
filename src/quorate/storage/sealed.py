"""Small files that are written whole and whose decay is noticed: a magic number, the content, its CRC-32C."""

from __future__ import annotations

import struct
from pathlib import Path

from google_crc32c import value as crc32c

from quorate.errors import CorruptLog
from quorate.storage.filesystem import FileSystem, read_bytes, write_atomically

_CHECKSUM = struct.Struct(">I")


def seal(magic: bytes, content: bytes) -> bytes:
    """What such a file holds."""
    body = magic + content
    return body + _CHECKSUM.pack(crc32c(body))


def write_sealed(fs: FileSystem, path: Path, magic: bytes, content: bytes) -> None:
    """Put ``content`` in place of the file, the old or the new one being there whole; durable on return."""
    write_atomically(fs, path, seal(magic, content))


def read_sealed(fs: FileSystem, path: Path, magic: bytes) -> bytes | None:
    """The file's content; ``None`` if there is no file. Raises :class:`CorruptLog` if it is not intact."""
    if not fs.exists(path):
        return None
    data = read_bytes(fs, path)
    body = data[: -_CHECKSUM.size]
    if not body.startswith(magic) or data[-_CHECKSUM.size :] != _CHECKSUM.pack(crc32c(body)):
        raise CorruptLog(f"{path} cannot be read: have this node repaired from its peers, or restore a backup")
    return body[len(magic) :]
