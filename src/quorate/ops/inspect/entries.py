"""Log entries in words."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from quorate.errors import ProtocolViolation
from quorate.machine.commands import Command, decode_batch
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.membership import Configuration, Member, MemberRole

BODY_CHARACTERS_MAX = 4096


@dataclass(slots=True, kw_only=True)
class CommandReport:
    """One command of a batch. ``form`` says how ``body`` is shown: text, msgpack (as JSON) or hex."""

    machine: str
    request_id: str | None
    bytes: int
    body: str
    form: str


@dataclass(slots=True, kw_only=True)
class EntryReport:
    """One entry of the log."""

    index: int
    term: int
    kind: str
    segment: str
    byte: int
    """Where its record begins in the segment."""
    payload_bytes: int
    time: str | None = None
    """The leader's clock when it was proposed (UTC)."""
    commands: dict[str, int] = field(default_factory=dict)
    """Machine → commands for it."""
    configuration: dict[str, Any] | None = None
    bodies: list[CommandReport] | None = None
    problem: str | None = None


def report_entry(segment: str, byte: int, entry: Entry, *, payload: bool = False) -> EntryReport:
    """An entry in words; with ``payload``, what its commands hold, too."""
    report = EntryReport(
        index=entry.index,
        term=entry.term,
        kind=entry.kind.name,
        segment=segment,
        byte=byte,
        payload_bytes=len(entry.payload),
    )
    try:
        if entry.kind is EntryKind.COMMANDS:
            _add_commands(report, entry.payload, payload=payload)
        elif entry.kind is EntryKind.MEMBERSHIP:
            report.configuration = configuration_report(Configuration.decode(entry.payload))
    except ProtocolViolation as error:
        report.problem = str(error)
    return report


def _add_commands(report: EntryReport, data: bytes, *, payload: bool) -> None:
    batch = decode_batch(data)
    report.time = time_text(batch.time_us)
    report.commands = dict(sorted(Counter(command.machine for command in batch.commands).items()))
    if payload:
        report.bodies = [_command(command) for command in batch.commands]


def _command(command: Command) -> CommandReport:
    body, form = _shown(command.body)
    if len(body) > BODY_CHARACTERS_MAX:
        body = f"{body[:BODY_CHARACTERS_MAX]}..."
    return CommandReport(
        machine=command.machine, request_id=command.request_id, bytes=len(command.body), body=body, form=form
    )


def _shown(data: bytes) -> tuple[str, str]:
    """A body for people, and in which form it is."""
    with suppress(UnicodeDecodeError):
        text = data.decode()
        if all(character.isprintable() or character in "\r\n\t" for character in text):
            return text, "text"
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, ValueError):
        value = msgspec.msgpack.decode(data)
        if isinstance(value, list | dict):  # anything short passes for a number
            return msgspec.json.encode(value).decode(), "msgpack"
    return data.hex(), "hex"


def configuration_report(configuration: Configuration) -> dict[str, Any]:
    """A configuration as plain data."""
    return {
        "joint": configuration.is_joint,
        "members": [
            {
                "node_id": member.node_id,
                "address": member.address,
                "role": member.role.value,
                "priority": member.priority,
                "store": member.store,
                "promote": member.promote,
                "leaving": member.leaving,
            }
            for member in configuration
        ],
    }


def member_text(member: Member) -> str:
    """A member in a few words."""
    role = "" if member.role is MemberRole.VOTER else f" ({member.role.value})"
    return f"{member.node_id}@{member.address}{role}{', leaving' if member.leaving else ''}"


def time_text(time_us: int) -> str:
    """Microseconds since 1970 as ISO 8601."""
    try:
        return datetime.fromtimestamp(time_us / 1_000_000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{time_us} µs"
