"""``SUBSCRIBE`` and its like on a connection. Messages come through the log: so all nodes' subscribers get them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from quorate.kv.arguments import checked_pattern, glob, shown
from quorate.kv.help import help_lines
from quorate.kv.registry import COMMANDS
from quorate.kv.replies import CommandError, Push, Several
from quorate.kv.server.pubsub import Subscriptions
from quorate.kv.server.session import LATER, Session, session_command

PUBSUB_HELP = {
    "CHANNELS [<pattern>]": "The channels that clients of this node listen to: those like a pattern, or all.",
    "NUMPAT": "How many patterns clients of this node listen to.",
    "NUMSUB [<channel> ...]": "How many clients of this node listen to each channel, patterns apart.",
}


def behind_all_that_was(session: Session, then: Callable[[], Any]) -> Any:
    """Do what must not see what was acknowledged anywhere before: it is applied here first.

    A client in READONLY mode goes by what is applied here.
    """
    if session.reads_locally:
        session.service.check_has_data()
        return then()

    def go_on(reply: Any) -> Any:
        return reply if isinstance(reply, CommandError) else then()

    session.connection.ask(COMMANDS[b"QUORATE.HEAD"], [b"QUORATE.HEAD"], go_on)
    return LATER


def _told(session: Session, what: bytes, name: bytes | None) -> Push:
    return Push([what, name, session.service.pubsub.count(session.connection)])


def _begin(session: Session, request: Sequence[bytes], subscriptions: Subscriptions) -> Any:
    what, names = request[0].lower(), list(request[1:])
    pubsub, connection = session.service.pubsub, session.connection
    if subscriptions is pubsub.patterns:
        names = [checked_pattern(name) for name in names]
    pubsub.check_room(connection, len(names))

    def begin() -> Several:
        told = Several()
        for name in names:
            if connection.is_open:
                subscriptions.add(connection, name)
            told.append(_told(session, what, name))
        session.update()
        return told

    return behind_all_that_was(session, begin)


def _end(session: Session, request: Sequence[bytes], subscriptions: Subscriptions) -> Several:
    what, told = request[0].lower(), Several()
    names: Sequence[bytes | None] = list(request[1:]) or subscriptions.of(session.connection) or [None]
    for name in names:
        if name is not None:
            subscriptions.remove(session.connection, name)
        told.append(_told(session, what, name))
    session.update()
    return told


@session_command("SUBSCRIBE", -2, group="pubsub")
def subscribe(session: Session, request: Sequence[bytes]) -> Any:
    """Listens to channels: to what is published on any node from now on."""
    return _begin(session, request, session.service.pubsub.channels)


@session_command("PSUBSCRIBE", -2, group="pubsub")
def psubscribe(session: Session, request: Sequence[bytes]) -> Any:
    """Listens to all channels that are like patterns."""
    return _begin(session, request, session.service.pubsub.patterns)


@session_command("UNSUBSCRIBE", -1, group="pubsub")
def unsubscribe(session: Session, request: Sequence[bytes]) -> Any:
    """Listens no more to channels, or to any."""
    return _end(session, request, session.service.pubsub.channels)


@session_command("PUNSUBSCRIBE", -1, group="pubsub")
def punsubscribe(session: Session, request: Sequence[bytes]) -> Any:
    """Listens no more to patterns of channels, or to any."""
    return _end(session, request, session.service.pubsub.patterns)


@session_command("PUBSUB", -2, group="pubsub")
def pubsub_(session: Session, request: Sequence[bytes]) -> Any:
    """Who listens on this node: PUBSUB CHANNELS, PUBSUB NUMSUB, PUBSUB NUMPAT."""
    pubsub, rest = session.service.pubsub, request[2:]
    match request[1].upper(), len(rest):
        case b"CHANNELS", (0 | 1):
            is_wanted = glob(checked_pattern(rest[0]) if rest else b"*")
            return [name for name in pubsub.channels.by_name if is_wanted(name)]
        case b"NUMSUB", _:
            return [part for name in rest for part in (name, len(pubsub.channels.by_name.get(name, ())))]
        case b"HELP", 0:
            return help_lines("PUBSUB", PUBSUB_HELP)
        case b"NUMPAT", 0:
            return len(pubsub.patterns.by_name)
        case _:
            name = shown(request[1])
            raise CommandError(f"ERR unknown subcommand or wrong number of arguments for '{name}'. Try PUBSUB HELP.")
