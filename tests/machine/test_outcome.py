"""Outcomes are remembered as bytes; whatever a machine returns or raises, remembering and recalling cannot fail."""

from __future__ import annotations

import pytest

from quorate.errors import CommandFailed, RequestIdReused
from quorate.machine.outcome import decode_outcome, encode_outcome

from .support import Awkward, Refusal


@pytest.mark.parametrize("result", [None, 0, -5, 2**63, "text", b"bytes", 1.5, True, [1, [2]], {"a": {"b": None}}])
def test_plain_results_come_back(result: object) -> None:
    assert decode_outcome(encode_outcome(result)) == result


def endless() -> list[object]:
    items: list[object] = []
    items.append(items)
    return items


@pytest.mark.parametrize(
    "result",
    [object(), 2**70, "\ud800", {1: object()}, endless()],
    ids=["object", "large", "surrogate", "object inside", "endless"],
)
def test_a_result_that_is_not_plain_data_comes_back_as_none(result: object) -> None:
    assert decode_outcome(encode_outcome(result)) is None


def test_a_refusal_comes_back_as_its_class_with_its_arguments() -> None:
    refusal = decode_outcome(encode_outcome(Refusal("no", 7)))
    assert isinstance(refusal, Refusal)
    assert (refusal.name, refusal.number) == ("no", 7)
    assert isinstance(decode_outcome(encode_outcome(RequestIdReused("again"))), RequestIdReused)


def test_a_refusal_that_cannot_be_made_again_comes_back_as_a_plain_one() -> None:
    refusal = decode_outcome(encode_outcome(Awkward(1, 2)))
    assert type(refusal) is CommandFailed
    assert refusal.args == ("1 and 2",)


def test_a_class_that_this_program_does_not_define_comes_back_as_a_plain_refusal() -> None:
    class Elsewhere(CommandFailed):
        """Renamed below, as if it had been defined in another version."""

    data = encode_outcome(Elsewhere("gone"))
    Elsewhere.__qualname__ = "Other"
    assert type(decode_outcome(data)) is CommandFailed


@pytest.mark.parametrize("argument", ["\ud800 half a pair", 2**80, object()], ids=["surrogate", "large", "object"])
def test_arguments_that_are_not_plain_data_come_back_as_text(argument: object) -> None:
    refusal = decode_outcome(encode_outcome(CommandFailed(argument)))
    assert isinstance(refusal, CommandFailed)
    assert isinstance(refusal.args[0], str)
