"""Keyspaces that the tests of many commands start with."""

from __future__ import annotations

import pytest

from quorate.kv.keyspace import Keyspace
from tests.kv.support import database, run


@pytest.fixture
def db() -> Keyspace:
    return database()


@pytest.fixture
def numbers(db: Keyspace) -> Keyspace:
    """The sorted set that most of the documentation has."""
    run(db, "ZADD", "z", 1, "one", 2, "two", 3, "three")
    return db
