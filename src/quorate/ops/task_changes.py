"""The stream of changes of tasks, followed from node to node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from typing import Any
from urllib.parse import urlencode

import httptools
import msgspec

from quorate.errors import ReadUnavailable
from quorate.rest.events import HEARTBEAT_SECONDS
from quorate.tasks.client.problems import detail_of, refusal_of
from quorate.transport.sockets import split_address

CONNECT_SECONDS = 2.0
SILENCE_SECONDS_MAX = 3 * HEARTBEAT_SECONDS
"""A node that says nothing for so long has gone."""
PAUSE_SECONDS = 0.5
PATIENCE_SECONDS = 10.0
"""So long the nodes are asked in turn while none of them answers."""

Change = dict[str, Any]
"""As the node tells it; or ``{"gone": …}`` where changes are not kept any more, and so were missed."""


class _Gone(Exception):
    """The node has told all that it can."""


class _Body:
    """What has arrived of an answer."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.data = bytearray()
        self.is_complete = False

    def on_body(self, data: bytes) -> None:
        """More of it."""
        self.data += data

    def on_message_complete(self) -> None:
        """There is no more."""
        self.is_complete = True

    def blocks(self) -> list[bytes]:
        """Those that are complete; they are taken out."""
        *whole, rest = bytes(self.data).split(b"\n\n")
        self.data = bytearray(rest)
        return whole


async def task_changes(addresses: Sequence[str], *, queue: str | None, type: str | None) -> AsyncIterator[Change]:
    """All changes from now on, each once, whichever nodes come and go.

    Raises :class:`~quorate.errors.ReadUnavailable` when no node has answered for a while, and a
    :class:`~quorate.tasks.errors.TaskRefusal`.
    """
    clock = asyncio.get_running_loop().time
    wanted = {name: value for name, value in (("queue", queue), ("type", type)) if value is not None}
    last: int | None = None
    at, failed_since = 0, None
    while True:
        address = addresses[at % len(addresses)]
        said = "the stream ended"
        try:
            async with aclosing(_from_one(address, wanted, last)) as told:
                async for number, change in told:
                    failed_since, last = None, number
                    if change is not None:
                        yield change
        except _Gone as gone:
            last, said = None, str(gone)
            yield {"gone": said}
        except (OSError, TimeoutError, httptools.HttpParserError, ReadUnavailable) as error:
            said = str(error) or "no answer"
        failed_since = failed_since or clock()
        if clock() - failed_since > PATIENCE_SECONDS:
            raise ReadUnavailable(f"{address}: {said}")
        at += 1
        await asyncio.sleep(PAUSE_SECONDS)


async def _from_one(
    address: str, wanted: dict[str, str], last: int | None
) -> AsyncGenerator[tuple[int | None, Change | None], None]:
    """What one node tells: numbers, with the changes that have one."""
    host, port = split_address(address)
    async with asyncio.timeout(CONNECT_SECONDS):
        reader, writer = await asyncio.open_connection(host, port)
    try:
        parameters = wanted if last is None else {**wanted, "after": str(last)}
        target = f"/api/v1/tasks/_watch?{urlencode(parameters)}"
        writer.write(f"GET {target} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n".encode())
        body = _Body()
        while not body.is_complete:
            async with asyncio.timeout(SILENCE_SECONDS_MAX):
                data = await reader.read(1 << 16)
            if not data:
                return
            body.parser.feed_data(data)
            if body.parser.get_status_code() != 200:
                if body.is_complete:
                    _refuse(body.parser.get_status_code(), bytes(body.data))
                continue
            for block in body.blocks():
                yield _read(block)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _refuse(status: int, body: bytes) -> None:
    if status == 410:
        raise _Gone(detail_of(body))
    if status >= 500:
        raise ReadUnavailable(detail_of(body))
    raise refusal_of(status, body)


def _read(block: bytes) -> tuple[int | None, Change | None]:
    fields = dict(line.partition(": ")[::2] for line in block.decode().splitlines())
    number = int(fields["id"]) if "id" in fields else None
    data: Change = msgspec.json.decode(fields.get("data", "{}"))
    if fields.get("event") == "gone":
        raise _Gone(data["detail"])
    return number, data or None
