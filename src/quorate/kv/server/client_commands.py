"""Commands about clients, the server and its settings: enough of them for the usual libraries and tools."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from quorate.kv.arguments import checked_pattern, glob, integer, shown
from quorate.kv.help import help_lines
from quorate.kv.replies import NULL_ARRAY, OK, SYNTAX, CommandError, Verbatim
from quorate.kv.server.connection_commands import checked_name
from quorate.kv.server.info import info_text
from quorate.kv.server.session import Session, session_command

CONFIG_HELP = {
    "GET <pattern> [<pattern> ...]": "The settings whose names are like a pattern.",
    "SET notify-keyspace-events <letters>": "Which changes of keys this node tells its subscribers of.",
}
CLIENT_HELP = {
    "GETNAME": "The name of this connection.",
    "ID": "The number of this connection, never used before on this node.",
    "INFO": "What is known of this connection.",
    "KILL <ip:port>": "Disconnect the client at an address.",
    "KILL (ID <client-id>|ADDR <ip:port>) [SKIPME (YES|NO)]": "Disconnect clients; answer how many.",
    "LIST": "What is known of all connections of this node.",
    "NO-EVICT (ON|OFF)": "Accepted: no client is evicted.",
    "NO-TOUCH (ON|OFF)": "Accepted: when keys were used is not kept.",
    "SETINFO <lib-name|lib-ver> <value>": "Tell what library the client uses.",
    "SETNAME <name>": "Give this connection a name.",
    "UNBLOCK <client-id> [TIMEOUT|ERROR]": "Have a client that waits wait no more; answer whether it waited.",
}


@session_command("READONLY", 1, group="connection")
def readonly(session: Session, request: Sequence[bytes]) -> Any:
    """From now on reads are answered by this node's state, however old."""
    session.reads_locally = True
    return OK


@session_command("READWRITE", 1, group="connection")
def readwrite(session: Session, request: Sequence[bytes]) -> Any:
    """From now on reads see all that was acknowledged anywhere (the default)."""
    session.reads_locally = False
    return OK


@session_command("WAIT", 3, group="generic")
def wait(session: Session, request: Sequence[bytes]) -> Any:
    """How many replicas are sure to hold this client's writes: a majority has fsynced what was acknowledged."""
    integer(request[1])
    if integer(request[2], "ERR timeout is not an integer or out of range") < 0:
        raise CommandError("ERR timeout is negative")
    voters = [member for member in session.service.node.members if member.decides]
    return len(voters) // 2


@session_command("TIME", 1, group="server")
def time_(session: Session, request: Sequence[bytes]) -> Any:
    """This node's clock."""
    microseconds = time.time_ns() // 1000
    return [b"%d" % (microseconds // 1_000_000), b"%d" % (microseconds % 1_000_000)]


@session_command("INFO", -1, group="server")
def info(session: Session, request: Sequence[bytes]) -> Any:
    """What this node knows of itself."""
    return Verbatim(info_text(session.service, {each.lower() for each in request[1:]}).encode())


@session_command("CONFIG", -2, group="server", admin=True)
def config(session: Session, request: Sequence[bytes]) -> Any:
    """CONFIG GET: the settings that clients ask for. CONFIG SET knows notify-keyspace-events, for this node."""
    what = request[1].upper()
    if what == b"HELP" and len(request) == 2:
        return help_lines("CONFIG", CONFIG_HELP)
    if what == b"SET" and len(request) > 3:
        return _set(session, request[2:])
    if what != b"GET" or len(request) < 3:
        raise CommandError(f"ERR CONFIG {shown(request[1])} is not supported: there are CONFIG GET and CONFIG SET")
    limits = session.service.limits
    settings = {
        b"maxmemory": b"%d" % limits.memory_bytes_max,
        b"maxmemory-policy": b"noeviction",
        b"maxclients": b"%d" % limits.clients_max,
        b"proto-max-bulk-len": b"%d" % session.service.bounds.bulk_bytes_max,
        b"databases": b"1",
        b"save": b"",
        b"appendonly": b"yes",
        b"appendfsync": b"always",
        b"timeout": b"0",
        b"notify-keyspace-events": session.service.notifications.flags.encode(),
    }
    wanted = [glob(checked_pattern(pattern.lower())) for pattern in request[2:]]
    return {name: value for name, value in settings.items() if any(is_wanted(name) for is_wanted in wanted)}


def _set(session: Session, settings: Sequence[bytes]) -> Any:
    if len(settings) != 2 or settings[0].lower() != b"notify-keyspace-events":
        name = shown(settings[0])
        raise CommandError(f"ERR Unknown option or number of arguments for CONFIG SET - '{name}'")
    session.service.notifications.set(settings[1].decode("latin-1"))
    return OK


@session_command("CLIENT", -2, group="connection")
def client(session: Session, request: Sequence[bytes]) -> Any:
    """CLIENT ID, GETNAME, SETNAME, SETINFO, INFO, LIST, KILL, UNBLOCK, NO-EVICT, NO-TOUCH."""
    what, rest = request[1].upper(), request[2:]
    match what, len(rest):
        case b"HELP", 0:
            return help_lines("CLIENT", CLIENT_HELP)
        case b"ID", 0:
            return session.client_id
        case b"GETNAME", 0:
            return session.name or None
        case b"SETNAME", 1:
            session.name = checked_name(rest[0])
            return OK
        case b"SETINFO", 2:
            if rest[0].lower() not in (b"lib-name", b"lib-ver"):
                raise CommandError(f"ERR Unrecognized option '{shown(rest[0])}'")
            session.library[rest[0].lower()] = checked_name(rest[1])
            return OK
        case b"INFO", 0:
            return Verbatim(_line(session) + b"\n")
        case b"LIST", _:
            sessions = [each.session for each in session.service.connections.values()]
            return Verbatim(b"".join(_line(each) + b"\n" for each in sessions))
        case b"KILL", 1 | 2 | 4:
            return _kill(session, rest)
        case b"UNBLOCK", 1 | 2:
            return _unblock(session, rest)
        case ((b"NO-EVICT" | b"NO-TOUCH"), 1):
            if rest[0].upper() not in (b"ON", b"OFF"):
                raise CommandError(SYNTAX)
            return OK
        case _:
            name = shown(request[1])
            raise CommandError(f"ERR unknown subcommand or wrong number of arguments for '{name}'. Try CLIENT HELP.")


def _kill(session: Session, arguments: Sequence[bytes]) -> Any:
    """Disconnect a client by its address, or those that ``ID``, ``ADDR`` and ``SKIPME`` name."""
    if len(arguments) == 1:
        if not _disconnect(session, address=arguments[0]):
            raise CommandError("ERR No such client")
        return OK
    wanted = {name.upper(): value for name, value in zip(arguments[::2], arguments[1::2], strict=True)}
    skips_me = wanted.pop(b"SKIPME", b"yes").upper()
    if not wanted or not wanted.keys() <= {b"ID", b"ADDR"} or skips_me not in (b"YES", b"NO"):
        raise CommandError(SYNTAX)
    client_id = integer(wanted[b"ID"]) if b"ID" in wanted else None
    return _disconnect(session, client_id, wanted.get(b"ADDR"), but=session if skips_me == b"YES" else None)


def _disconnect(
    session: Session, client_id: int | None = None, address: bytes | None = None, but: Session | None = None
) -> int:
    killed = 0
    for connection in list(session.service.connections.values()):
        other = connection.session
        if other is but or client_id not in (None, other.client_id) or address not in (None, connection.address):
            continue
        killed += 1
        if other is session:
            connection.end_behind_reply()
        else:
            connection.abort()
    return killed


def _unblock(session: Session, arguments: Sequence[bytes]) -> Any:
    """Have a blocked client wait no more: as if its time were over, or with an error."""
    connection = session.service.connections.get(integer(arguments[0]))
    reason = arguments[1].upper() if len(arguments) == 2 else b"TIMEOUT"
    if reason not in (b"TIMEOUT", b"ERROR"):
        raise CommandError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    reply = NULL_ARRAY if reason == b"TIMEOUT" else CommandError("UNBLOCKED client unblocked via CLIENT UNBLOCK")
    return int(connection is not None and connection.unblock(reply))


def _line(session: Session) -> bytes:
    connection, service = session.connection, session.service
    return b"id=%d addr=%s name=%s db=0 sub=%d psub=%d watch=%d resp=%d lib-name=%s" % (
        session.client_id,
        connection.address,
        session.name,
        service.pubsub.channels.count(connection),
        service.pubsub.patterns.count(connection),
        service.watches.count(connection),
        session.version,
        session.library.get(b"lib-name", b""),
    )
