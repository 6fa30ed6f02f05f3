"""Asking the nodes of a cluster what they say of themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from quorate.config import parse_peer
from quorate.errors import ConfigError

TIMEOUT_SECONDS = 3.0


def parse_cluster(text: str) -> list[str]:
    """The addresses in ``host:port,host:port``; ports alone are on this machine. Raises :class:`ConfigError`."""
    addresses = [parse_peer(part).address for part in text.split(",") if part.strip()]
    if not addresses:
        raise ConfigError("no cluster is given: name its nodes as host:port, by commas")
    return list(dict.fromkeys(addresses))


async def fetch_statuses(addresses: Sequence[str]) -> list[dict[str, Any]]:
    """What each node answers to ``GET /status``; of one that does not, its ``address`` and an ``error``."""
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False, verify=False) as client:
        return await asyncio.gather(*(fetch_status(client, address) for address in addresses))


async def fetch_status(client: httpx.AsyncClient, address: str) -> dict[str, Any]:
    """One node's status, or its ``address`` and an ``error``."""
    try:
        response = await client.get(f"http://{address}/status")
        response.raise_for_status()
        report = response.json()
        if not isinstance(report, dict) or "node_id" not in report:
            raise ValueError
    except httpx.ConnectError:
        return {"address": address, "error": "refuses connections"}
    except httpx.TimeoutException:
        return {"address": address, "error": "does not answer"}
    except httpx.HTTPError as error:
        return {"address": address, "error": f"failed: {error or type(error).__name__}"}
    except ValueError:
        return {"address": address, "error": "is no Quorate node"}
    return report
