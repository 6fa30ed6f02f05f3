"""A group whose durable state is damaged: set aside as a whole, so that the node can be filled anew by its peers.

The marker ``repairing`` says that this node has lost what it had promised. It is durable before the first file is
moved and stays until the cluster has taken the node in anew. While it says ``moving``, whatever is still there
belongs to the damaged state: a start moves it away before it looks at anything else.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from quorate.storage.filesystem import TEMPORARY_SUFFIX, FileSystem, read_bytes, reporting, write_atomically

log = logging.getLogger(__name__)

_NAME = "repairing"
_DIRECTORIES = (".", "log", "snapshots")


class RepairMarker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the node is in repair, and whether its damaged files may still be where they were."""

    reason: str
    moving: bool = False


def quarantine(fs: FileSystem, group_directory: Path, reason: str) -> Path:
    """Set everything of a group aside and leave an empty directory that is marked as in repair.

    Returns the sibling directory ``damaged-<group>`` with the files; those of an earlier quarantine are removed.
    None of the files may be in use. Durable on return; stopped half way, the next call or the next start of
    the group finishes it. Raises :class:`StorageError`.
    """
    with reporting(group_directory):
        fs.make_directories(group_directory)
        marker = load_marker(fs, group_directory)
        if marker is None or not marker.moving:
            # An unfinished move must keep what it has saved so far; this one begins, and may clear its way. Not for
            # nothing, though: that may be a second attempt at what was only not reported as done.
            if _files(fs, group_directory):
                _remove_all(fs, damaged_path(group_directory))
            save_marker(fs, group_directory, RepairMarker(reason, moving=True))
        return finish_quarantine(fs, group_directory)


def finish_quarantine(fs: FileSystem, group_directory: Path) -> Path:
    """Move the damaged files that are still there, and say in the marker that it is done."""
    damaged = damaged_path(group_directory)
    fs.sync_directory(group_directory)  # the marker first, if the last process died between its rename and this
    for directory in _DIRECTORIES:
        fs.make_directories(damaged / directory)
    for path in _files(fs, group_directory):
        fs.rename(group_directory / path, damaged / path)
    for directory in _DIRECTORIES:
        fs.sync_directory(damaged / directory)
        if fs.exists(group_directory / directory):
            fs.sync_directory(group_directory / directory)
    marker = load_marker(fs, group_directory)
    reason = marker.reason if marker else ""
    save_marker(fs, group_directory, RepairMarker(reason))
    log.warning("%s was set aside in %s, to be repaired from the peers: %s", group_directory, damaged, reason)
    return damaged


def damaged_path(group_directory: Path) -> Path:
    """Where :func:`quarantine` puts the group's files."""
    return group_directory.with_name(f"damaged-{group_directory.name}")


def load_marker(fs: FileSystem, group_directory: Path) -> RepairMarker | None:
    """The marker, if there is one. One that cannot be read counts as left in the middle of a move."""
    path = group_directory / _NAME
    if not fs.exists(path):
        return None
    try:
        return msgspec.json.decode(read_bytes(fs, path), type=RepairMarker)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return RepairMarker("unknown: the marker cannot be read", moving=True)


def save_marker(fs: FileSystem, group_directory: Path, marker: RepairMarker) -> None:
    """Put the marker in place; durable on return."""
    write_atomically(fs, group_directory / _NAME, msgspec.json.encode(marker) + b"\n")


def remove_marker(fs: FileSystem, group_directory: Path) -> None:
    """The node is whole again; durable on return."""
    if fs.exists(group_directory / _NAME):
        fs.remove(group_directory / _NAME)
        fs.sync_directory(group_directory)


def _files(fs: FileSystem, directory: Path) -> list[Path]:
    """The files of a group, without the marker, by their paths below its directory."""
    return [
        Path(below) / name
        for below in _DIRECTORIES
        if fs.exists(directory / below)
        for name in fs.list_files(directory / below)
        if name not in (_NAME, _NAME + TEMPORARY_SUFFIX)
    ]


def _remove_all(fs: FileSystem, damaged: Path) -> None:
    for path in _files(fs, damaged):
        fs.remove(damaged / path)
    for directory in _DIRECTORIES:
        if fs.exists(damaged / directory):
            fs.sync_directory(damaged / directory)
