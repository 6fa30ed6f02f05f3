"""The key-value store in a program that embeds three nodes, one of which is killed."""

import asyncio

from quorate import Kv, KvError
from quorate.testing import TestCluster


async def nightly_report(kv: Kv) -> None:
    async with kv.lock("lock:report", ttl=10) as lock:  # one node at a time; renewed as long as the block runs
        await lock.fenced.set("report", "all is well")  # refused, should the lock be lost by then


async def main() -> None:
    async with TestCluster(3, kv=True) as cluster:
        kv = (await cluster.wait_for_leader()).kv
        await kv.set("greeting", "hello", ex=3600)
        await kv.hset("user:1", {"name": "Ann", "visits": 41})
        await asyncio.gather(*(kv.zadd("board", {name: len(name)}) for name in ("ann", "barbara", "christopher")))

        changes = kv.watch(prefix="user:")
        async with kv.transaction() as tx:  # both or nothing
            visits = tx.hincrby("user:1", "visits")
            tx.rpush("log", "Ann came by")
        print(await visits, (await anext(changes)).key)

        await cluster.stop_leader()
        kv = cluster.nodes[0].kv  # any node will do: a follower passes writes on, and reads are strong everywhere
        print(await kv.get("greeting"), await kv.zrange("board", 0, 0, desc=True, withscores=True))
        await kv.once("payment 4711").incr("payments")
        await kv.once("payment 4711").incr("payments")  # a retry: applied once
        await asyncio.gather(*(nightly_report(node.kv) for node in cluster.nodes))
        print(await kv.mget("payments", "report"))
        try:
            await kv.lpush("greeting", "x")
        except KvError as error:
            print(error.code)


asyncio.run(main())
