"""All that a node keeps on disk, opened in the right order, and set aside where it cannot be trusted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec

from quorate.config import RaftConfig
from quorate.errors import ConfigError, CorruptLog
from quorate.machine.router import Router
from quorate.node.group import GROUP
from quorate.raft.membership import Configuration, Member
from quorate.raft.output import Recovered
from quorate.storage.directory import DataDirectory, KnownPeer, StoredIdentity
from quorate.storage.filesystem import FileSystem
from quorate.storage.repair import quarantine
from quorate.storage.snapshots import SnapshotDirectory
from quorate.storage.store import GroupStore

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Opened:
    store: GroupStore
    snapshots: SnapshotDirectory


class DurableState:
    """The data directory of one node: whose it is, the log, the snapshots and the state machines' file."""

    def __init__(self, fs: FileSystem, config: RaftConfig, rng: Random, *, state_fs: FileSystem | None = None) -> None:
        """Lock the directory and see whose it is. ``state_fs`` has the SQLite file and the snapshots, if not ``fs``.

        Raises :class:`ConfigError` and :class:`~quorate.errors.DataDirectoryLocked`.
        """
        self._fs = fs
        self._state_fs = state_fs or fs
        self._config = config
        self._rng = rng
        self._opened: _Opened | None = None
        self._directory = DataDirectory(fs, config.data_dir)
        try:
            self.identity = self._load_identity()
        except BaseException:
            self._directory.release()
            raise

    def _load_identity(self) -> StoredIdentity:
        config = self._config
        try:
            found = self._directory.load_identity(config.node_id)
        except CorruptLog as error:
            if len(config.members) == 1:
                raise
            log.error("%s; node %d is to be repaired by its peers", error, config.node_id)
            return self._begin_without_identity(str(error))
        if found is not None and found.cluster_id != config.cluster_id:
            raise ConfigError(
                f"{self._directory.path} belongs to cluster {found.cluster_id!r}, not {config.cluster_id!r}: "
                f"start the node with --cluster-id {found.cluster_id}, or with another --data-dir"
            )
        if found is None:
            found = StoredIdentity(
                cluster_id=config.cluster_id, node_id=config.node_id, address=config.address, joining=config.join
            )
        elif config.join and found.members:
            log.warning("%s: the data of a member is here already: --join says nothing any more", config.data_dir)
        if not found.store:
            found = msgspec.structs.replace(found, store=self._new_store())
        found = msgspec.structs.replace(found, address=config.address)
        self._directory.save_identity(found)
        return found

    def _begin_without_identity(self, reason: str) -> StoredIdentity:
        """Which data this node voted with is forgotten, so all of it is set aside."""
        config = self._config
        identity = StoredIdentity(
            cluster_id=config.cluster_id,
            node_id=config.node_id,
            address=config.address,
            store=self._new_store(),
            joining=True,
        )
        self._directory.save_identity(identity)
        quarantine(self._fs, self._directory.group_path(GROUP), reason)
        return identity

    def _new_store(self) -> int:
        return self._rng.getrandbits(63) | 1

    # -- opening -----------------------------------------------------------------------------------------

    def open(self, router: Router) -> None:
        """Open the log, then the state machines behind it.

        What is damaged is set aside, if there are peers to repair this node from: then it begins empty and without
        a vote. Raises :class:`CorruptLog` if there are none, and :class:`~quorate.errors.StorageError`.
        """
        try:
            if self.identity.given_up:
                raise CorruptLog("what is here was kept as a witness, without the data: it begins anew")
            self._open(router)
        except CorruptLog as error:
            self._close_files()
            router.close(flush=False)
            if not self._peers_are_known:
                raise
            self._set_aside(str(error))
            self._open(router)

    @property
    def _peers_are_known(self) -> bool:
        return len(self._config.members) > 1 or len(self.identity.members) > 1 or bool(self.identity.peers)

    def _set_aside(self, reason: str) -> None:
        # The new name for the data comes first: under the old one, the cluster would give the vote back at once.
        self._save(store=self._new_store())
        quarantine(self._fs, self._directory.group_path(GROUP), reason)
        self._save(witness=False, given_up=False)

    def _open(self, router: Router) -> None:
        store = GroupStore.open(
            self._fs,
            self._directory.group_path(GROUP),
            group=GROUP,
            segment_bytes=self._config.segment_bytes,
            settings=self._config.storage,
        )
        snapshots = SnapshotDirectory(self._state_fs, self._directory.snapshots_path(GROUP))
        self._opened = _Opened(store, snapshots)
        recovered = store.recovered
        staged = snapshots.staged()
        if staged is not None and staged.floor == recovered.floor:
            snapshots.switch(self.state_path)  # the last process died between the log and the state
        elif staged is not None and staged.floor.index <= recovered.floor.index:
            snapshots.discard()  # it came too late
        snapshots.clear()
        machines = snapshots.load_machines(recovered.last_index)
        router.log = None if store.settings.fsync_on_append else store  # else it is durable before it is applied
        router.open(self.state_path, machines[1] if machines else b"", floor=recovered.floor.index)
        self._check_state(router, recovered)

    def _check_state(self, router: Router, recovered: Recovered) -> None:
        if self.identity.witness:
            router.become_witness()
        elif router.machines and router.applied < recovered.floor.index:
            raise CorruptLog(
                f"the state machines have applied entry {router.applied}, but the log begins behind entry "
                f"{recovered.floor.index}: the state between is lost. Replace this node, or restore a backup."
            )
        if router.applied_by_any > recovered.last_index:
            raise CorruptLog(
                f"the state machines have applied entry {router.applied_by_any}, but the log ends at "
                f"{recovered.last_index}: it lost entries. Replace this node by a new one, or restore a backup."
            )

    # -- what is there -----------------------------------------------------------------------------------

    @property
    def node_id(self) -> int:
        """Whose data this is."""
        return self._config.node_id

    @property
    def store(self) -> GroupStore:
        """The hard state and the log."""
        assert self._opened is not None
        return self._opened.store

    @property
    def snapshots(self) -> SnapshotDirectory:
        """The snapshots that come and go."""
        assert self._opened is not None
        return self._opened.snapshots

    @property
    def state_path(self) -> Path:
        """The SQLite file of the state machines."""
        return self._directory.state_path(GROUP)

    @property
    def beginning(self) -> Configuration | None:
        """The configuration that the cluster began with; empty where that is not for this node to know.

        ``None`` where it still has to be found out, as this is one of those who begin it.
        """
        if self.identity.joining or self.store.repairing:
            return Configuration()
        if self.identity.members:
            return Configuration(
                tuple(Member(peer, address) for peer, address in sorted(self.identity.members.items()))
            )
        return None

    # -- what is remembered ------------------------------------------------------------------------------

    def begin_with(self, members: Mapping[int, str]) -> None:
        """Remember the members that the cluster begins with; durable on return."""
        self._save(members=dict(members))

    def remember_witness(self) -> None:
        """Remember that this directory holds no data; durable on return."""
        if not self.identity.witness:
            self._save(witness=True)

    def give_up(self) -> None:
        """Have the next start begin anew, without what is here; durable on return."""
        self._save(given_up=True)

    def remember_peers(self, peers: Mapping[int, KnownPeer]) -> None:
        """Remember where the others live and which data they vote with; durable on return."""
        if dict(peers) != self.identity.peers:
            self._save(peers=dict(peers))

    def _save(self, **changes: object) -> None:
        self.identity = msgspec.structs.replace(self.identity, **changes)
        self._directory.save_identity(self.identity)

    # -- the end -----------------------------------------------------------------------------------------

    def _close_files(self) -> None:
        if self._opened is not None:
            self._opened.snapshots.close()
            self._opened.store.close()

    def close(self) -> None:
        """Close the files and let another process have the directory."""
        try:
            self._close_files()
        finally:
            self._directory.release()
