"""Tasks of a module that a process of its own can import."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from quorate.tasks.declaration import Registry
from quorate.tasks.worker import Reject, current

registry = Registry()


@registry.task(timeout="30s")
def pid() -> int:
    return os.getpid()


@registry.task(timeout="30s")
def add(a: int, b: int) -> int:
    return a + b


@registry.task(timeout="30s")
def sleep(seconds: float, mark: str) -> str:
    """Says in the file ``mark`` who it is; and by which process of its own it is outlived, were that possible."""
    inner = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"])
    Path(mark).write_text(f"{os.getpid()} {inner.pid}")
    time.sleep(seconds)
    return "slept"


@registry.task(timeout="30s")
def die(code: int) -> None:
    os._exit(code)


@registry.task(timeout="30s")
def leave() -> None:
    raise SystemExit(3)


@registry.task(timeout="30s")
def wrong() -> None:
    raise ValueError("no good")


@registry.task(timeout="30s")
def reject() -> None:
    raise Reject("never")


@registry.task(timeout="30s", exactly_once=True)
def count(by: int) -> int:
    job = current()
    assert job.deadline is not None
    job.effects.key("INCRBY", "n", by)
    return job.attempt


def plain(a: int) -> int:
    return 2 * a


registry.task(name="doubled", timeout="30s")(plain)
