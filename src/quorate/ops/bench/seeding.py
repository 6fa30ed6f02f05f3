"""Objects that are there before anything is measured."""

from __future__ import annotations

import asyncio

from quorate.ops.bench.load import LoadFailed
from quorate.ops.bench.operations import Deck
from quorate.ops.local_node import LocalNode
from quorate.rest.http_client import HttpClient

SEED_ROWS = 500
"""Objects in one request."""
ANSWER_SECONDS_MAX = 30.0
REFUSALS_MAX = 20
PAUSE_SECONDS = 0.25


async def create_category(http: HttpClient, leader: LocalNode) -> str:
    """What products refer to: its id. Raises :class:`LoadFailed`."""
    answer = await http.post(f"{leader.url}/api/categories", {"name": "All"})
    if answer.status != 201:
        raise LoadFailed(f"a category was answered with {answer.status}: {answer.text[:200]}")
    return str(answer.json()["id"])


async def create_rows(http: HttpClient, leader: LocalNode, path: str, deck: Deck, rows: int) -> None:
    """Create ``rows`` objects at ``path``, as ``deck`` has them. Raises :class:`LoadFailed`.

    What certainly had no effect is sent again: on a busy machine another leader may be elected meanwhile.
    """
    patience = REFUSALS_MAX
    while rows:
        operation, request, key = deck.bulk(min(rows, SEED_ROWS))
        _, _, body = request.partition(b"\r\n\r\n")
        answer = await http.request("POST", f"{leader.url}{path}/_bulk", body, timeout=ANSWER_SECONDS_MAX)
        if answer.status == 503 and b'"not_applied"' in answer.body and patience:
            patience -= 1
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        if answer.status != 201:
            raise LoadFailed(f"a bulk create was answered with {answer.status}: {answer.text[:200]}")
        deck.done(operation, key)
        rows -= operation.rows
