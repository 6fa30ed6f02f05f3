"""Ranges of sorted sets, and several sorted sets at once: what Redis' documentation shows, and the edges."""

from __future__ import annotations

import math
from random import Random

import pytest

from quorate.kv.keyspace import Keyspace
from quorate.kv.replies import SYNTAX, Pairs
from tests.kv.support import events, run

NOT_A_SCORE = "ERR min or max is not a float"
NOT_LEXICAL = "ERR min or max not valid string range item"


@pytest.fixture
def letters(db: Keyspace) -> Keyspace:
    run(db, "ZADD", "l", *[part for letter in "abcdefg" for part in (0, letter)])
    return db


@pytest.fixture
def two(db: Keyspace) -> Keyspace:
    """The sorted sets that the documentation of ZUNION, ZINTER and ZDIFF has."""
    run(db, "ZADD", "z1", 1, "one", 2, "two")
    run(db, "ZADD", "z2", 1, "one", 2, "two", 3, "three")
    return db


def as_bytes(*texts: str) -> list[bytes]:
    return [text.encode() for text in texts]


def test_ranges_by_rank(numbers: Keyspace) -> None:
    assert run(numbers, "ZRANGE", "z", 0, -1) == as_bytes("one", "two", "three")
    assert run(numbers, "ZRANGE", "z", 2, 3) == as_bytes("three")
    assert run(numbers, "ZRANGE", "z", -2, -1) == as_bytes("two", "three")
    assert run(numbers, "ZRANGE", "z", 5, 9) == []
    assert run(numbers, "ZRANGE", "z", 2, 1, "REV") == []
    assert run(numbers, "ZRANGE", "z", 0, 1, "REV") == as_bytes("three", "two")
    assert run(numbers, "ZREVRANGE", "z", 0, -1) == as_bytes("three", "two", "one")
    assert run(numbers, "ZREVRANGE", "z", -1, -1, "WITHSCORES") == [(b"one", 1.0)]
    assert type(run(numbers, "ZREVRANGE", "z", 0, 0, "WITHSCORES")) is Pairs
    assert run(numbers, "ZRANGE", "none", 0, -1) == []


def test_ranges_by_score(numbers: Keyspace) -> None:
    assert run(numbers, "ZRANGEBYSCORE", "z", "-inf", "+inf") == as_bytes("one", "two", "three")
    assert run(numbers, "ZRANGEBYSCORE", "z", 1, 2) == as_bytes("one", "two")
    assert run(numbers, "ZRANGEBYSCORE", "z", "(1", 2) == as_bytes("two")
    assert run(numbers, "ZRANGEBYSCORE", "z", "(1", "(2") == []
    assert run(numbers, "ZRANGEBYSCORE", "z", "(3", "(1") == []
    assert run(numbers, "ZREVRANGEBYSCORE", "z", "(3", 1, "WITHSCORES") == [(b"two", 2.0), (b"one", 1.0)]
    assert run(numbers, "ZRANGE", "z", "(1", "inf", "BYSCORE", "LIMIT", 1, 1) == as_bytes("three")
    assert run(numbers, "ZRANGE", "z", "+inf", "-inf", "BYSCORE", "REV") == as_bytes("three", "two", "one")


def test_infinite_scores_have_bounds_too(numbers: Keyspace) -> None:
    run(numbers, "ZADD", "z", "-inf", "low", "inf", "high")
    assert run(numbers, "ZCOUNT", "z", "-inf", "+inf") == 5
    assert run(numbers, "ZCOUNT", "z", "(-inf", "(+inf") == 3
    assert run(numbers, "ZRANGEBYSCORE", "z", "inf", "inf") == as_bytes("high")
    assert run(numbers, "ZRANGEBYSCORE", "z", "(inf", "inf") == []


@pytest.mark.parametrize(
    ("offset", "count", "forwards"),
    [(0, 2, "ab"), (2, 2, "cd"), (6, 9, "g"), (7, 1, ""), (99, 1, ""), (0, 0, ""), (5, -1, "fg"), (-1, 5, "")],
)
def test_limits(letters: Keyspace, offset: int, count: int, forwards: str) -> None:
    limit = ("LIMIT", offset, count)
    assert run(letters, "ZRANGEBYLEX", "l", "-", "+", *limit) == as_bytes(*forwards)
    assert run(letters, "ZRANGEBYSCORE", "l", "-inf", "inf", *limit) == as_bytes(*forwards)
    backwards = forwards.translate(str.maketrans("abcdefg", "gfedcba"))
    assert run(letters, "ZREVRANGEBYLEX", "l", "+", "-", *limit) == as_bytes(*backwards)
    assert run(letters, "ZRANGE", "l", "inf", "-inf", "BYSCORE", "REV", *limit) == as_bytes(*backwards)


def test_ranges_by_member(letters: Keyspace) -> None:
    assert run(letters, "ZRANGEBYLEX", "l", "-", "[c") == as_bytes(*"abc")
    assert run(letters, "ZRANGEBYLEX", "l", "-", "(c") == as_bytes(*"ab")
    assert run(letters, "ZRANGEBYLEX", "l", "[aaa", "(g") == as_bytes(*"bcdef")
    assert run(letters, "ZREVRANGEBYLEX", "l", "[c", "-") == as_bytes(*"cba")
    assert run(letters, "ZREVRANGEBYLEX", "l", "(g", "[aaa") == as_bytes(*"fedcb")
    assert run(letters, "ZRANGE", "l", "(b", "+", "BYLEX", "LIMIT", 0, 2) == as_bytes(*"cd")
    assert run(letters, "ZRANGEBYLEX", "l", "+", "-") == []
    assert run(letters, "ZRANGEBYLEX", "l", "[e", "[b") == []
    assert run(letters, "ZLEXCOUNT", "l", "-", "+") == 7
    assert run(letters, "ZLEXCOUNT", "l", "[b", "(f") == 4
    assert run(letters, "ZLEXCOUNT", "none", "-", "+") == 0


def test_what_is_no_range_is_refused(db: Keyspace) -> None:
    rank = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
    assert run(db, "ZRANGE", "z", 0, 1, "LIMIT", 0, 1) == rank
    by_lex = "ERR syntax error, WITHSCORES not supported in combination with BYLEX"
    assert run(db, "ZRANGE", "z", "-", "+", "BYLEX", "WITHSCORES") == by_lex
    assert run(db, "ZRANGE", "z", "a", "b") == "ERR value is not an integer or out of range"
    assert run(db, "ZRANGE", "z", 0, "x", "BYSCORE") == NOT_A_SCORE
    assert run(db, "ZCOUNT", "z", "((1", 2) == NOT_A_SCORE
    assert run(db, "ZRANGEBYLEX", "z", "a", "+") == NOT_LEXICAL
    assert run(db, "ZRANGEBYLEX", "z", "", "+") == NOT_LEXICAL
    assert run(db, "ZRANGE", "z", 0, 1, "BYSCORE", "BYLEX") == SYNTAX
    assert run(db, "ZREVRANGE", "z", 0, 1, "REV") == SYNTAX
    assert run(db, "ZRANGEBYSCORE", "z", 0, 1, "LIMIT", 0) == SYNTAX
    assert run(db, "ZRANGESTORE", "to", "z", 0, 1, "WITHSCORES") == SYNTAX


def test_zrangestore(numbers: Keyspace) -> None:
    told = events(numbers)
    assert run(numbers, "ZRANGESTORE", "to", "z", 2, -1) == 1
    assert run(numbers, "ZRANGE", "to", 0, -1, "WITHSCORES") == [(b"three", 3.0)]
    assert run(numbers, "ZRANGESTORE", "to", "z", "(3", 1, "BYSCORE", "REV", "LIMIT", 0, 1) == 1
    assert run(numbers, "ZRANGE", "to", 0, -1) == as_bytes("two")
    assert run(numbers, "ZRANGESTORE", "z", "none", 0, -1) == 0
    assert told == [("zrangestore", b"to"), ("zrangestore", b"to"), ("del", b"z")]


def test_removing_ranges(numbers: Keyspace, letters: Keyspace) -> None:
    assert run(numbers, "ZREMRANGEBYRANK", "z", 0, 0) == 1
    assert run(numbers, "ZREMRANGEBYSCORE", "z", "-inf", "(2") == 0
    assert run(numbers, "ZREMRANGEBYSCORE", "z", "-inf", "2") == 1
    assert run(numbers, "ZRANGE", "z", 0, -1) == as_bytes("three")
    assert run(letters, "ZREMRANGEBYLEX", "l", "[b", "(f") == 4
    assert run(letters, "ZRANGE", "l", 0, -1) == as_bytes(*"afg")
    told = events(numbers)
    assert run(numbers, "ZREMRANGEBYRANK", "z", 0, -1) == 1
    assert told == [("zremrangebyrank", b"z"), ("del", b"z")]
    assert run(numbers, "ZREMRANGEBYRANK", "z", 0, -1) == 0


def test_union(two: Keyspace) -> None:
    assert run(two, "ZUNION", 2, "z1", "z2") == as_bytes("one", "three", "two")
    scored = run(two, "ZUNION", 2, "z1", "z2", "WITHSCORES")
    assert (type(scored), scored) == (Pairs, [(b"one", 2.0), (b"three", 3.0), (b"two", 4.0)])
    assert run(two, "ZUNIONSTORE", "out", 2, "z1", "z2", "WEIGHTS", 2, 3) == 3
    assert run(two, "ZRANGE", "out", 0, -1, "WITHSCORES") == [(b"one", 5.0), (b"three", 9.0), (b"two", 10.0)]
    assert run(two, "ZUNION", 2, "z1", "none", "AGGREGATE", "MAX") == as_bytes("one", "two")


def test_intersection(two: Keyspace) -> None:
    assert run(two, "ZINTER", 2, "z1", "z2", "WITHSCORES") == [(b"one", 2.0), (b"two", 4.0)]
    weighted = ("WEIGHTS", 2, 3, "AGGREGATE", "MIN")
    assert run(two, "ZINTER", 2, "z1", "z2", *weighted, "WITHSCORES") == [(b"one", 2.0), (b"two", 4.0)]
    assert run(two, "ZINTERSTORE", "out", 2, "z1", "z2", "WEIGHTS", 2, 3) == 2
    assert run(two, "ZRANGE", "out", 0, -1, "WITHSCORES") == [(b"one", 5.0), (b"two", 10.0)]
    assert run(two, "ZINTERSTORE", "out", 2, "z1", "none") == 0
    assert b"out" not in two.items
    assert [run(two, "ZINTERCARD", 2, "z1", "z2", *limit) for limit in ((), ("LIMIT", 1), ("LIMIT", 0))] == [2, 1, 2]


def test_difference(two: Keyspace) -> None:
    assert run(two, "ZDIFF", 2, "z2", "z1", "WITHSCORES") == [(b"three", 3.0)]
    assert run(two, "ZDIFF", 2, "z1", "z2") == []
    assert run(two, "ZDIFFSTORE", "z2", 2, "z2", "z1") == 1
    assert run(two, "ZRANGE", "z2", 0, -1, "WITHSCORES") == [(b"three", 3.0)]


def test_plain_sets_take_part(two: Keyspace) -> None:
    run(two, "SADD", "s", "one", "four")
    assert run(two, "ZUNION", 2, "z1", "s", "WITHSCORES") == [(b"four", 1.0), (b"one", 2.0), (b"two", 2.0)]
    assert run(two, "ZINTERCARD", 2, "z1", "s") == 1


def test_infinities_that_cancel_out_are_zero(db: Keyspace) -> None:
    run(db, "ZADD", "a", "inf", "m")
    run(db, "ZADD", "b", "-inf", "m")
    assert run(db, "ZUNION", 2, "a", "b", "WITHSCORES") == [(b"m", 0.0)]
    assert run(db, "ZINTER", 1, "a", "WEIGHTS", 0, "WITHSCORES") == [(b"m", 0.0)]
    assert run(db, "ZUNION", 1, "a", "WEIGHTS", "-1", "WITHSCORES") == [(b"m", -math.inf)]


def test_what_is_no_union_is_refused(two: Keyspace) -> None:
    assert run(two, "ZUNION", 0, "z1") == "ERR at least 1 input key is needed for 'zunion' command"
    assert run(two, "ZUNIONSTORE", "o", "x", "z1") == "ERR value is not an integer or out of range"
    assert run(two, "ZUNION", 3, "z1", "z2") == SYNTAX
    assert run(two, "ZUNION", 2, "z1", "z2", "WEIGHTS", 1) == SYNTAX
    assert run(two, "ZUNION", 1, "z1", "WEIGHTS", "x") == "ERR weight value is not a float"
    assert run(two, "ZUNION", 1, "z1", "AGGREGATE", "AVG") == SYNTAX
    assert run(two, "ZUNIONSTORE", "o", 1, "z1", "WITHSCORES") == SYNTAX
    assert run(two, "ZDIFF", 1, "z1", "WEIGHTS", 1) == SYNTAX
    assert run(two, "ZINTERCARD", 1, "z1", "LIMIT", -1) == "ERR LIMIT can't be negative"


def test_ranges_agree_with_a_plain_sorted_list(db: Keyspace) -> None:
    random = Random(3)
    scores = {b"%d" % index: float(random.randrange(20)) for index in range(200)}
    run(db, "ZADD", "z", *[part for member, score in scores.items() for part in (str(score), member)])
    order = sorted((score, member) for member, score in scores.items())
    for _ in range(200):
        low, high = random.randrange(-2, 22), random.randrange(-2, 22)
        above, below = random.random() < 0.5, random.random() < 0.5
        expected = [
            member
            for score, member in order
            if (low < score if above else low <= score) and (score < high if below else score <= high)
        ]
        bounds = ("(" * above + str(low), "(" * below + str(high))
        assert run(db, "ZRANGEBYSCORE", "z", *bounds) == expected
        assert run(db, "ZREVRANGEBYSCORE", "z", *bounds[::-1]) == expected[::-1]
        assert run(db, "ZCOUNT", "z", *bounds) == len(expected)
