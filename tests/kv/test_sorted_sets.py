"""Sorted sets and their members: what Redis' documentation shows of each command, and the edges."""

from __future__ import annotations

import math

import pytest

from quorate.kv.keyspace import Keyspace
from quorate.kv.replies import NOT_A_FLOAT, NULL_ARRAY, SYNTAX, WRONG_TYPE, Pairs
from quorate.kv.resp.writer import encode_2, encode_3
from quorate.kv.values import SortedSet
from tests.kv.support import events, run


def held(db: Keyspace, key: str = "z") -> dict[bytes, float]:
    """All members and scores, after a look at whether the order and the bytes agree with them."""
    value = db.get(key.encode(), SortedSet)
    if value is None:
        return {}
    fresh = SortedSet(value.scores.items())
    assert (value.bytes, list(value)) == (fresh.bytes, list(fresh))
    return dict(value.scores)


def test_zadd(db: Keyspace) -> None:
    assert run(db, "ZADD", "z", 1, "one") == 1
    assert run(db, "ZADD", "z", 1, "uno", 2, "two", 3, "two") == 2
    assert held(db) == {b"one": 1, b"uno": 1, b"two": 3}
    revision = db.revision
    assert run(db, "ZADD", "z", 1, "one") == 0
    assert db.revision == revision
    assert run(db, "ZADD", "z", "CH", 5, "one", 1, "uno", 1, "new") == 2
    assert run(db, "ZADD", "z", "-inf", "low", "+inf", "high", "1e3", "k") == 3
    assert run(db, "ZRANGE", "z", 0, 0, "WITHSCORES") == [(b"low", -math.inf)]


def test_zadd_only_new_or_only_old(numbers: Keyspace) -> None:
    assert run(numbers, "ZADD", "z", "NX", 9, "one", 4, "four") == 1
    assert run(numbers, "ZADD", "z", "XX", "CH", 9, "one", 5, "five") == 1
    assert held(numbers) == {b"one": 9, b"two": 2, b"three": 3, b"four": 4}
    revision = numbers.revision
    assert run(numbers, "ZADD", "none", "XX", 1, "a") == 0
    assert (numbers.revision, b"none" in numbers.items) == (revision, False)


def test_zadd_only_greater_or_only_less(numbers: Keyspace) -> None:
    assert run(numbers, "ZADD", "z", "GT", "CH", 0, "one", 5, "two", 1, "new") == 2
    assert run(numbers, "ZADD", "z", "LT", "CH", 0, "one", 9, "two") == 1
    assert run(numbers, "ZADD", "z", "GT", "XX", 7, "other", 7, "new") == 0
    assert held(numbers) == {b"one": 0, b"two": 5, b"three": 3, b"new": 7}


def test_zadd_increments(numbers: Keyspace) -> None:
    told = events(numbers)
    assert run(numbers, "ZADD", "z", "INCR", 5, "one") == 6.0
    assert run(numbers, "ZADD", "z", "incr", "xx", 5, "none") is None
    assert run(numbers, "ZADD", "z", "INCR", "NX", 5, "one") is None
    assert run(numbers, "ZADD", "z", "INCR", "GT", -1, "one") is None
    assert run(numbers, "ZADD", "z", "INCR", 5, "new") == 5.0
    assert told == [("zincr", b"z"), ("zincr", b"z")]


def test_zadd_refuses_what_makes_no_sense(db: Keyspace) -> None:
    assert run(db, "ZADD", "z", "NX", "XX", 1, "a") == "ERR XX and NX options at the same time are not compatible"
    for options in (("GT", "LT"), ("NX", "GT"), ("NX", "LT")):
        expected = "ERR GT, LT, and/or NX options at the same time are not compatible"
        assert run(db, "ZADD", "z", *options, 1, "a") == expected
    expected = "ERR INCR option supports a single increment-element pair"
    assert run(db, "ZADD", "z", "INCR", 1, "a", 2, "b") == expected
    assert run(db, "ZADD", "z", 1, "a", 2) == SYNTAX
    assert run(db, "ZADD", "z", "NX", "CH") == SYNTAX
    assert run(db, "ZADD", "z", 1, "a", "x", "b") == NOT_A_FLOAT
    assert run(db, "ZADD", "z", "nan", "b") == NOT_A_FLOAT
    assert len(db) == 0


def test_zincrby(db: Keyspace) -> None:
    run(db, "ZADD", "z", 1, "one", "inf", "high")
    assert run(db, "ZINCRBY", "z", 2, "one") == 3.0
    assert run(db, "ZINCRBY", "z", "-0.5", "new") == -0.5
    assert run(db, "ZINCRBY", "z", "-inf", "high") == "ERR resulting score is not a number (NaN)"
    assert run(db, "ZADD", "z", "INCR", "-inf", "high") == "ERR resulting score is not a number (NaN)"
    assert run(db, "ZINCRBY", "z", "x", "one") == NOT_A_FLOAT
    assert held(db) == {b"one": 3, b"new": -0.5, b"high": math.inf}


def test_scores_and_ranks(numbers: Keyspace) -> None:
    assert run(numbers, "ZSCORE", "z", "two") == 2.0
    assert run(numbers, "ZSCORE", "z", "none") is None
    assert run(numbers, "ZMSCORE", "z", "one", "none") == [1.0, None]
    assert run(numbers, "ZCARD", "z") == 3
    assert [run(numbers, "ZRANK", "z", member) for member in ("one", "three", "none")] == [0, 2, None]
    assert [run(numbers, "ZREVRANK", "z", member) for member in ("one", "three")] == [2, 0]
    assert run(numbers, "ZRANK", "z", "two", "WITHSCORE") == [1, 2.0]
    assert run(numbers, "ZREVRANK", "z", "none", "WITHSCORE") is NULL_ARRAY
    assert run(numbers, "ZRANK", "z", "one", "WITHSCORES") == SYNTAX
    assert [run(numbers, "ZRANK", "none", "a"), run(numbers, "ZMSCORE", "none", "a")] == [None, [None]]


def test_an_empty_sorted_set_is_no_more(numbers: Keyspace) -> None:
    assert run(numbers, "ZREM", "z", "one", "one", "none") == 1
    assert run(numbers, "ZREM", "z", "none") == 0
    told = events(numbers)
    assert run(numbers, "ZREM", "z", "two", "three") == 2
    assert told == [("zrem", b"z"), ("del", b"z")]
    assert (len(numbers), numbers.memory_bytes) == (0, 0)


def test_popping(numbers: Keyspace) -> None:
    assert run(numbers, "ZPOPMIN", "z") == [b"one", 1.0]
    assert run(numbers, "ZPOPMAX", "z", 2) == [(b"three", 3.0), (b"two", 2.0)]
    assert b"z" not in numbers.items
    assert run(numbers, "ZPOPMIN", "z") == []
    assert run(numbers, "ZPOPMAX", "z", 2) == []
    assert run(numbers, "ZPOPMIN", "z", -1) == "ERR value is out of range, must be positive"
    assert run(numbers, "ZPOPMIN", "z", 1, 2) == SYNTAX


def test_zmpop(numbers: Keyspace) -> None:
    assert run(numbers, "ZMPOP", 1, "none", "MIN") is NULL_ARRAY
    assert run(numbers, "ZMPOP", 2, "none", "z", "MIN") == [b"z", [[b"one", 1.0]]]
    assert run(numbers, "ZMPOP", 1, "z", "max", "COUNT", 10) == [b"z", [[b"three", 3.0], [b"two", 2.0]]]
    assert run(numbers, "ZMPOP", 0, "z", "MIN") == "ERR numkeys should be greater than 0"
    assert run(numbers, "ZMPOP", 1, "z", "LEFT") == SYNTAX
    assert run(numbers, "ZMPOP", 1, "z", "MIN", "COUNT", 0) == "ERR count should be greater than 0"


def test_zrandmember(numbers: Keyspace) -> None:
    whole = {b"one": 1.0, b"two": 2.0, b"three": 3.0}
    assert run(numbers, "ZRANDMEMBER", "z") in whole
    assert run(numbers, "ZRANDMEMBER", "z", 5) == list(whole)
    picked = run(numbers, "ZRANDMEMBER", "z", -5, "WITHSCORES")
    assert (type(picked), len(picked)) == (Pairs, 5)
    assert all(whole[member] == score for member, score in picked)
    assert run(numbers, "ZRANDMEMBER", "none") is None
    assert run(numbers, "ZRANDMEMBER", "none", 5) == []
    assert run(numbers, "ZRANDMEMBER", "z", 1, "WITHVALUES") == SYNTAX


def test_zscan(numbers: Keyspace) -> None:
    assert run(numbers, "ZSCAN", "z", 0, "MATCH", "t*") == [b"0", [b"two", b"2", b"three", b"3"]]
    run(numbers, "ZINCRBY", "z", 0.5, "one")
    assert run(numbers, "ZSCAN", "z", 0, "MATCH", "one") == [b"0", [b"one", b"1.5"]]
    assert run(numbers, "ZSCAN", "none", 0) == [b"0", []]


def test_pairs_are_flat_in_the_older_protocol(numbers: Keyspace) -> None:
    reply = run(numbers, "ZRANGE", "z", 0, 1, "WITHSCORES")
    assert encode_2(reply) == b"*4\r\n$3\r\none\r\n$1\r\n1\r\n$3\r\ntwo\r\n$1\r\n2\r\n"
    assert encode_3(reply) == b"*2\r\n*2\r\n$3\r\none\r\n,1\r\n*2\r\n$3\r\ntwo\r\n,2\r\n"
    assert encode_3(run(numbers, "ZPOPMIN", "z")) == b"*2\r\n$3\r\none\r\n,1\r\n"
    assert encode_3(run(numbers, "ZPOPMIN", "z", 1)) == b"*1\r\n*2\r\n$3\r\ntwo\r\n,2\r\n"
    assert (encode_2(NULL_ARRAY), encode_3(NULL_ARRAY)) == (b"*-1\r\n", b"_\r\n")


REFUSING = [
    ("ZADD", "k", "1", "a"),
    ("ZINCRBY", "k", "1", "a"),
    ("ZSCORE", "k", "a"),
    ("ZMSCORE", "k", "a"),
    ("ZREM", "k", "a"),
    ("ZCARD", "k"),
    ("ZCOUNT", "k", "0", "1"),
    ("ZLEXCOUNT", "k", "-", "+"),
    ("ZRANK", "k", "a"),
    ("ZREVRANK", "k", "a"),
    ("ZRANGE", "k", "0", "1"),
    ("ZRANGESTORE", "to", "k", "0", "1"),
    ("ZRANGEBYSCORE", "k", "0", "1"),
    ("ZREVRANGEBYSCORE", "k", "0", "1"),
    ("ZRANGEBYLEX", "k", "-", "+"),
    ("ZREVRANGEBYLEX", "k", "+", "-"),
    ("ZREVRANGE", "k", "0", "1"),
    ("ZPOPMIN", "k"),
    ("ZPOPMAX", "k", "1"),
    ("ZMPOP", "1", "k", "MIN"),
    ("ZREMRANGEBYRANK", "k", "0", "1"),
    ("ZREMRANGEBYSCORE", "k", "0", "1"),
    ("ZREMRANGEBYLEX", "k", "-", "+"),
    ("ZUNION", "1", "k"),
    ("ZINTER", "2", "none", "k"),
    ("ZDIFF", "2", "none", "k"),
    ("ZUNIONSTORE", "to", "1", "k"),
    ("ZINTERSTORE", "to", "2", "none", "k"),
    ("ZDIFFSTORE", "to", "2", "none", "k"),
    ("ZINTERCARD", "2", "none", "k"),
    ("ZRANDMEMBER", "k"),
    ("ZSCAN", "k", "0"),
]


@pytest.mark.parametrize("arguments", REFUSING, ids=" ".join)
def test_a_key_of_another_kind_is_refused(db: Keyspace, arguments: tuple[str, ...]) -> None:
    db.put(b"k", b"text", "set")
    assert run(db, *arguments) == WRONG_TYPE
