"""Which node is asked next, and what a request that nobody has answered may have done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from quorate.errors import ConfigError, NotApplied, OutcomeUnknown, ReadUnavailable
from quorate.ops.ports import free_ports
from quorate.tasks.client.nodes import Kind, Nodes
from quorate.tasks.errors import NoSuchTask, QueueFull

FULL = '{"detail": "no", "code": "queue-full", "queue": "mail", "pending_max": 10}'


class Node:
    """Gives its answers in turn, the last again and again; ``None`` hangs up instead, and 0 says nothing."""

    def __init__(self, *answers: tuple[int, str] | int | None) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.address = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readline():
                while (await reader.readline()).strip():
                    pass
                answer = self.answers[min(self.asked, len(self.answers) - 1)]
                self.asked += 1
                if answer is None:
                    break
                if answer == 0:
                    await reader.read()
                    break
                status, body = (answer, "{}") if isinstance(answer, int) else answer
                head = f"HTTP/1.1 {status} x\r\nretry-after: 1\r\ncontent-length: {len(body)}\r\n\r\n"
                writer.write((head + body).encode())
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def cluster(*nodes: Node, patience: float = 5.0, answer_seconds: float = 5.0) -> AsyncIterator[Nodes]:
    """Nodes that are asked in this order; one without answers is not there."""
    async with AsyncExitStack() as stack:
        for node, port in zip(nodes, free_ports(len(nodes)), strict=True):
            node.address = f"127.0.0.1:{port}"
            if node.answers:
                server = await asyncio.start_server(node.serve, "127.0.0.1", port)
                stack.callback(server.close)
        client = Nodes([node.address for node in nodes], patience=patience, answer_seconds=answer_seconds)
        client.addresses = [node.address for node in nodes]
        await stack.enter_async_context(client)
        yield client


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("cannot", [Node, lambda: Node(503)])
async def test_a_node_that_cannot_answer_is_passed_by_and_not_asked_again(
    kind: Kind, cannot: Callable[[], Node]
) -> None:
    first, second = cannot(), Node(200)
    async with cluster(first, second) as nodes:
        for _ in range(3):
            assert await nodes.request("POST", "x", kind=kind) == b"{}"
    assert (first.asked, second.asked) == (len(first.answers), 3)


@pytest.mark.parametrize("answer", [None, 504, 500, 502])
@pytest.mark.parametrize("kind", Kind)
async def test_a_request_whose_outcome_is_unknown_is_made_again_if_it_may_be(answer: int | None, kind: Kind) -> None:
    first, second = Node(answer), Node(200)
    async with cluster(first, second) as nodes:
        if kind is Kind.ONCE:
            with pytest.raises(OutcomeUnknown):
                await nodes.request("POST", "x", kind=kind)
            assert second.asked == 0
        else:
            assert await nodes.request("POST", "x", kind=kind) == b"{}"


async def test_a_node_that_says_nothing_is_given_up() -> None:
    first, second = Node(0), Node(200)
    async with cluster(first, second, answer_seconds=0.1) as nodes:
        assert await nodes.request("GET", "x", kind=Kind.READ) == b"{}"


@pytest.mark.parametrize(
    ("answers", "kind", "error"),
    [
        ([], Kind.REPEATABLE, NotApplied),
        ([], Kind.ONCE, NotApplied),
        ([503], Kind.REPEATABLE, NotApplied),
        ([504, 503], Kind.REPEATABLE, OutcomeUnknown),
        ([None, 503], Kind.REPEATABLE, OutcomeUnknown),
        ([503, 504], Kind.ONCE, OutcomeUnknown),
        ([503], Kind.READ, ReadUnavailable),
        ([504], Kind.READ, ReadUnavailable),
    ],
)
async def test_when_no_node_answers_in_time(answers: list[int | None], kind: Kind, error: type[Exception]) -> None:
    began = time.monotonic()
    async with cluster(Node(*answers), patience=0.4) as nodes:
        with pytest.raises(error) as caught:
            await nodes.request("POST", "x", kind=kind)
    assert str(caught.value).count(nodes.address) == 1
    assert time.monotonic() - began < 3


async def test_refusals_are_raised_at_once() -> None:
    first, second = Node((404, '{"code": "task-not-found", "task_id": "t"}')), Node(200)
    async with cluster(first, second) as nodes:
        with pytest.raises(NoSuchTask):
            await nodes.request("GET", "tasks/t", kind=Kind.READ)
    assert (first.asked, second.asked) == (1, 0)


async def test_a_full_queue_is_waited_for_as_long_as_there_is_patience() -> None:
    node = Node((429, FULL), 201)
    async with cluster(node) as nodes:
        began = time.monotonic()
        assert await nodes.request("POST", "tasks", kind=Kind.REPEATABLE) == b"{}"
        assert time.monotonic() - began >= 1, "as Retry-After has it"
    node = Node((429, FULL))
    async with cluster(node, patience=0.5) as nodes:
        with pytest.raises(QueueFull) as caught:
            await nodes.request("POST", "tasks", kind=Kind.REPEATABLE)
    assert (caught.value.queue, node.asked) == ("mail", 1)


@pytest.mark.parametrize("text", ["", " , ", "no port:", "localhost:0"])
def test_what_names_no_cluster(text: str) -> None:
    with pytest.raises(ConfigError):
        Nodes(text, patience=1)
