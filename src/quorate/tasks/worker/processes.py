"""Processes in which functions run that have a time limit: nothing else in Python ends a function that goes on.

They are kept, and used again; one whose job takes too long is killed, with all that it has started.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

from quorate.errors import ConfigError
from quorate.tasks.declaration import TaskType
from quorate.tasks.worker import child
from quorate.tasks.worker.frames import LENGTH, READY, Place, Work, decode_outcome, encode, framed
from quorate.tasks.worker.job import Job
from quorate.tasks.worker.outcomes import Failure, Outcome

FRAME_BYTES_MAX = 64 << 20
START_SECONDS_MAX = 30.0
_PROGRAM = f"import json, sys; sys.path[:] = json.loads(sys.argv[2]); from {child.__name__} import main; main()"


class ProcessEnded(Exception):
    """It has ended in the middle of something."""


class Process:
    """One of them. Does one job at a time."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    (sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno()), json.dumps(sys.path)),
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    process_group=0,
                )
        except BaseException:
            ours.close()
            raise
        self._socket = ours
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it can be given another job."""
        return self._process.poll() is None

    async def ready(self, place: Place) -> None:
        """Wait until it can be given a job. It imports first what is at ``place``, which is not to count as the job's
        time. Raises :class:`ProcessEnded`, :class:`TimeoutError`.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection(sock=self._socket)
            self._streams[1].write(framed(encode(place)))
            async with asyncio.timeout(START_SECONDS_MAX):
                first = await self._read()
            assert first == READY

    async def do(self, work: Work) -> Outcome:
        """Do a job. Raises :class:`ProcessEnded`."""
        assert self._streams is not None
        self._streams[1].write(framed(encode(work)))
        outcome: Outcome = decode_outcome(await self._read())
        return outcome

    async def _read(self) -> bytes:
        assert self._streams is not None
        reader = self._streams[0]
        try:
            (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            if length > FRAME_BYTES_MAX:
                raise ProcessEnded("said something that cannot be understood")
            return await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise ProcessEnded("ended in the middle of its work") from None

    def kill(self) -> None:
        """At once, with what it has started. Idempotent."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._streams is not None:
            self._streams[1].close()
        else:
            self._socket.close()

    async def wait_ended(self) -> int:
        """The exit code, behind :meth:`kill` or when it has ended by itself."""
        return await asyncio.to_thread(self._process.wait)


class Processes:
    """Those of a worker."""

    def __init__(self) -> None:
        self._idle: list[Process] = []
        self._unclaimed: list[asyncio.Task[Process]] = []
        """Those that start, and whose job was stopped before they had."""
        self._starting: set[asyncio.Task[Process]] = set()
        self._turns = asyncio.Semaphore(os.cpu_count() or 1)
        self._all: set[Process] = set()

    async def take(self, place: Place) -> Process:
        """One that is ready for a job: for this caller alone, until it gives it back or kills it.

        One that is new has imported what is at ``place``. Raises :class:`OSError`, :class:`TimeoutError` and
        :class:`ProcessEnded`.
        """
        while self._idle or self._unclaimed:
            process = self._idle.pop() if self._idle else await self._claim(self._unclaimed.pop())
            if process.is_running:
                return process
            await self.remove(process)
        starting = asyncio.create_task(self._start(place))
        self._starting.add(starting)
        starting.add_done_callback(self._started)
        return await self._claim(starting)

    async def _claim(self, starting: asyncio.Task[Process]) -> Process:
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            if not starting.cancelled():
                # It goes on: where this takes longer than leases last, nothing would ever be done otherwise.
                self._unclaimed.append(starting)
            raise

    async def _start(self, place: Place) -> Process:
        async with self._turns:  # all at once, each would take as long as all
            process = Process()
            self._all.add(process)
            try:
                await process.ready(place)
            except BaseException:
                await asyncio.shield(self.remove(process))
                raise
            return process

    def _started(self, starting: asyncio.Task[Process]) -> None:
        self._starting.discard(starting)
        if not starting.cancelled():
            starting.exception()  # perhaps nobody waits for it any more

    def give_back(self, process: Process) -> None:
        """It has done its job."""
        self._idle.append(process)

    async def remove(self, process: Process) -> int:
        """Kill it, if it still runs. Its exit code."""
        process.kill()
        code = await process.wait_ended()
        self._all.discard(process)
        return code

    async def end(self) -> None:
        """Kill all of them."""
        starting = list(self._starting)
        for each in starting:
            each.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        await asyncio.gather(*(self.remove(process) for process in list(self._all)))
        self._idle.clear()
        self._unclaimed.clear()


async def call_in_process(
    processes: Processes, process: Process, task_type: TaskType[..., Any, Any], job: Job, payload: bytes
) -> Outcome:
    """Do a job in a process that was taken. Cancelled, it kills the process before it returns."""
    try:
        outcome = await process.do(Work(place_of(task_type), job, payload))
    except ProcessEnded as error:
        code = await processes.remove(process)
        return Failure(f"the process of the job {error} (exit code {code})", ["builtins.SystemExit"])
    except BaseException:
        await asyncio.shield(processes.remove(process))
        raise
    processes.give_back(process)
    return outcome


def place_of(task_type: TaskType[..., Any, Any]) -> Place:
    """Where another process finds the function. Raises :class:`ConfigError` if it cannot."""
    function = task_type.function
    module, qualname = function.__module__, function.__qualname__
    if "<" in qualname:
        raise ConfigError(
            f"task {task_type.name}: to be stopped when its time is over it runs in a process of its own, so it has to "
            "be a function of a module, not one inside of another function; or an async one"
        )
    if module != "__main__":
        return Place(module, None, qualname)
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return Place(spec.name, None, qualname)
    file = getattr(main, "__file__", None)
    if file is None:
        raise ConfigError(f"task {task_type.name}: another process cannot import what was typed in here")
    return Place(module, os.path.abspath(file), qualname)
