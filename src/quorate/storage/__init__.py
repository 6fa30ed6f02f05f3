"""The durable side: a segmented log and the hard state of each group, over a small file-system port."""

from quorate.storage.directory import DataDirectory, StoredIdentity
from quorate.storage.filesystem import File, FileLock, FileSystem
from quorate.storage.memory import MemoryFileSystem
from quorate.storage.real import RealFileSystem
from quorate.storage.store import GroupStore, StorageStats
from quorate.storage.wal import SEGMENT_BYTES, Wal
from quorate.storage.writer import GroupCommitWriter, InlineWriter, Writer

__all__ = [
    "SEGMENT_BYTES",
    "DataDirectory",
    "File",
    "FileLock",
    "FileSystem",
    "GroupCommitWriter",
    "GroupStore",
    "InlineWriter",
    "MemoryFileSystem",
    "RealFileSystem",
    "StorageStats",
    "StoredIdentity",
    "Wal",
    "Writer",
]
