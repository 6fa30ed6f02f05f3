"""``/status`` and ``/health``: what a node says of itself."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from quorate._version import __version__
from quorate.app import App
from quorate.errors import NodeStopped, ReadUnavailable
from quorate.models.machine import ModelsMachine
from quorate.node.node import Node
from quorate.web.answers import JSONLine
from quorate.web.problems import Problem, problem_of
from quorate.web.statistics import Statistics

HEALTH_SECONDS_MAX = 1.0


class StatusPages:
    """Reports on one node."""

    def __init__(self, node: Node, app: App, machine: ModelsMachine | None = None) -> None:
        self.statistics = Statistics(node, machine, app.schemas)
        self._node = node
        self._app = app
        self._machine = machine
        self._started = time.monotonic()

    def report(self) -> dict[str, Any]:
        """The status as plain data."""
        report = asdict(self._node.status)
        report["cluster_id"] = self._node.config.cluster_id
        report["storage_profile"] = report["storage"].pop("profile")
        report["schema_fingerprint"] = self._app.schema_fingerprint
        report["schema"] = self._schema()
        report["uptime_seconds"] = round(time.monotonic() - self._started, 1)
        report["version"] = __version__
        report["statistics"] = self.statistics.report()
        return report

    def _schema(self) -> dict[str, Any] | None:
        """What the app declares, and what is in force; ``None`` without models."""
        if self._machine is None:
            return None
        declarations = self._machine.declarations
        version, fingerprint = declarations.in_force
        return {
            "version": declarations.version,
            "fingerprint": declarations.fingerprint,
            "cluster_version": version if fingerprint else None,
            "cluster_fingerprint": fingerprint or None,
            "matches": declarations.are_in_force,
            "differing_rules": declarations.differing_rules,
            "rules": {f"{model}.{name}": d for model, each in declarations.rules.items() for name, d in each.items()},
        }

    async def status(self, request: Request) -> Response:
        """``GET /status``: always 200, also while the node is joining or has lost its leader."""
        await self.statistics.count()
        return JSONLine(self.report())

    async def health(self, request: Request) -> Response:
        """``GET /health``: 200 if this node could serve a strong read just now, which takes a leader, a quorum
        that answers it, and a state that has caught up; 503 otherwise."""
        if self._node.is_draining:
            return problem_of(NodeStopped("the node is about to stop")).as_response()
        try:
            await self._node.read_barrier(timeout=HEALTH_SECONDS_MAX)
        except ReadUnavailable as error:
            return self._unhealthy(error).as_response()
        return JSONLine({"status": "ok", "node_id": self._node.node_id, "leader": self._node.leader})

    def _unhealthy(self, error: ReadUnavailable) -> Problem:
        problem, addresses = problem_of(error), self._node.status.other_cluster_at
        if not addresses:
            return problem
        detail = f"{problem.detail}; another cluster's nodes answer at {', '.join(addresses)}"
        return replace(problem, detail=detail, members={"other_cluster_at": addresses})
