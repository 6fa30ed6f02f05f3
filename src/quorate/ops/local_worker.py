"""One worker as a process of its own on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quorate.ops.local_process import LocalProcess, tied


class LocalWorker(LocalProcess):
    """A ``quorate worker`` process that does the tasks of ``app``, which is imported from ``cwd``."""

    def __init__(
        self,
        number: int,
        log_path: Path,
        app: str,
        addresses: Sequence[str],
        arguments: Sequence[str] = (),
        cwd: Path | None = None,
    ) -> None:
        super().__init__(f"worker {number}", log_path, cwd)
        self.number = number
        self.arguments = ("--app", app, "--cluster", ",".join(addresses), *arguments)

    def _command(self) -> list[str]:
        return tied("quorate", "worker", *self.arguments)
