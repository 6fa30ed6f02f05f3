"""``/status`` and ``/health``: what a node says of itself."""

from __future__ import annotations

import asyncio
import time
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import msgspec

from quorate._version import __version__
from quorate.app import App
from quorate.errors import NodeStopped, ReadUnavailable
from quorate.models.machine import ModelsMachine
from quorate.node.node import Node
from quorate.node.status import NodeStatus, StorageStatus
from quorate.node.timeline import rfc3339
from quorate.rest.http import JSON_TYPE, Response
from quorate.web.problems import Problem, problem_of
from quorate.web.statistics import Statistics
from quorate.web.vitals import Vitals

if TYPE_CHECKING:
    from quorate.web.injected import InjectedFaults

HEALTH_SECONDS_MAX = 1.0
TOLD_SETTINGS = (
    "heartbeat_interval_ms",
    "election_timeout_min_ms",
    "election_timeout_ms",
    "lease_reads",
    "max_command_bytes",
    "peer_transport",
    "snapshot_trailing_entries",
)
"""Those that should be the same on all nodes, beside those of the storage."""

_STATUS = tuple(field.name for field in fields(NodeStatus))
_STORAGE = tuple(field.name for field in fields(StorageStatus) if field.name != "profile")


class StatusPages:
    """Reports on one node."""

    def __init__(self, node: Node, app: App, machine: ModelsMachine | None = None) -> None:
        self.statistics = Statistics(node, machine, app.schemas)
        self._node = node
        self._app = app
        self._machine = machine
        self._vitals = Vitals(node)
        self._settings = {name: getattr(node.config, name) for name in TOLD_SETTINGS}
        self._started = time.monotonic()
        self._told: Response | None = None
        self.faults: InjectedFaults | None = None
        """Those that may be injected, if some may."""

    def report(self) -> dict[str, Any]:
        """The status as what can be encoded as it is: plain data would take four times as long to make."""
        status = self._node.status
        report = {name: getattr(status, name) for name in _STATUS}
        report["cluster_id"] = self._node.config.cluster_id
        report["storage"] = {name: getattr(status.storage, name) for name in _STORAGE}
        report["storage_profile"] = status.storage.profile
        report["settings"] = self._settings
        report["schema_fingerprint"] = self._app.schema_fingerprint
        report["schema"] = self._schema()
        report["uptime_seconds"] = round(time.monotonic() - self._started, 1)
        report["version"] = __version__
        report["time"] = rfc3339(self._node.now_us())
        report |= self._vitals.report()
        report["statistics"] = self.statistics.report()
        report["faults"] = None if self.faults is None else self.faults.report()
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

    async def status(self) -> Response:
        """``GET /status``: always 200, also while the node is joining or has lost its leader.

        Requests that are answered in the same turn of the event loop get the same report, so many at a time cost little
        more than one; it was made after the last of them came.
        """
        if self._told is None:
            await self.statistics.count()
            self._told = _line(self.report())
            asyncio.get_running_loop().call_soon(self._forget)
        return self._told

    def _forget(self) -> None:
        self._told = None

    async def health(self) -> Response:
        """``GET /health``: 200 if this node could serve a strong read just now, which takes a leader, a quorum
        that answers it, and a state that has caught up; 503 otherwise."""
        if self._node.is_draining:
            return problem_of(NodeStopped("the node is about to stop")).as_answer()
        try:
            await self._node.read_barrier(timeout=HEALTH_SECONDS_MAX)
        except ReadUnavailable as error:
            return self._unhealthy(error).as_answer()
        return _line({"status": "ok", "node_id": self._node.node_id, "leader": self._node.leader})

    def _unhealthy(self, error: ReadUnavailable) -> Problem:
        problem, addresses = problem_of(error), self._node.status.other_cluster_at
        if not addresses:
            return problem
        detail = f"{problem.detail}; another cluster's nodes answer at {', '.join(addresses)}"
        return replace(problem, detail=detail, members={"other_cluster_at": addresses})


def _line(document: dict[str, Any]) -> Response:
    return Response(200, [JSON_TYPE], msgspec.json.encode(document) + b"\n")
