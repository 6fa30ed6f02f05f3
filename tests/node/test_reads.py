"""Strong reads: gathered under tokens, asked for again when answers do not come, let through when applied."""

from __future__ import annotations

import asyncio

import pytest

from quorate.errors import ReadUnavailable
from quorate.node.reads import RETRY_SECONDS, ReadGate
from quorate.raft.output import ReadReady


class Asked:
    def __init__(self, gate: ReadGate) -> None:
        self.gate = gate
        self.tokens: list[int] = []

    def ask(self, now: float) -> None:
        self.gate.ask(now, self.tokens.append)


def enter(gate: ReadGate, deadline: float = 5.0) -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    gate.enter(future, deadline)
    return future


async def test_reads_of_one_turn_share_a_token_and_wait_for_their_index() -> None:
    gate = ReadGate(500, 10)
    asked = Asked(gate)
    one, two = enter(gate), enter(gate)
    asked.ask(0.0)
    asked.ask(0.01)
    assert asked.tokens == [500]
    gate.confirmed(ReadReady(500, 7), applied_index=6)
    assert not one.done()
    gate.applied(7)
    assert one.done()
    assert two.done()


async def test_a_read_that_is_not_confirmed_is_asked_for_again_under_a_new_token() -> None:
    gate = ReadGate(500, 10)
    asked = Asked(gate)
    read = enter(gate)
    asked.ask(0.0)
    gate.confirmed(ReadReady(500, None), applied_index=9)
    assert gate.wants_token
    asked.ask(0.01)
    assert asked.tokens == [500, 501]
    gate.confirmed(ReadReady(501, 5), applied_index=9)
    assert read.done()


async def test_an_answer_that_always_comes_late_still_counts() -> None:
    """Where a round trip takes longer than the time until a read is asked for again, reads must come through."""
    gate = ReadGate(500, 10)
    asked = Asked(gate)
    read = enter(gate)
    asked.ask(0.0)
    asked.ask(RETRY_SECONDS)
    asked.ask(RETRY_SECONDS * 1.5)
    assert asked.tokens == [500, 501]
    gate.confirmed(ReadReady(500, 3), applied_index=3)
    assert read.done()
    asked.ask(RETRY_SECONDS * 5)
    assert asked.tokens == [500, 501]
    assert not gate._asked


async def test_an_answer_to_a_token_never_asked_for_is_ignored() -> None:
    gate = ReadGate(500, 10)
    read = enter(gate)
    Asked(gate).ask(0.0)
    gate.confirmed(ReadReady(499, 1), applied_index=9)
    assert not read.done()


async def test_reads_that_gave_up_are_forgotten() -> None:
    gate = ReadGate(500, 10)
    asked = Asked(gate)
    one, two = enter(gate), enter(gate)
    asked.ask(0.0)
    one.cancel()
    two.cancel()
    later = enter(gate)
    asked.ask(0.01)
    gate.confirmed(ReadReady(501, 100), applied_index=1)
    later.cancel()
    asked.ask(0.02)
    await asyncio.sleep(0)
    assert (len(gate), gate._asked, gate._confirmed, gate._overdue_at) == (0, {}, [], {})


async def test_a_read_ends_when_its_time_is_over() -> None:
    gate = ReadGate(500, 10)
    asked = Asked(gate)
    short, long = enter(gate, 1.0), enter(gate, 2.0)
    asked.ask(0.0)
    gate.expire(0.99)
    assert not short.done()
    gate.expire(1.0)
    assert isinstance(short.exception(), ReadUnavailable)
    gate.expire(1.01)  # before what ends the wait was told
    await asyncio.sleep(0)
    assert len(gate) == 1
    gate.confirmed(ReadReady(500, 7), applied_index=7)
    assert long.done()
    assert long.exception() is None


async def test_no_more_than_so_many_reads_wait() -> None:
    gate = ReadGate(500, 2)
    first = enter(gate)
    enter(gate)
    with pytest.raises(ReadUnavailable):
        enter(gate)
    first.cancel()
    await asyncio.sleep(0)
    enter(gate)


async def test_all_reads_end_when_the_node_does() -> None:
    gate = ReadGate(500, 10)
    asked = Asked(gate)
    confirmed = enter(gate)
    asked.ask(0.0)
    gate.confirmed(ReadReady(500, 9), applied_index=1)
    waiting = enter(gate)
    asked.ask(0.0)
    arrived = enter(gate)
    gate.fail_all(ReadUnavailable("stopping"))
    for read in (confirmed, waiting, arrived):
        assert isinstance(read.exception(), ReadUnavailable)
