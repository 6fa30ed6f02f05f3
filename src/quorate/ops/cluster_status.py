"""Asking the nodes of a cluster what they say of themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from quorate.config import parse_peer
from quorate.errors import ConfigError
from quorate.ops.http import HttpClient, NotSent, RequestFailed

TIMEOUT_SECONDS = 3.0


def parse_cluster(text: str) -> list[str]:
    """The addresses in ``host:port,host:port``; ports alone are on this machine. Raises :class:`ConfigError`."""
    addresses = [parse_peer(part).address for part in text.split(",") if part.strip()]
    if not addresses:
        raise ConfigError("no cluster is given: name its nodes as host:port, by commas")
    return list(dict.fromkeys(addresses))


async def fetch_statuses(addresses: Sequence[str]) -> list[dict[str, Any]]:
    """What each node answers to ``GET /status``; of one that does not, its ``address`` and an ``error``."""
    async with HttpClient(timeout=TIMEOUT_SECONDS) as client:
        return await asyncio.gather(*(fetch_status(client, address) for address in addresses))


async def fetch_status(client: HttpClient, address: str) -> dict[str, Any]:
    """One node's status, or its ``address`` and an ``error``."""
    try:
        response = await client.get(f"http://{address}/status")
        report = response.json()
    except NotSent:
        return {"address": address, "error": "unreachable"}
    except RequestFailed:
        return {"address": address, "error": "no answer"}
    except ValueError:
        report = None
    if not isinstance(report, dict) or "node_id" not in report:
        return {"address": address, "error": "not a node"}
    return report
