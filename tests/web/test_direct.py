"""Requests that are answered without ASGI, and others on the same connections: nobody can tell which is which."""

from __future__ import annotations

import asyncio
import re

import pytest

from quorate.web import server as server_module
from quorate.web.direct import Exchange
from quorate.web.server import NodeServer

from .support import StartCluster
from .test_front_door import GET, HEAD, LAST_GET, connect, post, say, statuses

CHUNKED = HEAD + b'transfer-encoding: chunked\r\n\r\n9\r\n{"title":\r\n9\r\n"chunked"\r\n1\r\n}\r\n0\r\n\r\n'
LIST = b"GET /api/books?limit=all HTTP/1.1\r\nhost: x\r\n\r\n"
STATUS = b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize("piece_bytes", [1, 100_000])
async def test_answers_have_the_order_of_their_requests(server: NodeServer, piece_bytes: int) -> None:
    requests = post("one") + GET + CHUNKED + LIST + STATUS + GET + post("two") + LAST_GET
    pieces = [requests[at : at + piece_bytes] for at in range(0, len(requests), piece_bytes)]
    answer = await say(server, *pieces)
    assert statuses(answer) == [201, 200, 201, 200, 200, 200, 201, 200]
    counts = [part.partition(b"}")[0] for part in answer.split(b'{"count":')[1:]]
    assert counts == [b"1", b"2", b"3"]


async def test_a_client_that_asks_first_is_told_to_go_on(server: NodeServer) -> None:
    request = post("asked first", b"expect: 100-continue")
    head, _, body = request.partition(b"\r\n\r\n")
    reader, writer = await connect(server)
    writer.write(head + b"\r\n\r\n")
    async with asyncio.timeout(10):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 ")
    writer.close()


async def test_a_body_that_is_too_large_is_refused_before_it_comes(server: NodeServer) -> None:
    request = HEAD + b"content-length: %d\r\nconnection: close\r\n\r\n" % (server.config.max_body_bytes + 1)
    assert statuses(await say(server, request)) == [413]
    assert b'{"count":0}' in await say(server, LAST_GET)


@pytest.mark.parametrize(
    "request_line",
    [b"GET /api/books/count HTTP/1.0", b"GET http://x/api/books/count HTTP/1.1", b"GET /api/books/count#top HTTP/1.1"],
)
async def test_what_is_written_otherwise_is_answered_alike(server: NodeServer, request_line: bytes) -> None:
    answer = await say(server, request_line + b"\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert statuses(answer) == [200]
    assert answer.endswith(b'{"count":0}')


async def test_a_head_is_answered_without_a_body(server: NodeServer) -> None:
    answer = await say(server, GET.replace(b"GET", b"HEAD") + LAST_GET)
    assert statuses(answer) == [200, 200]
    assert answer.count(b'{"count":0}') == 1


async def test_a_write_whose_client_has_gone_is_carried_out(server: NodeServer) -> None:
    _, writer = await connect(server)
    writer.write(post("left behind"))
    await writer.drain()
    writer.close()
    async with asyncio.timeout(10):
        while b'{"count":1}' not in await say(server, LAST_GET):
            pass


async def test_an_answer_that_fails_unforeseen_is_a_problem(
    server: NodeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    assert server._site is not None
    monkeypatch.setattr(server._site._resources["books"], "handle", broken)
    assert statuses(await say(server, GET + LAST_GET)) == [500, 500]
    assert "a bug" in caplog.text


async def test_a_connection_is_closed_when_it_was_idle_for_long(
    start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "KEEP_ALIVE_SECONDS", 1.0)
    (server,) = await start_cluster(1)
    loop = asyncio.get_running_loop()
    reader, writer = await connect(server)
    async with asyncio.timeout(10):
        for _ in range(3):  # it is used for longer than that, but never idle for so long
            writer.write(GET)
            assert b'{"count":0}' in await reader.readuntil(b"}")
            await asyncio.sleep(0.4)
        writer.write(GET)
        await reader.readuntil(b"}")
        answered = loop.time()
        assert await reader.read() == b""
        assert loop.time() - answered > 0.9
    writer.close()


async def test_a_body_is_all_of_its_pieces() -> None:
    exchange = Exchange.of(b"POST", b"/api/books?a=1", [(b"content-length", b"10")], max_body_bytes=10)
    assert exchange is not None
    assert (exchange.method, exchange.path, exchange.query) == ("POST", "/api/books", b"a=1")
    assert await exchange.read() == b""
    for piece in (b"{}", b"   ", b"     "):
        exchange.add(piece)
    assert await exchange.read() == b"{}        "


@pytest.mark.parametrize(
    ("method", "url", "headers", "is_direct"),
    [
        (b"GET", b"/api/books", [], True),
        (b"POST", b"/api/books", [(b"content-length", b"10")], True),
        (b"POST", b"/api/books", [(b"content-length", b"11")], False),
        (b"GET", b"/api/books", [(b"content-length", b"1")], False),
        (b"POST", b"/api/books", [(b"transfer-encoding", b"chunked")], False),
        (b"POST", b"/api/books", [(b"content-length", b"1"), (b"expect", b"100-continue")], False),
        (b"HEAD", b"/api/books", [], False),
        (b"GET", b"/api/books#a", [], False),
        (b"GET", "/api/bücher".encode(), [], False),
        (b"GET", b"/api/books/%2F?title=%20", [], True),
    ],
)
def test_what_needs_more_than_a_call_has_asgi(
    method: bytes, url: bytes, headers: list[tuple[bytes, bytes]], is_direct: bool
) -> None:
    assert (Exchange.of(method, url, headers, max_body_bytes=10) is not None) is is_direct


async def test_reports_are_answered_alike_either_way(server: NodeServer) -> None:
    """By a call, or by way of ASGI, as for HEAD."""

    def asked(line: bytes) -> bytes:
        return line + b" HTTP/1.1\r\nhost: x\r\n\r\n"

    for path in (b"/status", b"/health?a=1", b"/metrics"):
        answer = await say(server, asked(b"GET " + path), asked(b"HEAD " + path) + LAST_GET)
        assert statuses(answer) == [200, 200, 200]
        lengths = re.findall(rb"content-length: (\d+)", answer)
        assert int(lengths[0]) > 20
    assert statuses(await say(server, asked(b"POST /status"), asked(b"GET /statuses") + LAST_GET)) == [405, 404, 200]


async def test_statuses_of_one_turn_of_the_loop_are_made_once(
    server: NodeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server._site is not None
    pages, made = server._site._status, 0
    report = pages.report

    def counted() -> dict[str, object]:
        nonlocal made
        made += 1
        return report()

    monkeypatch.setattr(pages, "report", counted)
    for turn in (1, 2):
        answers = await asyncio.gather(*(pages.status() for _ in range(20)))
        assert made == turn
        assert len({answer.body for answer in answers}) == 1
        await asyncio.sleep(0)


async def test_a_report_that_fails_unforeseen_is_a_problem(
    server: NodeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("a bug")

    assert server._site is not None
    monkeypatch.setattr(server._site._status, "report", broken)
    assert statuses(await say(server, STATUS + LAST_GET)) == [500, 200]
    assert "a bug" in caplog.text
