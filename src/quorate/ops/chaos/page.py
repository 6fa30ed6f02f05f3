"""The report as one HTML page that needs nothing else: no scripts, no fonts, nothing from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from quorate.ops.chaos.report import SLOT_SECONDS, ChaosReport, FaultReport, Slot, floored

WIDTH, HEIGHT = 960, 220
LEFT, TOP, BOTTOM = 48, 20, 24
BARS_MAX = 300
TICKS = 6
DIGIT_WIDTH = 7
NO_BREAK = "\N{NO-BREAK SPACE}"
NAMED_MAX = 3
"""Scenarios in the title."""

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6570; --paper: #fff; --line: #d7dce1;
  --ok: #2a6f97; --bad: #c62f2f; --fault: #d9822b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa5b0; --paper: #14181c; --line: #323a42;
  --ok: #5fa8d3; --bad: #f06a6a; --fault: #e0a050; } }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.verdict { font-weight: 600; } .passed { color: var(--ok); } .missed { color: var(--bad); }
.soft { color: var(--soft); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; } td.n { text-align: right; white-space: nowrap; }
pre { overflow-x: auto; white-space: pre-wrap; }
.wide { overflow-x: auto; } svg { display: block; width: 100%; min-width: 36rem; height: auto; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
.ok { fill: var(--ok); } .bad { fill: var(--bad); } .axis { stroke: var(--line); }
.fault { fill: var(--fault); opacity: .28; } .gap { fill: var(--bad); opacity: .35; }
"""


def as_html(report: ChaosReport) -> str:
    """The whole page."""
    named = ", ".join(report.scenarios) if len(report.scenarios) <= NAMED_MAX else "all scenarios"
    title = f"Chaos: {named}"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>",
            f"<h1>{escape(title)}</h1>",
            _verdict(report),
            f'<p class="soft">{escape(_setup(report))}</p>',
            "<h2>Operations per second, and faults</h2>",
            _scrolled("Timeline", timeline(report)),
            '<p class="soft">Blue: operations that succeeded. Red, on top: begun then, and failed. '
            "Shaded orange: a fault, with its number below. Shaded red: the longest interruption.</p>",
            "<h2>Numbers</h2>",
            _table("Numbers", ("what", "measured"), numbers(report)),
            "<h2>Faults</h2>",
            _table(
                "Faults",
                ("number", "at", "scenario", "what", "undone after", "whole again after"),
                _fault_rows(report.faults),
            ),
            *_findings(report),
            "</main></body></html>\n",
        ]
    )


def numbers(report: ChaosReport) -> list[tuple[str, str]]:
    """What was measured, by name: as the text shows it, too."""
    errors = ", ".join(f"{count:,} {kind}" for kind, count in report.errors.items()) or "none"
    told = f"{report.acknowledged:,} acknowledged appends: {report.lost} lost, {report.duplicated} duplicated"
    more = f"{report.refused_but_there} refused but there, {report.never_sent} never sent"
    limits = report.thresholds
    per_second = report.operations / max(report.seconds, SLOT_SECONDS)
    return [
        ("availability", f"{floored(report.availability_percent)} % (at least {limits.availability_percent:g} %)"),
        ("... by tenths of seconds", f"{floored(report.slots_available_percent)} % with a success"),
        (
            "longest interruption",
            f"{report.longest_interruption_ms:.0f} ms, {report.interrupted_at_seconds:.1f} s after the beginning "
            f"(at most {limits.interruption_ms:g} ms)",
        ),
        (
            "operations",
            f"{report.operations:,}: {report.failed:,} failed, {report.unknown:,} unknown; "
            f"{per_second:,.0f} per second, of {report.rate:,g} tried for",
        ),
        ("tries that failed", f"{errors}; {report.tries:,} tries in all"),
        ("latency", f"p50 {report.p50_ms:g} ms, p99 {report.p99_ms:g} ms, longest {report.max_ms:g} ms"),
        ("consistency", f"{floored(report.consistency_percent)} % (at least {limits.consistency_percent:g} %)"),
        ("... in numbers", f"{told}, {more}; {report.differing_keys} keys differ"),
        ("linearizable", report.linearizable),
    ]


def _verdict(report: ChaosReport) -> str:
    if report.passed:
        return '<p class="verdict passed">Passed</p>'
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in report.missed)
    return f'<p class="verdict missed">Not passed</p><ul>{reasons}</ul>'


def _setup(report: ChaosReport) -> str:
    return (
        f"{report.target}, {report.nodes} nodes; {report.clients} clients that try for {report.rate:g} operations per "
        f"second, each for {report.deadline_seconds:g} s at most; {report.seconds:.0f} s; seed {report.seed}; "
        f"{report.machine}"
    )


def _table(name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return _scrolled(name, f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>")


def _scrolled(name: str, inner: str) -> str:
    """What may be wider than the window: also the keyboard scrolls it."""
    return f'<div class="wide" role="region" aria-label="{escape(name)}" tabindex="0">{inner}</div>'


def _fault_rows(faults: Sequence[FaultReport]) -> list[tuple[str, ...]]:
    return [
        (
            str(number),
            f"{fault.began_seconds:.1f}{NO_BREAK}s",
            fault.scenario,
            fault.told,
            _after(fault, fault.ended_seconds),
            _after(fault, fault.recovered_seconds),
        )
        for number, fault in enumerate(faults, start=1)
    ]


def _after(fault: FaultReport, at: float | None) -> str:
    return "" if at is None else f"{at - fault.began_seconds:.2f}{NO_BREAK}s"


def _findings(report: ChaosReport) -> Iterator[str]:
    if report.findings:
        yield "<h2>Findings</h2>"
        yield from (f"<pre>{escape(finding)}</pre>" for finding in report.findings)


# -- the timeline ----------------------------------------------------------------------------------------


def timeline(report: ChaosReport) -> str:
    """The load and the faults over time, as SVG."""
    bars = _merged(report.slots)
    seconds = max(report.seconds, SLOT_SECONDS)
    peak = max([bar.ok + bar.failed for bar in bars], default=0) or 1
    scale = (WIDTH - LEFT) / seconds
    floor = HEIGHT - BOTTOM
    described = (
        f"Operations over {report.seconds:.0f} seconds; {len(report.faults)} faults; the longest interruption was "
        f"{report.longest_interruption_ms:.0f} milliseconds."
    )
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(described)}">']
    for fault in report.faults:
        end = fault.ended_seconds if fault.ended_seconds is not None else seconds
        parts.append(_band("fault", fault.began_seconds, end, scale, f"{fault.scenario}: {fault.told}"))
    parts.extend(_fault_numbers(report.faults, scale))
    gap_end = report.interrupted_at_seconds + report.longest_interruption_ms / 1000
    told = f"longest interruption: {report.longest_interruption_ms:.0f} ms"
    parts.append(_band("gap", report.interrupted_at_seconds, gap_end, scale, told))
    parts.extend(_bars(bars, peak, floor))
    parts.append(f'<line class="axis" x1="{LEFT}" y1="{floor}" x2="{WIDTH}" y2="{floor}"/>')
    per_second = peak / (seconds / max(1, len(bars)))
    parts.append(f'<text x="{LEFT - 4}" y="{TOP + 4}" text-anchor="end">{per_second:,.0f}/s</text>')
    parts.append(f'<text x="{LEFT - 4}" y="{floor}" text-anchor="end">0</text>')
    for tick in range(TICKS + 1):
        at = seconds * tick / TICKS
        anchor = "end" if tick == TICKS else "middle" if tick else "start"
        parts.append(f'<text x="{LEFT + at * scale:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{at:.0f} s</text>')
    return "".join([*parts, "</svg>"])


def _merged(slots: Sequence[Slot]) -> list[Slot]:
    """Few enough to be told apart."""
    together = -(-len(slots) // BARS_MAX) or 1
    groups = [slots[first : first + together] for first in range(0, len(slots), together)]
    return [Slot(ok=sum(slot.ok for slot in group), failed=sum(slot.failed for slot in group)) for group in groups]


def _band(kind: str, began: float, ended: float, scale: float, told: str) -> str:
    left, width = LEFT + began * scale, max(1.5, (ended - began) * scale)
    height = HEIGHT - TOP - BOTTOM
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{TOP}" width="{width:.1f}" height="{height}">'
        f"<title>{escape(told)}</title></rect>"
    )


def _fault_numbers(faults: Sequence[FaultReport], scale: float) -> Iterator[str]:
    """Above the bands, as far as there is room: in the order of the table."""
    free = float(LEFT)
    for number, fault in enumerate(faults, start=1):
        left = LEFT + fault.began_seconds * scale
        if left >= free:
            free = left + DIGIT_WIDTH * (len(str(number)) + 1)
            yield f'<text x="{left:.1f}" y="{TOP - 6}">{number}</text>'


def _bars(bars: Sequence[Slot], peak: int, floor: int) -> Iterator[str]:
    width = (WIDTH - LEFT) / max(1, len(bars))
    unit = (floor - TOP) / peak
    for at, bar in enumerate(bars):
        left, good, bad = LEFT + at * width, bar.ok * unit, bar.failed * unit
        for kind, top, height in (("ok", floor - good, good), ("bad", floor - good - bad, bad)):
            if height:
                yield f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{width:.2f}" height="{height:.1f}"/>'
