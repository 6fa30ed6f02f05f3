"""The demo, its story and the benchmark as a newcomer runs them, on other ports."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from quorate.ops.ports import free_ports

from .support import quorate


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A running demo and its first port. Its temporary directory is inside ``tmp_path``."""
    port = free_ports(3)[0]
    process = subprocess.Popen(
        (sys.executable, "-m", "quorate", "demo", "--port", str(port)),
        cwd=tmp_path,  # not in the checkout
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process, port
    finally:
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """The output up to a line with ``words``; the test's time limit bounds it."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError(f"the demo ended without {words!r}: {''.join(lines)}")


def is_gone(pid: int) -> bool:
    """Whether no process of that id runs (one that nobody has waited for yet counts as gone)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def redis_cli(arguments: str) -> str:
    """What ``redis-cli`` prints, or where it is not installed, what it would."""
    _, port, *command = shlex.split(arguments)
    if shutil.which("redis-cli"):
        done = subprocess.run(["redis-cli", "-p", port, *command], capture_output=True, text=True, check=True)
        return done.stdout.strip()
    with redis.Redis(port=int(port), decode_responses=True) as client:
        reply = client.execute_command(*command)
    return "OK" if reply is True else str(reply)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_the_demo_serves_until_it_is_told_to_stop(
    demo: tuple[subprocess.Popen[str], int], tmp_path: Path, number: signal.Signals
) -> None:
    process, port = demo
    output = read_until(process, "Ctrl-C stops")
    pids = [int(pid) for pid in re.findall(r"process (\d+)", output)]
    assert len(pids) == 4, "three nodes and a worker"
    assert re.search(r"the task offer-1 was submitted to node 1 and done by \S+; node 3 has its result", output)
    for at in range(3):
        assert f"http://127.0.0.1:{port + at}" in output
        assert httpx.get(f"http://127.0.0.1:{port + at}/health").status_code == 200
    dashboard = re.search(r"^  (http\S+/dashboard)$", output, re.MULTILINE)
    assert dashboard
    assert "Quorate" in httpx.get(dashboard[1]).text
    for command in re.findall(r"^  (curl .*)$", output, re.MULTILINE):
        shell = command.replace("curl", "curl -sS --fail", 1)
        done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
    assert httpx.get(f"http://127.0.0.1:{port}/api/products/count").json() == {"count": 2}
    offer = httpx.get(f"http://127.0.0.1:{port + 2}/api/v1/tasks/offer-2?wait=10").json()
    assert (offer["status"], offer["result"]) == ("succeeded", "offered Ash to bob@example.org")
    assert [redis_cli(line) for line in re.findall(r"^  redis-cli (.*)$", output, re.MULTILINE)] == ["OK", "hello"]

    process.send_signal(number)
    rest, _ = process.communicate(timeout=20)
    assert process.returncode == 0, rest
    assert "All nodes are stopped." in rest
    assert all(map(is_gone, pids))
    assert list(tmp_path.glob("quorate-demo-*")) == []


def test_the_nodes_do_not_outlive_a_demo_that_is_killed(demo: tuple[subprocess.Popen[str], int]) -> None:
    process, _ = demo
    pids = [int(pid) for pid in re.findall(r"process (\d+)", read_until(process, "Ctrl-C stops"))]
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while not all(map(is_gone, pids)):
        assert time.monotonic() < deadline, "nodes are left behind"
        time.sleep(0.01)


def test_the_story_ends_well_and_reports_it(tmp_path: Path) -> None:
    told = quorate("demo", "--story", "--products", "200", "--port", str(free_ports(3)[0]), cwd=tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "kill -9" in told.stdout
    assert "node 3 has its result: 'offered Oak to ann@example.org'" in told.stdout
    result = json.loads(told.stdout.splitlines()[-1])
    assert list(result)[:5] == ["acknowledged", "lost", "duplicated", "failover_ms", "identical"]
    assert result["acknowledged"] >= 200
    assert (result["lost"], result["duplicated"], result["identical"]) == (0, 0, True)
    assert 0 < result["failover_ms"] < 10_000


def test_the_story_refuses_a_directory_that_holds_data(tmp_path: Path) -> None:
    (tmp_path / "node1").mkdir()
    told = quorate("demo", "--story", "--port", str(free_ports(3)[0]), "--data-dir", str(tmp_path))
    assert told.returncode == 2
    assert "begins with an empty directory" in told.stderr


def test_a_short_benchmark_reports_every_case(tmp_path: Path) -> None:
    table = tmp_path / "results.md"
    options = ("--seconds", "0.3", "--connections", "1,8", "--failovers", "1", "--json", "--markdown", str(table))
    ended = quorate("bench", "crud", *options, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads(ended.stdout.splitlines()[-1])
    assert [item["connections"] for item in report["measurements"][:2]] == [1, 8]
    assert all(item["per_second"] > 0 and item["p50_ms"] <= item["p99_ms"] for item in report["measurements"])
    assert len(report["failover_ms"]) == len(report["restart_ms"]) == 1
    assert table.read_text().count("\n|") == len(report["measurements"]) + 4


def test_a_short_benchmark_of_tasks_reports_every_case(tmp_path: Path) -> None:
    table = tmp_path / "results.md"
    options = ("--seconds", "0.2", "--connections", "8", "--workers", "1", "--pending", "1000", "--json")
    ended = quorate("bench", "tasks", *options, "--markdown", str(table), cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads(ended.stdout.splitlines()[-1])
    assert report["submits_per_s"] > 0
    assert report["batch_submits_per_s"] > 0
    assert 0 < report["submit_p50_ms"] <= report["submit_p99_ms"]
    assert report["completed_per_s"] > 0
    assert report["pending"] >= 1000
    assert report["failover_ms"] > 0
    assert table.read_text().count("\n|") == 6 + 2
