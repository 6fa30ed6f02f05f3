"""Whether all nodes run the same program, and understand the same data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from quorate.ops.doctor.evidence import Evidence
from quorate.ops.doctor.findings import Finding, Severity, names


def versions_differ(evidence: Evidence) -> Iterator[Finding]:
    """Nodes run different versions of quorate."""
    found: dict[str, list[str]] = {}
    for report in evidence.reports:
        found.setdefault(str(report.get("version", "?")), []).append(str(report["node_id"]))
    if len(found) > 1:
        told = names([f"{version} on node {names(nodes)}" for version, nodes in sorted(found.items())])
        yield Finding(
            severity=Severity.WARNING,
            what=f"The nodes run different versions: {told}.",
            cause="An upgrade is under way, or was not finished.",
            mend="Install the same version everywhere and restart one node after the other",
        )


def schema_differs(evidence: Evidence) -> Iterator[Finding]:
    """A node's app declares something else than what is in force."""
    for report in evidence.holders:
        schema = report.get("schema")
        if not schema or schema["matches"] or (schema["cluster_version"] is None and evidence.leader is None):
            continue  # what is in force is said in the log, once there is a leader
        here, in_force = _version(schema, ""), _version(schema, "cluster_")
        rules = f" These rules differ: {names(schema['differing_rules'])}." if schema["differing_rules"] else ""
        yield Finding(
            severity=Severity.WARNING,
            what=f"Node {report['node_id']} has {here} of the schema, and {in_force} is in force.{rules}",
            cause="Not all nodes run the same app: a new schema comes into force when no node runs the old one.",
            mend="Deploy the same --app to every node and restart one after the other",
        )


def _version(schema: dict[str, Any], whose: str) -> str:
    """The version and the beginning of the fingerprint: two apps may have one version, and not be the same."""
    version = schema[f"{whose}version"]
    return "none" if version is None else f"version {version} ({schema[f'{whose}fingerprint']:.8})"


def app_is_missing(evidence: Evidence) -> Iterator[Finding]:
    """Some nodes serve models, and some do not."""
    holders = [report for report in evidence.reports if report.get("member_role") != "witness"]
    without = [str(report["node_id"]) for report in holders if "schema" in report and report["schema"] is None]
    if without and len(without) < len(holders):
        yield Finding(
            severity=Severity.WARNING,
            what=f"Node {names(without)} serves no models, and others do.",
            cause="It was started without --app.",
            mend="Start it again with the same --app as the others",
        )
