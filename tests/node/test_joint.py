"""Joint commands proposed at nodes: models and keys together, while everything else goes on and nodes are killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from quorate import App, ConfigError, Model, Node, field
from quorate.errors import CommandFailed, NodeStopped, NotApplied, OutcomeUnknown, ProposalTooLarge
from quorate.kv.machine import MACHINE as KV
from quorate.kv.machine import KvMachine
from quorate.kv.transactions import Transaction, as_request
from quorate.kv.trial import KeysRefused, WatchedChanged
from quorate.machine.commands import Command
from quorate.machine.contract import Machine
from quorate.machine.router import Router
from quorate.models.commands import Change, Create, Delete, encode_command
from quorate.models.errors import Conflict, InTransaction
from quorate.models.feeds import changes
from quorate.models.machine import MACHINE as MODELS
from quorate.models.machine import ModelsMachine
from quorate.testing import TestCluster
from tests.machine.joints import Account, Stock, together
from tests.machine.support import Script, entry

from .snapshot_support import EARLY


class Note(Model):
    number: int = field(primary_key=True, track_history=False)
    text: str = ""


app = App(models=[Note])
Parts = list[tuple[str, bytes]]


def create(*numbers: int) -> tuple[str, bytes]:
    return MODELS, encode_command(Change([Create("Note", ("number",), [(number,)]) for number in numbers]))


def delete(*numbers: int) -> tuple[str, bytes]:
    return MODELS, encode_command(Change([Delete("Note", number) for number in numbers]))


def keys(*lines: str, watched: Mapping[bytes, int] | None = None) -> tuple[str, bytes]:
    requests = [[word.encode() for word in line.split()] for line in lines]
    return KV, msgspec.msgpack.encode([as_request(Transaction(list((watched or {}).items()), requests))])


# -- the models' memory ----------------------------------------------------------------------------------


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    router = Router({MODELS: ModelsMachine(app.schemas), KV: KvMachine()})
    router.open(tmp_path / "state")
    yield router
    router.close(flush=False)


def models_of(router: Router) -> ModelsMachine:
    machine = router.machines[MODELS]
    assert isinstance(machine, ModelsMachine)
    return machine


def kv_of(router: Router) -> KvMachine:
    machine = router.machines[KV]
    assert isinstance(machine, KvMachine)
    return machine


def do(router: Router, *parts: tuple[str, bytes]) -> Any:
    (outcome,) = router.apply(entry(router.applied + 1, together(parts)))
    return outcome


def test_what_the_keys_refuse_the_models_have_not_done(router: Router) -> None:
    assert do(router, create(1, 2), keys("SET a 1")) == [[[1, 1], [2, 2]], [[b"OK"]]]
    machine = models_of(router)
    assert (machine.events.last, machine.tables["Note"].count) == (2, 2)
    for refused in (keys("SET b 1", "HSET a f v"), keys("SET b 1", watched={b"a": 7})):
        outcome = do(router, create(3, 4, 5), refused)
        assert isinstance(outcome, KeysRefused)
        assert isinstance(outcome, WatchedChanged) is (b"f" not in refused[1])
        assert (machine.events.last, machine.tables["Note"].count) == (2, 2)
        assert [event.key for event in machine.events.after(0, 10).events] == [1, 2]
    assert isinstance(do(router, delete(1, 9), keys("SET b 1")), InTransaction)
    assert isinstance(do(router, create(2), keys("SET b 1")), Conflict)
    assert (machine.events.last, machine.tables["Note"].count, len(kv_of(router).keyspace)) == (2, 2, 1)
    assert do(router, create(3), keys("SET b 1"))[0] == [[3, 3]]


def test_single_commands_in_the_entry_go_on_behind_a_refused_joint_one(router: Router) -> None:
    models, kv = create(1), keys("SET a 1")
    outcomes = router.apply(
        entry(
            1,
            Command(*models),
            together([create(2), keys("INCRBY b x", "NONSENSE")]),
            Command(*create(3)),
            Command(*kv),
        )
    )
    assert [isinstance(outcome, CommandFailed) for outcome in outcomes] == [False, True, False, False]
    assert models_of(router).events.last == 2


def test_who_follows_the_keys_hears_of_what_was_done_alone(router: Router) -> None:
    told: list[Any] = []
    kv_of(router).keyspace.on_change = told.append
    do(router, create(1), keys("SET a 1"))
    do(router, create(1), keys("SET a 2"))
    do(router, create(2), keys("SET a 3", "INCRBY a x"))
    do(router, create(2), keys("SET a 4", "LPUSH a 1"))
    assert [(event, revision) for event, _, revision, _ in told] == [("set", 1)]


async def test_who_follows_the_models_hears_of_what_was_done_alone() -> None:
    async with TestCluster(1, app=app, kv=True) as cluster:
        node = await cluster.wait_for_leader()
        followed = changes(models_of(node._router), node, 0)
        await node.propose_together([create(1), keys("SET a 1")])
        assert (await anext(followed)).key == 1
        second = asyncio.create_task(anext(followed))
        with pytest.raises(KeysRefused):
            await node.propose_together([create(2), keys("LPUSH a 1")])
        await node.propose_together([create(3), keys("SET a 2")])
        event = await second
        assert (event.key, event.sequence) == (3, 2)
        await followed.aclose()


# -- proposing -------------------------------------------------------------------------------------------


def machines() -> dict[str, Machine]:
    return {"a": Account("a"), "b": Account("b"), "s": Stock("s"), "memory": Script()}


async def test_any_node_takes_them_and_sees_what_was_done() -> None:
    async with TestCluster(3, machines=machines) as cluster:
        await cluster.wait_for_leader()
        for number, node in enumerate(cluster.nodes, 1):
            applied = await node.propose_together([("b", b"%d" % number), ("s", b"1")])
            assert applied.result == [sum(range(number + 1)), number]
            with pytest.raises(CommandFailed, match="overdrawn") as refused:
                await node.propose_together((("a", b"1"), ("b", b"-100")))
            assert refused.value.__notes__ == ["as part 1 of a joint command, for 'b'"]
        await cluster.wait_for_convergence()
        assert len({node._router.digest() for node in cluster.nodes}) == 1


async def test_what_no_node_could_apply_gets_no_further() -> None:
    async with TestCluster(1, machines=machines, settings={"max_command_bytes": 1024}) as cluster:
        node = await cluster.wait_for_leader()
        before = node.status.last_index
        bad: list[tuple[type[Exception], Any]] = [
            (ConfigError, []),
            (ConfigError, [("a", b"1"), ("memory", b"1")]),
            (ConfigError, [("a", b"1"), ("nobody", b"1")]),
            (ConfigError, [("s", b"1"), ("a", b"1")]),
            (ConfigError, [("a", b"1"), ("a", b"1")]),
            (TypeError, [("a", "1")]),
            (ProposalTooLarge, [("a", b"1" * 1025)]),
            (ProposalTooLarge, [("a", b"1" * 600), ("b", b"1" * 600)]),
        ]
        for error, parts in bad:
            with pytest.raises(error):
                await node.propose_together(parts)
        assert node.status.last_index == before
        await node.stop()
        with pytest.raises(NodeStopped):
            await node.propose_together([("a", b"1")])


# -- with everything at once -----------------------------------------------------------------------------


class Writers:
    """Propose until they are told to end, at whatever node runs. Each number is for one command."""

    def __init__(self, cluster: TestCluster, random: Random) -> None:
        self._cluster = cluster
        self._random = random
        self._numbers = iter(range(1, 1_000_000))
        self.done: set[int] = set()
        """Those that were carried out, as far as their callers know."""
        self.refused: set[int] = set()
        self.singles = 0
        self.ended = False

    async def joint(self) -> None:
        """Tries each number until it is known what became of it."""
        while not self.ended:
            number = next(self._numbers)
            spoiled = self._random.random() < 0.3
            parts = [create(number), keys(f"RPUSH list {number}", "HSET list f v" if spoiled else "INCR count")]
            tries = 0
            while number not in self.done | self.refused and not self.ended:
                tries += 1
                try:
                    await self._node().propose_together(parts, timeout=1.0)
                    self.done.add(number)
                except Conflict:
                    assert tries > 1, "somebody else has done it"
                    self.done.add(number)
                except KeysRefused:
                    assert spoiled
                    self.refused.add(number)
                except (NotApplied, OutcomeUnknown):
                    await asyncio.sleep(0.02)

    async def single(self) -> None:
        """Commands of either machine, between them."""
        while not self.ended:
            machine, body = (
                create(-next(self._numbers)) if self._random.random() < 0.5 else keys("INCR hits", "RPUSH list 0")
            )
            try:
                await self._node().propose(body, machine=machine, timeout=1.0)
                self.singles += 1
            except (NotApplied, OutcomeUnknown):
                await asyncio.sleep(0.02)

    def _node(self) -> Node:
        if not self._cluster.nodes:
            raise NodeStopped
        return self._random.choice(self._cluster.nodes)


async def disturb(cluster: TestCluster, random: Random) -> None:
    """Begin checkpoints, and kill one node or all, and start them again."""
    for _ in range(3):
        if cluster.nodes and (group := random.choice(cluster.nodes)._group) is not None:
            group.applier.begin_checkpoint()
        await asyncio.sleep(random.random() * 0.2)
    killed = random.choice([[1], [2], [3], [1, 2, 3]])
    power_is_lost = random.random() < 0.5
    for node_id in killed:
        await (cluster.crash(node_id) if power_is_lost else cluster.kill(node_id))
    for node_id in killed:
        await cluster.start(node_id)
    await cluster.wait_for_leader()


def stored(node: Node) -> tuple[list[int], list[int], int]:
    """The numbers that the models have, those in the list of the keys, and their count."""
    models, kv = models_of(node._router), kv_of(node._router)
    numbers = sorted(key for (key, *_) in models.tables["Note"].page(1_000_000, 0) if isinstance(key, int) and key > 0)
    elements: Any = kv.keyspace.items.get(b"list")
    count: Any = kv.keyspace.items.get(b"count")
    in_keys = sorted(number for each in elements.value.elements if (number := int(each))) if elements else []
    return numbers, in_keys, int(count.value) if count else 0


@pytest.mark.parametrize("seed", range(3))
async def test_nodes_that_are_killed_lose_no_half(seed: int) -> None:
    random = Random(seed)
    async with TestCluster(3, app=app, kv=True, settings=EARLY, seed=seed) as cluster:
        await cluster.wait_for_leader()
        writers = Writers(cluster, random)
        writing = [asyncio.create_task(each()) for each in [writers.joint] * 6 + [writers.single] * 2]
        for _ in range(4):
            done = len(writers.done)
            await disturb(cluster, random)
            await cluster.wait_until(lambda done=done: len(writers.done) > done + 20, 20.0)  # type: ignore[misc]
        writers.ended = True
        await asyncio.gather(*writing)
        for node_id in (1, 2, 3):
            await cluster.kill(node_id)
        for node_id in (1, 2, 3):
            await cluster.start(node_id)
        await cluster.wait_for_leader()
        await cluster.wait_for_convergence()
        assert len({node._router.digest() for node in cluster.nodes}) == 1
        for node in cluster.nodes:
            in_models, in_keys, count = stored(node)
            assert in_models == in_keys
            assert count == len(in_keys)
            assert writers.done <= set(in_models)
            assert not writers.refused & set(in_models)
        assert writers.refused
        assert writers.singles
