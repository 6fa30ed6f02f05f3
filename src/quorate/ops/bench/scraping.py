"""What a node says of itself at ``/metrics``, as far as it is measured by that."""

from __future__ import annotations

import re

from quorate.ops.bench.load import LoadFailed
from quorate.rest.http_client import HttpClient

_PEER_BYTES = re.compile(r"^quorate_peer_sent_bytes_total\{[^}]*\} (\S+)$", re.MULTILINE)


async def scrape(http: HttpClient, url: str) -> str:
    """The page of the node at ``url``. Raises :class:`LoadFailed`."""
    page = await http.get(f"{url}/metrics")
    if page.status != 200:
        raise LoadFailed(f"/metrics was answered with {page.status}")
    return page.text


async def peer_bytes(http: HttpClient, url: str) -> float:
    """What the node has sent the others since it started. Raises :class:`LoadFailed`."""
    return sum(map(float, _PEER_BYTES.findall(await scrape(http, url))))
