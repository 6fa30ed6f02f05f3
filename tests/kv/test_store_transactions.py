"""Transactions in Python: applied as one or not at all, and again where there was a conflict."""

# ruff: noqa: PT012 (what raises is the end of a block)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from quorate import ConfigError, KvError, NotApplied, OutcomeUnknown, TransactionConflict, TransactionRefused
from quorate.kv.store.kv import Kv
from quorate.kv.store.transaction import Transaction
from quorate.testing import TestCluster


@pytest.fixture
async def cluster() -> AsyncIterator[TestCluster]:
    async with TestCluster(3, kv=True, settings={"proposal_timeout_ms": 3_000}) as cluster:
        await cluster.wait_for_leader()
        yield cluster


@pytest.fixture
async def kv(cluster: TestCluster) -> Kv:
    return (await cluster.wait_for_leader()).kv


async def test_a_transaction_is_one_entry(cluster: TestCluster, kv: Kv) -> None:
    leader = await cluster.wait_for_leader()
    before = leader.status.last_index
    async with kv.transaction() as tx:
        first = tx.incr("n")
        tx.sadd("s", "a", "b")
        members = tx.smembers("s")
    assert leader.status.last_index == before + 1
    assert await first == 1
    assert await members == {b"a", b"b"}
    assert tx.results == [1, 2, {b"a", b"b"}]


async def test_nothing_is_sent_before_the_end_or_after_an_error(kv: Kv) -> None:
    with pytest.raises(LookupError):
        async with kv.transaction() as tx:
            call = tx.set("k", "v")
            with pytest.raises(RuntimeError, match="once its block has ended well"):
                await call
            assert await kv.exists("k") == 0
            raise LookupError
    assert await kv.exists("k") == 0
    with pytest.raises(RuntimeError, match="within its block"):
        tx.set("k", "v")
    async with kv.transaction() as tx:
        pass
    assert tx.results == []


async def test_a_watched_key_that_has_changed_is_a_conflict(kv: Kv) -> None:
    with pytest.raises(TransactionConflict):
        async with kv.transaction(watch=["a", "b"]) as tx:
            await kv.set("b", "changed meanwhile")
            tx.set("a", "never")
    assert await kv.exists("a") == 0
    async with kv.transaction(watch=["a", "b"]) as tx:
        tx.set("a", "now")
    assert await kv.get("a") == b"now"
    with pytest.raises(TypeError):
        kv.transaction(watch="ab")


async def test_a_key_that_is_deleted_and_made_anew_is_a_conflict(kv: Kv) -> None:
    await kv.set("a", 1)
    with pytest.raises(TransactionConflict):
        async with kv.transaction(watch=["a"]) as tx:
            await kv.delete("a")
            await kv.set("a", 1)
            tx.incr("a")


async def test_commands_that_are_refused_are_told_of(kv: Kv) -> None:
    await kv.set("text", "no number")
    with pytest.raises(TransactionRefused, match=r"not an integer.*1 of 3") as refused:
        async with kv.transaction() as tx:
            tx.set("a", 1)
            bad = tx.incr("text")
            good = tx.incr("a")
    assert await good == 2
    with pytest.raises(KvError, match="not an integer"):
        await bad
    assert refused.value.results[0] is True
    assert isinstance(refused.value.results[1], KvError)
    assert await kv.get("a") == b"2"


async def test_bad_arguments_never_reach_the_log(cluster: TestCluster, kv: Kv) -> None:
    before = (await cluster.wait_for_leader()).status.last_index
    with pytest.raises(KvError, match="invalid expire time"):
        async with kv.transaction() as tx:
            tx.set("a", 1)
            tx.set("k", "v", ex=-1)
    assert (await cluster.wait_for_leader()).status.last_index == before


async def test_a_transaction_has_bounds(kv: Kv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quorate.kv.store.transaction.COMMANDS_MAX", 2)
    with pytest.raises(KvError, match="at most 2 commands"):
        async with kv.transaction() as tx:
            for _ in range(3):
                tx.incr("n")
    assert await kv.exists("n") == 0


async def test_a_transaction_that_would_copy_too_much_is_refused(kv: Kv) -> None:
    await kv.set("k", b"x" * (8 << 20))
    with pytest.raises(KvError, match="would copy more than"):
        async with kv.transaction() as tx:
            for _ in range(10):
                tx.append("k", "x")
    assert await kv.strlen("k") == 8 << 20


async def test_a_transaction_with_an_id_is_applied_once(cluster: TestCluster) -> None:
    for node in cluster.nodes:
        async with node.kv.once("order 7").transaction() as tx:
            tx.decr("stock")
            tx.rpush("orders", 7)
        assert tx.results == [-1, 1]
    with pytest.raises(ConfigError, match="watches nothing"):
        cluster.nodes[0].kv.once("order 8").transaction(watch=["stock"])


async def test_money_is_moved_and_never_made(cluster: TestCluster) -> None:
    accounts = ["a", "b", "c"]
    await cluster.nodes[0].kv.mset(dict.fromkeys(accounts, 100))

    async def transfer(number: int) -> None:
        kv = cluster.nodes[number % 3].kv
        source, target = accounts[number % 3], accounts[(number + 1) % 3]

        async def move(tx: Transaction) -> int:
            balance = int(await kv.get(source) or 0)
            tx.set(source, balance - 1)
            tx.set(target, int(await kv.get(target) or 0) + 1)
            return balance

        assert await kv.transact(move, watch=[source, target], attempts=1_000) > 0

    await asyncio.gather(*(transfer(number) for number in range(31)))
    assert await cluster.nodes[0].kv.mget(*accounts) == [b"99", b"101", b"100"]


async def test_conflicts_without_end_come_to_an_end(kv: Kv) -> None:
    attempts = 0

    async def hopeless(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await kv.incr("n")
        tx.set("n", 0)

    with pytest.raises(TransactionConflict):
        await kv.transact(hopeless, watch=["n"], attempts=3)
    assert attempts == 3
    assert await kv.get("n") == b"3"
    with pytest.raises(ValueError, match="at least"):
        await kv.transact(hopeless, watch=["n"], attempts=0)


async def test_when_the_leader_is_killed_a_transaction_is_there_as_a_whole(cluster: TestCluster) -> None:
    leader = await cluster.wait_for_leader()
    kv = next(node for node in cluster.nodes if node is not leader).kv

    async def both(number: int) -> bool:
        try:
            async with kv.transaction() as tx:
                tx.sadd("first", number)
                tx.sadd("second", number)
        except (NotApplied, OutcomeUnknown):
            return False
        return True

    working = [asyncio.create_task(both(number)) for number in range(200)]
    await cluster.wait_until(lambda: any(task.done() for task in working))
    await cluster.stop_leader()
    done = await asyncio.gather(*working)
    first, second = await kv.smembers("first"), await kv.smembers("second")
    assert first == second
    assert first >= {b"%d" % number for number in range(200) if done[number]}
