"""The FastAPI example as a user runs it: three processes of uvicorn, each of them a service and a node."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from quorate.ops.ports import free_ports

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
SECONDS = 30.0


class Shop:
    """The processes, by number, and the ports of the service."""

    def __init__(self, directory: Path) -> None:
        ports = free_ports(6)
        self.ports, self._peers = ports[:3], ports[3:]
        self._directory = directory
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int) -> None:
        arguments = ["uvicorn", "examples.fastapi_shop:api", "--port", str(self.ports[number - 1])]
        environment = {
            "NODE_ID": str(number),
            "PEERS": ",".join(f"127.0.0.1:{port}" for port in self._peers),
            "DATA_DIR": str(self._directory / f"data{number}"),
        }
        with (self._directory / f"{number}.log").open("ab") as log:
            self.processes[number] = subprocess.Popen(
                [sys.executable, "-m", *arguments, "--timeout-graceful-shutdown", "5"],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log(self, number: int) -> str:
        return (self._directory / f"{number}.log").read_text()

    def client(self, number: int) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.ports[number - 1]}", timeout=SECONDS)

    async def wait_until_served(self, number: int) -> None:
        async with asyncio.timeout(SECONDS), self.client(number) as client:
            while True:
                assert self.processes[number].poll() is None, self.log(number)
                try:
                    if (await client.get("/products")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)


@asynccontextmanager
async def running_shop(directory: Path) -> AsyncIterator[Shop]:
    shop = Shop(directory)
    try:
        for number in (1, 2, 3):
            shop.start(number)
        await asyncio.gather(*map(shop.wait_until_served, (1, 2, 3)))
        yield shop
    finally:
        for process in shop.processes.values():
            process.kill()
            process.wait()


async def test_a_service_that_is_its_own_database(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop, shop.client(1) as first, shop.client(2) as second:
        oak = await first.post("/products", json={"name": "Oak", "price": "19.99", "stock": 3})
        assert oak.status_code == 201, oak.text
        again = await second.post("/products", json={"name": "Oak", "price": 1})
        assert again.status_code == 409
        free = await second.post("/products", json={"name": "Elm", "price": 0})
        assert (free.status_code, free.json()["detail"][0]["loc"]) == (422, ["price"])
        large = await second.post("/products", json={"name": "Elm", "price": 1, "stock": 2**63})
        assert (large.status_code, large.json()["errors"][0]["field"]) == (422, "stock")
        sale = await second.post("/products/Oak/sell", json={"quantity": 2})
        assert (sale.status_code, sale.json()["total"]) == (201, "39.98")
        refused = await first.post("/products/Oak/sell", json={"quantity": 2})
        assert (refused.status_code, refused.json()["detail"]) == (409, "operation 0: only 1 of Oak are left")
        assert (await second.post("/products/Elm/sell", json={})).status_code == 404
        assert (await second.get("/health")).json() == {"node_id": 2}
        assert (await first.post("/products/Oak/sell", json={"quantity": 0})).status_code == 422
        async with shop.client(3) as third:
            listed: list[dict[str, Any]] = (await third.get("/products")).json()
            assert [(each["name"], each["stock"]) for each in listed] == [("Oak", 1)]
            assert (await third.get("/products", params={"price_to": 5})).json() == []
            # The models' own API beside it: any node takes writes, for HTTP is not where the nodes' peers are.
            assert (await third.get("/api/sales/count")).json() == {"count": 1}
            created = await third.post("/api/products", json={"name": "Ash", "price": "5"})
            assert (created.status_code, created.headers["location"][:14]) == (201, "/api/products/")
            assert (await third.get(created.headers["location"])).json()["name"] == "Ash"
            several = await third.post(
                "/api/_transaction",
                json={"operations": [{"op": "delete", "resource": "products", "id": created.json()["id"]}]},
            )
            assert several.status_code == 200, several.text

        shop.processes[1].kill()
        shop.processes[1].wait()
        assert (await second.post("/products/Oak/sell", json={})).status_code == 201
        shop.start(1)
        await shop.wait_until_served(1)
        async with shop.client(1) as back:
            assert [each["stock"] for each in (await back.get("/products")).json()] == [0]
        shop.processes[1].send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(shop.processes[1].wait, SECONDS) in (0, -signal.SIGTERM), shop.log(1)
        assert "Traceback" not in shop.log(1)
