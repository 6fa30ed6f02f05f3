"""The data directory of one node: who may use it, who it belongs to, and where everything is.

::

    <data>/LOCK                         held by the process that uses it
    <data>/identity.json                whose it is
    <data>/local.sqlite                 what the models keep for this node alone, beside the log
    <data>/groups/<group>/hard_state    see quorate.storage.hard_state
    <data>/groups/<group>/log/          see quorate.storage.wal
    <data>/groups/<group>/floor         where the log begins, see quorate.storage.floor
    <data>/groups/<group>/snapshots/    see quorate.storage.snapshots
    <data>/groups/<group>/repairing     only while the node is in repair, see quorate.storage.repair
    <data>/groups/<group>/unsynced      only while entries may wait for their sync, see quorate.storage.unsynced
    <data>/groups/<group>/state.sqlite  the state machines' own file
    <data>/groups/damaged-<group>/      what the last repair has replaced
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from google_crc32c import value as crc32c

from quorate.errors import ConfigError, CorruptLog, StorageError
from quorate.storage.filesystem import FileSystem, read_bytes, write_atomically

IDENTITY = "identity.json"


class KnownPeer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another member, as last seen: its ``address``, and the ``store`` it votes with (0: not known)."""

    address: str
    store: int = 0


class StoredIdentity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose data this is, what the cluster began with, and the peers as last known here."""

    cluster_id: str
    node_id: int
    address: str
    store: int = 0
    """A random number for what this directory holds: lost data comes back under another one. 0: not drawn yet."""
    members: dict[int, str] = {}
    """Node id → address of those the cluster began with; empty while they are unknown, and on a ``joining`` node."""
    joining: bool = False
    """Whether this node was to be added to a cluster, and never begins one."""
    witness: bool = False
    """Whether this is a witness's: of the log it holds the places and the terms only."""
    given_up: bool = False
    """Whether what is here is of no use any more: the next start sets it aside, and begins anew."""
    peers: dict[int, KnownPeer] = {}


class DataDirectory:
    """A node's directory, locked for this process until it is released."""

    def __init__(self, fs: FileSystem, path: Path) -> None:
        """Create it where it is missing, and lock it.

        Raises :class:`ConfigError` if it cannot be used, and :class:`~quorate.errors.DataDirectoryLocked`
        if another process does.
        """
        self._fs = fs
        self.path = path
        try:
            fs.make_directories(path)
            self._lock = fs.lock(path / "LOCK")
        except OSError as error:
            raise ConfigError(f"the data directory {path} cannot be used: {error.strerror}") from error

    def group_path(self, group: int = 0) -> Path:
        """Where :meth:`~quorate.storage.store.GroupStore.open` finds the group's hard state and log."""
        return self.path / "groups" / str(group)

    def state_path(self, group: int = 0) -> Path:
        """The SQLite file of the group's state machines."""
        return self.group_path(group) / "state.sqlite"

    def snapshots_path(self, group: int = 0) -> Path:
        """The directory of the group's :class:`~quorate.storage.snapshots.SnapshotDirectory`."""
        return self.group_path(group) / "snapshots"

    def load_identity(self, node_id: int) -> StoredIdentity | None:
        """What :meth:`save_identity` left; ``None`` in a new directory.

        Raises :class:`ConfigError` if the directory belongs to another node than ``node_id``,
        :class:`CorruptLog` if what is in the file is not what was saved, and :class:`StorageError`.
        """
        identity = read_identity(self._fs, self.path)
        if identity is not None and identity.node_id != node_id:
            raise ConfigError(
                f"this data directory belongs to node {identity.node_id}, not to node {node_id}: {self.path}"
            )
        return identity

    def save_identity(self, identity: StoredIdentity) -> None:
        """Replace the identity in one step; durable on return. Raises :class:`StorageError`."""
        try:
            write_atomically(self._fs, self._identity_path, _encode(identity))
        except OSError as error:
            raise StorageError(f"{self._identity_path} cannot be written: {error}") from error

    def release(self) -> None:
        """Let another process have the directory. Safe to call twice."""
        self._lock.release()

    @property
    def _identity_path(self) -> Path:
        return self.path / IDENTITY


def read_identity(fs: FileSystem, directory: Path) -> StoredIdentity | None:
    """Whose the data ``directory`` is; ``None`` in a new one.

    Raises :class:`CorruptLog` if what is in the file is not what was saved, and :class:`StorageError`.
    """
    path = directory / IDENTITY
    try:
        return _decode(read_bytes(fs, path)) if fs.exists(path) else None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptLog(f"{path} is damaged: {error}") from error


class _Checked(StoredIdentity, frozen=True, kw_only=True):
    """The identity in its file: JSON, so that people can read it, with a checksum, as nobody sees a flipped bit."""

    checksum: int | None = None
    """CRC-32C of the file without this field."""


def _encode(identity: StoredIdentity) -> bytes:
    plain = msgspec.structs.asdict(identity)
    return _as_json({**plain, "checksum": crc32c(_as_json(plain))})


def _decode(text: bytes) -> StoredIdentity:
    """The inverse. Raises :class:`msgspec.MsgspecError` for anything else."""
    found = msgspec.structs.asdict(msgspec.json.decode(text, type=_Checked))
    checksum = found.pop("checksum")
    if checksum not in (None, crc32c(_as_json(found))):  # an earlier version wrote none
        raise msgspec.ValidationError("its checksum does not match")
    return StoredIdentity(**found)


def _as_json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
