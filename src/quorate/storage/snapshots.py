"""The snapshots of one group: its own, those that are being sent, and the one that comes from a peer.

::

    machines-<index>.snapshot   the in-memory machines as they were there; only the newest is kept
    outgoing-<number>.sqlite    copies of state.sqlite on their way to a peer
    incoming…, staged.manifest  see quorate.storage.incoming

A snapshot from a peer takes the place of the state in three steps, each durable before the next: it is staged
when it is whole and verified; then the log's floor moves to it (:attr:`quorate.raft.output.Write.floor`); then
:meth:`SnapshotDirectory.switch` puts its parts in place. A start that finds a staged snapshot of the floor's
position switches once more, and one of any other position may be discarded: its floor was never moved.
"""

from __future__ import annotations

from pathlib import Path

from quorate.errors import CorruptLog, FrameError, StorageError
from quorate.raft.output import Floor
from quorate.storage.filesystem import TEMPORARY_SUFFIX, File, FileSystem, reporting
from quorate.storage.incoming import (
    INCOMING,
    STAGED,
    Incoming,
    discard_parts,
    load_manifest,
    part_path,
    save_incoming,
)
from quorate.storage.machines import (
    machines_indexes,
    machines_path,
    read_machines,
    read_machines_part,
    remove_machines_below,
    write_machines,
)
from quorate.storage.manifest import MACHINES_PART, SQLITE_PART, Manifest, PartInfo

_OUTGOING_PREFIX = "outgoing-"
_SQLITE_COMPANIONS = ("-wal", "-shm", "-journal")


class SnapshotDirectory:
    """A group's ``snapshots`` directory. Not synchronised: one call at a time, from any thread.

    Except for :meth:`save_machines` and :meth:`load_machines`, which may run beside the others but
    :meth:`switch`. Every method may raise :class:`StorageError` if the disk fails.
    """

    def __init__(self, fs: FileSystem, path: Path) -> None:
        """Make the directory where it is missing."""
        self._fs = fs
        self.path = path
        self._incoming: Incoming | None = None
        with reporting(path):
            fs.make_directories(path)
            fs.sync_directory(path)  # the last process may have died between a rename and this

    def clear(self) -> None:
        """Remove whatever is unfinished; to be called once, at start.

        What has come of a snapshot from a peer stays if its manifest is intact, so that the transfer can go on.
        """
        self._forget_incoming()
        with reporting(self.path):
            for name in self._fs.list_files(self.path):
                if name.endswith(TEMPORARY_SUFFIX) or name.startswith(_OUTGOING_PREFIX):
                    self._fs.remove(self.path / name)
            if not self._fs.exists(self.path / STAGED) and self._arriving() is None:
                discard_parts(self._fs, self.path)

    # -- this node's own ---------------------------------------------------------------------------------

    def save_machines(self, floor: Floor, data: bytes) -> None:
        """Keep the in-memory machines' state at ``floor`` in place of older ones; durable on return."""
        with reporting(self.path):
            write_machines(self._fs, self.path, floor, data)
            remove_machines_below(self._fs, self.path, floor.index)

    def load_machines(self, index_max: int) -> tuple[Floor, bytes] | None:
        """The newest state that was kept at ``index_max`` or before, if any.

        Raises :class:`CorruptLog` if it is not intact: an older one is no substitute, as the log may begin
        behind it.
        """
        with reporting(self.path):
            indexes = [index for index in machines_indexes(self._fs, self.path) if index <= index_max]
            return read_machines(self._fs, self.path, indexes[-1]) if indexes else None

    def outgoing_path(self, number: int) -> Path:
        """Where the copy of the SQLite file for the transfer of this number belongs."""
        return self.path / f"{_OUTGOING_PREFIX}{number}.sqlite"

    def describe_outgoing(self, number: int) -> PartInfo:
        """The part that this copy makes; reads all of it."""
        with reporting(self.path):
            return PartInfo.of_file(self._fs, SQLITE_PART, self.outgoing_path(number))

    def open_outgoing(self, number: int) -> File:
        """This copy, to be read. Removing it meanwhile does no harm."""
        with reporting(self.path):
            return self._fs.open(self.outgoing_path(number))

    def remove_outgoing(self, number: int) -> None:
        """The transfer of this number has ended: remove its copy, if there is one."""
        path = self.outgoing_path(number)
        with reporting(self.path):
            for name in self._fs.list_files(self.path):
                if name.startswith(path.name):
                    self._fs.remove(self.path / name)

    # -- from a peer -------------------------------------------------------------------------------------

    def begin(self, manifest: Manifest) -> Incoming:
        """Receive this snapshot, from where the last attempt stopped if that was the same one.

        An unfinished one of another manifest is discarded. Raises :class:`FrameError` for a part that has no
        place here, and :class:`StorageError` while another snapshot is staged: ask :meth:`staged` before.
        """
        unknown = [part.name for part in manifest.parts if part.name not in (MACHINES_PART, SQLITE_PART)]
        if unknown:
            raise FrameError(f"a snapshot with the unknown parts {', '.join(unknown)}")
        staged = self.staged()
        if staged is not None and staged != manifest:
            raise StorageError(f"the snapshot at entry {staged.floor.index} is still to be put in place")
        incoming = self._incoming
        if incoming is not None and not incoming.dropped and incoming.manifest == manifest:
            return incoming
        given_up = self._forget_incoming()
        with reporting(self.path):
            if staged is None and (given_up or self._arriving() != manifest):
                discard_parts(self._fs, self.path)
                save_incoming(self._fs, self.path, manifest)
            self._incoming = Incoming(self._fs, self.path, manifest, staged=staged is not None)
        return self._incoming

    def staged(self) -> Manifest | None:
        """The snapshot that is whole, verified and not yet put in place, if there is one.

        Raises :class:`CorruptLog` if its manifest cannot be read.
        """
        with reporting(self.path):
            return load_manifest(self._fs, self.path / STAGED)

    def staged_state(self, manifest: Manifest) -> Path | None:
        """Where the staged snapshot's copy of the SQLite file is, if it has one."""
        number = _number_of(SQLITE_PART, manifest)
        return None if number is None else part_path(self.path, number)

    def staged_machines(self, manifest: Manifest) -> bytes:
        """The in-memory machines' state in the staged snapshot; empty if it has none."""
        number = _number_of(MACHINES_PART, manifest)
        if number is None:
            return b""
        with reporting(self.path):
            return read_machines_part(self._fs, part_path(self.path, number), manifest.floor, manifest.parts[number])

    def switch(self, state_path: Path) -> None:
        """Put the parts of the staged snapshot in place, the SQLite file at ``state_path``; durable on return.

        Only once the snapshot's floor is durable, and while nobody has the SQLite file open. To be called again
        after a crash or an error; does nothing when nothing is staged.
        """
        manifest = self.staged()
        if manifest is None:
            return
        self._forget_incoming()
        with reporting(self.path):
            for number, part in enumerate(manifest.parts):
                source = part_path(self.path, number)
                if not self._fs.exists(source):
                    continue  # in place since an earlier attempt
                target = machines_path(self.path, manifest.floor.index)
                if part.name == SQLITE_PART:
                    self._remove_companions(state_path)
                    target = state_path
                self._fs.rename(source, target)
            # Of the renames of an earlier attempt, too: nobody knows how far that one came.
            self._fs.sync_directory(state_path.parent)
            self._fs.sync_directory(self.path)
            if any(part.name == MACHINES_PART for part in manifest.parts):
                remove_machines_below(self._fs, self.path, manifest.floor.index)
            self._fs.remove(self.path / STAGED)
            self._fs.sync_directory(self.path)

    def discard(self) -> None:
        """Give up the snapshot that is incoming or staged; durable on return."""
        self._forget_incoming()
        with reporting(self.path):
            discard_parts(self._fs, self.path)

    def close(self) -> None:
        """Close the files; a later life of the process can go on with an unfinished transfer."""
        if self._incoming is not None:
            self._incoming.close()

    def _arriving(self) -> Manifest | None:
        """The manifest of the unfinished transfer; one that cannot be read is of no use."""
        try:
            return load_manifest(self._fs, self.path / INCOMING)
        except CorruptLog:
            return None

    def _forget_incoming(self) -> bool:
        """Let go of the present transfer; returns whether it had been given up, so that its files are worthless."""
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            return False
        given_up, incoming.dropped = incoming.dropped, True
        incoming.close()
        return given_up

    def _remove_companions(self, state_path: Path) -> None:
        """Remove what SQLite keeps beside its file: it belongs to the old one and would be applied to the new."""
        for suffix in _SQLITE_COMPANIONS:
            companion = state_path.with_name(state_path.name + suffix)
            if self._fs.exists(companion):
                self._fs.remove(companion)
        self._fs.sync_directory(state_path.parent)


def _number_of(name: str, manifest: Manifest) -> int | None:
    return next((number for number, part in enumerate(manifest.parts) if part.name == name), None)
