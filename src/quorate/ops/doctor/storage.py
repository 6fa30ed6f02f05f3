"""What a write is worth, and whether the nodes are set up alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from quorate.config import NodeConfig
from quorate.ops.doctor.evidence import Evidence
from quorate.ops.doctor.findings import Finding, Severity, names


def acknowledges_before_sync(evidence: Evidence) -> Iterator[Finding]:
    """A power failure of several machines would cost what was acknowledged last."""
    found = [
        str(report["node_id"])
        for report in evidence.reports
        if report.get("storage") and not report["storage"]["settings"]["fsync_on_append"]
    ]
    if found:
        yield Finding(
            severity=Severity.NOTE,
            what=f"Node {names(found)} acknowledges writes before they are synced.",
            cause="Its storage profile says so. If a majority of the machines loses power at once, writes are lost.",
            mend="If that is not wanted, start it with --storage-profile durable",
        )


def power_was_lost(evidence: Evidence) -> Iterator[Finding]:
    """The machine went down while entries were not synced."""
    for report in evidence.reports:
        text = (report.get("storage") or {}).get("power_loss")
        if text:
            yield Finding(
                severity=Severity.WARNING,
                what=f"Node {report['node_id']}: {text}.",
                cause="Its machine went down while entries were acknowledged and not synced yet.",
                mend="Nothing, if the other machines stayed up: it has them from there. Else --storage-profile durable",
            )


def faults_may_be_injected(evidence: Evidence) -> Iterator[Finding]:
    """A node lets itself be broken, or is broken just now, on purpose."""
    spared = []
    for look in evidence.answers:
        faults = look.report.get("faults")
        if faults is None:
            continue
        if not faults.get("active"):
            spared.append(str(look.report["node_id"]))
            continue
        yield Finding(
            severity=Severity.WARNING,
            what=f"Faults are injected into {look.called}: {_told(faults['active'])}.",
            cause="Somebody tries what it survives; what else is found may come of that.",
            mend=f"curl -X DELETE http://{look.address}/admin/faults",
        )
    if spared:
        yield Finding(
            severity=Severity.NOTE,
            what=f"Node {names(spared)} lets faults be injected.",
            cause="It was started with --allow-faults, which is not for production.",
            mend="If this is production, start it without --allow-faults",
        )


def _told(active: dict[str, Any]) -> str:
    """What is wrong, without what could be and is not."""
    wrong = {name: any(each.values()) if isinstance(each, dict) else each for name, each in active.items()}
    return json.dumps({name: active[name] for name, each in wrong.items() if each})


def settings_differ(evidence: Evidence) -> Iterator[Finding]:
    """Nodes are set up in different ways."""
    found: dict[str, dict[str, list[str]]] = {}
    for report in evidence.reports:
        if report.get("member_role") == "witness":
            continue
        for name, value in _settings(report):
            found.setdefault(name, {}).setdefault(str(value), []).append(str(report["node_id"]))
    for name, values in sorted(found.items()):
        if len(values) > 1:
            told = names([f"{value} on node {names(nodes)}" for value, nodes in sorted(values.items())])
            yield Finding(
                severity=Severity.WARNING if name in _MATTERS else Severity.NOTE,
                what=f"The setting {name} differs: {told}.",
                cause="The nodes were started with different flags, variables or --config files.",
                mend=f"Start them with the same {_given_by(name)}, one after the other",
            )


_TIMINGS = frozenset({"heartbeat_interval_ms", "election_timeout_min_ms", "election_timeout_ms"})
_MATTERS = _TIMINGS | {"fsync_on_append", "lease_reads"}
"""A difference in these makes a promise of the cluster depend on who happens to keep it."""


def _given_by(name: str) -> str:
    """How a setting is given: by a flag, or in a program alone."""
    if name in _TIMINGS:
        return "--preset"
    return f"--{name.replace('_', '-')}" if name in NodeConfig.model_fields else f"{name} in their RaftConfig"


def _settings(report: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if "storage_profile" in report:
        yield "storage_profile", report["storage_profile"]
    yield from ((report.get("storage") or {}).get("settings") or {}).items()
    yield from (report.get("settings") or {}).items()
