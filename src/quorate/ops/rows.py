"""Reading a whole resource from one node."""

from __future__ import annotations

from typing import Any

from quorate.errors import QuorateError
from quorate.rest.http_client import HttpClient

PAGE_ROWS = 1000

Rows = list[dict[str, Any]]


async def read_rows(http: HttpClient, url: str, *, consistency: str = "strong") -> Rows:
    """Every row of the resource at ``url``, page by page, in their order there.

    Raises :class:`~quorate.errors.QuorateError` if a page is not to be had.
    """
    rows: Rows = []
    while True:
        response = await http.get(f"{url}?limit={PAGE_ROWS}&offset={len(rows)}&consistency={consistency}")
        if response.status != 200:
            raise QuorateError(f"{response.url} answered {response.status}: {response.text[:200]}")
        page = response.json()
        rows += page
        if len(page) < PAGE_ROWS:
            return rows
