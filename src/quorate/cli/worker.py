"""``quorate worker``: does the tasks of an app, in the foreground, until SIGINT or SIGTERM; a second one at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
import uvloop

from quorate.app import load_app
from quorate.cli.status import DEFAULT_CLUSTER
from quorate.logs import LogFormat, LogSettings, begin_logging
from quorate.machine.garbage import rare_garbage_collections
from quorate.ops import tether
from quorate.tasks.client import TasksClient
from quorate.tasks.worker import Job, Middleware, Worker
from quorate.tasks.worker.outcomes import Failure
from quorate.tasks.worker.worker import CONCURRENCY, DRAIN_SECONDS

log = logging.getLogger("quorate")

UNFINISHED = 4
"""The exit code of a worker that left tasks behind, which others will do."""
TELL_SECONDS = 60.0
"""How often it says what it has done, if anything."""
PROCESSES_MAX = 256
SHORT_SECONDS = 5.0
"""A process that ends sooner is started again only after this time."""


def worker(
    app: Annotated[str, typer.Option(help="The app whose tasks to do, as package.module:attribute.")],
    cluster: Annotated[
        str, typer.Option(envvar="QUORATE_CLUSTER", help="Nodes of the cluster: host:port, by commas.")
    ] = DEFAULT_CLUSTER,
    concurrency: Annotated[int, typer.Option(min=1, help="Tasks done at a time, in each process.")] = CONCURRENCY,
    queues: Annotated[
        str | None, typer.Option(help="Only tasks in these queues, by commas.", show_default="all")
    ] = None,
    capabilities: Annotated[str, typer.Option(help="What tasks may want that not all workers have, by commas.")] = "",
    lease: Annotated[str, typer.Option(help="So long after a worker's death its tasks go to others.")] = "30s",
    drain: Annotated[float, typer.Option(min=0, help="Seconds for what was begun when it is to stop.")] = DRAIN_SECONDS,
    name: Annotated[
        str | None, typer.Option(help="By which the cluster knows it.", show_default="host, pid, chance")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=PROCESSES_MAX, help="Such workers, one per core.")] = 1,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    log_format: Annotated[
        LogFormat, typer.Option(help="Lines for people, or a JSON object in each.")
    ] = LogFormat.CONSOLE,
    log_file: Annotated[
        Path | None,
        typer.Option(help="A file for the log; with --processes, one for each.", show_default="standard error"),
    ] = None,
    log_rotate_mb: Annotated[
        int, typer.Option(min=0, max=100_000, help="Begin a new file when it has so many megabytes; 0: never.")
    ] = 100,
    log_backups: Annotated[int, typer.Option(min=1, max=1_000, help="So many older files are kept.")] = 5,
) -> int:
    """Do the tasks of an app. Exits 0 when all that was begun is done, 4 if some tasks were left to other workers."""
    log_settings = LogSettings(
        level=log_level, format=log_format, file=log_file, rotate_mb=log_rotate_mb, backups=log_backups
    )
    begin_logging(log_settings, {"worker": os.getpid()})
    if processes > 1:
        return _Team(sys.argv[1:], processes, name, log_file).run()
    declared = load_app(app)
    client = TasksClient(cluster, app=declared)
    made = partial(
        Worker,
        declared.tasks,
        client,
        queues=None if queues is None else _names(queues),
        concurrency=concurrency,
        capabilities=_names(capabilities),
        name=name,
        lease=lease,
        drain_seconds=drain,
        middleware=[_Failures()],
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return 0 if runner.run(_work(client, made)) else UNFINISHED


async def _work(client: TasksClient, made: Callable[[], Worker]) -> bool:
    async with client:
        worker = made()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, _stop, worker)
        telling = asyncio.create_task(_tell(worker))
        rare_garbage_collections()
        try:
            return await worker.run()
        finally:
            telling.cancel()
            log.info("worker %s has stopped: %s", worker.name, worker.metrics.line())
            if worker.running:  # functions that do not stop, which nothing but the end of the process ends
                logging.shutdown()
                os._exit(UNFINISHED)


class _Failures(Middleware):
    """Says what went wrong, and where: of the attempts of a task that succeeds in the end, too."""

    def after_failure(self, job: Job, failure: Failure, seconds: float) -> None:
        attempts = job.max_retries + 1
        log.warning("task %s (%s), attempt %d of %d: %s", job.task_id, job.type, job.attempt, attempts, failure.error)


def _stop(worker: Worker) -> None:
    if worker.is_stopping:
        log.warning("worker %s stops at once", worker.name)
        worker.stop(at_once=True)
    else:
        log.info("worker %s stops: it does what it has begun; a second signal stops it at once", worker.name)
        worker.stop()


async def _tell(worker: Worker) -> None:
    told = worker.metrics.line()
    while True:
        await asyncio.sleep(TELL_SECONDS)
        if (line := worker.metrics.line()) != told:
            log.info("worker %s: %d running; so far %s", worker.name, worker.running, line)
            told = line


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


class _Team:
    """Several processes that do the same. One that dies is started again; a signal goes to all of them."""

    def __init__(self, arguments: Sequence[str], count: int, name: str | None, log_file: Path | None) -> None:
        self._arguments = list(arguments)
        self._name = name
        self._log_file = log_file
        self._members: list[subprocess.Popen[bytes]] = []
        self._since: list[float] = []
        self._count = count
        self._asked = False
        self._failed = 0

    def run(self) -> int:
        """Until all have ended. The exit code that made them stop, or the highest."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._pass_on)
        for position in range(self._count):
            self._members.append(self._start(position))
            self._since.append(time.monotonic())
        while any(member.poll() is None for member in self._members) or not self._asked:
            self._look_after()
            time.sleep(0.2)
        return self._failed or max(_exit_code(member) for member in self._members)

    def _look_after(self) -> None:
        for position, member in enumerate(self._members):
            code = member.poll()
            if code is None or self._asked:
                continue
            if code in (1, 2):  # it has said why, and would say the same again
                self._failed = code
                self._pass_on(signal.SIGTERM, None)
            elif time.monotonic() - self._since[position] >= SHORT_SECONDS:
                log.error("a process of the worker has ended with exit code %d: it is started again", code)
                self._members[position] = self._start(position)
                self._since[position] = time.monotonic()

    def _start(self, position: int) -> subprocess.Popen[bytes]:
        name = () if self._name is None else ("--name", f"{self._name}.{position + 1}")
        file = self._log_file  # each has its own: two processes cannot rotate one
        log_file = () if file is None else ("--log-file", str(file.with_stem(f"{file.stem}.{position + 1}")))
        tied = (sys.executable, "-S", "-E", tether.__file__, str(os.getpid()))
        command = (*tied, "-m", "quorate", *self._arguments, "--processes", "1", *name, *log_file)
        return subprocess.Popen(command, process_group=0)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        for member in self._members:
            if member.poll() is None:
                member.send_signal(number)


def _exit_code(member: subprocess.Popen[bytes]) -> int:
    """As a shell has it; of one that was stopped before it could listen for that, 0: it had begun nothing."""
    code = member.wait()
    return 0 if code == -signal.SIGTERM else code if code >= 0 else 128 - code
