"""A cluster of three as the doctor sees it, and what may be wrong with it."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

from quorate.ops.doctor.checks import diagnose
from quorate.ops.doctor.evidence import Evidence, Look, Obstacle
from quorate.ops.doctor.findings import Finding, Severity

NOW = 1_800_000_000.0
"""When the first look is taken; the second is ten seconds later."""
SECONDS = 10.0


def member(node_id: int, **more: Any) -> dict[str, Any]:
    """A member, as a report has it."""
    plain = {
        "node_id": node_id,
        "address": f"127.0.0.1:{8079 + node_id}",
        "role": "voter",
        "priority": 1,
        "promote": False,
        "leaving": False,
        "connected": True,
        "match_index": 500,
        "lag": 0,
        "repairing": False,
        "snapshot": False,
        "heard": True,
    }
    return plain | more


def healthy(node_id: int, leader: int = 1) -> dict[str, Any]:
    """What a node says that lacks nothing."""
    return {
        "node_id": node_id,
        "address": f"127.0.0.1:{8079 + node_id}",
        "cluster_id": "quorate",
        "role": "leader" if node_id == leader else "follower",
        "member_role": "voter",
        "term": 3,
        "leader": leader,
        "commit_index": 500,
        "applied_index": 500,
        "last_index": 500,
        "snapshot_index": 0,
        "log_bytes": 100_000,
        "repairing": False,
        "failure": None,
        "other_cluster_at": [],
        "membership": {
            "configuration_index": 7,
            "joint": False,
            "committed": True,
            "members": [member(number) for number in (1, 2, 3)],
        },
        "peers": [
            {"node_id": number, "address": f"127.0.0.1:{8079 + number}", "connected": True, "lag": 0}
            for number in (1, 2, 3)
            if number != node_id
        ],
        "storage_profile": "durable",
        "storage": {"settings": {"fsync_on_append": True, "snapshot_threshold": 10_000}, "power_loss": None},
        "settings": {"lease_reads": False, "election_timeout_ms": 300, "snapshot_trailing_entries": 10_000},
        "schema": {
            "version": 1,
            "fingerprint": "a" * 64,
            "cluster_version": 1,
            "cluster_fingerprint": "a" * 64,
            "matches": True,
            "differing_rules": [],
        },
        "version": "0.1.0",
        "process": {"cpu_seconds": 5.0, "resident_bytes": 60_000_000, "open_files": 30},
        "disk": {
            "free_bytes": 500 * 2**30,
            "total_bytes": 1000 * 2**30,
            "sync_seconds_last": 0.001,
            "sync_seconds_p99": 0.002,
            "sync_seconds_sum": 1.0,
            "syncs": 1000,
        },
        "fsyncs": 1000,
        "faults": None,
    }


class Cluster:
    """Three nodes, looked at twice. ``before`` and ``now`` are their reports by id: change them."""

    def __init__(self) -> None:
        self.before = {node_id: healthy(node_id) for node_id in (1, 2, 3)}
        self.now = copy.deepcopy(self.before)
        self.looks: dict[int, dict[str, Any]] = {1: {}, 2: {}, 3: {}}
        """More about each node's second look."""
        self.clocks = {1: 0.0, 2: 0.0, 3: 0.0}
        """Seconds by which they are ahead."""
        self.addresses: dict[int, str] = {}
        """Where nodes are that are not at the usual place."""

    @property
    def leader(self) -> dict[str, Any]:
        """Node 1's second report."""
        return self.now[1]

    def everywhere(self, **more: Any) -> None:
        """The same in all reports of both looks."""
        for report in (*self.before.values(), *self.now.values()):
            report |= copy.deepcopy(more)

    def member(self, node_id: int, **more: Any) -> None:
        """The same of a member in all reports."""
        for report in (*self.before.values(), *self.now.values()):
            for each in report["membership"]["members"]:
                if each["node_id"] == node_id:
                    each |= more

    def gone(self, node_id: int, error: str = "unreachable", *, obstacle: Obstacle | None = Obstacle.REFUSED) -> None:
        """A node that does not answer any more."""
        address = f"127.0.0.1:{8079 + node_id}"
        self.now[node_id] = {"address": address, "error": error}
        self.looks[node_id] = {"obstacle": obstacle if error == "unreachable" else None}

    def leaderless(self) -> None:
        """Nobody leads."""
        for report in (*self.before.values(), *self.now.values()):
            if "error" not in report:
                report |= {"role": "follower", "leader": None}

    def evidence(self) -> Evidence:
        """It, as it was seen."""
        return Evidence(
            asked=tuple(f"127.0.0.1:{8079 + node_id}" for node_id in self.now),
            before=tuple(self._look(node_id, report, NOW) for node_id, report in self.before.items()),
            looks=tuple(self._look(node_id, report, NOW + SECONDS) for node_id, report in self.now.items()),
            seconds=SECONDS,
        )

    def _look(self, node_id: int, report: dict[str, Any], at: float) -> Look:
        trip = 0.002
        if "error" not in report:
            time = datetime.fromtimestamp(at + trip / 2 + self.clocks.get(node_id, 0.0), UTC).isoformat()
            report = {"time": time, **report}
        more = {"round_trip": trip, **self.looks.get(node_id, {})} if at > NOW else {"round_trip": trip}
        return Look(
            address=self.addresses.get(node_id, f"127.0.0.1:{8079 + node_id}"), report=report, asked_at=at, **more
        )

    def found(self) -> dict[str, Severity]:
        """The checks that find something, and how bad it is."""
        diagnosis = diagnose(self.evidence())
        return {name: finding.severity for each in diagnosis.found.values() for name, finding in each}

    def said(self, check: str) -> str:
        """What a check says."""
        return " ".join(finding.what for finding in self.findings(check))

    def findings(self, check: str) -> list[Finding]:
        """What a check finds."""
        diagnosis = diagnose(self.evidence())
        return [finding for each in diagnosis.found.values() for name, finding in each if name == check]
