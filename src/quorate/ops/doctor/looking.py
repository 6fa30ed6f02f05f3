"""Gathering the evidence: every node is asked twice, a while apart, and the members that were not named as well."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from quorate.config import parse_peer
from quorate.errors import ConfigError
from quorate.ops.cluster_status import fetch_status, leading
from quorate.ops.doctor.evidence import (
    ANSWER_SECONDS_MAX,
    Directory,
    Evidence,
    Look,
    Obstacle,
    awaits_admission,
    host_and_port,
)
from quorate.ops.inspect.directory import inspect_directory
from quorate.rest.http_client import HttpClient, RequestFailed

MEMBERS_MAX = 64
"""Members beyond those that were named, which are looked at as well."""
ELECTION_SECONDS_MAX = 3.0
"""So long nodes may be without a leader: a healthy cluster that starts, or whose leader goes, is so for a moment."""
ELECTION_POLL_SECONDS = 0.25


async def look_at_cluster(addresses: Sequence[str], seconds: float) -> Evidence:
    """Ask the nodes at ``addresses`` and the other members, twice, ``seconds`` apart; longer if nobody leads."""
    async with HttpClient(timeout=ANSWER_SECONDS_MAX) as client:
        first = await _look_at(client, addresses)
        first += await _look_at(client, _others(first))
        began = time.monotonic()
        await asyncio.sleep(seconds)
        everyone = [look.address for look in first]
        last = await _look_at(client, everyone)
        elected_by = time.monotonic() + ELECTION_SECONDS_MAX
        while _may_elect(last) and time.monotonic() < elected_by:
            await asyncio.sleep(ELECTION_POLL_SECONDS)
            last = await _look_at(client, everyone)
        looks = await asyncio.gather(*(_look_closer(client, look) for look in last))
    return Evidence(asked=tuple(addresses), before=tuple(first), looks=tuple(looks), seconds=time.monotonic() - began)


async def _look_at(client: HttpClient, addresses: Iterable[str]) -> list[Look]:
    return await asyncio.gather(*(_look(client, address) for address in addresses))


async def _look(client: HttpClient, address: str) -> Look:
    asked_at, began = time.time(), time.monotonic()
    report = await fetch_status(client, address)
    return Look(address=address, report=report, asked_at=asked_at, round_trip=time.monotonic() - began)


def _others(looks: Sequence[Look]) -> list[str]:
    """Where the members are that were not asked; one that answers under two addresses was."""
    answered = {look.report["node_id"] for look in looks if look.error is None}
    asked = {look.address for look in looks}
    found: dict[str, None] = {}
    for look in looks:
        for member in (look.report.get("membership") or {}).get("members", ()):
            if member["node_id"] not in answered and member["address"] not in asked:
                found[member["address"]] = None
    return list(found)[:MEMBERS_MAX]


def _may_elect(looks: Sequence[Look]) -> bool:
    reports = [look.report for look in looks if look.error is None]
    return leading(reports) is None and not all(map(awaits_admission, reports))


async def _look_closer(client: HttpClient, look: Look) -> Look:
    """What is worth a question of its own: why there is no answer, or what the node says of its health."""
    if look.error == "unreachable":
        obstacle = await _obstacle(look.address)
        return replace(look, obstacle=obstacle) if obstacle is not None else await _look(client, look.address)
    if look.error is None:
        with suppress(RequestFailed, ValueError):
            response = await client.get(f"http://{look.address}/health")
            if response.status != 200:
                return replace(look, unhealthy=str(response.json().get("detail", response.status)))
    return look


async def _obstacle(address: str) -> Obstacle | None:
    """Why there is no connection to ``address``; ``None`` if there is one now."""
    host, port = host_and_port(parse_peer(address).address)
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return Obstacle.REFUSED
    except (socket.gaierror, UnicodeError):
        return Obstacle.UNKNOWN_NAME
    except OSError:  # a timeout is one, too
        return Obstacle.SILENT
    writer.close()
    return None


def look_at_directory(path: Path, node_id: int | None = None) -> Directory:
    """Read a data directory, without changing anything in it. ``node_id`` is what its node is to be started with."""
    found = Directory(path=str(path), report=None, node_id=node_id)
    try:
        there = next(each for each in (path, *path.absolute().parents) if each.exists())
        space = os.statvfs(there)
        found = replace(
            found,
            is_new=there != path or (path.is_dir() and not any(path.iterdir())),
            free_bytes=space.f_bavail * space.f_frsize,
            total_bytes=space.f_blocks * space.f_frsize,
            is_writable=os.access(there, os.W_OK),
        )
        return found if found.is_new else replace(found, report=inspect_directory(path))
    except (ConfigError, OSError) as error:
        return replace(found, problem=str(error))
