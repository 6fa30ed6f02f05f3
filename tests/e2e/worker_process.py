"""Workers as processes of their own, and the tasks that they do in these tests."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

JOBS = """
import asyncio
import os
import time
from pathlib import Path

from quorate import App
from quorate.tasks.worker import current

app = App(title="Jobs")


@app.task(exactly_once=True, retries=1000, backoff="0.1s")
async def count() -> str:
    await asyncio.sleep(0.005)
    current().effects.key("INCRBY", "counted", 1)
    return current().task_id


@app.task(retries=1000, backoff="0.1s")
async def nap(seconds: float) -> int:
    print(f"{current().task_id} naps", flush=True)
    await asyncio.sleep(seconds)
    return os.getpid()


@app.task(timeout="1s", retries=0)
def sleep_on(mark: str) -> None:
    Path(mark).write_text(str(os.getpid()))
    time.sleep(60)
"""


class WorkerProcess:
    """A ``quorate worker`` of ``jobs:app``."""

    def __init__(self, directory: Path, cluster: str, name: str, *arguments: str) -> None:
        self.name = name
        self.log_path = directory / f"{name}.log"
        command = (sys.executable, "-m", "quorate", "worker", "--app", "jobs:app", "--cluster", cluster, "--name", name)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                (*command, *arguments),
                cwd=directory,
                env={name: value for name, value in os.environ.items() if not name.startswith("QUORATE_")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    @property
    def log(self) -> str:
        """What it has said."""
        return self.log_path.read_text(errors="replace")

    async def naps(self, task_id: str) -> bool:
        """Whether it is in the job itself, and has not only claimed the task."""
        return f"{task_id} naps" in self.log

    def signal(self, number: int) -> None:
        """Nothing if it has ended."""
        self.process.send_signal(number)

    async def wait_ended(self, seconds: float = 15.0) -> int:
        """Its exit code. Raises :class:`TimeoutError`."""
        async with asyncio.timeout(seconds):
            while True:
                if (code := self.process.poll()) is not None:
                    return code
                await asyncio.sleep(0.01)


class Workers:
    """Those of a test. None outlives it."""

    def __init__(self, directory: Path, cluster: str) -> None:
        (directory / "jobs.py").write_text(JOBS)
        self._directory = directory
        self._cluster = cluster
        self.started: list[WorkerProcess] = []

    def start(self, *arguments: str) -> WorkerProcess:
        """One more."""
        worker = WorkerProcess(self._directory, self._cluster, f"w{len(self.started) + 1}", *arguments)
        self.started.append(worker)
        return worker


@asynccontextmanager
async def workers_of(directory: Path, cluster: str) -> AsyncIterator[Workers]:
    """Workers in ``directory``; their logs are shown if the test fails."""
    workers = Workers(directory, cluster)
    try:
        yield workers
    finally:
        for worker in workers.started:
            if worker.process.poll() is None:
                worker.signal(signal.SIGCONT)
                worker.process.kill()
            worker.process.wait()
            print(f"--- {worker.name}", *worker.log.splitlines()[-20:], sep="\n")
