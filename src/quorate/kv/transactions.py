"""``MULTI`` … ``EXEC`` as one command in the log: nothing comes between, and it applies as a whole or not at all."""

from __future__ import annotations

from typing import Any

import msgspec

from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import COMMANDS, NO_KEYS, Arguments, command
from quorate.kv.replies import NULL_ARRAY, CommandError, Reply

EXEC = b"QUORATE.EXEC"


class Transaction(msgspec.Struct, array_like=True, frozen=True):
    """``requests`` are carried out if all ``watched`` keys still have these revisions (0: there is no such key)."""

    watched: list[tuple[bytes, int]]
    requests: list[list[bytes]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Transaction).decode


def as_request(transaction: Transaction) -> list[bytes]:
    """The command for the log."""
    return [EXEC, _encode(transaction)]


def revision_of(db: Keyspace, key: bytes) -> int:
    """When a key was last changed; 0 if it is not there."""
    item = db.find(key)
    return item.revision if item is not None else 0


@command(EXEC.decode(), 2, group="transactions", write=True, keys=NO_KEYS, internal=True)
def execute(db: Keyspace, arguments: Arguments) -> Reply:
    """Carries out a transaction, or nothing if a watched key has changed."""
    transaction = _decode(arguments[1])
    if any(revision_of(db, key) != revision for key, revision in transaction.watched):
        return NULL_ARRAY
    return [_reply(db, request) for request in transaction.requests]


def _reply(db: Keyspace, request: list[bytes]) -> Any:
    try:
        return COMMANDS[request[0]].handler(db, request)
    except CommandError as error:
        return error
