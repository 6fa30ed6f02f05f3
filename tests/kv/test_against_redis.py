"""Our commands answer byte for byte as a real redis-server does, which is asked the same.

Random commands, sensible or not, are carried out by both, in RESP2 and RESP3 in turn, and so is each example.
``QUORATE_TEST_REDIS_SEEDS=first:last`` compares as many sequences as one likes, ``QUORATE_TEST_REDIS_SEEDS=7`` one.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from quorate.kv.commands.expiry import AMOUNT_MAX_US
from quorate.kv.commands.strings import STRING_BYTES_MAX
from quorate.kv.registry import COMMANDS
from tests.kv.comparison import Difference, Pair
from tests.kv.deviations import is_incomparable
from tests.kv.examples import EXAMPLES
from tests.kv.expected import fits
from tests.kv.random_commands import FAR_SECONDS, random_command
from tests.kv.redis_server import RedisClient, parsed, redis_server

COMMANDS_IN_SEQUENCE = 200
SEQUENCES = 300
SHOWN = 12
"""So many commands before the one that differed are shown."""


def seeds() -> range:
    """Which sequences to compare; always the same, unless the environment says otherwise."""
    first, _, last = os.environ.get("QUORATE_TEST_REDIS_SEEDS", f"0:{SEQUENCES}").partition(":")
    return range(int(first), int(last or int(first) + 1))


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisClient]:
    with redis_server() as client:
        yield client


@pytest.fixture
def pair(redis: RedisClient) -> Pair:
    return Pair(redis)


def names_in_both(redis: RedisClient) -> set[bytes]:
    """The commands on data that clients may send us, and that Redis has as well."""
    known = parsed(redis.raw(b"COMMAND"))
    assert isinstance(known, list)
    return {name for each in known if (name := each[0].upper()) in COMMANDS and not COMMANDS[name].internal}


def compare_sequence(pair: Pair, seed: int, succeeded: Counter[bytes], refused: Counter[bytes]) -> None:
    """Raises :class:`Difference`, with what led there."""
    random = Random(seed)
    pair.reset(2 + seed % 2)
    done: list[list[bytes]] = []
    try:
        for _ in range(COMMANDS_IN_SEQUENCE):
            command = random_command(random)
            if not is_incomparable(pair.db, tuple(command)):
                done.append(command)
                reply = pair.compare(*command)
                (refused if reply.startswith(b"-") else succeeded)[command[0]] += 1
        pair.compare_states()
    except Difference as difference:
        led_there = [each for each in done[:-1] if set(each[1:]) & set(done[-1][1:])][-SHOWN:]
        difference.add_note(f"QUORATE_TEST_REDIS_SEEDS={seed}, RESP{2 + seed % 2}; before it, with the same arguments:")
        difference.add_note("\n".join(map(repr, led_there)))
        raise


def test_random_commands(pair: Pair) -> None:
    succeeded: Counter[bytes] = Counter()
    refused: Counter[bytes] = Counter()
    for seed in seeds():
        compare_sequence(pair, seed, succeeded, refused)
    if len(seeds()) >= SEQUENCES:
        names = names_in_both(pair.redis)
        assert names - set(succeeded) == set(), "never succeeded"
        assert names - set(refused) == set(), "never refused"


def test_every_command_has_an_example(redis: RedisClient) -> None:
    assert {name.encode() for name in EXAMPLES} == names_in_both(redis)
    for name, lines in EXAMPLES.items():
        assert any(line.split()[0] == name for line, _ in lines), name


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(pair: Pair, name: str, version: int) -> None:
    pair.reset(version)
    for line, expected in EXAMPLES[name]:
        command = [word.encode() for word in shlex.split(line)]
        assert fits(parsed(pair.redis.raw(*command)), expected), f"Redis: {line}"
        assert fits(parsed(pair.ours(*command)), expected), f"ours: {line}"


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    "command",
    [
        (b"SETRANGE", b"k", b"%d" % STRING_BYTES_MAX, b""),
        (b"SETRANGE", b"k", b"%d" % STRING_BYTES_MAX, b"v"),
        (b"SETRANGE", b"k", b"%d" % (STRING_BYTES_MAX - 1), b"v"),
        (b"SETBIT", b"k", b"%d" % (8 * STRING_BYTES_MAX - 1), b"1"),
        (b"SETBIT", b"k", b"%d" % (8 * STRING_BYTES_MAX), b"1"),
        (b"BITFIELD", b"k", b"SET", b"u8", b"%d" % (8 * STRING_BYTES_MAX - 1), b"255"),
        (b"BITFIELD", b"k", b"SET", b"u8", b"%d" % (8 * STRING_BYTES_MAX), b"255"),
        (b"BITFIELD", b"k", b"SET", b"u8", b"#%d" % STRING_BYTES_MAX, b"255"),
    ],
)
def test_the_largest_string(pair: Pair, version: int, command: tuple[bytes, ...]) -> None:
    pair.reset(version)
    pair.compare(*command)
    pair.compare(b"STRLEN", b"k")


@pytest.mark.parametrize(
    "write",
    [
        *((b"SET", b"k", value) for value in (b"", b"1", b"-7", b"01", b"9223372036854775808", b"a" * 44, b"a" * 45)),
        *((b"RPUSH", b"k", *elements) for elements in ([b"a"], [b"1", b"2"], [b"a" * 9000])),
        *(
            (b"HSET", b"k", *fields)
            for fields in ([b"a", b"1"], [b"a", b"b" * 64], [b"a", b"b" * 65], [b"a" * 65, b"b"])
        ),
        *((b"SADD", b"k", *members) for members in ([b"1", b"-7"], [b"1", b"a"], [b"01"])),
        *((b"ZADD", b"k", b"1", member) for member in (b"a", b"a" * 64, b"a" * 65)),
        *((b"SADD", b"k", *[b"%d" % number for number in range(size)]) for size in (512, 513)),
        *((b"HSET", b"k", *[b"%d" % number for number in range(2 * size)]) for size in (512, 513)),
        *((b"ZADD", b"k", *[b"%d" % (number // 2) for number in range(2 * size)]) for size in (128, 129)),
    ],
)
def test_encodings_of_what_was_written_at_once(pair: Pair, write: tuple[bytes, ...]) -> None:
    pair.compare(*write)
    assert pair.ours(b"OBJECT", b"ENCODING", b"k") == pair.redis.raw(b"OBJECT", b"ENCODING", b"k")


def test_sums_of_floats_are_those_of_long_doubles(pair: Pair) -> None:
    random = Random(0)
    for number in range(3000):
        if number % 10 == 0:
            pair.compare(b"SET", b"k", b"0")
        digits = b"%d.%d" % (
            random.randrange(10 ** random.randrange(1, 30)),
            random.randrange(10 ** random.randrange(1, 30)),
        )
        sign, exponent = random.choice([b"", b"-"]), random.choice([b"", b"e%d" % random.randrange(-40, 40)])
        pair.compare(b"INCRBYFLOAT", b"k", sign + digits + exponent)
    for text in (
        b"1.18e4932",
        b"1.19e4932",
        b"3.6e-4951",
        b"1e-4951",
        b"0x1p16383",
        b"0x1p16384",
        b"1" * 4930,
        b"1" * 5200,
    ):
        pair.compare(b"SET", b"k", b"0")
        pair.compare(b"INCRBYFLOAT", b"k", text)
        pair.compare(b"INCRBYFLOAT", b"k", text)


def test_patterns(pair: Pair) -> None:
    random = Random(0)
    characters = [b"", b"\0", b"1", b"a", b"b", b"\x7f", b"\x80", b"\xff", b"-", b"^", b"]", b"[", b"\\"]
    for _ in range(100):
        pair.compare(b"SET", b"".join(random.choices(characters, k=3)), b"v")
    for _ in range(3000):
        pair.compare(b"KEYS", b"".join(random.choices([*characters, b"*", b"?", b"[", b"-"], k=random.randrange(9))))


def test_a_sum_of_scores_is_rounded_as_there(pair: Pair) -> None:
    random = Random(0)
    for key in (b"a", b"b", b"c"):
        members = [b"%d" % number for number in range(100) if random.random() < 0.8]
        pair.compare(b"ZADD", key, *[part for member in members for part in (b"%r" % random.gauss(0, 1e3), member)])
    for name in (b"ZUNION", b"ZINTER"):
        pair.compare(name, b"3", b"a", b"b", b"c", b"WEIGHTS", b"0.1", b"1e10", b"-3.3", b"WITHSCORES")


def test_deadlines_are_rounded_as_there(pair: Pair) -> None:
    for millisecond in (0, 1, 499, 500, 501, 999):
        pair.compare(b"SET", b"k", b"v", b"PXAT", b"%d" % (FAR_SECONDS * 1000 + millisecond))
        assert pair.ours(b"EXPIRETIME", b"k") == pair.redis.raw(b"EXPIRETIME", b"k")
        assert pair.ours(b"PEXPIRETIME", b"k") == pair.redis.raw(b"PEXPIRETIME", b"k")


@pytest.mark.parametrize("before", [None, 0, 1, 2])
@pytest.mark.parametrize("chosen", range(16))
def test_conditions_of_deadlines(pair: Pair, before: int | None, chosen: int) -> None:
    conditions = [name for bit, name in enumerate([b"NX", b"XX", b"GT", b"LT"]) if chosen >> bit & 1]
    pair.compare(b"SET", b"k", b"v")
    if before is not None:
        pair.compare(b"EXPIREAT", b"k", b"%d" % (FAR_SECONDS + before))
    pair.compare(b"EXPIREAT", b"k", b"%d" % (FAR_SECONDS + 1), *conditions)
    pair.compare(b"EXPIRETIME", b"k")


def test_deadlines_may_not_be_as_far_away_as_there(pair: Pair) -> None:
    latest_ms = AMOUNT_MAX_US // 1000
    pair.compare(b"SET", b"k", b"v", b"PXAT", b"%d" % latest_ms)
    assert pair.ours(b"PEXPIRETIME", b"k") == pair.redis.raw(b"PEXPIRETIME", b"k")
    assert pair.ours(b"PEXPIREAT", b"k", b"%d" % (latest_ms + 1)).startswith(b"-ERR invalid expire time")
    assert pair.redis.raw(b"PEXPIREAT", b"k", b"%d" % (latest_ms + 1)) == b":1\r\n"
