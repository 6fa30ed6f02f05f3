"""What type checkers make of the store: checked by mypy, never run. See ``tests/typing``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from quorate import Kv, Node
from quorate.kv.store.coordination import LeaseInfo, LockHolder, Versioned
from quorate.kv.store.transaction import Transaction
from quorate.testing import TestCluster


async def answers(kv: Kv) -> None:
    assert_type(await kv.get("k"), bytes | None)
    assert_type(await kv.set(b"k", 1.5, ex=timedelta(minutes=1)), bool)
    assert_type(await kv.set("k", "v", exat=datetime.now(UTC), nx=True), bool)
    assert_type(await kv.mget("a", b"b"), list[bytes | None])
    assert_type(await kv.mset({"a": 1, "b": "x"}), None)
    assert_type(await kv.mset({b"a": 1.5}), None)
    assert_type(await kv.incr("n"), int)
    assert_type(await kv.incrbyfloat("n", 0.5), float)
    assert_type(await kv.expire("k", 1.5), bool)
    assert_type(await kv.type("k"), str)
    assert_type(await kv.hset("h", {"a": 1}), int)
    assert_type(await kv.hset("h", "a", 1), int)
    assert_type(await kv.hgetall("h"), dict[bytes, bytes])
    assert_type(await kv.hrandfield("h"), bytes | None)
    assert_type(await kv.hrandfield("h", 2), list[bytes])
    assert_type(await kv.hrandfield("h", 2, withvalues=True), list[tuple[bytes, bytes]])
    assert_type(await kv.lpop("l"), bytes | None)
    assert_type(await kv.lpop("l", 2), list[bytes])
    assert_type(await kv.lpos("l", "x"), int | None)
    assert_type(await kv.lpos("l", "x", count=1), list[int])
    assert_type(await kv.smembers("s"), set[bytes])
    assert_type(await kv.spop("s", 2), set[bytes])
    assert_type(await kv.zadd("z", {"a": 1.0}), int)
    assert_type(await kv.zscore("z", "a"), float | None)
    assert_type(await kv.zrange("z", 0, -1), list[bytes])
    assert_type(await kv.zrange("z", 0, -1, withscores=True), list[tuple[bytes, float]])
    assert_type(await kv.zpopmin("z"), tuple[bytes, float] | None)
    assert_type(await kv.zpopmin("z", 2), list[tuple[bytes, float]])
    assert_type(await kv.zunion({"a": 2.0}, withscores=True), list[tuple[bytes, float]])
    assert_type(await kv.scan(), tuple[int, list[bytes]])
    assert_type(await kv.get_versioned("k"), Versioned | None)
    assert_type(await kv.compare_and_set("k", 0, "v"), int | None)
    assert_type(await kv.lock_holder("k"), LockHolder | None)
    assert_type(await kv.lease_info("k"), LeaseInfo | None)
    assert_type(await kv.execute("GET", "k"), Any)


async def views(kv: Kv) -> None:
    assert_type(await kv.local.get("k"), bytes | None)
    assert_type(await kv.once("id").incr("n"), int)
    assert_type(await kv.with_options(timeout=1).get("k"), bytes | None)
    assert_type([key async for key in kv.scan_iter("a*")], list[bytes])
    async with kv.lock("l", ttl=10) as lock:
        assert_type(lock.token, int)
        assert_type(await lock.fenced.incr("n"), int)
    async with kv.lease(ttl=10) as lease:
        await lease.set("k", "v")


async def together(kv: Kv) -> None:
    assert_type(await asyncio.gather(kv.get("a"), kv.incr("n")), tuple[bytes | None, int])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(kv.get("a"))
    assert_type(task.result(), bytes | None)
    async with kv.transaction(watch=["a"]) as tx:
        tx.set("a", 1)  # not awaited: no checker may ask for it
        count = tx.incr("n")
    assert_type(await count, int)

    async def work(tx: Transaction) -> str:
        tx.set("a", 1)
        return "done"

    assert_type(await kv.transact(work, watch=["a"]), str)


async def nodes(node: Node, cluster: TestCluster, keys: Sequence[str]) -> None:
    assert_type(node.kv, Kv)
    assert_type((await cluster.wait_for_leader()).kv, Kv)
    assert_type(await node.kv.exists(*keys), int)


async def refused(kv: Kv) -> None:
    """Each of these has to be an error: with ``warn_unused_ignores`` a line that is none is one."""
    await kv.set("k", None)  # type: ignore[arg-type]
    await kv.set("k", "v", ex="10")  # type: ignore[arg-type]
    await kv.get(1)  # type: ignore[arg-type]
    await kv.bitop("NAND", "a", "b")  # type: ignore[arg-type]
    await kv.zadd("z", {"a": "1"})  # type: ignore[dict-item]
    await kv.nosuch("k")  # type: ignore[attr-defined]
