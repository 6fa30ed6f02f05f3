"""The models of the workloads that use declared models, and how clients reach them: as HTTP does, minus the sockets."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

from quorate import App, Model, field
from quorate.machine.outcome import Applied
from quorate.models.machine import MACHINE, ModelsMachine
from quorate.models.model import schema_of
from quorate.models.query.running import Queries
from quorate.models.rest.http import Response
from quorate.models.rest.resource import ModelResource
from quorate.models.store.tables import Table
from quorate.node.reads import Consistency
from quorate.testing.simulation.host import Process
from quorate.testing.simulation.loop import SimulatedLoop

JSON = (b"content-type", b"application/json")
MERGE_PATCH = (b"content-type", b"application/merge-patch+json")


class Seat(Model):
    """A seat that is taken; ``number`` can be taken once."""

    id: UUID = field(primary_key=True)
    number: int = field(unique=True, ge=0)
    holder: str = field(min_length=1)


class Account(Model):
    """Someone who has money, or owes it."""

    id: int = field(primary_key=True)
    owner: str = field(unique=True)


class Posting(Model):
    """One side of a transfer: what it adds to an account."""

    id: UUID = field(primary_key=True)
    transfer: str
    side: str = field(unique=True)
    account_id: int = field(foreign_key=Account, on_delete="restrict")
    amount: int


APP = App(models=[Seat, Account, Posting], title="Simulated")


def _here() -> Process:
    """The process whose loop runs now."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    process = loop.owner
    assert isinstance(process, Process)
    return process


class _Here:
    """The engine, and the machine, of the node that serves the request. One set of resources serves all nodes."""

    @property
    def applied_index(self) -> int:
        return _here().node.applied_index

    async def propose(
        self, command: bytes, *, machine: str, request_id: str | None = None, timeout: float | None = None
    ) -> Applied:
        return await _here().node.propose(command, machine=machine, request_id=request_id, timeout=timeout)

    async def read_barrier(self, *, consistency: Consistency, timeout: float | None = None) -> None:
        await _here().node.read_barrier(consistency=consistency, timeout=timeout)

    def flush(self) -> None:
        _here().node.flush()


class _MachineHere(ModelsMachine):
    """The machine of the node that serves the request."""

    @property
    def tables(self) -> dict[str, Table]:
        machine = _here().machines[MACHINE]
        assert isinstance(machine, ModelsMachine)
        return machine.tables

    @tables.setter
    def tables(self, value: dict[str, Table]) -> None:
        """Nothing is kept here."""

    @property
    def queries(self) -> Queries:
        machine = _here().machines[MACHINE]
        assert isinstance(machine, ModelsMachine)
        return machine.queries

    @queries.setter
    def queries(self, value: Queries) -> None:
        """Nothing is kept here."""


RESOURCES = {model: ModelResource(schema_of(model), _MachineHere(APP.schemas), _Here()) for model in APP.models}


async def ask(
    model: type[Model],
    method: str,
    tail: str = "",
    body: object = None,
    *,
    query: str = "",
    request_id: str | None = None,
) -> Any:
    """One request to the node whose task this is; returns the JSON of the answer.

    Raises what :meth:`ModelResource.handle` raises.
    """
    headers = [MERGE_PATCH if method == "PATCH" else JSON]
    if request_id is not None:
        headers.append((b"idempotency-key", request_id.encode()))
    data = b"" if body is None else json.dumps(body).encode()
    response = await RESOURCES[model].handle(method, tail, query.encode(), headers, data)
    assert isinstance(response, Response)  # nothing here asks for a stream
    return json.loads(response.body) if response.body else None


async def everything(model: type[Model], consistency: Consistency = "strong") -> list[dict[str, Any]]:
    """All objects of a model, as one read."""
    objects: list[dict[str, Any]] = await ask(model, "GET", query=f"limit=1000&consistency={consistency}")
    return objects
