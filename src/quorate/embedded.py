"""The node that programs embed: the engine's, with the key-value store in it if that is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from quorate.config import RaftConfig
from quorate.errors import ConfigError
from quorate.kv.machine import MACHINE, KvMachine
from quorate.kv.store.kv import Kv
from quorate.kv.store.store import Store
from quorate.machine.contract import Machine
from quorate.machine.sqlite import SqliteState
from quorate.node import node as engine
from quorate.storage.filesystem import FileSystem
from quorate.storage.writer import GroupCommitWriter, WriterFactory
from quorate.transport.contract import Transport


class Node(engine.Node):
    """One member of a cluster: ``async with Node(config, machine=…, kv=True) as node``.

    Entering returns once the node runs, which may be before the cluster has a leader. With ``machines``
    (name → machine) several share the log. With ``kv`` there is a key-value store, too: :attr:`kv`. All nodes of a
    cluster are given the same.

    ``transport``, ``file_system``, ``rng``, ``wall_clock_us``, ``open_state`` and ``make_writer`` are ports; by default
    the node listens for its peers on its own address, and uses the real disk. ``state_file_system`` is where SQLite's
    file is, if that is another. Peers whose ``schema`` differs are refused: give it a digest of what the machines
    understand, if that can differ between nodes.
    """

    def __init__(
        self,
        config: RaftConfig,
        machine: Machine | None = None,
        *,
        machines: Mapping[str, Machine] | None = None,
        kv: bool = False,
        transport: Transport | None = None,
        file_system: FileSystem | None = None,
        state_file_system: FileSystem | None = None,
        rng: Random | None = None,
        wall_clock_us: Callable[[], int] = engine.wall_clock_us,
        schema: str = "",
        open_state: Callable[[Path], SqliteState] = SqliteState,
        make_writer: WriterFactory = GroupCommitWriter,
    ) -> None:
        if machine is not None and machines is not None:
            raise ConfigError("give a node either machine or machines")
        named = dict(machines or {}) if machine is None else {engine.DEFAULT_MACHINE: machine}
        keys = KvMachine(wall_clock_us) if kv else None
        if keys is not None and named.setdefault(MACHINE, keys) is not keys:
            raise ConfigError(f"with kv=True the name {MACHINE!r} belongs to the key-value store")
        super().__init__(
            config,
            machines=named,
            transport=transport,
            file_system=file_system,
            state_file_system=state_file_system,
            rng=rng,
            wall_clock_us=wall_clock_us,
            schema=schema,
            open_state=open_state,
            make_writer=make_writer,
        )
        self._machine = machine
        self._store = None if keys is None else Store(self, keys, wall_clock_us)

    @property
    def kv(self) -> Kv:
        """The key-value store. Raises :class:`ConfigError` if the node was made without."""
        if self._store is None:
            raise ConfigError("this node has no key-value store: make it with kv=True")
        return self._store.kv

    async def start(self) -> None:
        """As :meth:`quorate.node.node.Node.start`."""
        await super().start()
        if self._store is not None and not self._stopped.is_set():
            self._store.begin()

    async def _close(self, *, graceful: bool) -> None:
        if self._store is not None:
            await self._store.end()  # the group has stopped, and so all that is under way ends
        await super()._close(graceful=graceful)
