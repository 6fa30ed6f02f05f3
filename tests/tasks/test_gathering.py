"""Submits of many callers travel together, and each is answered as if it had travelled alone."""

from __future__ import annotations

import asyncio

import pytest

from quorate.errors import NodeStopped, OutcomeUnknown, QuorateError
from quorate.machine.outcome import Applied
from quorate.tasks.commands import New, Spec, Submit
from quorate.tasks.errors import IdTaken, QueueFull, TaskRefusal
from quorate.tasks.gathering import BYTES_MAX, TASKS_MAX, Submits
from quorate.tasks.lifecycle import State

READY = (int(State.READY), False)


class Log:
    """Takes commands, as slowly as it is told to; ``wrong`` are ids that are refused."""

    def __init__(self) -> None:
        self.commands: list[Submit] = []
        self.open = asyncio.Event()
        self.open.set()
        self.wrong: dict[str, TaskRefusal] = {}
        self.fails: QuorateError | None = None

    async def propose(self, command: Submit) -> Applied:
        self.commands.append(command)
        await self.open.wait()
        if self.fails is not None:
            raise self.fails
        for task in command.tasks:
            if task.id in self.wrong:
                raise self.wrong[task.id]
        return Applied(len(self.commands), 1, [READY for _ in command.tasks])

    @property
    def sizes(self) -> list[int]:
        return [len(command.tasks) for command in self.commands]


SPEC = Spec("q", "t")


def one(task_id: str, spec: Spec = SPEC, payload: bytes = b"{}", **more: object) -> Submit:
    return Submit([spec], [New(0, task_id, payload, **more)])  # type: ignore[arg-type]


async def test_what_comes_in_one_turn_is_one_command() -> None:
    log = Log()
    submits = Submits(log.propose)
    specs = [Spec("q", "t"), Spec("q", "t", priority=9)]
    answers = await asyncio.gather(*(submits.submit(one(f"t{n}", specs[n % 2])) for n in range(5)))
    assert answers == [Applied(1, 1, [READY])] * 5
    (command,) = log.commands
    assert command.specs == specs
    assert [(task.id, task.spec) for task in command.tasks] == [("t0", 0), ("t1", 1), ("t2", 0), ("t3", 1), ("t4", 0)]


async def test_what_comes_while_one_is_on_its_way_is_the_next() -> None:
    log = Log()
    log.open.clear()
    submits = Submits(log.propose)
    first = asyncio.ensure_future(submits.submit(one("a")))
    while not log.commands:  # noqa: ASYNC110
        await asyncio.sleep(0)
    rest = [asyncio.ensure_future(submits.submit(one(f"t{n}"))) for n in range(10)]
    await asyncio.sleep(0)
    assert log.sizes == [1]
    log.open.set()
    await asyncio.gather(first, *rest)
    assert log.sizes == [1, 10]


async def test_nobody_waits_long_for_a_command_that_does_not_end() -> None:
    log = Log()
    log.open.clear()
    submits = Submits(log.propose)
    both = []
    for name in ("a", "b"):
        both.append(asyncio.ensure_future(submits.submit(one(name))))
        async with asyncio.timeout(10):
            while len(log.commands) < len(both):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    log.open.set()
    await asyncio.gather(*both)


async def test_one_that_is_refused_costs_the_others_nothing() -> None:
    log = Log()
    log.wrong = {"b": IdTaken("b"), "d": QueueFull("q", 1)}
    submits = Submits(log.propose)
    answers = await asyncio.gather(*(submits.submit(one(name)) for name in "abcd"), return_exceptions=True)
    assert answers == [Applied(2, 1, [READY]), log.wrong["b"], Applied(4, 1, [READY]), log.wrong["d"]]
    assert log.sizes == [4, 1, 1, 1, 1]


async def test_the_same_task_twice_in_one_command_is_a_duplicate() -> None:
    log = Log()
    submits = Submits(log.propose)
    answers = await asyncio.gather(submits.submit(one("a")), submits.submit(one("a")))
    assert [answer.result for answer in answers] == [[READY], [(READY[0], True)]]


async def test_what_is_unknown_is_unknown_for_all_and_they_are_not_submitted_again() -> None:
    log = Log()
    log.fails = OutcomeUnknown("no quorum")
    submits = Submits(log.propose)
    answers = await asyncio.gather(*(submits.submit(one(name)) for name in "abc"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [OutcomeUnknown] * 3
    assert log.sizes == [3]


async def test_a_command_has_bounds() -> None:
    log = Log()
    submits = Submits(log.propose)
    await asyncio.gather(*(submits.submit(one(f"t{n}")) for n in range(TASKS_MAX + 1)))
    assert sorted(log.sizes) == [1, TASKS_MAX]
    log.commands.clear()
    half = b" " * (BYTES_MAX // 2 + 1)
    await asyncio.gather(*(submits.submit(one(f"h{n}", payload=half)) for n in range(3)))
    assert log.sizes == [1, 1, 1]
    log.commands.clear()
    large = one("large", payload=b" " * (BYTES_MAX + 1))
    dependent = one("dependent", depends_on=("t0",))
    await asyncio.gather(submits.submit(large), submits.submit(dependent), submits.submit(one("small")))
    assert log.sizes == [1, 1, 1]


async def test_a_caller_who_has_gone_is_not_submitted_for_any_more() -> None:
    log = Log()
    submits = Submits(log.propose)
    gone = asyncio.ensure_future(submits.submit(one("gone")))
    stays = asyncio.ensure_future(submits.submit(one("stays")))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).result == [READY]
    assert [task.id for command in log.commands for task in command.tasks] == ["stays"]


async def test_at_the_end_everybody_is_told() -> None:
    log = Log()
    log.fails = NodeStopped("the node is stopping")
    submits = Submits(log.propose)
    waiting = asyncio.ensure_future(submits.submit(one("a")))
    await asyncio.sleep(0)
    await submits.end()
    with pytest.raises(NodeStopped):
        await waiting
