"""What a node that serves has in memory is what it serves with: the rest is imported when somebody asks for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .support import free_ports

NODE = """
import asyncio, json, sys
from pathlib import Path
import quorate.cli.main, quorate.cli.node
from quorate import App
from quorate.config import load_node_config
from quorate.web.server import NodeServer

async def get(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1])

async def main(port, directory):
    server = NodeServer(load_node_config(None, {"node_id": 1, "port": port, "data_dir": directory}), App())
    await server.start()
    async with asyncio.timeout(30):
        while await get(port, "/health") != 200:
            await asyncio.sleep(0.01)
    statuses = [await get(port, "/status"), await get(port, "/api/v1/stats")]
    serving = sorted(sys.modules)
    statuses += [await get(port, "/docs"), await get(port, "/cluster/members"), await get(port, "/metrics")]
    await server.stop()
    print(json.dumps([statuses, serving, sorted(sys.modules)]))

asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
"""

PAGES = {"starlette", "quorate.web.pages", "quorate.web.openapi"}
NOT_NEEDED = {
    *PAGES, "anyio", "email_validator", "httpx", "pydantic_settings", "pythonjsonlogger", "rich", "sqlite3",
    "swagger_ui", "tomllib", "websockets", "yaml", "quorate.embedded", "quorate.kv.store.kv",
    "quorate.models.rest.resource", "quorate.ops.inspect", "quorate.tasks.client", "quorate.tasks.daemon",
    "quorate.tasks.worker", "quorate.testing", "quorate.transport.websocket", "quorate.web.dashboard",
    "quorate.web.faults", "quorate.web.injected",
    "prometheus_client", "quorate.metrics",
}  # fmt: skip


def test_a_node_with_tasks_imports_neither_pages_nor_models_nor_workers_nor_websockets(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    command = [sys.executable, "-c", NODE, str(port), str(tmp_path / "node")]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr
    statuses, serving, asked = json.loads(process.stdout)
    assert statuses == [200, 200, 200, 200, 200]
    assert sorted(NOT_NEEDED & set(serving)) == []
    assert set(asked) >= {*PAGES, "prometheus_client", "quorate.metrics"}
