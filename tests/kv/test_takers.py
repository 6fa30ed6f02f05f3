"""Who waits to take something: in the order in which they came, each told once."""

from __future__ import annotations

from typing import Any

import pytest

from quorate.errors import NodeStopped, QuorateError, ReadUnavailable
from quorate.kv.replies import NULL_ARRAY
from quorate.kv.takers import Taker, Takers
from tests.node.support import until

from .support import database, run


class Client:
    """Stands for a connection, or for a caller: what it was told, and how often it went on."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.went_on = 0

    def answered(self, place: Any, reply: Any) -> None:
        assert place == "place"
        self.told.append(reply)

    def failed(self, place: Any, error: QuorateError, request_id: str | None) -> None:
        self.answered(place, type(error))

    def go_on(self) -> None:
        self.went_on += 1


class Desk:
    """Stands for what gathers writes and reads: a try, and a read, ends when the test says so."""

    def __init__(self) -> None:
        self.tries: list[tuple[Any, Taker]] = []
        self.reads: list[tuple[Any, Taker]] = []
        self.db = database()
        self.takers = Takers(lambda: self.db)

    def add(self, sender: Any, taker: Taker, *request: Any) -> None:
        (self.tries if len(request) == 1 else self.reads).append((sender, taker))

    def client(self, command: bytes = b"BLPOP", timeout: bytes = b"0") -> tuple[Taker, list[Any]]:
        client = Client()
        desk: Any = self
        return self.takers.begin(client, "place", [command, b"l", timeout], desk, desk), client.told

    def end_try(self, reply: Any = NULL_ARRAY) -> None:
        sender, taker = self.tries.pop(0)
        sender.answered(taker, reply)

    def push(self, *elements: str) -> None:
        run(self.db, "RPUSH", "l", *elements)
        self.takers.wake([b"l"])


async def test_who_comes_while_others_wait_tries_behind_them() -> None:
    desk = Desk()
    _, first = desk.client()
    desk.end_try()
    _, second = desk.client()
    assert desk.tries == []
    desk.push("a")
    _, third = desk.client()
    assert len(desk.tries) == 1
    desk.end_try("a")
    assert (first, second, third) == (["a"], [], [])
    assert len(desk.tries) == 1  # what is there was not taken yet, as far as this node knows


async def test_as_many_try_as_there_are_elements_those_first_that_came_first() -> None:
    desk = Desk()
    waiting = [desk.client()[0]]
    desk.end_try()
    waiting += [desk.client()[0] for _ in range(4)]
    desk.push("a", "b")
    assert [taker for _, taker in desk.tries] == waiting[:2]


async def test_lists_and_sorted_sets_wait_at_one_key_each_for_its_own() -> None:
    desk = Desk()
    desk.client(b"BZPOPMIN")
    desk.end_try()
    element, _ = desk.client(b"BLPOP")
    desk.push("a")
    assert [taker for _, taker in desk.tries] == [element]


async def test_a_try_that_is_under_way_decides_when_the_time_is_over() -> None:
    for reply, expected in [(NULL_ARRAY, "over"), (None, "over"), ("a", "a")]:
        desk = Desk()
        taker, told = desk.client()
        assert desk.takers.give_up(taker, "over")
        assert told == []
        desk.end_try(reply)
        assert told == [expected]
        assert not desk.takers.give_up(taker, "over")


async def test_behind_one_who_went_in_the_middle_of_a_try_the_next_is_served() -> None:
    desk = Desk()
    taker, gone = desk.client()
    desk.end_try()
    _, second = desk.client()
    desk.push("a")
    desk.takers.forget(taker)
    desk.end_try()
    assert len(desk.tries) == 1
    desk.end_try("a")
    assert (gone, second) == ([], ["a"])
    desk.takers.forget(taker)
    assert not desk.takers


async def test_what_came_during_a_try_in_vain_is_tried_for_again() -> None:
    desk = Desk()
    desk.client()
    desk.push("a")
    assert len(desk.tries) == 1
    desk.end_try()
    assert len(desk.tries) == 1


async def test_who_waits_behind_others_is_told_that_the_node_is_cut_off_unless_it_tries() -> None:
    for tries in (False, True):
        desk = Desk()
        desk.client()
        desk.end_try()
        taker, told = desk.client()
        if tries:
            desk.push("a", "b")
        sender, asked_for = desk.reads.pop()
        assert asked_for is taker
        sender.failed(taker, ReadUnavailable("cut off"), None)
        assert told == ([] if tries else [ReadUnavailable])
        for _ in list(desk.tries):
            desk.end_try()
        assert told == ([] if tries else [ReadUnavailable])  # and one that found nothing waits on


async def test_all_are_told_once_that_the_node_has_stopped_and_go_on() -> None:
    desk = Desk()
    waiting, told = desk.client()
    desk.end_try()
    desk.client()
    desk.takers.end(NodeStopped("stopped"))
    assert told == [NodeStopped]
    client = waiting.sender
    assert isinstance(client, Client)
    assert client.went_on == 1
    assert not desk.takers


@pytest.mark.parametrize("is_first", [True, False])
async def test_nobody_waits_beyond_its_time(is_first: bool) -> None:
    desk = Desk()
    if not is_first:
        desk.client()
    _, told = desk.client(timeout=b"0.001")
    if is_first:
        desk.end_try()
    await until(lambda: bool(told))
    assert told == [NULL_ARRAY]
