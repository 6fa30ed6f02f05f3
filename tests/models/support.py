"""A node in miniature: the machine on a real file, and an engine that applies what is proposed at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from quorate.app import App
from quorate.errors import CommandFailed
from quorate.machine.contract import ApplyContext, all_at_once
from quorate.machine.outcome import Applied, decode_outcome, encode_outcome
from quorate.machine.sqlite import SqliteState
from quorate.models.commands import Change, Command, Operation, encode_command
from quorate.models.machine import ModelsMachine
from quorate.models.migrations import Migration
from quorate.models.model import Model, schema_of
from quorate.models.rest.resource import ModelResource
from quorate.node.reads import Consistency
from quorate.rest.http import RequestError, Response

FIRST_TIME_US = 1_700_000_000_000_000
JSON = (b"content-type", b"application/json")
MERGE_PATCH = (b"content-type", b"application/merge-patch+json")


def context_of(index: int) -> ApplyContext:
    return ApplyContext(index, 1, FIRST_TIME_US + index * 1000, seed=index * 7919)


class Replica:
    """One machine on one file."""

    def __init__(self, path: Path, models: Iterable[type[Model]], *, migrations: Sequence[Migration] = ()) -> None:
        self.state = SqliteState(path)
        self.machine = ModelsMachine(App(models=models).schemas, migrations=migrations)
        self.index = 0
        try:
            self.machine.open(self.state)
        except BaseException:
            self.state.close()
            raise

    def apply(self, operation: Operation) -> Any:
        """The result of one operation."""
        (result,) = self.change(operation)
        return result

    def change(self, *operations: Operation, actor: str | None = None) -> list[Any]:
        """The results of a transaction."""
        return cast("list[Any]", self.command(Change(list(operations), actor)))

    def command(self, command: Command) -> object:
        """The result of any command."""
        self.index += 1
        return self.result(encode_command(command), self.index)

    def result(self, command: bytes, index: int) -> object:
        """The result of a command, as the entry of this index."""
        result = self.machine.apply(command, context_of(index))
        if isinstance(result, Generator):
            result = all_at_once(result)
        while self.machine.has_leftovers:
            self.machine.remove_leftovers()
        return result

    def outcome(self, operation: Operation) -> bytes:
        """What a client session would keep."""
        try:
            return encode_outcome(self.apply(operation))
        except CommandFailed as refusal:
            return encode_outcome(refusal)

    def rows(self) -> dict[str, list[Any]]:
        return {name: table.page(100_000, 0) for name, table in self.machine.tables.items()}

    def close(self) -> None:
        self.machine.close()
        self.state.close()


class LocalEngine:
    """Applies at once. ``proposed`` counts what reached the log; a request id is answered from its session."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.proposed = 0
        self.barriers: list[str] = []
        self._sessions: dict[str, bytes] = {}

    @property
    def applied_index(self) -> int:
        return self.replica.index

    async def propose(
        self, command: bytes, *, machine: str, request_id: str | None = None, timeout: float | None = None
    ) -> Applied:
        assert machine == "models"
        self.proposed += 1
        self.replica.index += 1
        index = self.replica.index
        remembered = self._sessions.get(request_id) if request_id is not None else None
        if remembered is None:
            try:
                outcome: object = self.replica.result(command, index)
            except CommandFailed as refusal:
                outcome = refusal
            remembered = encode_outcome(outcome)
            if request_id is not None:
                self._sessions[request_id] = remembered
        outcome = decode_outcome(remembered)  # as it comes back from a session: plain data only
        if isinstance(outcome, CommandFailed):
            raise outcome
        return Applied(index, 1, outcome)

    def flush(self) -> None:
        self.replica.state.commit()

    async def read_barrier(self, *, consistency: Consistency, timeout: float | None = None) -> None:
        self.barriers.append(consistency)


@dataclass
class Client:
    """Speaks to one resource, in JSON."""

    resource: ModelResource
    engine: LocalEngine

    async def send(
        self,
        method: str,
        tail: str = "",
        body: object = None,
        *,
        query: str = "",
        headers: Iterable[tuple[bytes, bytes]] | None = None,
    ) -> Response:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = [JSON] if headers is None else list(headers)
        return await self.resource.handle(method, tail, query.encode(), sent, raw)

    async def json(self, *arguments: Any, **keywords: Any) -> Any:
        return json.loads((await self.send(*arguments, **keywords)).body)

    async def refused(self, *arguments: Any, **keywords: Any) -> RequestError:
        """The refusal, which must not have reached the log."""
        before = self.engine.proposed
        error = await self.refused_by_log(*arguments, **keywords)
        assert self.engine.proposed == before, "a bad request reached the log"
        return error

    async def refused_by_log(self, *arguments: Any, **keywords: Any) -> RequestError:
        try:
            response = await self.send(*arguments, **keywords)
        except RequestError as error:
            return error
        raise AssertionError(f"expected a refusal, got {response}")


@contextmanager
def serving(path: Path, *models: type[Model]) -> Any:
    """A client for each of ``models``."""
    replica = Replica(path, models)
    engine = LocalEngine(replica)
    try:
        yield [Client(ModelResource(schema_of(model), replica.machine, engine), engine) for model in models]
    finally:
        replica.close()


async def until(condition: Callable[[], Any]) -> None:
    """Return once it holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing tells when it does
            await asyncio.sleep(0.001)
