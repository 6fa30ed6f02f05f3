"""Links over TCP: bounded queues, what comes after a loss, what the log says."""

from __future__ import annotations

import asyncio
import logging
import random
import socket

import pytest

from quorate.errors import ConfigError, TransportError
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.messages import AppendEntries
from quorate.testing.transport_suite import Recorder, heartbeat, until
from quorate.transport import (
    PREFACE,
    Codec,
    Identity,
    Lane,
    LinkState,
    PeerStats,
    TcpOptions,
    TcpTransport,
)
from quorate.transport.handshake import encode_handshake, welcome_from

from .harnesses import TcpHarness


def big(bytes_: int) -> AppendEntries:
    entry = Entry(1, 1, EntryKind.COMMANDS, bytes(bytes_))
    return AppendEntries(term=1, session=1, previous_index=0, previous_term=0, commit=0, entries=(entry,))


async def test_a_peer_that_does_not_read_costs_bounded_memory() -> None:
    class Small(TcpHarness):
        options = TcpOptions(queue_bytes_max=1024 * 1024, close_seconds=0.05)

    peer = Identity(cluster_id="suite", node_id=2, address="127.0.0.1:1", incarnation=22)
    deaf: list[asyncio.StreamWriter] = []

    async def accept_and_never_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(PREFACE))
        writer.write(encode_handshake(welcome_from(peer, 1)))
        deaf.append(writer)
        reader._transport.pause_reading()  # type: ignore[attr-defined]

    server = await asyncio.start_server(accept_and_never_read, "127.0.0.1", 0)
    async with Small() as harness:
        a = await harness.open(1)
        a.transport.dial(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await until(lambda: a.connected_to(2))
        message = big(64 * 1024)
        for _ in range(50):
            a.transport.send(2, 0, [message] * 10)
            await asyncio.sleep(0)
        stats = a.transport.stats()[2]
        assert stats.dropped > 0
        assert stats.dropped + stats.frames_sent == 500
        assert stats.connected
        assert a.transport.backlog_bytes(2, Lane.PROMPT) <= 1024 * 1024 + 10 * 66_000
    for writer in deaf:
        writer.close()
    server.close()
    await server.wait_closed()


async def test_what_was_sent_before_stop_still_arrives(tcp: TcpHarness) -> None:
    a, b = await tcp.pair()
    a.transport.send(2, 0, [big(500_000), heartbeat(1)])
    await a.transport.stop()
    await until(lambda: len(b.recorder.messages) == 2)


async def test_a_message_over_the_frame_limit_is_not_sent() -> None:
    class Tiny(TcpHarness):
        options = TcpOptions(frame_bytes_max=1000)

    async with Tiny() as harness:
        a, b = await harness.pair()
        a.transport.send(2, 0, [heartbeat(1), big(2000), heartbeat(2)])
        await until(lambda: len(b.recorder.messages) == 2)
        assert b.recorder.from_peer(1) == [heartbeat(1), heartbeat(2)]
        assert a.dropped(2) == 1
        assert "over the frame limit" in (a.transport.stats()[2].last_error or "")
        assert a.recorder.events == [("connected", 2)]


async def test_a_long_message_is_known_to_arrive_before_it_is_there(tcp: TcpHarness) -> None:
    a, b = await tcp.pair()
    a.transport.send(2, 0, [heartbeat(1), big(8_000_000), heartbeat(2)])
    await until(lambda: len(b.recorder.messages) == 3)
    assert b.recorder.from_peer(1) == [heartbeat(1), big(8_000_000), heartbeat(2)]
    assert set(b.recorder.alive) == {1}
    stats = a.transport.stats()[2]
    assert (stats.frames_sent, stats.bytes_sent) == (3, b.transport.stats()[1].bytes_received)
    seen = len(b.recorder.alive)
    a.transport.send(2, 0, [heartbeat(3)] * 500)
    await until(lambda: len(b.recorder.messages) == 503)
    assert len(b.recorder.alive) == seen, "short ones are there at once"


async def test_state_changes_are_logged_once_each(tcp: TcpHarness, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "quorate.transport"):
        a, address = await tcp.open(1), await tcp.new_address()
        a.transport.dial(address)
        link = a.transport._dialler._links[address]  # type: ignore[attr-defined]
        await until(lambda: link._failures >= 4)
        b = await tcp.open(2, address=address)
        await until(lambda: a.connected_to(2))
        await b.transport.stop()
        await until(lambda: link._failures >= 8)
    assert [record.message.replace(address, "B") for record in caplog.records] == [
        "no connection to B: Connection refused",
        "connected to node 2 at B",
        "no connection to B: closed by the peer",
        "no connection to B: Connection refused",
    ]


async def test_pauses_double_up_to_the_limit_and_differ_between_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def noted_pause(link: object, seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr("quorate.transport.link.Link._pause", noted_pause)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        identity = Identity(cluster_id="c", node_id=1, address="127.0.0.1:1", incarnation=1)
        transport = TcpTransport(identity, Codec(), rng=random.Random(5))
        transport.dial(f"127.0.0.1:{closed.getsockname()[1]}")
        await transport.start(Recorder())
        await until(lambda: len(pauses) >= 12)
        await transport.stop()
    bounds = [min(1.0, 0.02 * 2**n) for n in range(12)]
    assert all(bound / 2 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=False))
    assert len(set(pauses[6:12])) == 6


async def test_a_receiver_that_fails_does_not_end_the_link(tcp: TcpHarness, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Recorder):
        def introduced(self, introduction: object) -> None:
            self.calls += 1
            if self.calls < 3:
                raise RuntimeError("a bug above")

    a, b = await tcp.open(1, recorder=Failing()), await tcp.open(2)
    a.transport.dial(b.address)
    await until(lambda: a.connected_to(2))
    assert [record.message for record in caplog.records if record.exc_info] == [
        f"the link to {b.address} failed and starts anew"
    ] * 2


async def test_sending_what_is_not_registered_is_a_programming_error(tcp: TcpHarness) -> None:
    a, _ = await tcp.pair()
    with pytest.raises(TypeError, match="PeerStats is not a registered message"):
        a.transport.send(2, 0, [PeerStats()])


async def test_an_address_must_be_one(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    with pytest.raises(ConfigError, match="'8080' is not an address"):
        a.transport.dial("8080")
    assert a.transport.links() == {}


async def test_an_unknown_host_is_one_more_reason_to_wait(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    a.transport.dial("nowhere.invalid:1")
    await until(lambda: a.link_to("nowhere.invalid:1").last_error)
    assert a.link_to("nowhere.invalid:1").state is LinkState.CONNECTING


async def test_a_transport_is_started_once_and_not_after_its_end(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    with pytest.raises(TransportError):
        await a.transport.start(Recorder())
    await a.transport.stop()
    with pytest.raises(TransportError):
        await a.transport.start(Recorder())
    with pytest.raises(TransportError):
        await a.transport.listen()  # type: ignore[attr-defined]


async def test_a_taken_port_is_an_os_error_and_leaks_nothing(tcp: TcpHarness) -> None:
    a = await tcp.open(1)
    host, port = a.address.split(":")
    identity = Identity(cluster_id="c", node_id=1, address=a.address, incarnation=1)
    transport = TcpTransport(identity, Codec())
    with pytest.raises(OSError, match="in use"):
        await transport.listen(host, int(port))
    assert await transport.listen(host) not in (0, int(port))
    assert await transport.listen("localhost") > 0
    await transport.stop()


async def test_connections_before_the_start_are_closed_and_come_again(tcp: TcpHarness) -> None:
    a, address = await tcp.open(1), await tcp.new_address()
    late = await tcp.make(Identity(cluster_id="suite", node_id=2, address=address, incarnation=9), a.faults)
    a.transport.dial(address)
    await until(lambda: a.link_to(address).last_error)
    await late.start(Recorder())
    await until(lambda: a.connected_to(2))
    await late.stop()


async def test_running_out_of_files_pauses_accepting(
    tcp: TcpHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = await tcp.open(1), await tcp.open(2)
    monkeypatch.setattr("quorate.transport.listener._PAUSE_SECONDS", 0.01)
    (listener,) = b.transport._listeners  # type: ignore[attr-defined]
    real = listener._sock

    class Exhausted:
        def accept(self) -> object:
            listener._sock = real
            listener._loop.remove_reader(real)
            raise OSError(24, "Too many open files")

        def fileno(self) -> int:
            return int(real.fileno())

    listener._sock = Exhausted()
    a.transport.dial(b.address)
    await until(lambda: a.connected_to(2))
    assert any("Too many open files" in record.message for record in caplog.records)


async def test_a_node_that_connects_to_us_is_dialled_at_once() -> None:
    class Patient(TcpHarness):
        options = TcpOptions(backoff_seconds_min=60, backoff_seconds_max=60)

    async with Patient() as harness:
        a = await harness.open(1)
        with socket.create_server(("127.0.0.1", 0)) as nobody_yet:
            address = f"127.0.0.1:{nobody_yet.getsockname()[1]}"
        a.transport.dial(address)
        await until(lambda: a.transport.links()[address].last_error is not None)  # now it would wait for a minute
        b = TcpTransport(Identity(cluster_id="suite", node_id=2, address=address, incarnation=2), Codec())
        try:
            await b.listen("127.0.0.1", int(address.rpartition(":")[2]))
            await b.start(Recorder())
            b.dial(a.address)
            await until(lambda: a.connected_to(2))
        finally:
            await b.stop()
