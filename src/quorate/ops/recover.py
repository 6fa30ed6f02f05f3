"""Majority loss: one node that is left becomes a cluster of its own, with everything that is in its log.

What makes it safe beside the members that are given up, should they come back: the new cluster has another name. The
configuration alone could not tell the two apart. Two old members may hold a later one than this node (a change it
has not seen), or make one after they are back, as they are a majority; this node would then take them for members
that know better, and let them cut off what was acknowledged since. So every handshake between the two is refused, by
``cluster_id``, whatever terms, indexes and stores they name.

In this order, each step durable before the next, so that a recovery that was interrupted can be repeated::

    recovered-<time>.json   what was here before
    identity.json           the new cluster's name: from here on no old member is talked to
    the log                 an entry of a new term: this node is the only member, and has voted for itself
    identity.json           the cluster began with this node alone, and there are no peers
    the marker "repairing"  removed, if that was asked for
"""

from __future__ import annotations

import getpass
import json
import re
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from quorate._version import __version__
from quorate.errors import ConfigError, StorageError
from quorate.ops.inspect.directory import GROUP, DirectoryReport, inspect_directory
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.membership import Configuration, Member, MemberRole
from quorate.raft.output import HardState, Write
from quorate.storage.directory import IDENTITY, DataDirectory, StoredIdentity
from quorate.storage.filesystem import write_atomically
from quorate.storage.real import RealFileSystem
from quorate.storage.store import GroupStore

CLUSTER_ID_CHARACTERS_MAX = 128
_SUFFIX = re.compile(r"-r[0-9a-f]{6}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPlan:
    """What is there, and what will be."""

    node_id: int
    address: str
    data_dir: Path
    cluster_id: str
    new_cluster_id: str
    term: int
    last_index: int
    last_term: int
    committed_index: int
    """Committed for certain: the state machines have applied it, or the log was cut there."""
    configuration_index: int
    dropped: tuple[Member, ...]
    """The members that are given up."""
    role: str | None
    """What this node is a member for; ``None`` if the configuration that it knows does not name it."""
    repairing: str | None

    @property
    def new_term(self) -> int:
        """The term of the entry that makes this node the only member."""
        return max(self.term, self.last_term) + 1


class Recovery:
    """``with Recovery(path) as recovery``: holds the directory's lock inside. ``plan`` writes nothing."""

    def __init__(self, path: Path, *, new_cluster_id: str | None = None, discard_repair_marker: bool = False) -> None:
        """Raises :class:`ConfigError` for a directory that nothing can be recovered from.

        And :class:`~quorate.errors.DataDirectoryLocked` while a process uses it.
        """
        if not (path / IDENTITY).exists():
            raise ConfigError(f"{path} is no data directory of a node: it has no identity.json")
        self._fs = RealFileSystem()
        self._path = path
        self._directory = DataDirectory(self._fs, path)
        try:
            self._report = inspect_directory(path, is_ours=True)
            self._identity = _checked(self._report, discard_repair_marker=discard_repair_marker)
            self.plan = self._make_plan(new_cluster_id)
        except BaseException:
            self._directory.release()
            raise

    def _make_plan(self, new_cluster_id: str | None) -> RecoveryPlan:
        report, identity = self._report, self._identity
        old = identity.cluster_id
        new = new_cluster_id or f"{_SUFFIX.sub('', old)[: CLUSTER_ID_CHARACTERS_MAX - 8]}-r{secrets.token_hex(3)}"
        if new == old:
            raise ConfigError(f"the recovered cluster needs another name than {old!r}: see --new-cluster-id")
        if not 0 < len(new) <= CLUSTER_ID_CHARACTERS_MAX:
            raise ConfigError(f"a cluster id has 1 to {CLUSTER_ID_CHARACTERS_MAX} characters")
        members = [] if report.configuration is None else report.configuration["members"]
        applied = report.state.applied_index if report.state is not None else 0
        memory = max((each.index or 0 for each in report.snapshots if each.kind == "machines"), default=0)
        return RecoveryPlan(
            node_id=identity.node_id,
            address=identity.address,
            data_dir=self._path,
            cluster_id=old,
            new_cluster_id=new,
            term=report.hard_state.term,
            last_index=report.log.last_index,
            last_term=report.log.last_term,
            committed_index=max(report.floor.index, applied, memory),
            configuration_index=report.configuration_index,
            dropped=tuple(
                Member(member["node_id"], member["address"], MemberRole(member["role"]))
                for member in members
                if member["node_id"] != identity.node_id
            ),
            role=next((member["role"] for member in members if member["node_id"] == identity.node_id), None),
            repairing=report.repairing,
        )

    def carry_out(self) -> Path:
        """Do it. Returns the record of it. Raises :class:`StorageError`; then it may be repeated."""
        plan = self.plan
        record = self._write_record()
        self._save(cluster_id=plan.new_cluster_id)
        store = GroupStore.open(self._fs, self._directory.group_path(GROUP), group=GROUP)
        try:
            if store.wal.last_index != plan.last_index:
                raise StorageError(f"the log ends at {store.wal.last_index}, not at {plan.last_index} as it was found")
            alone = Configuration((Member(plan.node_id, plan.address, store=self._identity.store),))
            entry = Entry(plan.last_index + 1, plan.new_term, EntryKind.MEMBERSHIP, alone.encode())
            store.persist([Write(1, HardState(plan.new_term, plan.node_id), (entry,))])
            store.mark()
            self._save(members={plan.node_id: plan.address}, peers={})
            if store.repairing:
                store.repaired()
        finally:
            store.close()
        return record

    def _save(self, **changes: object) -> None:
        self._identity = msgspec.structs.replace(self._identity, **changes)
        self._directory.save_identity(self._identity)

    def _write_record(self) -> Path:
        now = datetime.now(UTC)
        plan, report = self.plan, self._report
        record: dict[str, Any] = {
            "time": now.isoformat(timespec="seconds"),
            "by": _who(),
            "quorate": __version__,
            "node_id": plan.node_id,
            "before": {
                "identity": msgspec.to_builtins(self._identity, str_keys=True),
                "term": report.hard_state.term,
                "voted_for": report.hard_state.voted_for,
                "last_index": plan.last_index,
                "last_term": plan.last_term,
                "committed_index_at_least": plan.committed_index,
                "configuration_index": plan.configuration_index,
                "configuration": report.configuration,
                "repairing": plan.repairing,
            },
            "after": {
                "cluster_id": plan.new_cluster_id,
                "term": plan.new_term,
                "configuration_index": plan.last_index + 1,
                "members": [plan.node_id],
            },
        }
        path = self._path / f"recovered-{now:%Y%m%dT%H%M%S.%fZ}.json"
        try:
            write_atomically(self._fs, path, (json.dumps(record, indent=2) + "\n").encode())
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error}") from error
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._directory.release()


def _checked(report: DirectoryReport, *, discard_repair_marker: bool) -> StoredIdentity:
    """Whose directory it is. Raises :class:`ConfigError` if it is of no use."""
    path, identity = report.path, report.identity
    if report.problems or identity is None:
        first = report.problems[0] if report.problems else "identity.json cannot be read"
        raise ConfigError(
            f"{path} is damaged, so nobody knows what would be lost: {first} (quorate inspect shows all of it; "
            "recover another node, or restore a backup)"
        )
    members = [] if report.configuration is None else report.configuration["members"]
    own = next((member for member in members if member["node_id"] == identity.node_id), None)
    if own is not None and own["role"] == MemberRole.WITNESS:
        raise ConfigError(f"node {identity.node_id} is a witness and holds no data: recover another node")
    if not report.log.last_index:
        raise ConfigError(f"{path} holds no entry of any cluster: there is nothing to recover")
    if report.repairing is not None and not discard_repair_marker:
        raise ConfigError(
            f"node {identity.node_id} is in repair ({report.repairing}): it has lost data already, and what it has may "
            "be old; recover another node, or insist with --discard-repair-marker"
        )
    return identity


def _who() -> str:
    user = "unknown"
    with suppress(OSError, KeyError):
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"
