"""What a node costs that does nothing is measured on each of three, and held against what is wanted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from quorate.ops.bench import idle_report, servers
from quorate.ops.bench.convergence import Convergence
from quorate.ops.bench.environment import Environment
from quorate.ops.bench.idle import IdleNode, IdleReport, Plan, Restart, run_idle
from quorate.ops.bench.load import LoadFailed
from quorate.ops.ports import free_ports

ROWS = 30
MACHINE = Environment(quorate="1", python="3", system="Linux", cores=2, load=0.0, fsync_us=1)
NODE = IdleNode(node_id=1, role="leader", memory_mb=60, scraped_mb=64, threads=3, open_files=28, cpu_ms_per_s=9.5,
                sent_kb_per_s=50.0, scrape_p50_ms=4.99, scrape_max_ms=50, scrape_cpu_ms=3)  # fmt: skip
RESTART = Restart(node_id=1, role="leader", ready_ms=1999)
REPORT = IdleReport(environment=MACHINE, seconds=1, nodes=[NODE], rows_mb=[None], restarts=[RESTART],
                    converged=Convergence(place="one node", objects=7, digest=None))  # fmt: skip


@pytest.mark.e2e
async def test_three_nodes_are_measured_and_nothing_stays_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "QUIET_SECONDS_MAX", 0.2)
    report = await run_idle(tmp_path, free_ports(3), Plan(seconds=0.1, rows=ROWS), lambda line: None)
    assert sorted(node.role for node in report.nodes) == ["follower", "follower", "leader"]
    for node in report.nodes:
        assert 0 < node.scrape_p50_ms <= node.scrape_max_ms
        if sys.platform == "linux":
            assert node.scrape_cpu_ms is not None
            assert node.scrape_cpu_ms > 0
            assert None not in (node.memory_mb, node.scraped_mb, node.threads, node.open_files, node.cpu_ms_per_s)
    assert sum(node.sent_kb_per_s for node in report.nodes) > 0, "the leader is heard"
    assert [restart.role for restart in report.restarts] == ["follower", "leader"]
    assert all(restart.ready_ms > 0 for restart in report.restarts)
    assert report.converged.objects == ROWS
    assert len(json.loads(idle_report.as_json(report))["nodes"]) == 3
    rows = idle_report.as_table(report).row_count
    assert idle_report.as_markdown(report).count("\n|") == rows + 2


def test_what_is_as_wanted() -> None:
    assert idle_report.missed(REPORT) == []
    assert idle_report.about(REPORT).endswith("All is as wanted.")
    assert json.loads(idle_report.as_json(REPORT))["missed"] == []


def test_what_is_not_as_wanted_is_told() -> None:
    node = replace(NODE, sent_kb_per_s=50.1, scrape_p50_ms=5.0)
    report = replace(REPORT, nodes=[node], restarts=[replace(RESTART, ready_ms=2000)])
    assert idle_report.missed(report) == [
        "node 1 sent 50.1 KB/s",
        "scrapes of node 1 took 5.00 ms",
        "the leader was back after 2000 ms",
    ]
    assert "Not as wanted: node 1 sent 50.1 KB/s; scrapes" in idle_report.about(report)


@pytest.mark.skipif(sys.platform != "linux", reason="it is not known elsewhere")
def test_the_processor_time_of_a_process_is_its_own() -> None:
    ours, times = servers.cpu_seconds([os.getpid()]), os.times()
    assert ours == pytest.approx(times.user + times.system, abs=0.1)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        spent = servers.cpu_seconds([other.pid])
        assert spent is not None
        assert 0 <= spent < 5
        both = servers.cpu_seconds([other.pid, os.getpid()])
        assert both is not None
        assert both > spent
    with pytest.raises(LoadFailed, match="has ended"):
        servers.cpu_seconds([other.pid])
