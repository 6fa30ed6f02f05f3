"""A client of the shop that does not give up: what every program that uses a cluster should do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from uuid import uuid4

from quorate.ops.history import History
from quorate.ops.rows import Rows, read_rows
from quorate.rest.http_client import HttpClient, NotSent, RequestFailed

PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 0.01


class ShopClient:
    """Creates products through ``urls``, beginning with the first; writes down in ``history`` what it was told.

    Every create carries an ``Idempotency-Key`` that stays the same over all tries, so a try whose outcome is
    unknown may be repeated on any node.
    """

    def __init__(self, http: HttpClient, urls: Sequence[str], history: History) -> None:
        self._http = http
        self._urls = list(urls)
        self._history = history

    async def create(self, name: str, price: str) -> None:
        """Try until the product is acknowledged or refused, or patience ends."""
        product = {"name": name, "price": price}
        headers = {"idempotency-key": uuid4().hex}
        deadline = time.monotonic() + PATIENCE_SECONDS
        self._history.unresolved.add(name)
        while time.monotonic() < deadline:
            if await self._try(product, headers):
                self._history.unresolved.discard(name)
                return
            self._urls.append(self._urls.pop(0))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _try(self, product: dict[str, str], headers: dict[str, str]) -> bool:
        """Whether there is an answer that settles it."""
        try:
            response = await self._http.post(f"{self._urls[0]}/api/products", product, headers)
        except NotSent:
            return False
        except RequestFailed:
            self._history.unknown_outcomes += 1
            return False
        match response.status:
            case 201:
                self._history.acknowledge(time.monotonic(), response.json())
            case 503:
                return False
            case 500 | 504:
                self._history.unknown_outcomes += 1
                return False
            case status:
                self._history.refused.append(f"{product['name']}: {status} {response.text}")
        return True


async def read_products(http: HttpClient, url: str, *, consistency: str) -> Rows:
    """Every product that the node at ``url`` has, in the order of their ids."""
    return await read_rows(http, f"{url}/api/products", consistency=consistency)
