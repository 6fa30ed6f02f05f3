"""Asking the leader: one answer per call, its errors as they were, and an unknown end where none comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from quorate.errors import (
    ConfigError,
    MembershipConflict,
    NodeStopped,
    NotLeader,
    OutcomeUnknown,
    ProposalDropped,
    QuorateError,
    TransferFailed,
)
from quorate.node.calls import CALLS_MAX, LeaderAnswer, LeaderCall, LeaderCalls
from quorate.transport.contract import WireMessage

Work = Callable[[LeaderCall], Awaitable[int]]


class Pair:
    """A follower (node 1) and a leader (node 2) whose messages arrive in the next turn, unless ``cut``."""

    def __init__(self, work: Work) -> None:
        self.cut = False
        self.sent: list[WireMessage] = []
        self.follower = LeaderCalls(100, self._to_leader, work)
        self.leader = LeaderCalls(900, self._to_follower, work)

    def _to_leader(self, peer: int, message: WireMessage) -> None:
        self._carry(self.leader, 1, message)

    def _to_follower(self, peer: int, message: WireMessage) -> None:
        self._carry(self.follower, 2, message)

    def _carry(self, target: LeaderCalls, source: int, message: WireMessage) -> None:
        self.sent.append(message)
        if not self.cut:
            assert isinstance(message, LeaderCall | LeaderAnswer)
            asyncio.get_running_loop().call_soon(target.received, source, message)

    async def ask(self, seconds: float = 5.0) -> int:
        return await self.follower.call(2, b"{}", 7, seconds)


async def seven(call: LeaderCall) -> int:
    return call.expected_index


async def test_a_call_returns_what_the_leader_did() -> None:
    assert await Pair(seven).ask() == 8


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("no"),
        MembershipConflict("later"),
        TransferFailed("it slept"),
        ProposalDropped("full"),
        NodeStopped("gone"),
        OutcomeUnknown("who knows"),
    ],
)
async def test_its_errors_arrive_as_they_were_raised(error: QuorateError) -> None:
    async def work(call: LeaderCall) -> int:
        raise error

    with pytest.raises(type(error), match=str(error)) as caught:
        await Pair(work).ask()
    assert type(caught.value) is type(error)


async def test_a_node_that_does_not_lead_says_so() -> None:
    async def work(call: LeaderCall) -> int:
        raise NotLeader(3)

    with pytest.raises(NotLeader):
        await Pair(work).ask()


async def test_without_an_answer_the_end_is_unknown() -> None:
    pair = Pair(seven)
    pair.cut = True
    with pytest.raises(OutcomeUnknown, match="not said"):
        await pair.ask(0.01)


async def test_when_the_way_breaks_the_end_is_unknown() -> None:
    pair = Pair(seven)
    pair.cut = True
    asking = asyncio.ensure_future(pair.ask())
    await asyncio.sleep(0)
    pair.follower.lost(3)
    assert not asking.done()
    pair.follower.lost(2)
    with pytest.raises(OutcomeUnknown, match="was lost"):
        await asking


async def test_answers_of_others_and_to_other_calls_do_not_count() -> None:
    pair = Pair(seven)
    pair.cut = True
    asking = asyncio.ensure_future(pair.ask())
    await asyncio.sleep(0)
    call = pair.sent[0]
    assert isinstance(call, LeaderCall)
    pair.follower.received(3, LeaderAnswer(number=call.number, value=1, error="", text=""))
    pair.follower.received(2, LeaderAnswer(number=call.number + 1, value=1, error="", text=""))
    await asyncio.sleep(0)
    assert not asking.done()
    pair.follower.received(2, LeaderAnswer(number=call.number, value=3, error="", text=""))
    pair.follower.received(2, LeaderAnswer(number=call.number, value=4, error="", text=""))
    assert await asking == 3


async def test_calls_are_bounded_on_both_sides_and_end_with_the_node() -> None:
    forever = asyncio.Event()

    async def work(call: LeaderCall) -> int:
        await forever.wait()
        return 0

    pair = Pair(work)
    asking = [asyncio.ensure_future(pair.ask()) for _ in range(CALLS_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(ProposalDropped):
        await pair.ask()
    await pair.leader.stop()
    await pair.follower.stop()
    ends = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(end) for end in ends} == {OutcomeUnknown}
