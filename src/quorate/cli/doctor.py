"""``quorate doctor``: what is wrong with a cluster or with a data directory, why, and what mends it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from quorate.cli.output import wide_console
from quorate.cli.status import DEFAULT_CLUSTER
from quorate.errors import ConfigError
from quorate.ops.cluster_status import parse_cluster
from quorate.ops.doctor.checks import Diagnosis, diagnose
from quorate.ops.doctor.clocks import clock_offset
from quorate.ops.doctor.evidence import Evidence, Look
from quorate.ops.doctor.findings import Finding, Severity
from quorate.ops.doctor.looking import look_at_cluster, look_at_directory

LOOK_SECONDS = 2.0
LOOK_SECONDS_MAX = 600.0
_COLOURS = {Severity.NOTE: "cyan", Severity.WARNING: "yellow", Severity.CRITICAL: "red"}


def doctor(
    cluster: Annotated[
        str | None,
        typer.Option(
            envvar="QUORATE_CLUSTER", help="The nodes to ask: host:port, by commas.", show_default=DEFAULT_CLUSTER
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Look into this data directory as well; without --cluster, into nothing else.")
    ] = None,
    node_id: Annotated[int | None, typer.Option(min=1, help="The id that its node is to be started with.")] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=LOOK_SECONDS_MAX, help="For how long to watch the cluster.")
    ] = LOOK_SECONDS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> int:
    """Say what is wrong with a cluster, why, and what mends it. Changes nothing.

    Exits 0 if all is well, 1 with warnings, 3 if something critical was found, 2 if it was called wrongly.
    """
    if node_id is not None and data_dir is None:
        raise typer.BadParameter("it goes with --data-dir.", param_hint="--node-id")
    evidence = Evidence()
    if cluster is not None or data_dir is None:
        evidence = asyncio.run(look_at_cluster(_addresses(cluster or DEFAULT_CLUSTER), seconds))
    if data_dir is not None:
        evidence = replace(evidence, directory=look_at_directory(data_dir, node_id))
    diagnosis = diagnose(evidence)
    if as_json:
        typer.echo(json.dumps(_document(diagnosis), indent=2))
    else:
        _print(diagnosis)
    return int(diagnosis.severity)


def _addresses(cluster: str) -> list[str]:
    try:
        return parse_cluster(cluster)
    except ConfigError as error:  # by itself it would make the exit code of warnings
        raise typer.BadParameter(f"{error}.", param_hint="--cluster") from None


def _document(diagnosis: Diagnosis) -> dict[str, Any]:
    evidence = diagnosis.evidence
    return {
        "severity": diagnosis.severity.word if diagnosis.findings else "fine",
        "seconds": round(evidence.seconds, 3),
        "nodes": [_node(look) for look in evidence.looks],
        "data_dir": evidence.directory.path if evidence.directory is not None else None,
        "checks": [
            {"subject": subject, "findings": [_finding(name, finding) for name, finding in found]}
            for subject, found in diagnosis.found.items()
        ],
    }


def _node(look: Look) -> dict[str, Any]:
    offset = clock_offset(look) if look.error is None else None
    return {
        "address": look.address,
        "node_id": look.report.get("node_id"),
        "role": look.report.get("role"),
        "error": look.error,
        "round_trip_ms": round(look.round_trip * 1000, 3) if look.error is None else None,
        "clock_offset_ms": round(offset * 1000, 3) if offset is not None else None,
    }


def _finding(name: str, finding: Finding) -> dict[str, str]:
    return {
        "check": name,
        "severity": finding.severity.word,
        "what": finding.what,
        "cause": finding.cause,
        "mend": finding.mend,
    }


def _print(diagnosis: Diagnosis) -> None:
    """All at once: if nobody reads to the end (``| head``), the exit code says no less."""
    wide_console().print("\n".join(_lines(diagnosis)), highlight=False, soft_wrap=True)


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    width = max(map(len, diagnosis.found))
    for subject, found in diagnosis.found.items():
        told = _counted([finding for _, finding in found])
        yield f"{subject:<{width}}  {told or '[green]fine[/green]'}"
        for _, finding in found:
            colour = _COLOURS[finding.severity]
            yield f"  [{colour}]{finding.severity.word}[/{colour}]  {escape(finding.what)}"
            yield f"    cause  {escape(finding.cause)}"
            yield f"    mend   {escape(finding.mend)}"
    yield ""
    yield _summary(diagnosis)


def _summary(diagnosis: Diagnosis) -> str:
    evidence = diagnosis.evidence
    seen = []
    if evidence.looks:
        answered = sum(look.error is None for look in evidence.looks)
        seen.append(f"{answered} of {len(evidence.looks)} nodes answered, {evidence.seconds:.0f} s long")
    if evidence.directory is not None:
        seen.append(f"{escape(evidence.directory.path)} was looked into")
    return f"{'; '.join(seen)}: {_counted(diagnosis.findings) or 'all is well'}."


def _counted(findings: list[Finding]) -> str:
    counts = Counter(finding.severity for finding in findings)
    return ", ".join(_count(severity, counts[severity]) for severity in sorted(counts, reverse=True))


def _count(severity: Severity, count: int) -> str:
    plural = "s" if count > 1 and severity is not Severity.CRITICAL else ""
    return f"[{_COLOURS[severity]}]{count} {severity.word}{plural}[/]"
