"""The doctor at the data directory of a node that does not start (D59)."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from quorate.ops.doctor.checks import diagnose
from quorate.ops.doctor.evidence import Directory, Evidence
from quorate.ops.doctor.findings import Severity
from quorate.ops.doctor.looking import look_at_directory
from quorate.storage.directory import DataDirectory
from quorate.storage.real import RealFileSystem
from quorate.storage.repair import quarantine

from .clinic import Cluster
from .data_directories import footprint, make_directory, overwrite, segments

NOTE, WARNING, CRITICAL = Severity
ROOM = {"free_bytes": 2**40, "total_bytes": 2**41}


def looked(path: Path, node_id: int | None = None) -> Directory:
    """As it was found, on a disk with room; the look must have left no trace."""
    before = footprint(path) if path.is_dir() else None
    found = look_at_directory(path, node_id)
    assert before is None or footprint(path) == before
    return replace(found, **ROOM)


def found(directory: Directory, cluster: Cluster | None = None) -> dict[str, Severity]:
    """The checks that find something."""
    evidence = cluster.evidence() if cluster is not None else Evidence()
    diagnosis = diagnose(replace(evidence, directory=directory))
    return {name: finding.severity for name, finding in diagnosis.found["data directory"]}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return make_directory(tmp_path / "node1")


def test_a_whole_one_is_fine_with_and_without_its_cluster(directory: Path) -> None:
    assert found(looked(directory, 1)) == {}
    assert found(looked(directory, 1), Cluster()) == {}


def test_one_that_is_new(tmp_path: Path) -> None:
    assert found(looked(tmp_path)) == {"directory_is_new": NOTE}
    assert found(looked(tmp_path / "not" / "there")) == {"directory_is_new": NOTE}


def test_one_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    assert found(looked(tmp_path)) == {"directory_is_none_of_ours": CRITICAL}
    assert found(looked(tmp_path / "holiday.jpg")) == {"directory_is_none_of_ours": CRITICAL}


def test_one_that_may_not_be_written(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert found(looked(directory)) == {"directory_is_not_writable": CRITICAL}


@pytest.mark.parametrize(("free", "severity"), [(10 * 2**20, CRITICAL), (2**30, WARNING)])
def test_one_without_room(directory: Path, free: int, severity: Severity) -> None:
    assert found(replace(looked(directory), free_bytes=free)) == {"directory_disk_fills": severity}


def test_the_room_is_that_of_its_disk(directory: Path) -> None:
    space = look_at_directory(directory)
    assert space.free_bytes is not None
    assert space.total_bytes is not None
    assert 0 < space.free_bytes < space.total_bytes


def test_one_that_is_in_use(directory: Path) -> None:
    in_use = DataDirectory(RealFileSystem(), directory)
    try:
        locked = looked(directory)
    finally:
        in_use.release()
    assert found(locked) == {"directory_is_locked": NOTE}
    cluster = Cluster()
    assert found(locked, cluster) == {"directory_is_locked": NOTE}
    cluster.gone(1)
    assert found(locked, cluster) == {"directory_is_locked": CRITICAL}, "somebody holds it, and does not answer"


def test_one_that_is_damaged(directory: Path) -> None:
    overwrite(segments(directory)[0], 200, b"\xff\xff\xff\xff")
    assert found(looked(directory)) == {"directory_is_damaged": CRITICAL}


def test_one_in_repair(directory: Path) -> None:
    quarantine(RealFileSystem(), directory / "groups" / "0", "the disk was wiped")
    assert found(looked(directory)) == {"directory_is_repaired": WARNING}


def test_one_that_was_recovered_by_force(directory: Path) -> None:
    (directory / "recovered-1.json").write_text("{}")
    assert found(looked(directory)) == {"directory_is_repaired": NOTE}


def test_one_of_another_node_cluster_or_of_none(directory: Path, tmp_path: Path) -> None:
    wrong = {"directory_has_another_id": CRITICAL}
    assert found(looked(directory, 2)) == wrong
    cluster = Cluster()
    cluster.everywhere(cluster_id="another")
    assert found(looked(directory), cluster) == wrong
    assert found(looked(make_directory(tmp_path / "node9", node_id=9)), Cluster()) == wrong
