"""The durable side: a segmented log, the hard state and the snapshots of each group, over a file-system port."""

from quorate.storage.codecs import BINARY, JSON_LINES, Codec
from quorate.storage.directory import DataDirectory, StoredIdentity
from quorate.storage.filesystem import File, FileLock, FileSystem
from quorate.storage.incoming import Incoming
from quorate.storage.manifest import MACHINES_PART, SQLITE_PART, Manifest, PartInfo
from quorate.storage.memory import MemoryFileSystem
from quorate.storage.real import RealFileSystem
from quorate.storage.repair import quarantine
from quorate.storage.settings import DURABLE, PROFILES, StorageProfile, StorageSettings
from quorate.storage.snapshots import SnapshotDirectory
from quorate.storage.store import GroupStore, StorageStats
from quorate.storage.wal import ROTATE_BYTES, SEGMENT_BYTES, Wal
from quorate.storage.writer import GroupCommitWriter, InlineWriter, Writer, writer_for

__all__ = [
    "BINARY",
    "DURABLE",
    "JSON_LINES",
    "MACHINES_PART",
    "PROFILES",
    "ROTATE_BYTES",
    "SEGMENT_BYTES",
    "SQLITE_PART",
    "Codec",
    "DataDirectory",
    "File",
    "FileLock",
    "FileSystem",
    "GroupCommitWriter",
    "GroupStore",
    "Incoming",
    "InlineWriter",
    "Manifest",
    "MemoryFileSystem",
    "PartInfo",
    "RealFileSystem",
    "SnapshotDirectory",
    "StorageProfile",
    "StorageSettings",
    "StorageStats",
    "StoredIdentity",
    "Wal",
    "Writer",
    "quarantine",
    "writer_for",
]
