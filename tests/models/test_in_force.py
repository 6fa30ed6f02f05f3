"""Answers in the form that the node's app declares, though another was in force when the request came, or was made."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quorate.app import App
from quorate.models.commands import Call, Create
from quorate.models.errors import NotInForce
from quorate.models.rest.resource import ModelResource
from quorate.models.submitting import Submitter
from quorate.node.reads import Consistency

from .evolving import EvolvingNode
from .test_migrations import renamed, stocked


class Waiting:
    """An engine whose barrier is passed only once the node has taken over another node's state."""

    def __init__(self, node: EvolvingNode, other: EvolvingNode) -> None:
        self._node, self._other = node, other

    async def read_barrier(self, *, consistency: Consistency, timeout: float | None = None) -> None:
        self._node.continue_with(self._other)


@pytest.mark.parametrize("tail", ["1", "", "count", "random-id", "_aggregate"])
async def test_a_read_that_waits_while_the_tables_get_an_older_form(tmp_path: Path, tail: str) -> None:
    """A node begins empty, with the newer program: nothing is in its tables yet, which have the newer form."""
    old, new = EvolvingNode(tmp_path / "old", stocked()), EvolvingNode(tmp_path / "new", renamed())
    try:
        old.accept(old.declaration(), old.change(Create("Stocked", ("id", "stock"), [(1, 5)])))
        engine: Any = Waiting(new, old)
        (schema,) = new.app.schemas
        resource = ModelResource(schema, new.machine, engine)
        assert not new.machine.is_waiting
        with pytest.raises(NotInForce):
            await resource.handle("GET", tail, b"max=id" if tail == "_aggregate" else b"", [], b"")
        assert new.machine.is_waiting
    finally:
        old.close()
        new.close()


class Recording:
    """An engine that keeps what is proposed, and answers nothing of use."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    async def propose(self, command: bytes, **_: Any) -> Any:
        self.commands.append(command)
        return SimpleNamespace(result=[None])


async def test_a_retry_by_other_declarations_of_one_version_is_another_command(tmp_path: Path) -> None:
    """It would be answered with the row that was remembered, which is in the form of before."""
    engine: Any = Recording()
    for name, app in (("old", stocked()), ("same", stocked()), ("new", renamed())):
        node = EvolvingNode(tmp_path / name, App(models=app.models))
        try:
            await Submitter(engine, node.machine).one(Call("Stocked", 1, "stock_changed", '{"delta":1}'))
        finally:
            node.close()
    first, same, other = engine.commands
    assert first == same != other
