"""The resource of a node's tasks, asked without HTTP around it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from urllib.parse import urlencode

from quorate.rest.http import RequestError, Stream
from quorate.tasks.rest.resource import TasksResource

JSON = [(b"content-type", b"application/json")]


class Answer(NamedTuple):
    """What came back; of a refusal its parts."""

    status: int
    headers: dict[str, str]
    document: Any


class Api:
    """``await api("POST", "tasks", {…})``."""

    def __init__(self, resource: TasksResource) -> None:
        self.resource = resource

    async def __call__(
        self, method: str, path: str, body: object = None, *, key: str | None = None, **query: object
    ) -> Answer:
        """``body`` is sent as JSON; bytes as they are."""
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = [*(JSON if raw else []), *([(b"idempotency-key", key.encode())] if key is not None else [])]
        try:
            answer = await self.resource.handle(method, path, urlencode(query).encode(), headers, raw)
        except RequestError as error:
            named = {name.decode(): value.decode() for name, value in error.headers}
            return Answer(error.status, named, {"detail": error.detail, "errors": error.errors})
        assert not isinstance(answer, Stream)
        named = {name.decode(): value.decode() for name, value in answer.headers}
        return Answer(answer.status, named, json.loads(answer.body) if answer.body else None)

    async def until_waiting(self, count: int) -> None:
        """Return once so many requests, and streams, wait for something."""
        async with asyncio.timeout(10):
            while len(self.resource._patience._waits) != count:  # noqa: ASYNC110 - nothing tells when they do
                await asyncio.sleep(0.001)

    async def watch(self, headers: list[tuple[bytes, bytes]] | None = None, **query: object) -> Stream:
        """A stream that was begun."""
        answer = await self.resource.handle("GET", "tasks/_watch", urlencode(query).encode(), headers or [], b"")
        assert isinstance(answer, Stream)
        return answer


async def events(chunks: AsyncIterator[bytes], count: int) -> list[tuple[int, str, dict[str, Any]]]:
    """The next events, as number, name and data. Comments and ids alone are left out."""
    found: list[tuple[int, str, dict[str, Any]]] = []
    while len(found) < count:
        for block in (await anext(chunks)).decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "data" in lines:
                found.append((int(lines.get("id", 0)), lines["event"], json.loads(lines["data"])))
    assert len(found) == count
    return found
