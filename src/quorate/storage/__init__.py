"""The durable side: a segmented log, the hard state and the snapshots of each group, over a file-system port.

::

    store         what is durable of one group: hard_state, the log, and the floor where that begins; driven by writer
    wal           the log: segment files in one of the forms of codecs/; recovery reads it back, cut takes its end away
    settings      when the log is synced, and in which form it is; unsynced, the note that some of it may not be
    snapshots     those of a group, incoming ones too; manifest and machines, what they consist of
    repair        sets aside what cannot be read
    directory     where everything is
    filesystem    the port: on real files, or in memory with what a disk may lose; sealed, small files on it
"""

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
