"""Every command as a method: what it sends, and what comes back. On one keyspace, without a node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from quorate.kv.registry import COMMANDS, Spec
from quorate.kv.replies import CommandError
from quorate.kv.store.calls import Call
from quorate.kv.store.commands import Commands
from quorate.kv.store.coordination import LeaseInfo, LockHolder, Versioned
from quorate.kv.store.errors import KvError, as_error
from quorate.kv.store.shapes import Shape
from tests.kv.support import SECOND_US, START_US, database

T = TypeVar("T")

START = START_US // SECOND_US


class OneKeyspace(Commands):
    """The commands, carried out at once. ``used`` collects their names."""

    def __init__(self) -> None:
        self.db = database()
        self.used: set[bytes] = set()
        self.request: list[bytes] = []

    def perform(self, spec: Spec, request: list[bytes], shape: Shape[T]) -> Call[T]:
        self.used.add(spec.name)
        self.request = request

        async def run() -> T:
            try:
                return shape(spec.handler(self.db, request))
            except CommandError as refusal:
                raise as_error(refusal) from None

        return Call(run())


Steps = list[tuple[Callable[[Commands], Call[Any]], Any]]

STRINGS: Steps = [
    (lambda kv: kv.set("k", "v"), True),
    (lambda kv: kv.get(b"k"), b"v"),
    (lambda kv: kv.get("none"), None),
    (lambda kv: kv.set("k", "w", nx=True), False),
    (lambda kv: kv.set("k", "w", xx=True, ex=10), True),
    (lambda kv: kv.set("k", "x", keepttl=True), True),
    (lambda kv: kv.ttl("k"), 10),
    (lambda kv: kv.getset("k", "y"), b"x"),
    (lambda kv: kv.ttl("k"), -1),
    (lambda kv: kv.getex("k", px=1500), b"y"),
    (lambda kv: kv.pttl("k"), 1500),
    (lambda kv: kv.getex("k", persist=True), b"y"),
    (lambda kv: kv.pttl("k"), -1),
    (lambda kv: kv.getdel("k"), b"y"),
    (lambda kv: kv.setnx("k", 1), True),
    (lambda kv: kv.setnx("k", 2), False),
    (lambda kv: kv.setex("s", 1.5, "v"), None),
    (lambda kv: kv.pttl("s"), 1500),
    (lambda kv: kv.psetex("s", 20, "v"), None),
    (lambda kv: kv.pttl("s"), 20),
    (lambda kv: kv.mset({"a": "1", b"b": 2.5}), None),
    (lambda kv: kv.msetnx({"a": 1, "c": 1}), False),
    (lambda kv: kv.msetnx({"c": "", "d": b"\xff"}), True),
    (lambda kv: kv.mget("a", "b", "c", "d", "none"), [b"1", b"2.5", b"", b"\xff", None]),
    (lambda kv: kv.append("c", "hello"), 5),
    (lambda kv: kv.strlen("c"), 5),
    (lambda kv: kv.getrange("c", 1, -2), b"ell"),
    (lambda kv: kv.substr("c", 0, 0), b"h"),
    (lambda kv: kv.setrange("c", 1, "u"), 5),
    (lambda kv: kv.get("c"), b"hullo"),
    (lambda kv: kv.lcs("c", "a"), b""),
    (lambda kv: kv.lcs_len("c", "c"), 5),
    (lambda kv: kv.incr("n"), 1),
    (lambda kv: kv.incr("n", 4), 5),
    (lambda kv: kv.incrby("n", 5), 10),
    (lambda kv: kv.decr("n"), 9),
    (lambda kv: kv.decr("n", 2), 7),
    (lambda kv: kv.decrby("n", 7), 0),
    (lambda kv: kv.incrbyfloat("n", 0.5), 0.5),
]
BITS: Steps = [
    (lambda kv: kv.setbit("b", 7, 1), 0),
    (lambda kv: kv.getbit("b", 7), 1),
    (lambda kv: kv.bitcount("b"), 1),
    (lambda kv: kv.bitcount("b", 0, 6, "BIT"), 0),
    (lambda kv: kv.bitpos("b", 1), 7),
    (lambda kv: kv.bitpos("b", 1, 0, 5, "BIT"), -1),
    (lambda kv: kv.bitop("NOT", "c", "b"), 1),
    (lambda kv: kv.get("c"), b"\xfe"),
    (lambda kv: kv.bitfield("b", "SET", "u8", 0, 255, "OVERFLOW", "FAIL", "INCRBY", "u8", 0, 1), [1, None]),
    (lambda kv: kv.bitfield_ro("b", "GET", "u4", "#1"), [15]),
]
KEYS: Steps = [
    (lambda kv: kv.mset({"a": 1, "b": 2, "c": 3, "d": 4}), None),
    (lambda kv: kv.exists("a", "a", "none"), 2),
    (lambda kv: kv.touch("a", "none"), 1),
    (lambda kv: kv.type("a"), "string"),
    (lambda kv: kv.type("none"), "none"),
    (lambda kv: kv.rename("a", "e"), None),
    (lambda kv: kv.renamenx("e", "b"), False),
    (lambda kv: kv.renamenx("e", "a"), True),
    (lambda kv: kv.copy("a", "b"), False),
    (lambda kv: kv.copy("a", "b", replace=True), True),
    (lambda kv: kv.keys("[ax]"), [b"a"]),
    (lambda kv: kv.scan(match="a", count=100, kind="string"), (0, [b"a"])),
    (lambda kv: kv.dbsize(), 4),
    (lambda kv: kv.delete("b", "none"), 1),
    (lambda kv: kv.unlink("c", "d"), 2),
    (lambda kv: kv.randomkey(), b"a"),
    (lambda kv: kv.object_encoding("a"), b"int"),
    (lambda kv: kv.memory_usage("none"), None),
    (lambda kv: kv.expire("a", timedelta(seconds=10)), True),
    (lambda kv: kv.expire("a", 20, nx=True), False),
    (lambda kv: kv.expire("a", 20, xx=True, gt=True), True),
    (lambda kv: kv.expire("a", 30.5, lt=True), False),
    (lambda kv: kv.pexpire("a", 19_001), True),
    (lambda kv: kv.pttl("a"), 19_001),
    (lambda kv: kv.ttl("a"), 19),
    (lambda kv: kv.expireat("a", datetime.fromtimestamp(START + 5, UTC)), True),
    (lambda kv: kv.expiretime("a"), START + 5),
    (lambda kv: kv.pexpireat("a", (START + 6) * 1000), True),
    (lambda kv: kv.pexpiretime("a"), (START + 6) * 1000),
    (lambda kv: kv.persist("a"), True),
    (lambda kv: kv.persist("a"), False),
    (lambda kv: kv.set("b", 1), True),
    (lambda kv: kv.rpush("l", 10, 9, 2), 3),
    (lambda kv: kv.sort("l"), [b"2", b"9", b"10"]),
    (lambda kv: kv.sort("l", alpha=True, desc=True, offset=1, num=1), [b"2"]),
    (lambda kv: kv.sort_store("l", "m", num=2), 2),
    (lambda kv: kv.lrange("m"), [b"2", b"9"]),
    (lambda kv: kv.flushdb(), None),
    (lambda kv: kv.flushall(), None),
    (lambda kv: kv.randomkey(), None),
]
HASHES: Steps = [
    (lambda kv: kv.hset("h", "a", 1), 1),
    (lambda kv: kv.hset("h", {"a": 2, "b": "x"}), 1),
    (lambda kv: kv.hmset("h", {b"b": "y"}), None),
    (lambda kv: kv.hsetnx("h", "a", 9), False),
    (lambda kv: kv.hget("h", "b"), b"y"),
    (lambda kv: kv.hmget("h", "a", "none"), [b"2", None]),
    (lambda kv: kv.hgetall("h"), {b"a": b"2", b"b": b"y"}),
    (lambda kv: kv.hgetall("none"), {}),
    (lambda kv: kv.hexists("h", "a"), True),
    (lambda kv: kv.hlen("h"), 2),
    (lambda kv: kv.hstrlen("h", "b"), 1),
    (lambda kv: kv.hkeys("h"), [b"a", b"b"]),
    (lambda kv: kv.hvals("h"), [b"2", b"y"]),
    (lambda kv: kv.hincrby("h", "a"), 3),
    (lambda kv: kv.hincrbyfloat("h", "a", 0.25), 3.25),
    (lambda kv: kv.hscan("h", match="a", count=5), (0, {b"a": b"3.25"})),
    (lambda kv: kv.hdel("h", "a", "none"), 1),
    (lambda kv: kv.hrandfield("h"), b"b"),
    (lambda kv: kv.hrandfield("none"), None),
    (lambda kv: kv.hrandfield("h", 2), [b"b"]),
    (lambda kv: kv.hrandfield("h", -2, withvalues=True), [(b"b", b"y"), (b"b", b"y")]),
]
LISTS: Steps = [
    (lambda kv: kv.rpush("l", "a", "b", "c"), 3),
    (lambda kv: kv.lpush("l", 0), 4),
    (lambda kv: kv.lpushx("none", 0), 0),
    (lambda kv: kv.rpushx("l", "b"), 5),
    (lambda kv: kv.lrange("l"), [b"0", b"a", b"b", b"c", b"b"]),
    (lambda kv: kv.llen("l"), 5),
    (lambda kv: kv.lindex("l", 1), b"a"),
    (lambda kv: kv.lset("l", 0, "z"), None),
    (lambda kv: kv.linsert("l", "AFTER", "z", "y"), 6),
    (lambda kv: kv.lpos("l", "b"), 3),
    (lambda kv: kv.lpos("l", "b", rank=-1), 5),
    (lambda kv: kv.lpos("l", "b", count=0), [3, 5]),
    (lambda kv: kv.lpos("l", "none"), None),
    (lambda kv: kv.lrem("l", 1, "b"), 1),
    (lambda kv: kv.lpop("l"), b"z"),
    (lambda kv: kv.lpop("l", 2), [b"y", b"a"]),
    (lambda kv: kv.rpop("l", 1), [b"b"]),
    (lambda kv: kv.rpop("l"), b"c"),
    (lambda kv: kv.rpop("l"), None),
    (lambda kv: kv.lpop("l", 2), []),
    (lambda kv: kv.rpush("l", 1, 2, 3, 4), 4),
    (lambda kv: kv.ltrim("l", 0, 2), None),
    (lambda kv: kv.lmove("l", "m"), b"1"),
    (lambda kv: kv.lmove("l", "m", "RIGHT", "LEFT"), b"3"),
    (lambda kv: kv.rpoplpush("l", "m"), b"2"),
    (lambda kv: kv.lmpop("l", "m", direction="RIGHT", count=2), (b"m", [b"1", b"3"])),
    (lambda kv: kv.lmpop("l"), None),
]
SETS: Steps = [
    (lambda kv: kv.sadd("s", "a", "b", 1), 3),
    (lambda kv: kv.sadd("t", "b", "c"), 2),
    (lambda kv: kv.smembers("s"), {b"a", b"b", b"1"}),
    (lambda kv: kv.smembers("none"), set()),
    (lambda kv: kv.sismember("s", 1), True),
    (lambda kv: kv.smismember("s", "a", "c"), [True, False]),
    (lambda kv: kv.scard("s"), 3),
    (lambda kv: kv.srem("s", 1), 1),
    (lambda kv: kv.sunion("s", "t"), {b"a", b"b", b"c"}),
    (lambda kv: kv.sinter("s", "t"), {b"b"}),
    (lambda kv: kv.sdiff("s", "t"), {b"a"}),
    (lambda kv: kv.sunionstore("u", "s", "t"), 3),
    (lambda kv: kv.sinterstore("i", "s", "t"), 1),
    (lambda kv: kv.sdiffstore("d", "s", "t"), 1),
    (lambda kv: kv.sintercard("s", "t"), 1),
    (lambda kv: kv.sintercard("u", "u", limit=2), 2),
    (lambda kv: kv.sscan("i", count=3), (0, [b"b"])),
    (lambda kv: kv.smove("i", "d", "b"), True),
    (lambda kv: kv.srandmember("i"), None),
    (lambda kv: kv.srandmember("d", 5), [b"a", b"b"]),
    (lambda kv: kv.spop("d", 5), {b"a", b"b"}),
    (lambda kv: kv.spop("d"), None),
]
SORTED_SETS: Steps = [
    (lambda kv: kv.zadd("z", {"a": 1, "b": 2.5}), 2),
    (lambda kv: kv.zadd("z", {b"a": 2, b"c": 3}, xx=True, gt=True, ch=True), 1),
    (lambda kv: kv.zadd_incr("z", "a", 1, xx=True), 3.0),
    (lambda kv: kv.zadd_incr("z", "none", 1, xx=True), None),
    (lambda kv: kv.zincrby("z", -2, "a"), 1.0),
    (lambda kv: kv.zscore("z", "b"), 2.5),
    (lambda kv: kv.zscore("z", "none"), None),
    (lambda kv: kv.zmscore("z", "a", "none"), [1.0, None]),
    (lambda kv: kv.zcard("z"), 2),
    (lambda kv: kv.zrank("z", "b"), 1),
    (lambda kv: kv.zrevrank("z", "b"), 0),
    (lambda kv: kv.zrank_withscore("z", "b"), (1, 2.5)),
    (lambda kv: kv.zrevrank_withscore("z", "none"), None),
    (lambda kv: kv.zscan("z", match="b"), (0, [(b"b", 2.5)])),
    (lambda kv: kv.zrem("z", "a", "none"), 1),
    (lambda kv: kv.zrandmember("z"), b"b"),
    (lambda kv: kv.zrandmember("z", 3), [b"b"]),
    (lambda kv: kv.zrandmember("z", -2, withscores=True), [(b"b", 2.5)] * 2),
    (lambda kv: kv.zadd("z", {"a": 1, "c": 3, "d": 4}), 3),
    (lambda kv: kv.zpopmin("z"), (b"a", 1.0)),
    (lambda kv: kv.zpopmax("z", 2), [(b"d", 4.0), (b"c", 3.0)]),
    (lambda kv: kv.zmpop("none", "z", highest=True, count=2), (b"z", [(b"b", 2.5)])),
    (lambda kv: kv.zmpop("z"), None),
    (lambda kv: kv.zpopmax("z"), None),
]
RANGES: Steps = [
    (lambda kv: kv.zadd("z", {"a": 1, "b": 2, "c": 3}), 3),
    (lambda kv: kv.zrange("z", 0, -1), [b"a", b"b", b"c"]),
    (lambda kv: kv.zrange("z", 0, 0, desc=True, withscores=True), [(b"c", 3.0)]),
    (lambda kv: kv.zrange("z", "(1", "+inf", byscore=True, offset=1, num=1), [b"c"]),
    (lambda kv: kv.zadd("e", {"a": 0, "b": 0, "c": 0}), 3),
    (lambda kv: kv.zrange("e", "[b", "+", bylex=True), [b"b", b"c"]),
    (lambda kv: kv.zrangestore("y", "z", 2, 1, byscore=True, desc=True), 2),
    (lambda kv: kv.zrevrange("z", 0, 1), [b"c", b"b"]),
    (lambda kv: kv.zrevrange("z", 0, 0, withscores=True), [(b"c", 3.0)]),
    (lambda kv: kv.zrangebyscore("z", 2, 9), [b"b", b"c"]),
    (lambda kv: kv.zrangebyscore("z", 2, 9, num=1, withscores=True), [(b"b", 2.0)]),
    (lambda kv: kv.zrevrangebyscore("z", 9, 2, offset=1), [b"b"]),
    (lambda kv: kv.zrevrangebyscore("z", 9, 3, withscores=True), [(b"c", 3.0)]),
    (lambda kv: kv.zrangebylex("e", "-", "(c"), [b"a", b"b"]),
    (lambda kv: kv.zrevrangebylex("e", "+", "-", num=1), [b"c"]),
    (lambda kv: kv.zcount("z", "(1", 3), 2),
    (lambda kv: kv.zlexcount("e", "-", "+"), 3),
    (lambda kv: kv.zremrangebyrank("y", 0, 0), 1),
    (lambda kv: kv.zremrangebyscore("y", 2, 2), 1),
    (lambda kv: kv.zadd("y", {"b": 10, "x": 1}), 2),
    (lambda kv: kv.zunion(["z", "y"]), [b"a", b"x", b"c", b"b"]),
    (lambda kv: kv.zunion({"z": 1, "y": 0.5}, aggregate="MAX", withscores=True),
     [(b"x", 0.5), (b"a", 1.0), (b"c", 3.0), (b"b", 5.0)]),
    (lambda kv: kv.zinter(["z", "y"]), [b"b"]),
    (lambda kv: kv.zinter(["z", "y"], aggregate="MIN", withscores=True), [(b"b", 2.0)]),
    (lambda kv: kv.zdiff(["z", "y"]), [b"a", b"c"]),
    (lambda kv: kv.zdiff(["z", "y"], withscores=True), [(b"a", 1.0), (b"c", 3.0)]),
    (lambda kv: kv.zunionstore("u", {"z": 2, "y": 1}), 4),
    (lambda kv: kv.zinterstore("i", ["z", "y"]), 1),
    (lambda kv: kv.zdiffstore("d", ["z", "y"]), 2),
    (lambda kv: kv.zintercard(["z", "u"], limit=2), 2),
    (lambda kv: kv.zremrangebylex("d", "[c", "+"), 1),
]  # fmt: skip
COORDINATION: Steps = [
    (lambda kv: kv.compare_and_set("k", 0, "v"), 1),
    (lambda kv: kv.compare_and_set("k", 0, "w"), None),
    (lambda kv: kv.get_versioned("k"), Versioned(b"v", 1)),
    (lambda kv: kv.get_versioned("none"), None),
    (lambda kv: kv.revisions("k", "none"), [1, 0]),
    (lambda kv: kv.lease_grant("lease", 10), None),
    (lambda kv: kv.compare_and_set("k", 1, "x", ex=5, lease="lease"), 3),
    (lambda kv: kv.lease_info("lease"), LeaseInfo(10.0, 10.0, [b"k"])),
    (lambda kv: kv.lease_detach("lease", "k"), 1),
    (lambda kv: kv.lease_attach("lease", "k", "none"), 1),
    (lambda kv: kv.lease_keepalive("lease"), True),
    (lambda kv: kv.lease_revoke("lease"), True),
    (lambda kv: kv.lease_keepalive("lease"), False),
    (lambda kv: kv.lease_info("lease"), None),
    (lambda kv: kv.get("k"), None),
    (lambda kv: kv.set("k", "v"), True),
    (lambda kv: kv.compare_and_delete("k", 1), False),
    (lambda kv: kv.flushall(), None),
    (lambda kv: kv.lock_take("lock", "me", 2.5), 12),
    (lambda kv: kv.lock_take("lock", "you", 2.5), None),
    (lambda kv: kv.lock_holder("lock"), LockHolder(b"me", 12, 2.5)),
    (lambda kv: kv.lock_renew("lock", 12, timedelta(seconds=4)), True),
    (lambda kv: kv.execute("quorate.fenced", "lock", 12, "set", "k", "v"), b"OK"),
    (lambda kv: kv.lock_release("lock", 11), False),
    (lambda kv: kv.lock_release("lock", 12), True),
    (lambda kv: kv.lock_holder("lock"), None),
]
WAITING: Steps = [
    (lambda kv: kv.blpop("l", timeout=1), None),
    (lambda kv: kv.rpush("l", 1, 2, 3, 4, 5, 6), 6),
    (lambda kv: kv.blpop("none", "l"), (b"l", b"1")),
    (lambda kv: kv.brpop("l", timeout=0.5), (b"l", b"6")),
    (lambda kv: kv.blmove("l", "m"), b"2"),
    (lambda kv: kv.brpoplpush("l", "m", timeout=2), b"5"),
    (lambda kv: kv.blmpop("none", "l", direction="RIGHT", count=9), (b"l", [b"4", b"3"])),
    (lambda kv: kv.blmpop("none", timeout=1), None),
    (lambda kv: kv.blmove("none", "m"), None),
    (lambda kv: kv.bzpopmin("z"), None),
    (lambda kv: kv.zadd("z", {"a": 1, "b": 2, "c": 3}), 3),
    (lambda kv: kv.bzpopmin("none", "z"), (b"z", b"a", 1.0)),
    (lambda kv: kv.bzpopmax("z", timeout=1), (b"z", b"c", 3.0)),
    (lambda kv: kv.bzmpop("none", "z", highest=True, count=2), (b"z", [(b"b", 2.0)])),
    (lambda kv: kv.bzmpop("z"), None),
    (lambda kv: kv.publish("news", "hello"), 0),
    (lambda kv: kv.head(), 12),
]
GROUPS = {
    "strings": STRINGS, "bits": BITS, "keys": KEYS, "hashes": HASHES, "lists": LISTS, "sets": SETS,
    "sorted sets": SORTED_SETS, "ranges": RANGES, "coordination": COORDINATION, "waiting": WAITING,
}  # fmt: skip
SENT_BY_NO_METHOD = {
    b"SETEX",  # its method sends PSETEX, to whose milliseconds seconds with a fraction are turned
    b"EXPIRE",
    b"EXPIREAT",
}


async def carry_out(steps: Steps) -> OneKeyspace:
    kv = OneKeyspace()
    for number, (step, expected) in enumerate(steps):
        answer = await step(kv)
        assert answer == expected, (number, kv.request)
        assert isinstance(answer, type(expected)), (number, kv.request)
    return kv


@pytest.mark.parametrize("steps", GROUPS.values(), ids=GROUPS)
async def test_each_method_sends_its_command_and_gives_its_answer(steps: Steps) -> None:
    await carry_out(steps)


async def test_every_command_has_a_method() -> None:
    used = set().union(*[(await carry_out(steps)).used for steps in GROUPS.values()])
    public = {name for name, spec in COMMANDS.items() if not spec.internal}
    assert public - used == SENT_BY_NO_METHOD
    assert all(hasattr(Commands, name.decode().lower()) for name in SENT_BY_NO_METHOD)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda kv: kv.set("k", True), TypeError),
        (lambda kv: kv.set("k", None), TypeError),
        (lambda kv: kv.get(["k"]), TypeError),
        (lambda kv: kv.set("k", "\ud800"), ValueError),
        (lambda kv: kv.set("k", "v", ex=float("nan")), ValueError),
        (lambda kv: kv.set("k", "v", ex=float("inf")), ValueError),
        (lambda kv: kv.set("k", "v", ex=1, px=1), ValueError),
        (lambda kv: kv.zunion("abc"), TypeError),
    ],
)
def test_what_is_no_argument_is_refused_by_type(call: Callable[[Any], object], error: type[Exception]) -> None:
    kv = OneKeyspace()
    with pytest.raises(error):
        call(kv)
    assert not kv.used


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda kv: kv.delete(), "wrong number of arguments for 'del' command"),
        (lambda kv: kv.set("k", "v", ex=0), "invalid expire time in 'set' command"),
        (lambda kv: kv.set("k", "v", ex=1, keepttl=True), "syntax error"),
        (lambda kv: kv.set("k", "v", nx=True, xx=True), "syntax error"),
        (lambda kv: kv.zadd("z", {"a": float("nan")}), "not a valid float"),
        (lambda kv: kv.execute("NOSUCH", 1), "unknown command 'NOSUCH'"),
        (lambda kv: kv.execute("QUORATE.SWEEP"), "unknown command 'QUORATE.SWEEP'"),
        (lambda kv: kv.execute("MULTI"), "unknown command 'MULTI'"),
    ],
)
def test_what_needs_no_data_to_be_refused_is_refused_at_once(call: Callable[[Any], object], message: str) -> None:
    kv = OneKeyspace()
    with pytest.raises(KvError, match=message) as refused:
        call(kv)
    assert refused.value.code == "ERR"
    assert not kv.used


async def test_times_are_sent_in_milliseconds() -> None:
    kv = OneKeyspace()
    await kv.set("k", "v", ex=timedelta(minutes=1, milliseconds=5))
    assert kv.request == [b"SET", b"k", b"v", b"PX", b"60005"]
    await kv.set("k", "v", exat=datetime.fromtimestamp(START + 0.25, UTC))
    assert kv.request == [b"SET", b"k", b"v", b"PXAT", b"%d" % (START * 1000 + 250)]
    await kv.set("k", "v", pxat=START * 1000 + 1)
    assert await kv.pttl("k") == 1


async def test_any_command_by_its_name() -> None:
    kv = OneKeyspace()
    assert await kv.execute("mset", "a", 1, b"b", 2.5) == b"OK"
    assert await kv.execute("GET", "b") == b"2.5"
    assert await kv.execute("SADD", "s", "x") == 1
    assert await kv.execute("SMEMBERS", "s") == {b"x"}
    assert await kv.execute("ZADD", "z", 1, "x") == 1
    assert await kv.execute("ZRANGE", "z", 0, -1, "WITHSCORES") == [(b"x", 1.0)]
    assert await kv.execute("LPOP", "none", 2) is None
    assert type(await kv.execute("TYPE", "a")) is bytes


async def test_a_call_can_be_a_task() -> None:
    kv = OneKeyspace()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(kv.incr("n"))
    assert task.result() == 1
    assert await asyncio.wait_for(kv.incr("n"), 1) == 2
    assert await asyncio.gather(kv.incr("n"), kv.get("n")) == [3, b"3"]


async def test_a_call_that_nobody_awaits_is_told_of() -> None:
    kv = OneKeyspace()
    with pytest.warns(RuntimeWarning, match="never awaited"):
        kv.set("k", "v")


async def test_a_command_that_is_refused_has_a_code() -> None:
    kv = OneKeyspace()
    await kv.set("k", "v")
    with pytest.raises(KvError, match="WRONGTYPE Operation") as refused:
        await kv.lpush("k", 1)
    assert refused.value.code == "WRONGTYPE"
