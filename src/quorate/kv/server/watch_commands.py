"""``QUORATE.WATCH`` and ``QUORATE.UNWATCH`` on a connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quorate.kv.arguments import integer
from quorate.kv.replies import SYNTAX, CommandError
from quorate.kv.server.pubsub_commands import behind_all_that_was
from quorate.kv.server.session import Session, session_command

NOT_A_REVISION = "ERR a revision is an integer above 0"


def _targets(request: Sequence[bytes]) -> tuple[list[bytes], int | None]:
    """The keys or prefixes, and the revision behind ``FROM``. One of them may be named ``FROM`` unless it is last."""
    targets = list(request[2:])
    if len(targets) < 3 or targets[-2].upper() != b"FROM":
        return targets, None
    first = integer(targets[-1], NOT_A_REVISION)
    if first < 1:
        raise CommandError(NOT_A_REVISION)
    return targets[:-2], first


@session_command("QUORATE.WATCH", -3, group="watches")
def watch(session: Session, request: Sequence[bytes]) -> Any:
    """Tells each change of keys, or of keys that begin with prefixes, from a revision on, or from now on."""
    kind = request[1].upper()
    if kind not in (b"KEY", b"PREFIX"):
        raise CommandError(SYNTAX)
    targets, first = _targets(request)
    watches, connection = session.service.watches, session.connection
    watches.check_room(connection, len(targets))
    keys, prefixes = (targets, []) if kind == b"KEY" else ([], targets)

    def begin() -> Any:
        if not connection.is_open:
            return None
        begun = watches.begin(connection, keys, prefixes, first)
        session.update()
        return list(begun)

    if first is None:
        return behind_all_that_was(session, begin)
    session.service.check_has_data()
    return begin()


@session_command("QUORATE.UNWATCH", -1, group="watches")
def unwatch(session: Session, request: Sequence[bytes]) -> Any:
    """Ends one watch, or all of this connection; answers how many."""
    if len(request) > 2:
        raise CommandError(SYNTAX)
    ended = session.service.watches.end(session.connection, integer(request[1]) if len(request) == 2 else None)
    session.update()
    return ended
