"""Clients that use what the nodes serve, all at once, and write down what they were told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any
from uuid import UUID

from quorate.ops.calls.record import NOT_APPLIED, OK, UNKNOWN, Call, Key, Record, Thing, Verb
from quorate.ops.nemesis.app import LISTS, list_resource
from quorate.rest.http_client import HttpClient, NotSent, RequestFailed, Response

REGISTERS = 6
CLAIMS = 10
APPENDS_MAX = 400
"""Values in one list."""
REQUEST_SECONDS = 2.0
PATIENCE_SECONDS = 8.0
"""How long a call is tried again that has an ``Idempotency-Key``."""
PAUSE_SECONDS = 0.05
KEYED_SHARE = 0.7
PAGE_ROWS = 1000

WEIGHTS = {
    Verb.WRITE: 24,
    Verb.READ: 24,
    Verb.INSERT: 14,
    Verb.DELETE: 10,
    Verb.CONTAINS: 8,
    Verb.APPEND: 14,
    Verb.COUNT: 3,
}
LIST_READS_SHARE = 0.15

READS = (Verb.READ, Verb.CONTAINS, Verb.COUNT)


@dataclass(frozen=True, slots=True)
class Request:
    """What a call sends, and how the answer to it is read."""

    method: str
    path: str
    body: Any
    answers: dict[int, Callable[[Response], Any]]


def request_for(key: Key, verb: Verb, value: Any) -> Request:
    """How ``verb`` is said to the resource that keeps ``key``."""
    name = key[1]
    match verb:
        case Verb.WRITE:
            return Request("PATCH", f"registers/{name}", {"value": value}, {200: lambda answer: None})
        case Verb.READ if key[0] == Thing.REGISTER:
            return Request("GET", f"registers/{name}", None, {200: lambda answer: answer.json()["value"]})
        case Verb.READ:
            return Request("GET", f"{name}?limit={PAGE_ROWS}", None, {200: _values})
        case Verb.COUNT:
            return Request("GET", f"{name}/count", None, {200: lambda answer: answer.json()["count"]})
        case Verb.APPEND:
            return Request("POST", name, {"value": value}, {201: lambda answer: None})
        case Verb.INSERT:
            document = {"name": name, "owner": value}
            return Request("POST", "claims", document, {201: lambda answer: True, 409: _taken})
        case Verb.DELETE:
            return Request("DELETE", f"claims/{name}", None, {204: lambda answer: True, 404: lambda answer: False})
        case Verb.CONTAINS:
            return Request("GET", f"claims/{name}", None, {200: lambda answer: True, 404: lambda answer: False})


def _taken(answer: Response) -> bool:
    if not answer.json().get("errors"):
        raise ValueError("a conflict that does not say what is in conflict")
    return False


def _values(answer: Response) -> tuple[int, ...]:
    rows = answer.json()
    ids = [UUID(row["id"]) for row in rows]
    if ids != sorted(ids):
        raise ValueError("the rows are not in the order of their ids")
    return tuple(row["value"] for row in rows)


class Clients:
    """Some parallel clients. ``run`` them for a round; ``ask`` is one call of one client."""

    def __init__(self, urls: Sequence[str], record: Record, rng: Random, *, clients: int, calls_max: int) -> None:
        self._urls = list(urls)
        self._record = record
        self._rng = rng
        self._clients = clients
        self._calls_max = calls_max
        self._http = HttpClient(timeout=REQUEST_SECONDS)
        self._numbers = count(1)
        self._names = count(1)
        self.round = 0
        """Which round the calls belong to."""
        self._appended = 0
        self.begun = 0
        """Calls that were begun so far."""

    async def prepare(self, number: int) -> None:
        """Create the registers of round ``number``, which is the one that the following calls belong to."""
        self.round, self._appended = number, 0
        for name in self._registers():
            while True:
                headers = {"idempotency-key": f"register-{name}"}
                try:
                    body = json.dumps({"key": name, "value": 0}).encode()
                    url = f"{self._rng.choice(self._urls)}/api/registers"
                    answer = await self._http.request("POST", url, body, headers)
                except RequestFailed:
                    answer = None
                if answer is not None and answer.status == 201:
                    break
                await asyncio.sleep(PAUSE_SECONDS)

    def _registers(self) -> list[str]:
        return [f"r{self.round}-{at}" for at in range(REGISTERS)]

    async def run(self, stop: asyncio.Event, calls_per_second: float) -> None:
        """Call until ``stop`` is set or as many calls are made as there may be."""
        started = time.monotonic()
        pause = self._clients / calls_per_second
        await asyncio.gather(*(self._work(client, stop, pause) for client in range(self._clients)))
        self._record.active.append((started, time.monotonic()))

    async def _work(self, client: int, stop: asyncio.Event, pause: float) -> None:
        while not stop.is_set() and self.begun < self._calls_max:
            began = time.monotonic()
            key, verb, value = self._draw()
            await self.ask(client, key, verb, value)
            await asyncio.sleep(max(0.0, began + pause * self._rng.uniform(0.2, 1.8) - time.monotonic()))

    def _draw(self) -> tuple[Key, Verb, Any]:
        verb = self._rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        own_list = (str(Thing.LIST), list_resource(self.round))
        register = (str(Thing.REGISTER), self._rng.choice(self._registers()))
        has_list = self.round < LISTS
        if verb is Verb.APPEND and has_list and self._appended < APPENDS_MAX:
            self._appended += 1
            return own_list, verb, next(self._numbers)
        if verb is Verb.COUNT and has_list:
            return own_list, verb, None
        if verb in (Verb.INSERT, Verb.DELETE, Verb.CONTAINS):
            key = (str(Thing.CLAIM), f"c{self.round}-{self._rng.randrange(CLAIMS)}")
            return key, verb, next(self._numbers) if verb is Verb.INSERT else None
        if verb is Verb.WRITE:
            return register, verb, next(self._numbers)
        if has_list and self._rng.random() < LIST_READS_SHARE:
            return own_list, Verb.READ, None
        return register, Verb.READ, None

    async def close_round(self, client: int) -> None:
        """Read everything that belongs to the round, so that no write goes unnoticed."""
        asked: list[Awaitable[None]] = [
            self.ask(client + at, (str(Thing.REGISTER), name), Verb.READ, None)
            for at, name in enumerate(self._registers())
        ]
        claims = [(str(Thing.CLAIM), f"c{self.round}-{at}") for at in range(CLAIMS)]
        asked += [self.ask(client + 100 + at, key, Verb.CONTAINS, None) for at, key in enumerate(claims)]
        if self.round < LISTS:
            asked.append(self.ask(client + 200, (str(Thing.LIST), list_resource(self.round)), Verb.READ, None))
        await asyncio.gather(*asked)

    async def ask(self, client: int, key: Key, verb: Verb, value: Any) -> None:
        """One call: tried again, on another node, as long as that is safe and patience lasts."""
        self.begun += 1
        request = request_for(key, verb, value)
        headers: dict[str, str] = {}
        if verb not in READS and self._rng.random() < KEYED_SHARE:
            headers["idempotency-key"] = f"call-{next(self._names)}"
        urls = self._rng.sample(self._urls, len(self._urls))
        invoked = time.monotonic()
        outcome, answer, tries = NOT_APPLIED, None, 0
        while True:
            tries += 1
            last, answer = await self._try(urls[tries % len(urls)], request, headers)
            # Once the outcome of a try is unknown, that a later one has no effect says nothing about the first.
            outcome = last if last == OK or outcome == NOT_APPLIED else outcome
            may_retry = verb in READS or bool(headers) or outcome == NOT_APPLIED
            if outcome == OK or not may_retry or time.monotonic() > invoked + PATIENCE_SECONDS:
                break
            await asyncio.sleep(PAUSE_SECONDS)
        if outcome != OK and verb in READS:
            outcome = NOT_APPLIED
        returned = time.monotonic() if outcome == OK else None
        self._record.add(
            Call(
                client=client, key=key, verb=verb, value=value, answer=answer, invoked=invoked, returned=returned,
                outcome=outcome, round=self.round, tries=tries,
            )
        )  # fmt: skip

    async def _try(self, url: str, request: Request, headers: dict[str, str]) -> tuple[str, Any]:
        body = None if request.body is None else json.dumps(request.body).encode()
        try:
            answer = await self._http.request(request.method, f"{url}/api/{request.path}", body, headers)
        except NotSent:
            return NOT_APPLIED, None
        except RequestFailed:
            return UNKNOWN, None
        read = request.answers.get(answer.status)
        try:
            if read is not None:
                return OK, read(answer)
            if answer.status == 503:
                told = answer.json().get("outcome")
                return (NOT_APPLIED if request.method == "GET" or told == "not_applied" else UNKNOWN), None
        except (ValueError, KeyError, TypeError) as error:
            self._surprise(f"{error}: {answer.text[:200]}", answer, request)
            return UNKNOWN, None
        if answer.status not in (500, 504):
            self._surprise(answer.text[:200], answer, request)
        return UNKNOWN, None

    def _surprise(self, what: str, answer: Response, request: Request) -> None:
        self._record.surprises.append(f"{request.method} {answer.url} answered {answer.status}: {what}")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
