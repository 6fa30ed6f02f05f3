"""The lanes over TCP: two connections that are one link, seen from both ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import msgspec
import pytest

from quorate.testing.transport_suite import Station, chunk, heartbeat, open_bulk, until
from quorate.transport import PREFACE, Codec, Identity, Introduction, Lane, LinkState, Refusal, RefusalCode, TcpOptions
from quorate.transport.framing import encode_frame
from quorate.transport.handshake import (
    Hello,
    Refused,
    decode_handshake,
    encode_handshake,
    hello_from,
    refusal,
    welcome_from,
)

from .harnesses import TcpHarness, link_of
from .test_tcp_hostile import RawClient, raw, welcomed

CODEC = Codec()


def peer(incarnation: int = 22) -> Identity:
    return Identity(cluster_id="suite", node_id=2, address="127.0.0.1:1", incarnation=incarnation)


def opening(lane: Lane = Lane.PROMPT, dialled: str = "here:1", incarnation: int = 22) -> bytes:
    return PREFACE + encode_handshake(hello_from(peer(incarnation), lane=lane, dialled=dialled))


def frame(sequence: int) -> bytes:
    return encode_frame(CODEC.encode(0, heartbeat(sequence)))


class FakePeer:
    """A node to dial: it welcomes prompt connections, and does with bulk ones what it is told to."""

    def __init__(self) -> None:
        self.hellos: list[Hello] = []
        self.answers = {lane: encode_handshake(welcome_from(peer(), 1)) for lane in Lane}
        self.reads = dict.fromkeys(Lane, True)
        self.bytes_read = dict.fromkeys(Lane, 0)

    def count(self, lane: Lane) -> int:
        return [hello.lane for hello in self.hellos].count(lane.value)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                header = await reader.readexactly(len(PREFACE) + 8)
                hello = decode_handshake(await reader.readexactly(int.from_bytes(header[8:12], "big") - 4))
                assert isinstance(hello, Hello)
                self.hellos.append(hello)
                lane = Lane(hello.lane)
                writer.write(self.answers[lane])
                if not self.reads[lane]:
                    reader._transport.pause_reading()  # type: ignore[attr-defined]
                while data := await reader.read(65536):
                    self.bytes_read[lane] += len(data)
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def dialled_peer(a: Station, fake: FakePeer) -> AsyncIterator[str]:
    """The address of ``fake``, which ``a`` has dialled and reached."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await fake.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    a.transport.dial(address)
    try:
        await until(lambda: a.connected_to(2))
        yield address
    finally:
        server.close()
        await a.transport.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


# As the accepting node sees it.


async def test_a_bulk_connection_stands_beside_the_prompt_one(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    async with raw(a, opening()) as prompt, raw(a) as bulk:
        await welcomed(prompt)
        bulk.send(opening(Lane.BULK))
        await welcomed(bulk)
        bulk.send(frame(1))
        await until(lambda: len(a.recorder.messages) == 1)
        prompt.send(frame(2))
        await until(lambda: len(a.recorder.messages) == 2)
    assert a.recorder.from_peer(2) == [heartbeat(1), heartbeat(2)]
    assert [introduction.lane for introduction in a.recorder.introductions] == [Lane.PROMPT, Lane.BULK]
    assert a.recorder.events == []


@pytest.mark.parametrize("lane", list(Lane))
async def test_a_connection_replaces_that_of_its_own_lane_and_address(tcp: TcpHarness, lane: Lane) -> None:
    a = await tcp.open(1)
    other = Lane.BULK if lane is Lane.PROMPT else Lane.PROMPT
    async with (
        raw(a, opening(lane)) as older,
        raw(a, opening(other)) as beside,
        raw(a, opening(lane, "there:1")) as far,
    ):
        for client in (older, beside, far):
            await welcomed(client)
        async with raw(a, opening(lane)) as newer:
            await welcomed(newer)
            await older.closed()
            for n, client in enumerate((beside, far, newer)):
                client.send(frame(n))
            await until(lambda: len(a.recorder.messages) == 3)


async def test_another_process_of_a_peer_replaces_all_its_connections(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    async with raw(a, opening()) as prompt, raw(a, opening(Lane.BULK)) as bulk, raw(a, opening(dialled="x:1")) as far:
        for client in (prompt, bulk, far):
            await welcomed(client)
        async with raw(a, opening(incarnation=23)) as restarted:
            await welcomed(restarted)
            for client in (prompt, bulk, far):
                await client.closed()
            restarted.send(frame(1))
            await until(lambda: a.recorder.messages)


async def test_a_peer_has_a_bounded_number_of_connections(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    async with contextlib.AsyncExitStack() as stack:
        clients: list[RawClient] = []
        for n in range(20):
            clients.append(await stack.enter_async_context(raw(a, opening(dialled=f"x:{n}"))))
            await welcomed(clients[-1])
        for client in clients[:4]:
            await client.closed()
        for client in clients[4:]:
            client.send(frame(1))
        await until(lambda: len(a.recorder.messages) == 16)
    await until(lambda: not a.transport._acceptor._by_peer)  # type: ignore[attr-defined]


async def test_a_refusal_says_its_code(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    a.recorder.refuse = lambda introduction: Refusal("gone", RefusalCode.REMOVED)
    async with raw(a, opening()) as client:
        answer = await client.answer()
        assert isinstance(answer, Refused)
        assert (answer.reason, answer.code) == ("gone", RefusalCode.REMOVED)
    unknown = msgspec.msgpack.encode([1, 1, 1, "suite", 2, "b:2", 22, "two", "", 7])
    async with raw(a, PREFACE + encode_frame(unknown)) as client:
        assert "lane 7" in await client.refused()


# As the dialling node sees it.


async def test_two_addresses_of_one_process_are_two_links_that_stay(tcp: TcpHarness) -> None:
    a, b = await tcp.pair()
    alias = b.address.replace("127.0.0.1", "localhost")
    a.transport.dial(alias)
    await until(lambda: a.link_to(alias).state is LinkState.CONNECTED)
    await open_bulk(a, b)
    a.transport.hang_up(alias)
    await open_bulk(a, b)
    assert a.recorder.events == [("connected", 2)]
    by_lane = [introduction.lane for introduction in b.recorder.introductions]
    assert by_lane == [Lane.PROMPT, Lane.PROMPT, Lane.BULK, Lane.BULK]


async def test_the_bulk_lane_is_dialled_when_it_is_used_and_closed_when_it_is_not(tcp: TcpHarness) -> None:
    tcp.bulk_idle_seconds = 0.05
    a, fake = await tcp.open(1), FakePeer()
    async with dialled_peer(a, fake) as address:
        assert fake.count(Lane.BULK) == 0
        for opened in (1, 2):
            before = a.dropped(2)
            a.transport.send(2, 0, [chunk(1)], lane=Lane.BULK)
            assert a.dropped(2) == before + 1
            await until(lambda opened=opened: fake.count(Lane.BULK) == opened)  # type: ignore[misc]
            await until(lambda: link_of(a, 2).outlet(Lane.BULK).is_open)
            await tcp.until_bulk_closed(a, 2)
            await until(lambda: link_of(a, 2)._bulk._task is None)
        assert fake.count(Lane.PROMPT) == 1
        assert {hello.dialled for hello in fake.hellos} == {address}
    assert a.recorder.events == [("connected", 2), ("disconnected", 2)]


async def test_a_lane_that_is_used_is_not_idle(tcp: TcpHarness) -> None:
    tcp.bulk_idle_seconds = 0.2
    a, fake = await tcp.open(1), FakePeer()
    fake.reads[Lane.BULK] = False
    async with dialled_peer(a, fake):
        a.transport.send(2, 0, [heartbeat(1)], lane=Lane.BULK)
        await until(lambda: link_of(a, 2).outlet(Lane.BULK).is_open)
        while a.transport.backlog_bytes(2, Lane.BULK) < 4 * 1024 * 1024:
            a.transport.send(2, 0, [chunk(1)], lane=Lane.BULK)
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.5)
        assert a.transport.backlog_bytes(2, Lane.BULK) > 0  # what waits for a slow peer is not given up
        assert fake.count(Lane.BULK) == 1


async def test_a_bulk_lane_that_does_not_move_costs_bounded_memory_and_holds_up_nothing() -> None:
    class Small(TcpHarness):
        options = TcpOptions(queue_bytes_max=1024 * 1024, close_seconds=0.05)

    async with Small() as harness:
        a, fake = await harness.open(1), FakePeer()
        fake.reads[Lane.BULK] = False
        async with dialled_peer(a, fake):
            a.transport.send(2, 0, [heartbeat(1)], lane=Lane.BULK)
            await until(lambda: link_of(a, 2).outlet(Lane.BULK).is_open)
            before = a.dropped(2)
            for n in range(500):
                a.transport.send(2, 0, [chunk(n, 64 * 1024)], lane=Lane.BULK)
                await asyncio.sleep(0)
            assert a.dropped(2) > before
            assert 1024 * 1024 < a.transport.backlog_bytes(2, Lane.BULK) < 1024 * 1024 + 66_000
            heard = fake.bytes_read[Lane.PROMPT]
            a.transport.send(2, 0, [heartbeat(1)])
            await until(lambda: fake.bytes_read[Lane.PROMPT] > heard)
            assert a.transport.backlog_bytes(2, Lane.PROMPT) == 0


async def test_what_a_delay_holds_back_is_bounded_too() -> None:
    class Small(TcpHarness):
        options = TcpOptions(queue_bytes_max=1024 * 1024)

    async with Small() as harness:
        a, b = await harness.pair()
        a.faults.delay(2, 1000.0)
        for n in range(100):
            a.transport.send(2, 0, [chunk(n, 64 * 1024)])
        assert 1024 * 1024 < a.transport.backlog_bytes(2, Lane.PROMPT) < 1024 * 1024 + 66_000
        assert a.dropped(2) > 80
        a.transport.hang_up(b.address)
        assert a.transport.backlog_bytes(2, Lane.PROMPT) == 0


async def test_a_refused_bulk_lane_is_no_matter_of_the_link(tcp: TcpHarness, caplog: pytest.LogCaptureFixture) -> None:
    a, fake = await tcp.open(1), FakePeer()
    welcome, fake.answers[Lane.BULK] = fake.answers[Lane.BULK], encode_handshake(refusal("busy", RefusalCode.OTHER))

    def keep_sending(times: int) -> bool:
        a.transport.send(2, 0, [heartbeat(1)], lane=Lane.BULK)
        return fake.count(Lane.BULK) >= times

    with caplog.at_level(logging.WARNING):
        async with dialled_peer(a, fake) as address:
            await until(lambda: keep_sending(4))
            assert len(caplog.records) == 1
            assert a.recorder.refusals[0] == (address, Refusal("busy"))
            assert (a.link_to(address).state, a.link_to(address).last_error) == (LinkState.CONNECTED, None)
            assert a.recorder.events == [("connected", 2)]
            fake.answers[Lane.BULK] = welcome
            await until(lambda: keep_sending(5) and fake.bytes_read[Lane.BULK])
            assert fake.count(Lane.PROMPT) == 1


async def test_the_lanes_of_a_link_lead_to_one_process(tcp: TcpHarness) -> None:
    a, fake = await tcp.open(1), FakePeer()
    fake.answers[Lane.BULK] = encode_handshake(welcome_from(peer(incarnation=99), 1))
    async with dialled_peer(a, fake) as address:
        for _ in range(2):
            times = fake.count(Lane.BULK)

            def keep_sending(times: int = times) -> bool:
                a.transport.send(2, 0, [heartbeat(1)], lane=Lane.BULK)
                return fake.count(Lane.BULK) > times

            await until(keep_sending)
        assert not link_of(a, 2).outlet(Lane.BULK).is_open
        assert a.link_to(address).state is LinkState.CONNECTED
        assert [introduction.incarnation for introduction in a.recorder.introductions] == [22]


async def test_an_earlier_version_is_not_dialled_for_bulk(tcp: TcpHarness, caplog: pytest.LogCaptureFixture) -> None:
    a, fake = await tcp.open(1), FakePeer()
    earlier = msgspec.msgpack.encode([2, 1, 2, "127.0.0.1:1", 22, "old"])
    fake.answers[Lane.PROMPT] = encode_frame(earlier)
    with caplog.at_level(logging.WARNING):
        async with dialled_peer(a, fake):
            before = a.dropped(2)
            a.transport.send(2, 0, [chunk(1)], lane=Lane.BULK)
            assert a.dropped(2) == before + 1
            heard = fake.bytes_read[Lane.PROMPT]
            a.transport.send(2, 0, [heartbeat(1)])
            await until(lambda: fake.bytes_read[Lane.PROMPT] > heard)
            assert link_of(a, 2)._bulk._task is None
    assert "knows no bulk lane" in caplog.records[0].message


async def test_what_was_sent_in_bulk_before_stop_still_arrives(tcp: TcpHarness) -> None:
    a, b = await tcp.pair()
    await open_bulk(a, b)
    a.transport.send(2, 0, [chunk(n, 300_000) for n in range(5)], lane=Lane.BULK)
    a.transport.send(2, 0, [heartbeat(1)])
    await a.transport.stop()
    await until(lambda: len(b.recorder.messages) == 6)


async def test_nothing_is_left_behind_when_bulk_is_stopped_as_it_opens(tcp: TcpHarness) -> None:
    a, b = await tcp.pair()
    for turns in range(12):
        a.transport.send(2, 0, [heartbeat(1)], lane=Lane.BULK)
        for _ in range(turns):
            await asyncio.sleep(0)
        a.transport.hang_up(b.address)
        a.transport.dial(b.address)
        await until(lambda: a.connected_to(2))
    await a.transport.stop()
    assert not a.transport._dialler._closing  # type: ignore[attr-defined]
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("dial ")]
    await until(lambda: not b.transport._acceptor._by_peer)  # type: ignore[attr-defined]


async def test_a_receiver_that_hangs_up_when_it_is_asked_is_obeyed(tcp: TcpHarness) -> None:
    a, b = await tcp.open(1), await tcp.open(2)

    def hang_up(introduction: Introduction) -> None:
        a.transport.hang_up(b.address)

    a.recorder.refuse = hang_up  # type: ignore[assignment]
    a.transport.dial(b.address)
    await until(lambda: a.recorder.introductions)
    await until(lambda: not a.transport._dialler._closing)  # type: ignore[attr-defined]
    assert a.transport.links() == {}
    assert a.recorder.events == []
