"""Coming and going: what a worker says of itself."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Collection, Mapping
from typing import Any

from quorate.errors import CommandFailed, ConfigError, QuorateError
from quorate.tasks.commands import Enlist
from quorate.tasks.declaration import TaskType
from quorate.tasks.durations import Duration, microseconds
from quorate.tasks.errors import InvalidTask
from quorate.tasks.limits import LEASE_MS_MAX, LEASE_MS_MIN, NAME_CHARACTERS_MAX
from quorate.tasks.submission import check_capabilities, check_name, checked_list
from quorate.tasks.worker.processes import place_of
from quorate.tasks.worker.source import Source

log = logging.getLogger(__name__)

CONCURRENCY_MAX = 1000
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.1, 5.0
"""When the cluster does not answer; doubled each time."""


def new_name() -> str:
    """One that no other worker has."""
    host = "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname())
    return f"{host.lstrip('-')[:60] or 'worker'}-{os.getpid()}-{secrets.token_hex(4)}"


def checked(
    types: Mapping[str, TaskType[..., Any, Any]],
    queues: Collection[str] | None,
    concurrency: int,
    capabilities: Collection[str],
    name: str,
    lease: Duration,
) -> Enlist:
    """Raises :class:`~quorate.errors.ConfigError` for what makes no sense."""
    if not types:
        raise ConfigError("a worker has nothing to do: the app declares no tasks")
    if not 1 <= concurrency <= CONCURRENCY_MAX:
        raise ConfigError(f"a worker's concurrency is 1 to {CONCURRENCY_MAX}, not {concurrency}")
    for task_type in types.values():
        if not task_type.is_async and task_type.spec.timeout_ms:
            place_of(task_type)
    try:
        lease_ms = microseconds(lease) // 1000
        names = (
            None if queues is None else tuple(check_name(queue, "queues") for queue in checked_list(queues, "queues"))
        )
        enlist = Enlist(
            check_name(name, "name"), names, tuple(types), check_capabilities(capabilities), concurrency, lease_ms
        )
    except (ValueError, InvalidTask) as error:
        raise ConfigError(f"worker: {error}") from None
    if not LEASE_MS_MIN <= lease_ms <= LEASE_MS_MAX:
        raise ConfigError(f"worker: a lease is {LEASE_MS_MIN // 1000} to {LEASE_MS_MAX // 1000} seconds, not {lease}")
    assert len(name) <= NAME_CHARACTERS_MAX
    return enlist


async def come(source: Source, enlist: Enlist) -> None:
    """Ask until the cluster answers. Raises its refusals."""
    pause = PAUSE_SECONDS
    while True:
        try:
            return await source.enlist(enlist)
        except CommandFailed:
            raise
        except QuorateError as error:
            log.warning("worker %s: the cluster does not answer: %s", enlist.worker, error)
        await asyncio.sleep(pause)
        pause = min(PAUSE_SECONDS_MAX, 2 * pause)


async def go(source: Source, enlist: Enlist) -> None:
    """Ask once: a worker that is not heard of is taken for gone in any case."""
    try:
        await source.dismiss(enlist.worker)
    except QuorateError as error:
        log.warning("worker %s could not say that it goes: %s", enlist.worker, error)
