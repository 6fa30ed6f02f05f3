"""Forwards wait for the word of the leader they went to, and of nobody else."""

from __future__ import annotations

import asyncio

import pytest

from quorate.errors import FrameError, OutcomeUnknown
from quorate.machine.commands import Command
from quorate.node.forwarding import PendingForwards, decode_commands, encode_commands
from quorate.node.proposals import Proposal


def proposal(deadline: float = 100.0) -> Proposal:
    return Proposal(asyncio.get_running_loop().create_future(), deadline)


async def test_an_answer_counts_once_and_only_from_the_leader_that_was_asked() -> None:
    forwards = PendingForwards(1000)
    item = proposal()
    number = forwards.add(2, [item])
    assert forwards.answered(3, number) == []
    assert forwards.answered(2, number - 1) == []
    assert forwards.answered(2, number) == [item]
    assert forwards.answered(2, number) == []
    assert forwards.count == 0


async def test_only_what_went_to_the_lost_leader_is_lost() -> None:
    forwards = PendingForwards(1000)
    two, three = proposal(), proposal()
    forwards.add(2, [two])
    number = forwards.add(3, [three])
    forwards.lose(2, "lost")
    assert isinstance(two.future.exception(), OutcomeUnknown)
    assert forwards.answered(3, number) == [three]


async def test_what_went_to_the_new_leader_is_not_lost_with_the_old_one() -> None:
    forwards = PendingForwards(1000)
    old, new = proposal(), proposal()
    forwards.add(2, [old])
    number = forwards.add(3, [new])
    forwards.lose_all_but(3, "lost")
    assert isinstance(old.future.exception(), OutcomeUnknown)
    assert forwards.answered(3, number) == [new]


async def test_each_proposal_has_its_own_deadline() -> None:
    forwards = PendingForwards(1000)
    early, late = proposal(1.0), proposal(3.0)
    number = forwards.add(2, [early, late])
    forwards.expire(2.0)
    assert isinstance(early.future.exception(), OutcomeUnknown)
    assert forwards.answered(2, number) == [early, late]
    forwards.add(2, [proposal(1.0)])
    forwards.expire(2.0)
    assert forwards.count == 0


@pytest.mark.parametrize("data", [b"", b"\x90", b"\x91\x01", b"\xff" * 8, encode_commands([])])
def test_a_forward_without_commands_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        decode_commands(data)


def test_commands_travel_whole() -> None:
    commands = [Command("default", b"\0\xff", "id"), Command("other", b"")]
    assert decode_commands(encode_commands(commands)) == commands
