"""``MULTI``, ``EXEC``, ``DISCARD``, ``WATCH`` and ``UNWATCH`` on a connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quorate.kv.registry import ALL_KEYS, COMMANDS
from quorate.kv.replies import OK, CommandError
from quorate.kv.server.session import LATER, Session, session_command
from quorate.kv.transactions import Transaction, as_request, checked_weight

WATCHED_MAX = 10_000


def _end(session: Session) -> None:
    session.queue, session.is_spoiled = None, False
    session.watched.clear()


def ended(session: Session) -> Transaction:
    """The transaction, which is the client's no more. Raises if there is none, or one of its commands was refused."""
    if session.queue is None:
        raise CommandError("ERR EXEC without MULTI")
    queue, watched, is_spoiled = session.queue, list(session.watched.items()), session.is_spoiled
    _end(session)
    if is_spoiled:
        raise CommandError("EXECABORT Transaction discarded because of previous errors.")
    return Transaction(watched, queue)


@session_command("MULTI", 1, group="transactions", in_transaction=True)
def multi(session: Session, request: Sequence[bytes]) -> Any:
    """Begins a transaction: what follows waits for EXEC."""
    if session.queue is not None:
        raise CommandError("ERR MULTI calls can not be nested")
    session.queue = []
    return OK


@session_command("DISCARD", 1, group="transactions", in_transaction=True)
def discard(session: Session, request: Sequence[bytes]) -> Any:
    """Forgets the transaction."""
    if session.queue is None:
        raise CommandError("ERR DISCARD without MULTI")
    _end(session)
    return OK


@session_command("EXEC", 1, group="transactions", in_transaction=True)
def exec_(session: Session, request: Sequence[bytes]) -> Any:
    """Carries out the transaction as one, unless a watched key has changed."""
    transaction = ended(session)
    session.connection.write(as_request(transaction), None, checked_weight(session.service.keyspace, transaction))
    return LATER


@session_command("WATCH", -2, group="transactions", in_transaction=True, keys=ALL_KEYS)
def watch(session: Session, request: Sequence[bytes]) -> Any:
    """Has the next transaction depend on keys staying as they are."""
    if session.queue is not None:
        raise CommandError("ERR WATCH inside MULTI is not allowed")
    keys = list(request[1:])
    if len(session.watched) + len(keys) > WATCHED_MAX and len({*session.watched, *keys}) > WATCHED_MAX:
        raise CommandError(f"ERR a client watches at most {WATCHED_MAX} keys")

    def remember(reply: Any) -> Any:
        if isinstance(reply, CommandError):
            return reply
        for key, revision in zip(keys, reply, strict=True):
            session.watched.setdefault(key, revision)
        return OK

    session.connection.ask(COMMANDS[b"QUORATE.REVISION"], [b"QUORATE.REVISION", *keys], remember)
    return LATER


@session_command("UNWATCH", 1, group="transactions")
def unwatch(session: Session, request: Sequence[bytes]) -> Any:
    """Forgets the watched keys."""
    session.watched.clear()
    return OK
