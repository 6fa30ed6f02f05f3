"""When the node that leads has its app's declarations put in force, and when it rather lets another node lead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from quorate.machine.outcome import Applied
from quorate.models import declaring
from quorate.models.commands import Create, Declare, decode_command
from quorate.models.declaring import Declaring
from quorate.models.errors import NotInForce
from quorate.models.submitting import Submitter

from .support import LocalEngine, Replica, until
from .test_migrations import converted, stocked


class Member(LocalEngine):
    """A node that leads or not, as the test says."""

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica)
        self.is_leader = True
        self.peer_schemas: dict[int, str] = {}
        self.handed_to: list[int | None] = []

    async def propose(
        self,
        command: bytes,
        *,
        machine: str,
        request_id: str | None = None,
        timeout: float | None = None,
        alone: bool = False,
    ) -> Applied:
        assert alone or not isinstance(decode_command(command), Declare), "it may take long"
        return await super().propose(command, machine=machine, request_id=request_id, timeout=timeout)

    async def transfer_leadership(self, to: int | None = None, *, timeout: float | None = None) -> int:
        self.handed_to.append(to)
        self.is_leader = False
        return to or 0


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declaring, "LOOK_SECONDS", 0.001)


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[tuple[Member, Replica]]:
    """A node with the second version of the app, on a file where the first is in force."""
    old = Replica(path, stocked().models)
    wanted = old.machine.declarations.wanted
    assert wanted is not None
    old.command(wanted)
    old.apply(Create("Stocked", ("id", "stock"), [(1, 5)]))
    old.close()
    app = converted()
    replica = Replica(path, app.models, migrations=app.migrations)
    member = Member(replica)
    task = Declaring(replica.machine, "declared new")
    try:
        task.begin(member)
        yield member, replica
    finally:
        await task.end()
        replica.close()


async def test_it_is_declared_when_nobody_is_connected_who_would_not_know_it(tmp_path: Path) -> None:
    async with running(tmp_path / "db") as (member, replica):
        assert replica.machine.is_waiting
        await until(lambda: replica.machine.declarations.are_in_force)
        assert replica.rows()["Stocked"] == [(1, 5.0)]
        assert (member.proposed, member.handed_to) == (1, [])


async def test_a_node_that_does_not_lead_declares_nothing_and_takes_no_writes(tmp_path: Path) -> None:
    async with running(tmp_path / "db") as (member, replica):
        member.is_leader = False
        await asyncio.sleep(0.05)
        with pytest.raises(NotInForce):
            await Submitter(member, replica.machine).one(Create("Stocked", ("id", "stock"), [(2, 1)]))
        assert member.proposed == 0
        member.is_leader = True
        await until(lambda: replica.machine.declarations.are_in_force)


async def test_while_nodes_with_the_old_app_are_connected_one_of_them_gets_to_lead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declaring, "LEAD_SECONDS_MAX", 0.01)
    async with running(tmp_path / "db") as (member, replica):
        member.peer_schemas = {2: "declared new", 3: "declared old"}
        await until(lambda: bool(member.handed_to))
        assert (member.proposed, member.handed_to) == (0, [3])
        member.peer_schemas, member.is_leader = {2: "declared new", 3: "declared new"}, True
        await until(lambda: replica.machine.declarations.are_in_force)
