"""Commands that concern nothing but the connection: ``PING``, ``HELLO``, ``AUTH``, ``RESET`` and their like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quorate.kv.arguments import integer, shown
from quorate.kv.replies import OK, PONG, SYNTAX, CommandError, Status
from quorate.kv.server.session import Session, session_command

NAME_BYTES_MAX = 1024


@session_command("PING", -1, group="connection")
def ping(session: Session, request: Sequence[bytes]) -> Any:
    """Answers PONG, or what it is given."""
    if len(request) > 2:
        raise CommandError("ERR wrong number of arguments for 'ping' command")
    if session.is_subscribed:
        return [b"pong", request[1] if len(request) == 2 else b""]
    return request[1] if len(request) == 2 else PONG


@session_command("ECHO", 2, group="connection")
def echo(session: Session, request: Sequence[bytes]) -> Any:
    """Answers what it is given."""
    return request[1]


@session_command("SELECT", 2, group="connection")
def select(session: Session, request: Sequence[bytes]) -> Any:
    """There is database 0, and no other."""
    if integer(request[1], "ERR invalid DB index") != 0:
        raise CommandError("ERR DB index is out of range")
    return OK


@session_command("QUIT", -1, group="connection", needs_password=False)
def quit_(session: Session, request: Sequence[bytes]) -> Any:
    """Answers OK and closes the connection."""
    session.connection.end_behind_reply()
    return OK


@session_command("RESET", 1, group="connection", in_transaction=True, needs_password=False)
def reset(session: Session, request: Sequence[bytes]) -> Any:
    """Has the connection be as at its beginning."""
    session.reset()
    return Status(b"RESET")


@session_command("AUTH", -2, group="connection", needs_password=False)
def auth(session: Session, request: Sequence[bytes]) -> Any:
    """Says who the client is."""
    if len(request) > 3:
        raise CommandError(SYNTAX)
    session.authenticate(request[1] if len(request) == 3 else b"default", request[-1])
    return OK


@session_command("HELLO", -1, group="connection", needs_password=False)
def hello(session: Session, request: Sequence[bytes]) -> Any:
    """Agrees on the protocol's version, and tells what this server is."""
    version = session.version
    if len(request) > 1:
        version = integer(request[1], "ERR Protocol version is not an integer or out of range")
        if version not in (2, 3):
            raise CommandError("NOPROTO unsupported protocol version")
    name, at = session.name, 2
    while at < len(request):
        option, rest = request[at].upper(), request[at + 1 : at + 3]
        if option == b"AUTH" and len(rest) >= 2:
            session.authenticate(rest[0], rest[1])
            at += 3
        elif option == b"SETNAME" and rest:
            name = checked_name(rest[0])
            at += 2
        else:
            raise CommandError(f"ERR Syntax error in HELLO option '{shown(request[at])}'")
    if not session.is_authenticated:
        raise CommandError("NOAUTH HELLO must be called with the client already authenticated, otherwise the "
                           "HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and "
                           "select the RESP protocol version at the same time")  # fmt: skip
    session.name = name
    session.speak(version)
    return session.service.greeting(session)


def checked_name(name: bytes) -> bytes:
    """A name that fits into a list of names. Raises :class:`CommandError`."""
    if len(name) > NAME_BYTES_MAX:
        raise CommandError(f"ERR a client's names have at most {NAME_BYTES_MAX} bytes each")
    if any(not 33 <= byte <= 126 for byte in name):
        raise CommandError("ERR Client names cannot contain spaces, newlines or special characters.")
    return name
