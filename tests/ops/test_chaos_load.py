"""The clients of ``quorate chaos``: what they try again, what they call unknown, and when they give up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import hiredis
import pytest

from quorate.ops.calls.record import NOT_APPLIED, OK, UNKNOWN, Verb
from quorate.ops.chaos import load as load_module
from quorate.ops.chaos.keys import Failed, KeysConnection
from quorate.ops.chaos.load import MEANWHILE, Load, LoadSettings

Answer = Callable[[list[bytes]], bytes | None]
"""What a node answers to a command; ``None``: it closes the connection."""


@asynccontextmanager
async def node(answer: Answer) -> AsyncIterator[str]:
    """Something that speaks the Redis protocol; its address."""

    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        requests = hiredis.Reader()
        while data := await reader.read(65536):
            requests.feed(data)
            while (request := requests.gets()) is not False:
                reply = answer(request)
                if reply is None:
                    writer.close()
                    return
                writer.write(reply)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def loaded(addresses: list[str], *, operations: int, deadline_seconds: float = 5.0, rate: float = 1000) -> Load:
    """The load of one client after so many operations."""
    settings = LoadSettings(clients=1, rate=rate, deadline_seconds=deadline_seconds)
    load = Load(addresses, "t:", settings, Random(1))
    stop = asyncio.Event()
    running = asyncio.create_task(load.run(stop))
    async with asyncio.timeout(20):
        while len(load.record.calls) < operations:  # noqa: ASYNC110 - nothing tells when it does
            await asyncio.sleep(0.001)
        stop.set()
        await running
    return load


async def test_what_was_certainly_not_applied_is_tried_again_with_the_same_id() -> None:
    asked: list[list[bytes]] = []

    def refuse_first(request: list[bytes]) -> bytes:
        asked.append(request)
        first = len(asked) == 1 or request != asked[-2]
        return b"-CLUSTERDOWN there is no leader\r\n" if first else b"$-1\r\n"

    async with node(refuse_first) as one, node(refuse_first) as other:
        load = await loaded([one, other], operations=20, rate=50)
    assert {call.outcome for call in load.record.calls} == {OK}
    assert {call.tries for call in load.record.calls} == {2}
    assert load.errors == {"CLUSTERDOWN": len(load.record.calls)}
    ids = [request[1] for request in asked if request[0] == b"QUORATE.ONCE"]
    assert len(ids) == 2 * len(set(ids)) > 0


@pytest.mark.parametrize("reply", [b"-UNKNOWN nobody can tell\r\n", None], ids=["said", "broken"])
async def test_what_was_unknown_once_stays_unknown_if_nothing_succeeds_afterwards(reply: bytes | None) -> None:
    asked: list[bytes] = []

    def answer(request: list[bytes]) -> bytes | None:
        asked.append(request[1])
        return reply if asked.count(request[1]) == 1 else b"-CLUSTERDOWN there is no leader\r\n"

    async with node(answer) as one, node(answer) as other:
        load = await loaded([one, other], operations=12, deadline_seconds=0.1, rate=8)
    outcomes = {(call.verb is Verb.READ, call.outcome) for call in load.record.calls if call.tries}
    assert outcomes == {(False, UNKNOWN), (True, NOT_APPLIED)}, "a read that has no answer has no effect either"
    assert load.failed == len(load.record.calls)
    assert load.record.surprises == []


async def test_a_refusal_that_no_try_can_mend_is_told_and_not_repeated() -> None:
    async with node(lambda request: b"-WRONGTYPE it holds something else\r\n") as one:
        load = await loaded([one, one], operations=3)
    assert {(call.outcome, call.tries) for call in load.record.calls if call.tries} == {(NOT_APPLIED, 1)}
    assert "WRONGTYPE" in load.record.surprises[0]


async def test_what_came_due_while_a_client_waited_is_made_up_for() -> None:
    async def held() -> None:
        await asyncio.sleep(0.2)
        open_again.set()

    open_again = asyncio.Event()

    def answer(request: list[bytes]) -> bytes:
        return b"$-1\r\n" if open_again.is_set() else b"-CLUSTERDOWN there is no leader\r\n"

    async with node(answer) as one, node(answer) as other:
        opening = asyncio.create_task(held())
        load = await loaded([one, other], operations=100)
        await opening
    late = [wait for wait in load.waits if wait > 0.05]
    assert len(late) > 20, "one operation waited for the leader, and those behind it waited as well"


async def test_what_was_due_while_nobody_answered_has_failed_though_nobody_was_free_for_it() -> None:
    """Half of what was due is not half as bad because the clients hung in the other half."""
    async with node(lambda request: b"-CLUSTERDOWN there is no leader\r\n") as one:
        load = await loaded([one, one], operations=300, deadline_seconds=0.05)
    ((began, ended),) = load.record.active
    assert len(load.record.calls) == pytest.approx((ended - began) * 1000, abs=1)
    assert load.failed == len(load.record.calls)
    assert load.errors[MEANWHILE] > load.errors["CLUSTERDOWN"] > 0
    assert load.waits == []


async def test_an_answer_that_makes_no_sense_is_a_surprise_and_no_end_of_the_run() -> None:
    async with node(lambda request: b"$3\r\nabc\r\n") as one:
        load = await loaded([one, one], operations=20)
    reads = [call for call in load.record.calls if call.verb is Verb.READ]
    assert {call.outcome for call in reads} == {NOT_APPLIED}
    assert set(load.record.surprises) == {"GET was answered: b'abc'"}
    async with node(lambda request: b"HTTP/1.1 400 Bad Request\r\n\r\n") as one:
        load = await loaded([one, one], operations=6, deadline_seconds=0.1)
    assert load.failed == len(load.record.calls)
    assert load.errors["broken connection"] > 0


async def test_a_client_with_nothing_to_do_for_long_ends_with_the_others() -> None:
    async with node(lambda request: b"+OK\r\n") as one:
        settings = LoadSettings(clients=2, rate=0.0001, deadline_seconds=1)
        load, stop = Load([one], "t:", settings, Random(1)), asyncio.Event()
        running = asyncio.create_task(load.run(stop))
        async with asyncio.timeout(10):
            while not load.record.calls:  # noqa: ASYNC110 - nothing tells when it does
                await asyncio.sleep(0.001)
            stop.set()
            await running
    assert len(load.record.calls) == 1


@pytest.mark.parametrize("clients", [1, 8])
def test_half_is_appended_a_quarter_written_and_a_quarter_read(clients: int) -> None:
    settings = LoadSettings(clients=clients, rate=1, deadline_seconds=1)
    load = Load(["127.0.0.1:1"], "t:", settings, Random(1))
    verbs = Counter(load.draw(turn % clients, 0)[1] for turn in range(8000))
    shares = {verb: count / 8000 for verb, count in verbs.items()}
    assert shares == pytest.approx({Verb.APPEND: 0.5, Verb.WRITE: 0.25, Verb.READ: 0.25}, abs=0.02)
    if clients > 1:
        assert {load.draw(4, 0)[1] for _ in range(100)} == {Verb.READ}, "it is not kept from a node by its own writes"


async def test_no_more_is_asked_than_can_be_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "OPERATIONS_MAX", 10)
    async with node(lambda request: b"$-1\r\n") as one:
        load = await loaded([one, one], operations=10)
    assert load.exhausted
    assert len(load.record.calls) == 10
    assert load.record.active[0][1] <= load.record.active[0][0] + 60


async def test_the_password_is_shown_and_a_wrong_one_is_no_matter_of_luck() -> None:
    def answer(request: list[bytes]) -> bytes:
        return b"+OK\r\n" if request in ([b"AUTH", b"good"], [b"PING"]) else b"-WRONGPASS no\r\n"

    async with node(answer) as address:
        good, bad = (KeysConnection(address, each, timeout=1) for each in ("good", "bad"))
        assert await good.ask("PING") == b"OK"
        with pytest.raises(Failed, match="WRONGPASS") as failed:
            await bad.ask("PING")
        assert not failed.value.unknown
        good.close()
