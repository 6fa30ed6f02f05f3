"""A node in miniature that can be started again with another version of its app."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from quorate.app import App
from quorate.errors import CommandFailed
from quorate.machine.commands import Batch, encode_batch
from quorate.machine.commands import Command as RoutedCommand
from quorate.machine.router import Router
from quorate.models.commands import Change, Command, Operation, encode_command
from quorate.models.machine import MACHINE, ModelsMachine
from quorate.raft.entry import Entry, EntryKind

from .support import FIRST_TIME_US


class EvolvingNode:
    """The models machine of an app under a router, on a real file."""

    def __init__(self, path: Path, app: App) -> None:
        self.path = path
        self.restart(app)

    def restart(self, app: App) -> None:
        """Go on with this version of the app."""
        if hasattr(self, "router"):
            self.router.close()
        self.app = app
        self.machine = ModelsMachine(app.schemas, migrations=app.migrations)
        self.router = Router({MACHINE: self.machine})
        try:
            self.router.open(self.path)
        except BaseException:
            self.router.close(flush=False)
            raise

    def declaration(self) -> Command:
        """What this node would propose if it led."""
        wanted = self.machine.declarations.wanted
        assert wanted is not None
        return wanted

    def change(self, *operations: Operation) -> Change:
        """What this node would propose for a client."""
        return Change(list(operations), None, self.machine.declarations.version)

    def apply(self, *commands: Command) -> list[Any]:
        """The outcomes; each command is an entry of its own."""
        outcomes = []
        for command in commands:
            index = self.router.applied + 1
            payload = encode_batch(
                Batch(FIRST_TIME_US + index, index, [RoutedCommand(MACHINE, encode_command(command), None)])
            )
            outcomes += self.router.apply(Entry(index, 1, EntryKind.COMMANDS, payload))
        return outcomes

    def accept(self, *commands: Command) -> list[Any]:
        """As :meth:`apply`, where nothing is refused."""
        outcomes = self.apply(*commands)
        for outcome in outcomes:
            if isinstance(outcome, CommandFailed):
                raise outcome
        return outcomes

    def rows(self, model: str) -> list[dict[str, Any]]:
        """All objects of a model, in stored form."""
        table = self.machine.tables[model]
        return [dict(zip(table.schema.names, row, strict=True)) for row in table.page(10_000, 0)]

    def continue_with(self, other: EvolvingNode) -> None:
        """Take over the other's state, as a snapshot of it would."""
        copy = self.path.with_suffix(".copy")
        capture = other.router.capture()
        capture.copy_state(copy)
        capture.close()
        self.router.replace_state(lambda: os.replace(copy, self.path), capture.machines, capture.index)

    def close(self) -> None:
        self.router.close()
