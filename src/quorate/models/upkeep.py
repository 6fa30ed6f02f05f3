"""What a node does for its models beside the requests: history is deleted in time, and values of its own are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from quorate.models.local import SWEEP_SECONDS, LocalStore, sweep_for_ever
from quorate.models.machine import ModelsMachine
from quorate.models.retention import RETAIN_SECONDS, retain_for_ever
from quorate.models.store.local_values import FILE, DiskValues
from quorate.models.store.schema import ModelSchema
from quorate.node.ports import Engine


class Upkeep:
    """:meth:`open`, then :meth:`begin`; :meth:`end` may come at any time."""

    def __init__(self, schemas: Sequence[ModelSchema], machine: ModelsMachine) -> None:
        self._schemas = tuple(schemas)
        self._machine = machine
        self._tasks: list[asyncio.Task[None]] = []
        self.local = LocalStore()

    def open(self, data_dir: Path) -> None:
        """Open the file of the values that this node has for itself, if there are any.

        The directory must be the node's already. Raises :class:`~quorate.errors.StorageError`.
        """
        on_disk = (column.name not in schema.memory_only for schema in self._schemas for column in schema.local_columns)
        if any(on_disk):
            self.local.disk = DiskValues(data_dir / FILE)

    def begin(
        self,
        engine: Engine,
        leads: Callable[[], bool],
        now_us: Callable[[], int],
        *,
        retain_seconds: float = RETAIN_SECONDS,
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> None:
        """The node runs: do from time to time what is due, as far as there can be any of it."""
        work = []
        if any(column.retention_us is not None for schema in self._schemas for column in schema.columns):
            work.append(retain_for_ever(self._machine, engine, leads, now_us, retain_seconds))
        if any(schema.local_columns for schema in self._schemas):
            work.append(sweep_for_ever(self.local, self._machine, engine, sweep_seconds))
        self._tasks = [asyncio.get_running_loop().create_task(each) for each in work]

    async def end(self) -> None:
        """Return when nothing is under way any more, and the file is closed. Idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self.local.close()
        self.local.disk = None
