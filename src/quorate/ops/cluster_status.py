"""Asking the nodes of a cluster what they say of themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quorate.config import parse_peer
from quorate.errors import ConfigError
from quorate.rest.http_client import HttpClient, NotSent, RequestFailed

TIMEOUT_SECONDS = 3.0

_TOLD = {"node_id": int, "address": str, "role": str, "term": int, "commit_index": int, "applied_index": int}
"""What every node of every version tells of itself, and what kind of value it is."""

Report = dict[str, Any]
"""What a node answers to ``GET /status``; of one that does not, its ``address`` and an ``error``."""


def parse_cluster(text: str) -> list[str]:
    """The addresses in ``host:port,host:port``; ports alone are on this machine. Raises :class:`ConfigError`."""
    addresses = [parse_peer(part).address for part in text.split(",") if part.strip()]
    if not addresses:
        raise ConfigError("no cluster is given: name its nodes as host:port, by commas")
    return list(dict.fromkeys(addresses))


def leading(reports: Iterable[Report]) -> Report | None:
    """The report of the leader of the highest term, if any of them leads: one that was deposed may not know it yet."""
    leaders = (report for report in reports if report.get("role") == "leader")
    return max(leaders, key=lambda report: int(report["term"]), default=None)


async def fetch_statuses(addresses: Sequence[str]) -> list[Report]:
    """The reports of the nodes at ``addresses``."""
    async with HttpClient(timeout=TIMEOUT_SECONDS) as client:
        return await asyncio.gather(*(fetch_status(client, address) for address in addresses))


async def fetch_status(client: HttpClient, address: str) -> Report:
    """One node's report."""
    try:
        response = await client.get(f"http://{address}/status")
        report = response.json() if response.status == 200 else None
    except NotSent:
        return {"address": address, "error": "unreachable"}
    except RequestFailed:
        return {"address": address, "error": "no answer"}
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict) or not all(isinstance(report.get(name), kind) for name, kind in _TOLD.items()):
        return {"address": address, "error": "not a node"}
    return report


def lacks(report: Mapping[str, Any], commit_index: int) -> str | None:
    """What a node lacks to be a whole member of its cluster, by its own ``report``."""
    if "error" in report:
        return f"is {report['error']}"
    if report["role"] not in ("leader", "follower"):
        return f"is {report['role']}"
    if report["repairing"]:
        return "is in repair"
    if report["member_role"] != "voter":
        return f"is a {report['member_role'] or 'stranger'}"
    if report["applied_index"] < commit_index:
        return f"has applied {report['applied_index']} of {commit_index}"
    return None
