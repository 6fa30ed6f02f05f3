"""etcd as the key-value benchmark runs it: three members on loopback, with its own defaults."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quorate.ops.bench.cases import VALUE, Case, Sample
from quorate.ops.bench.drivers import ETCD_CONNECTIONS, h2load
from quorate.ops.bench.load import LoadFailed
from quorate.ops.bench.servers import Server
from quorate.ops.bench.systems import System, wait_serving
from quorate.ops.bench.wire import FILL_SECONDS_MAX, KEYS_AT_ONCE, key_name
from quorate.ops.local_node import HOST
from quorate.rest.http_client import HttpClient

FILLERS = 8
"""Transactions under way at a time while it is filled; one takes up to 128 writes."""
FSYNCS = re.compile(r"^etcd_disk_wal_fsync_duration_seconds_count (\d+)$", re.MULTILINE)


class EtcdSystem(System):
    """Three members."""

    name = "etcd"
    programs = ("etcd", "h2load")
    nodes = 3

    def __init__(self, directory: Path, ports: Sequence[int], keys: int) -> None:
        self._keys = keys
        self._directory = directory / "etcd"
        self._client_ports = ports[: self.nodes]
        self._peer_ports = ports[self.nodes : 2 * self.nodes]
        self._servers: list[Server] = []
        self._http = HttpClient()

    async def start(self) -> str:
        """See :meth:`System.start`."""
        peers = [f"http://{HOST}:{port}" for port in self._peer_ports]
        cluster = ",".join(f"node{number}={peer}" for number, peer in enumerate(peers, 1))
        for number, (peer, port) in enumerate(zip(peers, self._client_ports, strict=True), 1):
            flags = {
                "name": f"node{number}",
                "data-dir": str(self._directory / f"node{number}"),
                "listen-client-urls": f"http://{HOST}:{port}",
                "advertise-client-urls": f"http://{HOST}:{port}",
                "listen-peer-urls": peer,
                "initial-advertise-peer-urls": peer,
                "initial-cluster": cluster,
                "logger": "zap",
                "log-level": "error",
            }
            arguments = [word for name, value in flags.items() for word in (f"--{name}", value)]
            self._servers.append(Server(self._directory / f"node{number}", "etcd", arguments))
        await wait_serving(self._servers, self._is_serving)
        version = (await self._status(self._client_ports[0]))["version"]
        return f"etcd {version} by h2load: gRPC over {ETCD_CONNECTIONS} connections, always the same key"

    async def _is_serving(self) -> bool:
        answers = [await self._http.get(f"http://{HOST}:{port}/health") for port in self._client_ports]
        return all(answer.status == 200 and answer.json().get("health") == "true" for answer in answers)

    async def _status(self, port: int) -> Any:
        answer = await self._http.post(f"http://{HOST}:{port}/v3/maintenance/status", {})
        if answer.status != 200:
            raise LoadFailed(f"etcd answered {answer.status}: {answer.text[:200]}")
        return answer.json()

    async def fill(self) -> None:
        """See :meth:`System.fill`."""
        value = _base64(VALUE)
        chunks = iter(range(0, self._keys, KEYS_AT_ONCE))

        async def work() -> None:
            for first in chunks:
                puts = [
                    {"request_put": {"key": _base64(key_name(number)), "value": value}}
                    for number in range(first, min(first + KEYS_AT_ONCE, self._keys))
                ]
                answer = await self._http.post(f"http://{HOST}:{self._client_ports[0]}/v3/kv/txn", {"success": puts})
                if answer.status != 200:
                    raise LoadFailed(f"etcd answered {answer.status}: {answer.text[:200]}")

        async with asyncio.timeout(FILL_SECONDS_MAX):
            await asyncio.gather(*(work() for _ in range(FILLERS)))

    async def drive(self, case: Case, operations: int, seconds_max: float) -> Sample:
        """See :meth:`System.drive`."""
        statuses = {port: await self._status(port) for port in self._client_ports}
        leads = {port: status["leader"] == status["header"]["member_id"] for port, status in statuses.items()}
        port = next((port for port in leads if leads[port] == (case.at == "leader")), None)
        if port is None:
            raise LoadFailed("etcd has no leader")
        before = int(statuses[port]["header"]["revision"])
        sample = await h2load(port, case, operations, seconds_max=seconds_max)
        written = int((await self._status(port))["header"]["revision"]) - before
        if written != (operations if case.command == "set" else 0):
            raise LoadFailed(f"etcd made {written} writes in a round of {operations} operations")
        for server in self._servers:
            server.check_running()
        return sample

    def pids(self) -> list[int]:
        """See :meth:`System.pids`."""
        return [server.pid for server in self._servers]

    async def fsyncs(self) -> int:
        """See :meth:`System.fsyncs`."""
        pages = [(await self._http.get(f"http://{HOST}:{port}/metrics")).text for port in self._client_ports]
        return sum(int(found[1]) for page in pages if (found := FSYNCS.search(page)))

    async def stop(self) -> None:
        """See :meth:`System.stop`."""
        for server in self._servers:
            server.kill()
        await self._http.aclose()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
