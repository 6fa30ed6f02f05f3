"""Running commands on a keyspace as a node does, without a node."""

from __future__ import annotations

import shlex

import quorate.kv.commands  # noqa: F401 (declares them)
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import COMMANDS
from quorate.kv.replies import CommandError, Reply

SECOND_US = 1_000_000
START_US = 1_700_000_000 * SECOND_US
"""What the log's time is in tests, unless they say otherwise."""


def database(time_us: int = START_US) -> Keyspace:
    """A keyspace without keys."""
    db = Keyspace()
    db.time_us = time_us
    return db


def run(db: Keyspace, *arguments: bytes | str | int, time_us: int | None = None) -> Reply | str:
    """One command's reply, or the text of its error as ``str``; numbers and texts stand for their bytes.

    Holds for every command: a read changes nothing, and so does what ends in an error.
    """
    if time_us is not None:
        db.time_us = time_us
    encoded = [argument if isinstance(argument, bytes) else str(argument).encode() for argument in arguments]
    spec = COMMANDS[encoded[0].upper()]
    before = (db.revision, db.memory_bytes, len(db), list(db.dirty))
    try:
        spec.check_arguments(encoded)
        reply = spec.handler(db, encoded)
    except CommandError as error:
        assert (db.revision, db.memory_bytes, len(db), list(db.dirty)) == before, arguments
        return error.line
    if not spec.write or db.revision == before[0]:
        assert (db.revision, db.memory_bytes, len(db), list(db.dirty)) == before, arguments
    return reply


def events(db: Keyspace) -> list[tuple[str, bytes]]:
    """A list to which each event from now on is added."""
    told: list[tuple[str, bytes]] = []
    db.on_change = lambda change: told.append(change[:2])
    return told


def ask(db: Keyspace, line: str, time_us: int | None = None) -> Reply | str:
    """The same for a command as one types it, words apart by blanks, with quotes around what has blanks in it."""
    return run(db, *shlex.split(line), time_us=time_us)
