"""The models of the workloads that use declared models, and how clients reach them: as HTTP does, minus the sockets."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from quorate import App, Model, field
from quorate.models.model import schema_of
from quorate.node.reads import Consistency
from quorate.testing.simulation.host import Process


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


async def ask(
    process: Process,
    model: type[Model],
    method: str,
    tail: str = "",
    body: object = None,
    *,
    query: str = "",
    request_id: str | None = None,
) -> Any:
    """One request to a node; returns the JSON of the answer.

    Raises what :meth:`ModelsFace.ask` raises.
    """
    path = f"{schema_of(model).resource}/{tail}"
    return (await process.face.ask(method, path, body, query=query, request_id=request_id)).body


async def everything(process: Process, model: type[Model], consistency: Consistency = "strong") -> list[dict[str, Any]]:
    """All objects of a model, as one read."""
    objects: list[dict[str, Any]] = await ask(process, model, "GET", query=f"limit=1000&consistency={consistency}")
    return objects
