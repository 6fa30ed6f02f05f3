"""Any commands, sensible or not: what ends in an error changes nothing, and all nodes come to the same data."""

from __future__ import annotations

from random import Random

import pytest

from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import COMMANDS
from quorate.kv.values import copy_of
from tests.kv.support import SECOND_US, START_US, database, run

GROUPS = ("string", "bitmap", "generic", "server", "internal")
NAMES = [name for name, spec in COMMANDS.items() if spec.group in GROUPS and not name.startswith(b"FLUSH")]
KEYS = ["a", "b", "c"]
WORDS = [
    *(
        "0",
        "1",
        "2",
        "-1",
        "7",
        "x",
        "",
        "1.5",
        "foobar",
        "NX",
        "XX",
        "GET",
        "EX",
        "PX",
        "KEEPTTL",
        "GT",
        "LT",
        "REPLACE",
    ),
    *(
        "PERSIST",
        "AND",
        "NOT",
        "XOR",
        "SET",
        "INCRBY",
        "OVERFLOW",
        "SAT",
        "u8",
        "i5",
        "BIT",
        "ENCODING",
        "USAGE",
        "COUNT",
    ),
]


def any_command(random: Random) -> list[str | bytes]:
    """One command of about the right length: keys at first, then whatever."""
    name = random.choice(NAMES)
    count = abs(COMMANDS[name].arity) - 1 + random.choice([0, 0, 0, 1, 2, 3])
    words = [random.choice(KEYS if random.random() < (0.8 if at < 1 else 0.2) else WORDS) for at in range(count)]
    return [name, *words]


def contents(db: Keyspace) -> dict[bytes, tuple[object, int, int]]:
    return {key: (item.value, item.revision, item.expires_us) for key, item in db.items.items()}


def restored(db: Keyspace) -> Keyspace:
    """Another node, from a snapshot that has its keys in another order."""
    other = database(db.time_us)
    rows = [(key, copy_of(item.value), item.revision, item.expires_us) for key, item in db.items.items()]
    other.load(reversed(rows))
    other.revision = db.revision
    return other


@pytest.mark.parametrize("seed", range(20))
def test_nodes_that_apply_the_same_commands_hold_the_same(seed: int) -> None:
    random = Random(seed)
    db, other = database(), database()
    for number in range(4000):
        if number % 100 == 99:
            other = restored(db)
        time_us = START_US + number * SECOND_US // 5
        command = any_command(random)
        for each in (db, other):
            each.random.seed(number)  # as each entry does
        reply = run(db, *command, time_us=time_us)
        other_reply = run(other, *command, time_us=time_us)
        assert reply == other_reply, command
        if number % 10 == 9:
            assert contents(db) == contents(other), command
    assert db.revision > 200  # enough of them make sense
    assert (db.revision, db.memory_bytes) == (other.revision, other.memory_bytes)
    assert run(db, "FLUSHALL") == run(other, "FLUSHALL")
    assert db.revision == other.revision
    assert (db.memory_bytes, other.memory_bytes, db.next_deadline_us) == (0, 0, 0)
