"""``GET /metrics``: for Prometheus. Nothing of it is imported before somebody asks."""

from __future__ import annotations

from collections.abc import Mapping

from quorate.app import App
from quorate.kv.machine import MACHINE as KV
from quorate.kv.machine import KvMachine
from quorate.kv.server.service import Service
from quorate.metrics.registry import Metrics, Sources
from quorate.models.machine import ModelsMachine
from quorate.node.node import Node
from quorate.rest.http import Response
from quorate.rest.requests import Requests
from quorate.tasks.machine import MACHINE as TASKS
from quorate.tasks.machine import TasksMachine
from quorate.web.statistics import Statistics
from quorate.web.vitals import disk_bytes


class MetricsPage:
    """Of one node. To be made in a thread, for importing it takes as long as a heartbeat may be late."""

    def __init__(
        self,
        node: Node,
        app: App,
        models: ModelsMachine | None,
        statistics: Statistics,
        requests: Requests,
        resp: Service | None,
    ) -> None:
        self._statistics = statistics
        keys, tasks = node.machines.get(KV), node.machines.get(TASKS)
        self._metrics = Metrics(
            Sources(
                node=node,
                requests=requests,
                disk_bytes=disk_bytes,
                models=models,
                created=self._created,
                keys=keys if isinstance(keys, KvMachine) else None,
                resp=resp,
                tasks=tasks if isinstance(tasks, TasksMachine) else None,
            )
        )

    def _created(self) -> Mapping[str, int]:
        return self._statistics.created

    async def answer(self, accept: str) -> Response:
        """In OpenMetrics, if ``accept`` names it, or in Prometheus' text format."""
        await self._statistics.count()
        text, content_type = await self._metrics.text(accept)
        return Response(200, [(b"content-type", content_type.encode()), (b"cache-control", b"no-store")], text)
