"""The walkthrough of ``docs/daemon.md``, as a program of its own, from the first node to the last (D9-D22, D30-D46)."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from quorate.ops.ports import free_ports

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 90


async def test_the_walkthrough_runs_to_its_end() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", str(ROOT / "examples" / "daemon_cluster.py"), str(free_ports(4)[0])),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        printed, complaints = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = printed.decode()
    print(text)
    assert process.returncode == 0, complaints.decode()
    steps = re.split(r"^\d\. .*$", text, flags=re.MULTILINE)
    begin, replicate, failure, recovery, join, removal, end = steps[1:]
    assert "3/3 healthy" in begin
    assert "task-1: replicated True, committed True" in replicate
    assert "duplicate True" in replicate
    assert "done by the daemons: 8" in replicate
    leader = re.search(r"leader (\d) is lost", failure)
    assert leader is not None
    assert f"{leader[1]} is out of reach" in failure + recovery
    assert f"{leader[1]} is back" in recovery
    assert "task-9 succeeded" in recovery
    assert "node 4 joined" in join
    removed = re.search(r"node (\d) left", removal)
    assert removed is not None
    left = sorted({1, 2, 3, 4} - {int(removed[1])})
    assert f"drained True; members {left}" in removal
    assert end.count("is stopped: 0 active") == 3
