"""Writes in one proposal, reads behind one barrier: who travels with whom, and what each is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from quorate.errors import NotLeader, OutcomeUnknown, QuorateError, ReadUnavailable
from quorate.kv import gathering
from quorate.kv.gathering import Reads, Writes, as_list
from quorate.kv.registry import COMMANDS
from quorate.kv.replies import CommandError
from quorate.kv.tasks import Tasks
from tests.node.support import until

from .support import database, run


class Client:
    """What one sender was told, and when it went on."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, Any]] = []
        self.is_gone = False

    def answered(self, place: Any, reply: Any) -> None:
        self.told.append((place, reply))

    def failed(self, place: Any, error: QuorateError, request_id: str | None) -> None:
        self.told.append((place, (type(error), request_id)))

    def go_on(self) -> None:
        self.told.append(("went on", None))


class Log:
    """What was proposed; a proposal ends when the test says so, and answers each request with its last word."""

    def __init__(self) -> None:
        self.proposed: list[tuple[list[list[bytes]], str | None]] = []
        self.error: BaseException | None = None
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.tasks = Tasks()

    async def propose(self, body: bytes, request_id: str | None) -> list[Any]:
        requests = msgspec.msgpack.decode(body, type=list[list[bytes]])
        self.proposed.append((requests, request_id))
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return [request[-1] for request in requests]

    @property
    def sizes(self) -> list[int]:
        return [len(requests) for requests, _ in self.proposed]


@pytest.fixture
async def log() -> AsyncIterator[Log]:
    log = Log()
    yield log
    log.may_end.set()
    await log.tasks.ended()


async def end(log: Log, proposals: int) -> None:
    await until(lambda: len(log.proposed) >= proposals)
    await log.tasks.ended()


@pytest.mark.parametrize("count", [0, 1, 15, 16, 255, 256, gathering.BATCH_COMMANDS_MAX])
def test_a_list_of_what_is_encoded_is_encoded_as_the_list(count: int) -> None:
    requests = [[b"SET", b"%d" % number] for number in range(count)]
    assert as_list([msgspec.msgpack.encode(request) for request in requests]) == msgspec.msgpack.encode(requests)


async def test_writes_of_a_turn_travel_as_one_in_their_order_and_each_sender_goes_on_once(log: Log) -> None:
    writes, one, other = Writes(log.propose, log.tasks.spawn, 1024), Client(), Client()
    for number in range(4):
        writes.add((one, other)[number % 2], number, [b"%d" % number])
    await end(log, 1)
    assert log.proposed == [([[b"0"], [b"1"], [b"2"], [b"3"]], None)]
    assert one.told == [(0, b"0"), (2, b"2"), ("went on", None)]
    assert other.told == [(1, b"1"), (3, b"3"), ("went on", None)]


async def test_what_comes_while_a_batch_is_under_way_waits_for_it(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "GATHER_SECONDS_MAX", 3600)
    log.may_end.clear()
    writes, client = Writes(log.propose, log.tasks.spawn, 1024), Client()
    writes.add(client, 1, [b"1"])
    await until(lambda: bool(log.proposed))
    for number in (2, 3):
        writes.add(client, number, [b"%d" % number])
        await asyncio.sleep(0.01)
    assert log.sizes == [1]
    log.may_end.set()
    await end(log, 2)
    assert log.sizes == [1, 2]


async def test_it_waits_for_so_long_at_most(log: Log) -> None:
    log.may_end.clear()
    writes, client = Writes(log.propose, log.tasks.spawn, 1024), Client()
    writes.add(client, 1, [b"1"])
    await until(lambda: bool(log.proposed))
    writes.add(client, 2, [b"2"])
    await until(lambda: log.sizes == [1, 1])


async def test_no_proposal_is_larger_than_a_command_may_be(log: Log) -> None:
    writes, client = Writes(log.propose, log.tasks.spawn, 100), Client()
    for number in range(50):
        writes.add(client, number, [b"x" * (7 * number % 60)])
    writes.add(client, 50, [b"x" * 200])
    writes.add(client, 51, [b"x"])
    await end(log, 10)
    sizes = [len(msgspec.msgpack.encode(requests)) for requests, _ in log.proposed]
    assert sum(log.sizes) == 52
    assert [size for size in sizes if size > 100] == sizes[-2:-1]  # it travels alone, and is refused alone
    assert max(log.sizes) > 1


async def test_no_proposal_holds_more_than_so_many(log: Log) -> None:
    writes, client = Writes(log.propose, log.tasks.spawn, 1 << 20), Client()
    for number in range(gathering.BATCH_COMMANDS_MAX + 1):
        writes.add(client, number, [b"x"])
    await end(log, 2)
    assert log.sizes == [gathering.BATCH_COMMANDS_MAX, 1]


async def test_one_with_an_id_travels_alone_behind_what_came_before_it(log: Log) -> None:
    writes, client = Writes(log.propose, log.tasks.spawn, 1024), Client()
    writes.add(client, 1, [b"1"])
    writes.add_once(client, 2, [b"2"], "id")
    writes.add(client, 3, [b"3"])
    await end(log, 3)
    assert log.proposed == [([[b"1"]], None), ([[b"2"]], "id"), ([[b"3"]], None)]


@pytest.mark.parametrize(
    ("error", "told"), [(NotLeader(2), NotLeader), (KeyError("a mistake of ours"), OutcomeUnknown)]
)
async def test_all_are_told_of_a_failure_and_what_comes_next_is_sent(
    log: Log, error: Exception, told: type[Exception]
) -> None:
    log.error = error
    writes, client = Writes(log.propose, log.tasks.spawn, 1024), Client()
    writes.add(client, 1, [b"1"])
    writes.add(client, 2, [b"2"])
    await end(log, 1)
    assert client.told == [(1, (told, None)), (2, (told, None)), ("went on", None)]
    log.error = None
    writes.add_once(client, 3, [b"3"], "id")
    await end(log, 2)
    assert client.told[3:] == [(3, b"3"), ("went on", None)]


async def test_what_copies_much_travels_alone_and_few_that_copy_travel_together(log: Log) -> None:
    writes, client = Writes(log.propose, log.tasks.spawn, 1 << 20), Client()
    assert not writes.add(client, 0, [b"0"])
    assert writes.add(client, 1, [b"1"], 1 << 20)
    assert not writes.add(client, 2, [b"2"])
    assert writes.add_once(client, 3, [b"3"], "id", 1 << 20)
    for number in range(4, 5 + gathering.BATCH_COPYING_MAX):
        assert not writes.add(client, number, [b"%d" % number], 1)
    await end(log, 6)
    assert log.sizes == [1, 1, 1, 1, gathering.BATCH_COPYING_MAX, 1]


async def test_so_much_is_under_way_and_what_waits_for_it_keeps_its_order(log: Log) -> None:
    log.may_end.clear()
    writes, client = Writes(log.propose, log.tasks.spawn, 1 << 20), Client()
    half = gathering.UNDER_WAY_BYTES_MAX // 2
    for number in range(6):
        writes.add(client, number, [b"%d" % number], half - 100)
    writes.add(client, 6, [b"6"])
    assert writes.bytes > 6 * (half - 100)
    await until(lambda: len(log.proposed) == 2)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(log.proposed) == 2
    log.may_end.set()
    await end(log, 7)
    assert [requests for requests, _ in log.proposed] == [[[b"%d" % number]] for number in range(7)]
    assert writes.bytes == 0


async def test_one_that_is_larger_than_all_that_may_be_under_way_is_made_alone(log: Log) -> None:
    writes, client = Writes(log.propose, log.tasks.spawn, 1 << 20), Client()
    for number in range(2):
        writes.add(client, number, [b"%d" % number], 2 * gathering.UNDER_WAY_BYTES_MAX)
    await end(log, 2)
    assert [place for place, _ in client.told] == [0, "went on", 1, "went on"]


async def test_nothing_is_read_for_who_has_gone(log: Log) -> None:
    async def barrier() -> None:
        gone.is_gone = True

    reads, gone, client = Reads(barrier, database, log.tasks.spawn), Client(), Client()
    reads.add(gone, 1, COMMANDS[b"GET"], [b"GET", b"k"])
    reads.add(client, 2, COMMANDS[b"GET"], [b"GET", b"k"])
    await log.tasks.ended()
    assert (gone.told, client.told) == ([("went on", None)], [(2, None), ("went on", None)])


async def test_what_is_withdrawn_in_time_is_not_made(log: Log) -> None:
    writes, client = Writes(log.propose, log.tasks.spawn, 1024), Client()
    for place in range(3):
        writes.add(client, place, [b"%d" % place])
    writes.withdraw(client, 1)
    await end(log, 1)
    writes.withdraw(client, 2)
    assert client.told == [(0, b"0"), (2, b"2"), ("went on", None)]


def answers(client: Client) -> list[tuple[object, object]]:
    """What it was told but for when it may go on: on a slow machine that is also said between two slices."""
    return [told for told in client.told if told[0] != "went on"]


async def test_reads_of_a_turn_share_a_barrier(log: Log) -> None:
    asked = 0

    async def barrier() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise ReadUnavailable("cut off")

    reads, client = Reads(barrier, database, log.tasks.spawn), Client()
    broken = replace(COMMANDS[b"GET"], handler=lambda db, arguments: 1 // 0)
    reads.add(client, 1, COMMANDS[b"EXISTS"], [b"EXISTS", b"k"])
    reads.add(client, 2, broken, [b"GET", b"k"])
    reads.add(client, 3, COMMANDS[b"GET"], [b"GET", b"k"])
    await log.tasks.ended()
    assert asked == 1
    (one, zero), (two, error), *others = answers(client)
    assert (one, zero, two, others) == (1, 0, 2, [(3, None)])
    assert isinstance(error, CommandError)
    reads.add(client, 4, COMMANDS[b"GET"], [b"GET", b"k"])
    await log.tasks.ended()
    assert answers(client)[3:] == [(4, (ReadUnavailable, None))]
    assert client.told[-1] == ("went on", None)


async def turn_by_turn(predicate: Callable[[], object]) -> None:
    """Return in the very turn of the event loop in which it is so."""
    for _ in range(10_000):
        if predicate():
            return
        await asyncio.sleep(0)
    raise TimeoutError


async def test_what_takes_longer_than_a_slice_lets_others_in_between_and_keeps_its_order(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "SLICE_SECONDS", -1.0)  # one read is a slice

    async def barrier() -> None:
        pass

    db = database()
    reads, heavy, light = Reads(barrier, lambda: db, log.tasks.spawn), Client(), Client()

    def ask(client: Client, place: int) -> None:
        reads.add(client, place, COMMANDS[b"EXISTS"], [b"EXISTS", b"k"])

    for place in range(100):
        ask(heavy, place)
    await turn_by_turn(lambda: heavy.told)
    before = [place for place, reply in heavy.told if reply is not None]
    assert 1 <= len(before) < 10
    run(db, "SET", "k", "v")
    ask(heavy, 100)
    ask(light, 1)
    ask(light, 2)
    await turn_by_turn(lambda: (2, 1) in light.told)
    assert (50, 1) not in heavy.told
    await until(lambda: (100, 1) in heavy.told)
    answers = [each for each in heavy.told if each[1] is not None]
    assert answers == [(place, int(place >= len(before))) for place in range(101)]  # what is true in its turn


async def test_the_reads_that_wait_for_a_slice_are_not_made_for_who_has_gone(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "SLICE_SECONDS", -1.0)

    async def barrier() -> None:
        pass

    reads, gone, other = Reads(barrier, database, log.tasks.spawn), Client(), Client()
    for place in range(50):
        reads.add(gone, place, COMMANDS[b"EXISTS"], [b"EXISTS", b"k"])
        reads.add(other, place, COMMANDS[b"EXISTS"], [b"EXISTS", b"k"])
    await turn_by_turn(lambda: gone.told)
    gone.is_gone = True
    before = list(gone.told)
    await until(lambda: (49, 0) in other.told)
    assert len(before) < 20
    assert [each for each in gone.told if each[1] is not None] == [each for each in before if each[1] is not None]
    assert [place for place, reply in other.told if reply is not None] == list(range(50))


async def test_a_read_that_breaks_leaves_nobody_else_waiting(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "SLICE_SECONDS", -1.0)

    async def barrier() -> None:
        pass

    def break_down(place: Any, reply: Any) -> None:
        raise RuntimeError("broken")

    reads, broken, other = Reads(barrier, database, log.tasks.spawn), Client(), Client()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    for place in range(5):
        reads.add(broken, place, COMMANDS[b"EXISTS"], [b"EXISTS", b"k"])
        reads.add(other, place, COMMANDS[b"EXISTS"], [b"EXISTS", b"k"])
    await log.tasks.ended()
    monkeypatch.setattr(broken, "answered", break_down)
    await until(lambda: (4, 0) in other.told)


class Clock:
    """It goes on when the test says so, and when something is answered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(gathering, "monotonic", lambda: self.now)

    def answers_after(self, client: Client, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        answered = client.answered

        def answered_late(place: Any, reply: Any) -> None:
            self.now += seconds
            answered(place, reply)

        monkeypatch.setattr(client, "answered", answered_late)


async def test_each_write_is_timed_from_when_it_came_itself(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, client = Clock(monkeypatch), Client()
    writes = Writes(log.propose, log.tasks.spawn, 1024)
    for number in range(3):
        writes.add(client, number, [b"%d" % number])
        clock.now += 1
    writes.withdraw(client, 0)
    await end(log, 1)
    assert log.sizes == [2]
    assert (writes.figures.seconds.count, writes.figures.seconds.sum) == (2, 2 + 1)


async def test_a_read_that_is_put_off_is_timed_until_it_is_answered(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "SLICE_SECONDS", -1.0)
    clock, client = Clock(monkeypatch), Client()
    clock.answers_after(client, 1.0, monkeypatch)

    async def barrier() -> None:
        clock.now += 10

    reads = Reads(barrier, database, log.tasks.spawn)
    for place in range(3):
        reads.add(client, place, COMMANDS[b"EXISTS"], [b"EXISTS", b"k"])
    await until(lambda: (2, 0) in client.told)
    assert (reads.figures.seconds.count, reads.figures.seconds.sum) == (3, 11 + 12 + 13)
    assert reads.figures.failed == 0
