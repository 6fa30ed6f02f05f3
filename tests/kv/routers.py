"""The machine of the keys with its file, as a node has it, without a node."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from quorate.kv.keyspace import Keyspace
from quorate.kv.machine import MACHINE, KvMachine
from quorate.machine.commands import Command
from quorate.machine.router import Router
from tests.kv.support import START_US
from tests.machine.support import entry


@contextmanager
def opened(path: Path, saved: bytes = b"") -> Iterator[Router]:
    """A router whose one machine has its file there; a crash ends it."""
    router = Router({MACHINE: KvMachine()})
    router.open(path, saved)
    try:
        yield router
    finally:
        router.close(flush=False)


def apply(router: Router, *lines: str, after_us: int = 0, request_id: str | None = None) -> list[Any]:
    """The replies to commands that come in one entry, so long after the start."""
    body = msgspec.msgpack.encode([[word.encode() for word in shlex.split(line)] for line in lines])
    command = Command(MACHINE, body, request_id)
    (outcome,) = router.apply(entry(router.applied + 1, command, time_us=START_US + after_us))
    assert isinstance(outcome, list)
    return outcome


def settle(router: Router) -> None:
    """Complete a checkpoint of what is there now."""
    while router.is_checkpointing or router.begin_checkpoint():
        router.flush()


def copied(router: Router, path: Path) -> bytes:
    """Have a snapshot's file there; returns what else there is to it."""
    settle(router)
    capture = router.capture()
    while not capture.complete:
        router.flush()
    capture.copy_state(path)
    capture.close()
    return capture.machines


def keyspace_of(router: Router) -> Keyspace:
    """The data."""
    machine = router.machines[MACHINE]
    assert isinstance(machine, KvMachine)
    return machine.keyspace
