"""Keyspace notifications: Redis' flags and names, sent by each node to its own clients."""

from __future__ import annotations

import pytest
import redis.exceptions

from quorate.kv.server.notifications import ALL, CLASS_OF, Notifications
from quorate.kv.server.pubsub import PubSub

from .clients import serving
from .support import database, events, run
from .wire import Wire, wire


async def heard(listener: Wire, count: int) -> list[tuple[bytes, bytes]]:
    """Channel and message, so many times."""
    return [tuple((await listener.next())[-2:]) for _ in range(count)]


async def test_every_node_tells_the_same_of_what_it_applies() -> None:
    async with serving(notify_keyspace_events="KEA") as doors:
        first, second, third = doors.cluster.nodes
        async with wire(doors.port(second)) as one, wire(doors.port(third), 3) as two, doors.client(first) as client:
            for listener in (one, two):
                await listener.ask("PSUBSCRIBE", "__key*__:*")
            await client.set("k", "v", ex=100)
            await client.rpush("l", "a")
            await client.lpop("l")
            await client.delete("k")
            expected = [
                (b"k", b"set"), (b"k", b"expire"), (b"l", b"rpush"), (b"l", b"lpop"), (b"l", b"del"), (b"k", b"del")
            ]  # fmt: skip
            both = [
                each
                for key, event in expected
                for each in ((b"__keyspace@0__:" + key, event), (b"__keyevent@0__:" + event, key))
            ]
            assert await heard(one, len(both)) == both
            assert await heard(two, len(both)) == both


async def test_a_key_whose_time_is_over_is_told_of() -> None:
    async with serving(notify_keyspace_events="Ex") as doors:
        node = doors.cluster.nodes[0]
        async with wire(doors.port(node)) as listener, doors.client(node) as client:
            await listener.ask("SUBSCRIBE", "__keyevent@0__:expired", "__keyevent@0__:set")
            await listener.next()
            await client.set("k", "v", px=30)
            assert await listener.next() == [b"message", b"__keyevent@0__:expired", b"k"]


async def test_nothing_is_told_until_it_is_asked_for_and_only_on_that_node() -> None:
    async with serving(2) as doors:
        first, second = doors.cluster.nodes
        async with wire(doors.port(first)) as one, wire(doors.port(second)) as two, doors.client(first) as client:
            for listener in (one, two):
                await listener.ask("PSUBSCRIBE", "*")
            assert await client.config_get("notify*") == {"notify-keyspace-events": ""}
            await client.set("k", "1")
            await client.config_set("notify-keyspace-events", "K$")
            await client.set("k", "2")
            await client.delete("k")
            await client.publish("end", "")
            assert await heard(one, 2) == [(b"__keyspace@0__:k", b"set"), (b"end", b"")]
            assert await heard(two, 1) == [(b"end", b"")]


@pytest.mark.parametrize(
    ("given", "kept"), [("KEA", "AKE"), ("", ""), ("Kg$", "g$K"), ("E$z", "$zE"), ("g$lshzxetdE", "AE")]
)
async def test_flags_are_kept_and_written_as_redis_does(given: str, kept: str) -> None:
    notifications = Notifications(PubSub(10), given)
    assert notifications.flags == kept


async def test_flags_and_settings_that_there_are_not_are_refused() -> None:
    async with serving(1) as doors, doors.client(doors.cluster.nodes[0]) as client:
        for bad in ("Kx!", "KEAm", "n"):
            with pytest.raises(redis.exceptions.ResponseError, match="Invalid event class character"):
                await client.config_set("notify-keyspace-events", bad)
        with pytest.raises(redis.exceptions.ResponseError, match="Unknown option or number of arguments"):
            await client.config_set("maxmemory", 5)
        assert await client.config_get("notify*") == {"notify-keyspace-events": ""}


SAMPLES = [
    ("$", "SET k v"), ("$", "APPEND k v"), ("$", "SETRANGE k 0 v"), ("$", "INCR n"), ("$", "INCRBYFLOAT n 1"),
    ("$", "SETBIT b 1 1"), ("$", "BITFIELD b SET u8 0 1"), ("$", "GETSET k v"), ("$", "BITOP NOT b2 b"),
    ("l", "RPUSH l a b c d e f g h"), ("l", "LPUSH l x"), ("l", "LINSERT l BEFORE a z"), ("l", "LSET l 0 q"),
    ("l", "LREM l 0 q"), ("l", "LTRIM l 0 6"), ("l", "LMOVE l l LEFT RIGHT"), ("l", "LPOP l"), ("l", "RPOP l"),
    ("l", "LMPOP 1 l LEFT"), ("l", "BLPOP l 0"), ("l", "BLMPOP 0 1 l RIGHT"),
    ("s", "SADD s a b c d"), ("s", "SREM s a"), ("s", "SPOP s"), ("s", "SUNIONSTORE s2 s"), ("s", "SINTERSTORE s2 s"),
    ("s", "SDIFFSTORE s3 s none"), ("h", "HSET h f 1 g 2"), ("h", "HINCRBY h f 1"), ("h", "HINCRBYFLOAT h f 1"),
    ("h", "HDEL h f"), ("z", "ZADD z 1 a 2 b 3 c 4 d 5 e 6 f 7 g"), ("z", "ZINCRBY z 1 a"), ("z", "ZREM z a"),
    ("z", "ZPOPMIN z"), ("z", "ZPOPMAX z"), ("z", "ZREMRANGEBYRANK z 0 0"), ("z", "ZREMRANGEBYSCORE z 4 4"),
    ("z", "ZREMRANGEBYLEX z [e [e"), ("z", "ZADD z 8 h 9 i"), ("z", "ZUNIONSTORE z2 1 z"), ("z", "ZINTERSTORE z2 1 z"),
    ("z", "ZDIFFSTORE z2 2 z none"), ("z", "ZRANGESTORE z2 z 0 -1"), ("z", "BZPOPMIN z 0"), ("z", "BZMPOP 0 1 z MAX"),
    ("g", "EXPIRE n 100"), ("g", "PERSIST n"), ("g", "COPY n n2"), ("g", "DEL n"),
]  # fmt: skip


def test_each_command_s_event_is_of_the_class_that_redis_puts_it_in() -> None:
    db = database()
    told = events(db)
    seen = set()
    for letter, line in SAMPLES:
        told.clear()
        run(db, *line.split())
        assert told, line
        assert {CLASS_OF.get(event, "g") for event, _ in told if event != "del" or letter == "g"} == {letter}, line
        seen.update(event for event, _ in told)
    assert set(CLASS_OF) - seen == {"expired"}
    assert {letter for letter, _ in SAMPLES} | set("xetd") == set(ALL)
