"""``COMMAND``: what clients and tools ask about the commands themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quorate.kv.arguments import shown
from quorate.kv.help import help_lines
from quorate.kv.replies import CommandError, Status
from quorate.kv.server.catalog import Listed, catalog
from quorate.kv.server.session import Session, session_command

HELP = {
    "(no subcommand)": "Details of all commands.",
    "COUNT": "How many commands there are.",
    "DOCS [<command-name> ...]": "What commands are for: those that are named, or all.",
    "INFO [<command-name> ...]": "Details of commands: those that are named, or all.",
    "LIST": "The names of all commands.",
}


@session_command("COMMAND", -1, group="server")
def command_(session: Session, request: Sequence[bytes]) -> Any:
    """The commands that there are: COMMAND, COMMAND COUNT, COMMAND INFO, COMMAND DOCS, COMMAND LIST."""
    listed = catalog()
    match (request[1].upper() if len(request) > 1 else b""), len(request) - 2:
        case b"", -1:
            return [_described(each) for each in listed.values()]
        case b"COUNT", 0:
            return len(listed)
        case b"LIST", 0:
            return [name.lower() for name in listed]
        case b"INFO", _:
            names = [name.upper() for name in request[2:]] or list(listed)
            return [_described(listed[name]) if name in listed else None for name in names]
        case b"DOCS", _:
            names = [name.upper() for name in request[2:]] or list(listed)
            return {name.lower(): _documented(listed[name]) for name in names if name in listed}
        case b"HELP", 0:
            return help_lines("COMMAND", HELP)
        case _:
            name = shown(request[1])
            raise CommandError(f"ERR unknown subcommand or wrong number of arguments for '{name}'. Try COMMAND HELP.")


def _described(command: Listed) -> list[Any]:
    flags, keys = [Status(flag.encode()) for flag in command.flags], command.keys
    return [command.name.lower(), command.arity, flags, keys.first, keys.last, keys.step if keys.first else 0]


def _documented(command: Listed) -> dict[Any, Any]:
    return {b"summary": command.summary.encode(), b"group": command.group.encode()}
