"""Blocking commands on a connection: the client's next requests wait as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quorate.kv.registry import COMMANDS
from quorate.kv.server.session import LATER, SESSION_COMMANDS, Session, SessionSpec


def block(session: Session, request: Sequence[bytes]) -> Any:
    """Takes something, or waits for it."""
    spec = COMMANDS[request[0].upper()]
    asked = [spec.name, *request[1:]]
    spec.check_arguments(asked)
    session.service.check(session, spec, asked)
    session.connection.take(asked)
    return LATER


for _spec in COMMANDS.values():
    if _spec.blocking:
        SESSION_COMMANDS[_spec.name] = SessionSpec(_spec.arity, block, _spec.summary, _spec.group)
