"""What happens to keys is told by the names, and in the order, of a real redis-server's keyspace events."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import hiredis
import pytest

from tests.kv.comparison import Pair
from tests.kv.deviations import is_incomparable
from tests.kv.random_commands import random_command
from tests.kv.redis_server import RedisClient, redis_server
from tests.kv.support import events
from tests.kv.test_against_redis import COMMANDS_IN_SEQUENCE, seeds

OURS_ALONE = {"flushdb"}
"""Ours tells that all keys are gone, Redis does not."""
PREFIX = b"__keyevent@0__:"


class Subscriber:
    """A client that is told of what happens to keys."""

    def __init__(self, redis: RedisClient) -> None:
        redis.raw(b"CONFIG", b"SET", b"notify-keyspace-events", b"EA")
        self._client = RedisClient(redis.path)
        self._client.raw(b"PSUBSCRIBE", PREFIX + b"*")
        self._reader = hiredis.Reader()

    def told(self) -> list[tuple[str, bytes]]:
        """The events and keys since the last time."""
        told: list[tuple[str, bytes]] = []
        self._reader.feed(self._client.raw(b"PING"))
        while True:
            message = self._reader.gets()
            if message is False:
                self._reader.feed(self._client.receive())
            elif message[0] == b"pong":
                return told
            else:
                told.append((message[2].removeprefix(PREFIX).decode(), message[3]))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def changes_nothing(command: list[bytes], ours: list[tuple[str, bytes]]) -> bool:
    """Appending nothing and trimming nothing are no change, and are not told; Redis tells of them."""
    return not ours and command[0] in (b"APPEND", b"LTRIM")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisClient]:
    with redis_server() as client:
        yield client


@pytest.fixture
def subscriber(redis: RedisClient) -> Iterator[Subscriber]:
    subscriber = Subscriber(redis)
    yield subscriber
    subscriber.close()


def test_random_commands(redis: RedisClient, subscriber: Subscriber) -> None:
    pair = Pair(redis)
    for seed in seeds()[: len(seeds()) // 4 + 1]:
        random = Random(seed)
        pair.reset(2)
        ours = events(pair.db)
        subscriber.told()
        for _ in range(COMMANDS_IN_SEQUENCE):
            command = random_command(random)
            if is_incomparable(pair.db, tuple(command)):
                continue
            ours.clear()
            pair.compare(*command)
            theirs = subscriber.told()
            if command[0] != b"SPOP" and not changes_nothing(command, ours):
                assert [event for event in ours if event[0] not in OURS_ALONE] == theirs, (seed, command)
