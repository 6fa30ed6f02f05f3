"""The same commands for a real Redis and for ours, and what it takes for two replies to be the same."""

from __future__ import annotations

import time

import quorate.kv.commands  # noqa: F401 (declares them)
from quorate.kv.keyspace import Keyspace
from quorate.kv.registry import COMMANDS
from quorate.kv.replies import CommandError
from quorate.kv.resp.writer import encode_2, encode_3
from quorate.kv.values import Value, copy_of
from tests.kv.deviations import is_deliberate
from tests.kv.meeting import Meeting
from tests.kv.redis_server import RedisClient
from tests.kv.same_meaning import PICKS, have_same_meaning

READERS = {
    b"string": [b"GET"],
    b"hash": [b"HGETALL"],
    b"list": [b"LRANGE", b"0", b"-1"],
    b"set": [b"SMEMBERS"],
    b"zset": [b"ZRANGE", b"0", b"-1", b"WITHSCORES"],
}


class Difference(AssertionError):
    """Two replies that should be the same."""


class Pair:
    """Redis and ours, with the same data."""

    def __init__(self, redis: RedisClient) -> None:
        self.redis = redis
        self.reset(2)

    def reset(self, version: int) -> None:
        """Start again with no data, in RESP2 or RESP3."""
        self.redis.speak(version)
        self.redis.raw(b"FLUSHALL")
        self.db = Keyspace()
        self.encode = encode_3 if version == 3 else encode_2

    def ours(self, *command: bytes) -> bytes:
        """The bytes that our server would answer."""
        spec = COMMANDS[command[0]]
        self.db.time_us = int(time.time() * 1000) * 1000
        try:
            spec.check_arguments(command)
            return self.encode(spec.handler(self.db, command))
        except CommandError as error:
            return self.encode(error)

    def compare(self, *command: bytes) -> bytes:
        """Have both carry out a command; returns the reply of ours. Raises :class:`Difference`."""
        held = self._held(command)
        if command[0].startswith(b"SORT"):  # where Redis 7.0 takes an error of an earlier command for one of its own
            self.redis.raw(b"ZADD", b"none", b"XX", b"0", b"m")
        ask = self.redis.raw_without_waiting if COMMANDS[command[0]].blocking else self.redis.raw
        ours, theirs = self.ours(*command), ask(*command)
        if ours != theirs:
            meeting = Meeting(self.redis, command, ours, theirs, held)
            if not (is_deliberate(meeting) or have_same_meaning(meeting)):
                raise Difference(f"{command!r}\nours:   {ours!r}\nRedis': {theirs!r}")
        return ours

    def compare_states(self) -> None:
        """Raises :class:`Difference` unless both hold the same keys with the same values and deadlines."""
        self.compare(b"KEYS", b"*")
        for key in [key for key, _ in self.db.live()]:
            kind = self.compare(b"TYPE", key).strip(b"+\r\n")
            name, *rest = READERS[kind]
            self.compare(name, key, *rest)
            self.compare(b"PEXPIRETIME", key)

    def _held(self, command: tuple[bytes, ...]) -> Value | None:
        """What is at the key that a command may pick from at random, before it does."""
        item = self.db.find(command[1]) if command[0] in PICKS and len(command) > 1 else None
        return None if item is None else copy_of(item.value)
