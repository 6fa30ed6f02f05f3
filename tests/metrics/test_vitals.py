"""What ``/status`` says of the process and the disk: looked at once a second at most."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quorate.storage.store import StorageStats
from quorate.web.vitals import FRESH_SECONDS, Vitals, disk_bytes


def node_in(directory: Path, stats: StorageStats | None) -> Any:
    running = None if stats is None else SimpleNamespace(store=SimpleNamespace(stats=stats))
    return SimpleNamespace(config=SimpleNamespace(data_dir=directory), running=running)


def test_all_of_it_is_there(tmp_path: Path) -> None:
    stats = StorageStats(sync_seconds_last=0.25)
    for _ in range(100):
        stats.sync_seconds.observe(0.25)
    report = Vitals(node_in(tmp_path, stats)).report()
    assert report["process"]["cpu_seconds"] > 0
    assert report["process"]["resident_bytes"] > 1_000_000
    assert report["process"]["open_files"] > 2
    disk = report["disk"]
    assert 0 < disk["free_bytes"] < disk["total_bytes"]
    assert disk["sync_seconds_last"] == 0.25
    assert 0.1 < disk["sync_seconds_p99"] <= 0.25
    assert (disk["syncs"], disk["sync_seconds_sum"]) == (100, 25.0)


def test_a_node_that_has_not_begun_and_a_disk_that_is_not_there_say_nothing(tmp_path: Path) -> None:
    disk = Vitals(node_in(tmp_path / "nowhere", None)).report()["disk"]
    assert set(disk.values()) == {None}
    assert disk_bytes(tmp_path / "nowhere") == (None, None)


def test_nobody_makes_it_look_more_often_than_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("quorate.web.vitals.time", SimpleNamespace(monotonic=lambda: now, process_time=lambda: 1.0))
    seen = Vitals(node_in(tmp_path, StorageStats()))
    first = seen.report()
    now += 0.9 * FRESH_SECONDS
    assert seen.report() is first
    now += 0.2 * FRESH_SECONDS
    assert seen.report() is not first
