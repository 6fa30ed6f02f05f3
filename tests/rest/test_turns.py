"""Large requests wait for each other, in their order, and not for ever."""

from __future__ import annotations

import asyncio

import pytest

from quorate.errors import ProposalDropped
from quorate.rest import turns
from quorate.rest.turns import UNDER_WAY_BYTES_MAX, WAITING_BYTES_MAX, Turns

MIB = 1 << 20


class Requests:
    """Requests that have their turn until they are told to end."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, size: int) -> None:
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._work(name, size))
        await self._settle()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]
        await self._settle()

    async def leave(self, name: str, *, settle: bool = True) -> None:
        self._tasks[name].cancel()
        if settle:
            await asyncio.wait([self._tasks[name]])
            await self._settle()

    async def refusal(self, name: str) -> str:
        with pytest.raises(ProposalDropped) as refused:
            await self._tasks[name]
        return str(refused.value)

    async def _work(self, name: str, size: int) -> None:
        async with self.turns.turn(size):
            self.begun.append(name)
            await self._ends[name].wait()

    async def _settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_as_many_are_worked_at_as_there_is_room_for_and_the_rest_in_order() -> None:
    requests = Requests()
    await requests.come("large", 10 * MIB)
    await requests.come("half", UNDER_WAY_BYTES_MAX // 2)
    await requests.come("other half", UNDER_WAY_BYTES_MAX // 2)
    await requests.come("one more", MIB)
    assert requests.begun == ["large"]
    await requests.end("large")
    assert requests.begun == ["large", "half", "other half"]
    await requests.end("half")
    assert requests.begun[3:] == ["one more"]
    await requests.come("too much", UNDER_WAY_BYTES_MAX)
    await requests.come("behind it", MIB)  # there would be room for it, but it is not its turn
    assert requests.begun[4:] == []
    await requests.end("other half")
    await requests.end("one more")
    assert requests.begun[4:] == ["too much"]
    await requests.end("too much")
    assert requests.begun[5:] == ["behind it"]
    await requests.end("behind it")


async def test_who_leaves_makes_room() -> None:
    requests = Requests()
    await requests.come("at work", 10 * MIB)
    await requests.come("waits", 10 * MIB)
    await requests.come("next", 10 * MIB)
    await requests.leave("waits")
    await requests.leave("at work")
    assert requests.begun == ["at work", "next"]
    await requests.end("next")
    assert (requests.turns._under_way, requests.turns._waiting_bytes) == (0, 0)


async def test_who_leaves_as_its_turn_comes_hands_it_on() -> None:
    requests = Requests()
    await requests.come("at work", 10 * MIB)
    await requests.come("first", 10 * MIB)
    await requests.come("second", 10 * MIB)
    requests._ends["at work"].set()
    await asyncio.sleep(0)  # the first has its turn, and has not learnt of it
    await requests.leave("first")
    assert requests.begun == ["at work", "second"]
    await requests.come("third", 10 * MIB)
    requests._ends["second"].set()
    await requests.leave("third", settle=False)  # given up, and not yet gone, when its turn comes
    await requests.end("second")
    await requests.come("fourth", 10 * MIB)
    assert requests.begun[2:] == ["fourth"]
    await requests.end("fourth")
    assert (requests.turns._under_way, requests.turns._waiting_bytes) == (0, 0)


async def test_what_waits_is_bounded_in_bytes_and_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = Requests()
    await requests.come("at work", 10 * MIB)
    await requests.come("waits", WAITING_BYTES_MAX - MIB)
    await requests.come("too much", 2 * MIB)
    assert "wait for their turn already" in await requests.refusal("too much")
    monkeypatch.setattr(turns, "WAIT_SECONDS_MAX", 0.001)
    await requests.come("impatient", MIB)
    assert "all the time" in await requests.refusal("impatient")
    await requests.end("at work")
    await requests.end("waits")
    assert (requests.turns._under_way, requests.turns._waiting_bytes) == (0, 0)
