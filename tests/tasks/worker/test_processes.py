"""Functions whose time is limited run in processes of their own, and do not outlive it."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.tasks.commands import Failed
from quorate.tasks.declaration import Registry
from quorate.tasks.worker import Worker
from quorate.tasks.worker.processes import Processes, place_of

from .fake import FakeSource
from .handlers import registry
from .support import working

ROOT = Path(__file__).parents[3]


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


def is_there(pid: int) -> bool:
    """Whether it runs: one that has ended and was not asked for its exit code does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def pids(mark: Path) -> list[int]:
    return [int(pid) for pid in mark.read_text().split()] if mark.exists() else []


async def test_they_are_used_again_and_there_are_no_more_than_jobs_at_a_time(source: FakeSource) -> None:
    async with working(registry, source, concurrency=2):
        ids = await source.add("pid", 40, timeout_ms=30_000)
        await source.until_ended(*ids)
        used = {source.results[task_id] for task_id in ids}
        assert 1 <= len(used) <= 2
        assert os.getpid() not in used
    await source.until(lambda: not any(map(is_there, used)))


async def test_arguments_results_and_effects_go_there_and_back(source: FakeSource) -> None:
    async with working(registry, source):
        (added,) = await source.add("add", timeout_ms=30_000, a=1, b=2)
        (doubled,) = await source.add("doubled", timeout_ms=30_000, a=21)
        (counted,) = await source.add("count", timeout_ms=30_000, exactly_once=True, by=7)
        await source.until_ended(added, doubled, counted)
        assert [source.results[task_id] for task_id in (added, doubled, counted)] == [3, 42, 1]
        assert source.effects[counted].keys == [["INCRBY", "n", "7"]]


async def test_a_job_whose_time_is_over_is_killed_with_all_that_it_has_started(
    source: FakeSource, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    async with working(registry, source, concurrency=1):
        await source.until_ended(*await source.add("pid", timeout_ms=30_000))  # so that a process is there
        (task_id,) = await source.add("sleep", timeout_ms=700, seconds=60, mark=str(mark))
        await source.until(lambda: len(pids(mark)) == 2)
        assert all(map(is_there, pids(mark)))
        await source.until_ended(task_id)
        ended = source.ended[task_id]
        assert isinstance(ended, Failed)
        assert ended.error == "it took longer than 0.7 s and was stopped"
        await source.until(lambda: not any(map(is_there, pids(mark))))
        (after,) = await source.add("add", timeout_ms=30_000, a=1, b=1)
        await source.until_ended(after)
        assert source.results[after] == 2


async def test_a_lost_lease_kills_the_job(source: FakeSource, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with working(registry, source, lease="1s"):
        (task_id,) = await source.add("sleep", timeout_ms=30_000, seconds=60, mark=str(mark))
        await source.until(lambda: len(pids(mark)) == 2)
        await source.take_away(task_id)
        await source.until(lambda: not any(map(is_there, pids(mark))))
        assert task_id not in source.ended


@pytest.mark.parametrize(
    ("type", "payload", "error", "may_retry"),
    [
        ("die", {"code": 3}, "the process of the job ended in the middle of its work (exit code 3)", True),
        ("leave", {}, "SystemExit: 3", True),
        ("wrong", {}, "ValueError: no good", True),
        ("reject", {}, "never", False),
        ("add", {"a": "x"}, "payload: add: a: ", False),
    ],
)
async def test_how_jobs_end_there(
    source: FakeSource, type: str, payload: dict[str, object], error: str, may_retry: bool
) -> None:
    async with working(registry, source, concurrency=1):
        (task_id,) = await source.add(type, timeout_ms=30_000, **payload)
        await source.until_ended(task_id)
        ended = source.ended[task_id]
        assert isinstance(ended, Failed)
        assert ended.error.startswith(error)
        assert ended.may_retry is may_retry
        (after,) = await source.add("add", timeout_ms=30_000, a=1, b=1)
        await source.until_ended(after)


async def test_a_worker_that_stops_too_late_kills_them(source: FakeSource, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    worker = Worker(registry, source, name="w", drain_seconds=0.1)
    running = asyncio.create_task(worker.run())
    (task_id,) = await source.add("sleep", timeout_ms=30_000, seconds=60, mark=str(mark))
    await source.until(lambda: len(pids(mark)) == 2)
    worker.stop()
    async with asyncio.timeout(10):
        assert await running is False
    await source.until(lambda: not any(map(is_there, pids(mark))))
    assert isinstance(source.ended[task_id], Failed)


PROGRAM = """
import asyncio, sys
sys.path.insert(0, {root!r})
from tests.tasks.worker.fake import FakeSource
from quorate.tasks.declaration import Registry
from quorate.tasks.worker import Worker

registry = Registry()

@registry.task(timeout="30s")
def double(a: int) -> int:
    return 2 * a

@registry.task(timeout="30s")
def sleep(mark: str) -> None:
    import os, subprocess, time
    inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    open(mark, "w").write(f"{{os.getpid()}} {{inner.pid}}")
    time.sleep(60)

async def main() -> None:
    source = FakeSource()
    worker = Worker(registry, source)
    running = asyncio.create_task(worker.run())
    task_ids = await source.add("double", timeout_ms=30_000, a=4)
    await source.until_ended(*task_ids)
    print(source.results[task_ids[0]], flush=True)
    await source.add("sleep", timeout_ms=30_000, mark=sys.argv[1])
    await running

if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_tasks_of_the_main_program_and_a_worker_that_is_killed_leaves_no_process_behind(
    tmp_path: Path, source: FakeSource
) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "program.py").write_text(PROGRAM.format(root=str(ROOT)))
    program = await asyncio.create_subprocess_exec(
        sys.executable, str(tmp_path / "program.py"), str(mark), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert program.stdout is not None
        assert await program.stdout.readline() == b"8\n"
        await source.until(lambda: len(pids(mark)) == 2)
    finally:
        program.kill()
        await program.wait()
    await source.until(lambda: not any(map(is_there, pids(mark))))


SLOW_TO_IMPORT = """
import time
from quorate.tasks.declaration import Registry

time.sleep(1.5)
registry = Registry()

@registry.task(timeout="1s")
def double(a: int) -> int:
    return 2 * a
"""


@pytest.fixture
def slow_to_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    (tmp_path / "slow_to_import.py").write_text(SLOW_TO_IMPORT)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("slow_to_import").registry
    del sys.modules["slow_to_import"]


async def test_the_time_that_a_program_takes_to_be_imported_is_not_that_of_a_job(
    source: FakeSource, slow_to_import: Registry
) -> None:
    async with working(slow_to_import, source, concurrency=1):
        (task_id,) = await source.add("double", timeout_ms=1_000, a=2)
        await source.until_ended(task_id)
        assert source.results.get(task_id) == 4, source.ended[task_id]


async def test_a_process_that_a_lost_lease_leaves_behind_is_there_for_the_next_job(slow_to_import: Registry) -> None:
    processes = Processes()
    place = place_of(slow_to_import.types["double"])
    started = []
    for _ in range(3):  # none of them waits long enough
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await processes.take(place)
        started.append(set(processes._all))
    try:
        process = await processes.take(place)
        assert started == [{process}] * 3
    finally:
        await processes.end()
    assert not process.is_running
