"""Watchers who go on at another node wherever they were left: each change is told once, in order, none left out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from quorate.models.rest.events_json import EventDocuments, encode_json
from quorate.rest.http import RequestError
from quorate.testing.simulation.clients import Client, Ended, Operation
from quorate.testing.simulation.host import Process
from quorate.testing.simulation.workloads.contract import text_of
from quorate.testing.simulation.workloads.models import ModelsWorkload
from quorate.testing.simulation.workloads.reference import Reference
from quorate.testing.simulation.workloads.shop import SHOP

COUNTERS = (10, 11, 12)
"""Others than those of which it matters who raises them."""
GONE = 410
BULK_MAX = 12
CUT_SHORT = 0.15
"""So many chunks of a stream arrive in part, and nothing behind them."""


@dataclass(slots=True)
class Watcher:
    """Where a client is in the changes, and what it was told."""

    after: int | None
    told: list[tuple[int, Any]] = field(default_factory=list)
    connection: int = 0
    """The number of the one that is listened to."""


class ModelFeeds(ModelsWorkload):
    """Clients change things in bulk and one by one, and watch all of it, each on one node after the other."""

    name = "model feeds"

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self.watchers: list[Watcher] = []

    async def step(self, client: Client) -> Operation:
        rng, chance = client.rng, client.rng.random()
        number = rng.choice(COUNTERS)
        path = f"counters/{number}"
        if chance < 0.15:
            return await self._tag(client)
        if chance < 0.3:
            body = {"id": number, "colour": "red"}
            return await self.write(client, client.begin("add counter", path), "POST", "counters", body)
        if chance < 0.5:
            operation = client.begin("touch", path)
            return await self.write(client, operation, "PATCH", path, {"hits": operation.number, "colour": "blue"})
        if chance < 0.55:
            return await self.write(client, client.begin("drop", path), "DELETE", path)
        if chance < 0.65:
            return await self._page(client)
        return await self._follow(client)

    async def _tag(self, client: Client) -> Operation:
        operation = client.begin("tag in bulk", "tags")
        body = [{"text": f"{operation.name}.{each}"} for each in range(client.rng.randint(1, BULK_MAX))]
        return await self.write(client, operation, "POST", "tags/_bulk", body)

    # -- pages -------------------------------------------------------------------------------------------

    async def _page(self, client: Client) -> Operation:
        watcher, limit = self._watcher(client), client.rng.choice((1, 3, 1000))
        after = watcher.after or 0
        how = client.rng.choice(("strong", "eventually"))

        async def get(process: Process) -> list[Any]:
            answer = await process.face.ask("GET", "_events", query=f"after={after}&limit={limit}&consistency={how}")
            events: list[Any] = answer.body
            return events

        operation = await client.read(client.begin("page", how, (after, limit)), get)
        if operation.refused and operation.result.status != GONE:
            self.fail(f"{text_of(operation)} was refused")
        return operation

    def _check_pages(self, reference: Reference) -> None:
        for page in self.history:
            if page.kind != "page" or page.ended is not Ended.OK or page.refused:
                continue
            after, limit = page.argument
            self._check_heard([(after + at, each) for at, each in enumerate(page.result, 1)], reference)
            least = min(limit, self._acknowledged(page, reference) - after)
            if page.key == "strong" and len(page.result) < least:
                self.fail(f"{text_of(page)}: there had to be {least} events at least")

    # -- streams -----------------------------------------------------------------------------------------

    def _watcher(self, client: Client) -> Watcher:
        watcher: Watcher | None = client.memory.get("watcher")
        if watcher is None:
            watcher = client.memory["watcher"] = Watcher(None if client.rng.random() < 0.3 else 0)
            self.watchers.append(watcher)
        return watcher

    async def _follow(self, client: Client, seconds_max: float = 2.0) -> Operation:
        watcher, seconds = self._watcher(client), client.rng.uniform(0.05, seconds_max)
        watcher.connection += 1
        connection = watcher.connection

        async def follow(process: Process) -> str:
            try:
                async with asyncio.timeout(seconds):
                    return await self._listen(client, process, watcher, connection)
            except TimeoutError:
                return "left"
            except RequestError as error:
                if error.status != GONE:
                    raise
                self._gone(watcher, int(dict(error.headers)[b"x-first-sequence"]), process)
                return "gone"

        operation = await client.read(client.begin("follow", "all", watcher.after), follow)
        watcher.connection += 1  # whatever comes now, this client has gone
        return operation

    async def _listen(self, client: Client, process: Process, watcher: Watcher, connection: int) -> str:
        stream = await process.face.watch(watcher.after)
        try:
            async for chunk in stream.chunks:
                if watcher.connection != connection:
                    return "left"
                parts = list(_parts(chunk.decode()))
                is_cut = client.rng.random() < CUT_SHORT
                for part in parts[: client.rng.randrange(len(parts) + 1)] if is_cut else parts:
                    self._take(watcher, part, process)
                if is_cut:
                    return "cut"
        finally:
            await stream.chunks.aclose()
        return "ended"

    def _take(self, watcher: Watcher, part: dict[str, str], process: Process) -> None:
        if part.get("event") == "gone":
            self._gone(watcher, json.loads(part["data"])["oldest"], process)
            return
        number = int(part["id"])
        if "data" not in part:  # how far all has been told
            if watcher.after not in (None, number):
                self.fail(f"a watcher of all changes who was at {watcher.after} is said to be at {number}")
            watcher.after = number
            return
        if number != (watcher.after or 0) + 1:
            self.fail(f"node {process.host.node_id} told number {number} behind {watcher.after}")
        watcher.told.append((number, json.loads(part["data"])))
        watcher.after = number

    def _gone(self, watcher: Watcher, oldest: int, process: Process) -> None:
        machine = process.models
        assert machine is not None
        after = watcher.after or 0
        if after + 1 > machine.events.last - machine.events_kept:
            self.fail(f"number {after + 1} of {machine.events.last} is gone, and {machine.events_kept} are to be kept")
        watcher.after = oldest - 1

    # -- the end -----------------------------------------------------------------------------------------

    async def finish(self, clients: Sequence[Client]) -> None:
        for client in clients:
            end = await self._end(client)
            while (self._watcher(client).after or 0) < end:
                self.history.append(await self._follow(client, 0.5))

    async def _end(self, client: Client) -> int:
        """The number of the last change that anybody has heard of."""

        async def get(process: Process) -> int:
            await process.node.read_barrier()
            assert process.models is not None
            return process.models.events.last

        while True:
            operation = await client.read(client.begin("end", "all"), get)
            if operation.ended is Ended.OK:
                found: int = operation.result
                return found
            await asyncio.sleep(0.05)

    def judge(self, reference: Reference) -> None:
        self._check_pages(reference)
        for watcher in self.watchers:
            self._check_heard(watcher.told, reference)

    def _check_heard(self, told: Sequence[tuple[int, Any]], reference: Reference) -> None:
        documents = EventDocuments(SHOP.schemas)
        for number, document in told:
            if number > len(reference.events):
                self.fail(f"number {number} was told, and never happened: {document}")
            wanted = msgspec.json.decode(encode_json(documents.document(reference.events[number - 1])))
            if document != wanted:
                self.fail(f"number {number} was told as {document}, and by the log is {wanted}")


def _parts(text: str) -> Iterator[dict[str, str]]:
    """What a stream says, by the names of its lines."""
    for part in text.split("\n\n"):
        lines = [line.partition(": ") for line in part.splitlines()]
        named = {name: value for name, _, value in lines if name}
        if "id" in named or "event" in named:
            yield named
