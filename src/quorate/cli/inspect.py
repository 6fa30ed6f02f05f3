"""``quorate inspect``: what is in a node's data directory, without changing a byte of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quorate.cli.output import wide_console
from quorate.errors import ConfigError
from quorate.ops.inspect.directory import ENTRIES_MAX, DirectoryReport, inspect_directory
from quorate.ops.inspect.entries import EntryReport, time_text
from quorate.ops.inspect.export import export_log
from quorate.ops.inspect.log import SegmentReport

_RANGE = re.compile(r"(\d+)?\.\.(\d+)?|(\d+)")


def inspect(
    data_dir: Annotated[Path, typer.Argument(help="The data directory of a node.")],
    entries: Annotated[
        str | None, typer.Option(help="Also list these entries of the log: FROM..TO, either may be left out.")
    ] = None,
    payload: Annotated[bool, typer.Option("--payload", help="With --entries: show what the commands hold.")] = False,
    export: Annotated[
        Path | None, typer.Option(help="Instead, write the log into this new file: a JSON object for each entry.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is in a data directory, and where it is damaged. Never writes there. Exits 1 if it is damaged."""
    if payload and entries is None:
        raise ConfigError("--payload goes with --entries")
    if export is not None:
        if entries is not None or as_json:
            raise ConfigError("--export writes all of the log, as JSON: it goes with none of the other options")
        _export(data_dir, export)
        return
    report = inspect_directory(data_dir, entries=_range(entries) if entries is not None else None, payload=payload)
    if as_json:
        typer.echo(json.dumps(_plain(report), indent=2))
    else:
        _print(wide_console(), report)
    if report.problems:
        raise typer.Exit(1)


def _export(data_dir: Path, file: Path) -> None:
    try:
        with file.open("xb") as out:
            report = export_log(data_dir, out)
    except ConfigError:
        file.unlink()
        raise
    except FileExistsError as error:
        raise ConfigError(f"{file} is there already: it is not overwritten") from error
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from error
    typer.echo(f"entries {report.floor.index + 1} to {report.log.last_index} are in {file}")
    if report.problems:
        for problem in report.problems:
            typer.echo(f"damaged: {problem}", err=True)
        raise typer.Exit(1)


def _range(text: str) -> range:
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"--entries takes FROM..TO, as 17..20, 17.. or ..20, not {text!r}")
    low, high, single = match.groups()
    if single is not None:
        return range(int(single), int(single) + 1)
    return range(int(low or 1), int(high) + 1 if high else 2**63)


def _plain(report: DirectoryReport) -> dict[str, Any]:
    plain = asdict(replace(report, identity=None))
    if report.identity is not None:
        plain["identity"] = msgspec.to_builtins(report.identity, str_keys=True)
    return plain


def _print(console: Console, report: DirectoryReport) -> None:
    def say(line: str = "") -> None:
        console.print(line, highlight=False, soft_wrap=True)

    if report.used_by is not None:
        say(f"[yellow]In use by {report.used_by}: this is a glimpse of what moves, and its end may look torn.[/yellow]")
    for line in (*_identity(report), *_votes(report), *_floor(report), *_log(report)):
        say(line)
    if report.log.segments:
        console.print(_segments(report.log.segments))
    for line in (*_configuration(report), *_state(report), *_snapshots(report), *_past(report)):
        say(line)
    if report.entries:
        say("\n[bold]entries[/bold]")
        for entry in report.entries:
            for line in _entry(entry):
                say(line)
        if len(report.entries) == ENTRIES_MAX:
            say(f"  (no more than {ENTRIES_MAX} are shown)")
    if report.problems:
        say("\n[bold red]damaged[/bold red]: a node does not start with this directory as it is, or repairs it first")
        for problem in report.problems:
            say(f"  - {escape(problem)}")
    else:
        say("\nnothing is damaged")


def _identity(report: DirectoryReport) -> Iterator[str]:
    identity = report.identity
    yield f"[bold]{escape(report.path)}[/bold]"
    if identity is None:
        return
    yield f"  node {identity.node_id} at {identity.address} of cluster {escape(repr(identity.cluster_id))}"
    yield f"  store {identity.store:016x}"
    if identity.members:
        yield f"  the cluster began with {_addresses(identity.members)}"
    elif identity.joining:
        yield "  it waits, or waited, to be added to a cluster"
    else:
        yield "  the cluster is not formed yet"
    if identity.peers:
        known = {node_id: peer.address for node_id, peer in identity.peers.items()}
        yield f"  the others, as last seen: {_addresses(known)}"


def _addresses(nodes: Mapping[int, str]) -> str:
    return ", ".join(f"{node_id}@{address}" for node_id, address in sorted(nodes.items()))


def _votes(report: DirectoryReport) -> Iterator[str]:
    state = report.hard_state
    if not state.copies:
        yield "hard state: none" + (", and there should be one" if report.log.last_index else ", this node never voted")
        return
    copies = ", ".join(
        "[red]damaged[/red]" if copy is None else f"term {copy['term']} vote {copy['voted_for']} (#{copy['sequence']})"
        for copy in state.copies
    )
    vote = "no vote" if state.voted_for is None else f"vote for node {state.voted_for}"
    yield f"hard state: term {state.term}, {vote}; copies: {copies}"


def _floor(report: DirectoryReport) -> Iterator[str]:
    floor = report.floor
    if floor.index:
        resetting = "; the log is to be replaced by what comes behind a snapshot" if floor.resetting else ""
        yield f"floor: the log was cut up to entry {floor.index} of term {floor.term}{resetting}"
    else:
        yield "floor: the log was never cut"


def _log(report: DirectoryReport) -> Iterator[str]:
    log = report.log
    yield f"log: entries {log.first_index} to {log.last_index}, the last of term {log.last_term}"
    if log.announced_cut is not None:
        yield f"  entries from {log.announced_cut} on do not count: the next start cuts them off"
    if log.leftovers:
        yield f"  the next start removes {', '.join(log.leftovers)}"
    for segment in log.segments:
        for damage in segment.damage:
            kind = "torn write, to be cut off" if damage.torn else f"[red]damage[/red]: {damage.evidence}"
            behind = f"; entry {damage.next_index} follows at byte {damage.next_byte}" if damage.next_index else ""
            yield (
                f"  {segment.name} byte {damage.byte}: expected entry {damage.expected_index}, but {damage.problem} "
                f"({kind}{behind})"
            )


def _segments(segments: list[SegmentReport]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    texts = ("  SEGMENT", "FORM", "TERMS", "STATE")
    for heading in (*texts[:2], "FIRST", "LAST", "ENTRIES", "BYTES", "USED", "TERMS", "MARKS", "PROVEN", "STATE"):
        table.add_column(heading, justify="left" if heading in texts else "right")
    for segment in segments:
        damaged = segment.problem or any(not damage.torn for damage in segment.damage)
        terms = [term for _, term in segment.terms]
        table.add_row(
            f"  {segment.name}",
            segment.form or "-",
            "-" if segment.first_index is None else str(segment.first_index),
            "-" if segment.last_index is None else str(segment.last_index),
            str(segment.entries),
            str(segment.bytes),
            str(segment.end_byte),
            "-" if not terms else str(terms[0]) if len(terms) == 1 else f"{terms[0]}..{terms[-1]}",
            str(segment.marks),
            str(segment.proven_index),
            "[red]damaged[/red]" if damaged else "torn tail" if segment.damage else "ok",
        )
    return table


def _configuration(report: DirectoryReport) -> Iterator[str]:
    configuration = report.configuration
    if configuration is None or not configuration["members"]:
        yield "configuration: none known"
        return
    index = report.configuration_index
    yield f"configuration: {f'of entry {index}' if index else 'the one the cluster began with'}" + (
        ", joint" if configuration["joint"] else ""
    )
    yield from (f"  {line}" for line in _members(configuration))


def _members(configuration: dict[str, Any]) -> Iterator[str]:
    for member in configuration["members"]:
        notes = [f"priority {member['priority']}"] if member["priority"] != 1 else []
        notes += [name for name in ("promote", "leaving") if member[name]]
        more = f" ({', '.join(notes)})" if notes else ""
        yield f"{member['node_id']}@{member['address']} {member['role']}{more}"


def _state(report: DirectoryReport) -> Iterator[str]:
    state = report.state
    if state is None:
        yield "state: no state.sqlite"
        return
    yield f"state: state.sqlite, {state.bytes} bytes, and {state.wal_bytes} in SQLite's own log; as of {state.as_of}"
    if state.problem is not None:
        yield f"  [red]cannot be read[/red]: {escape(state.problem)}"
    for machine in state.machines:
        sessions = state.sessions.get(machine.name, 0)
        time = f"log time {time_text(machine.time_us)}" if machine.time_us else "no commands yet"
        yield (
            f"  machine {escape(machine.name)!r}: applied entry {machine.applied_index}, {time}, "
            f"{sessions} requests remembered"
        )
    for table, rows in state.tables.items():
        yield f"  table {escape(table)}: {rows} rows"


def _snapshots(report: DirectoryReport) -> Iterator[str]:
    for snapshot in report.snapshots:
        if snapshot.problem is not None:
            yield f"snapshot ({snapshot.kind}): [red]{escape(snapshot.problem)}[/red]"
        else:
            yield f"snapshot ({snapshot.kind}): entry {snapshot.index}, term {snapshot.term}, {snapshot.bytes} bytes"


def _past(report: DirectoryReport) -> Iterator[str]:
    if report.repairing is not None:
        yield f"[yellow]in repair[/yellow]: {escape(report.repairing)}"
    if report.quarantined:
        yield f"set aside by the last repair: {', '.join(report.quarantined)}"
    for name in report.recoveries:
        yield f"recovered by force: see {name}"


def _entry(entry: EntryReport) -> Iterator[str]:
    line = (
        f"  {entry.index} term {entry.term} {entry.kind}, {entry.payload_bytes} bytes ({entry.segment} @{entry.byte})"
    )
    if entry.time is not None:
        commands = ", ".join(f"{count} for {escape(machine)!r}" for machine, count in entry.commands.items())
        line += f", {entry.time}: {commands}"
    yield line
    if entry.problem is not None:
        yield f"    [red]{escape(entry.problem)}[/red]"
    if entry.configuration is not None:
        yield from (f"    {each}" for each in _members(entry.configuration))
    for body in entry.bodies or ():
        request = f" request {escape(repr(body.request_id))}" if body.request_id is not None else ""
        yield f"    {escape(body.machine)!r}{request}, {body.bytes} bytes {body.form}:"
        yield f"      {escape(body.body)}"
