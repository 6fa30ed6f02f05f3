"""A ``quorate`` process on this machine that never outlives this one: a node, or a worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from quorate.errors import QuorateError
from quorate.ops import tether

POLL_SECONDS = 0.005
LOG_TAIL_BYTES = 8192
STOP_SECONDS_MAX = 10.0


class ProcessEnded(QuorateError):
    """A process ended by itself. The message ends with the last line of its log."""


class LocalProcess:
    """Started, stopped, killed, paused, started again. ``name`` is what its messages call it.

    Where it runs is ``cwd``; what it prints goes to ``log_path``.
    """

    def __init__(self, name: str, log_path: Path, cwd: Path | None) -> None:
        self.name = name
        self.log_path = log_path
        self.cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False
        self._asked_to_end = False

    def _command(self) -> list[str]:
        """The command line."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the process. Must be called from a thread that lives as long as the process should."""
        assert not self.is_running
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.cwd,
                env={name: value for name, value in os.environ.items() if not name.startswith("QUORATE_")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # a Ctrl-C in the terminal is for us, who then stop all in order
            )
        self._paused = self._asked_to_end = False

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether the process is there; it may be paused."""
        return self._process is not None and self._process.poll() is None

    @property
    def is_paused(self) -> bool:
        """Whether the process is stopped by :meth:`pause`."""
        return self._paused

    @property
    def exit_code(self) -> int | None:
        """What the process ended with; negative if it was a signal's number."""
        return self._process.poll() if self._process is not None else None

    def check_running(self) -> None:
        """Raises :class:`ProcessEnded` if the process ended without being asked to."""
        if self._process is not None and not self.is_running and not self._asked_to_end:
            line = self.last_log_line()
            raise ProcessEnded(f"{self.name} ended with exit code {self.exit_code}: {line}")

    def may_end(self) -> None:
        """It will end by itself, and that is no failure."""
        self._asked_to_end = True

    def kill(self) -> None:
        """``kill -9``: no time for a last word."""
        self._asked_to_end = True
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to stop in order; a paused node is resumed for that."""
        self._asked_to_end = True
        self._signal(signal.SIGTERM)
        if self._paused:
            self.resume()

    def pause(self) -> None:
        """``SIGSTOP``: the process stays, its connections too, but it does nothing."""
        self._signal(signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """Let a paused process go on."""
        self._signal(signal.SIGCONT)
        self._paused = False

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    async def wait_ended(self, timeout: float) -> int:
        """The exit code, once the process has ended. Raises :class:`TimeoutError`."""
        async with asyncio.timeout(timeout):
            while True:
                if (code := self.exit_code) is not None:
                    return code
                await asyncio.sleep(POLL_SECONDS)

    def kill_and_reap(self) -> None:
        """Make sure that nothing is left of the process."""
        if self.is_running:
            self.kill()
        if self._process is not None:
            self._process.wait()

    def last_log_line(self) -> str:
        """The last line it wrote, or a word that says there is none."""
        with contextlib.suppress(OSError), self.log_path.open("rb") as log:
            log.seek(max(0, self.log_path.stat().st_size - LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines()
            if lines:
                return lines[-1].strip()
        return "(its log is empty)"


def tied(*command: str) -> list[str]:
    """A command line of this Python that ends when this process does."""
    return [sys.executable, "-S", "-E", tether.__file__, str(os.getpid()), "-P", "-m", *command]


async def stop_processes(processes: Iterable[LocalProcess]) -> list[int]:
    """Stop what still runs of ``processes``, all at once, by force if need be. The exit codes of those that ran."""
    everyone = list(processes)
    running = [process for process in everyone if process.is_running]
    try:
        for process in running:
            process.terminate()
        await asyncio.gather(*(process.wait_ended(STOP_SECONDS_MAX) for process in running), return_exceptions=True)
    finally:
        for process in everyone:
            process.kill_and_reap()
    return [process.exit_code or 0 for process in running]
