"""The node that programs embed: the engine's, with an app's models and tasks, and the keys, if they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Unpack

from quorate.app import App
from quorate.config import RaftConfig
from quorate.effects import AppEffects
from quorate.errors import ConfigError
from quorate.kv.machine import MACHINE as KV
from quorate.kv.machine import KvMachine
from quorate.kv.store.kv import Kv
from quorate.kv.store.store import Store
from quorate.machine.contract import Machine
from quorate.machine.sqlite import SqliteState
from quorate.models.declaring import Declaring
from quorate.models.machine import MACHINE as MODELS
from quorate.models.machine import ModelsMachine
from quorate.models.objects.binding import Binding
from quorate.models.rest.serving import Served
from quorate.models.rest.transactions import TransactionResource
from quorate.models.upkeep import Upkeep
from quorate.node import node as engine
from quorate.storage.filesystem import FileSystem
from quorate.storage.writer import GroupCommitWriter, WriterFactory
from quorate.tasks.broker import Broker
from quorate.tasks.machine import MACHINE as TASKS
from quorate.tasks.machine import TasksMachine
from quorate.tasks.worker import BrokerSource, Worker, WorkerOptions
from quorate.tasks.worker.hosting import hosted
from quorate.transport.contract import Transport


class Node(engine.Node):
    """One member of a cluster: ``async with Node(config, app=…) as node``; or ``machine=…``, ``kv=True``, or several.

    Entering returns once the node runs, which may be before the cluster has a leader. With ``machines``
    (name → machine) several share the log. With an ``app`` its models are kept here, and what the program asks of them
    is done by this node; see :meth:`using` for several nodes in one process. With ``kv`` there is a key-value store,
    too: :attr:`kv`. With an ``app`` that declares tasks, or with ``tasks``, there are queues of tasks: :attr:`tasks`,
    to which the app's are sent. All nodes of a cluster are given the same.

    ``transport``, ``file_system``, ``rng``, ``wall_clock_us``, ``open_state`` and ``make_writer`` are ports; by default
    the node listens for its peers on its own address, and uses the real disk. ``state_file_system`` is where SQLite's
    file is, if that is another. Peers whose ``schema`` differs are refused: give it a digest of what the machines
    understand, if that can differ between nodes; by default it is the app's.
    """

    def __init__(
        self,
        config: RaftConfig,
        machine: Machine | None = None,
        *,
        machines: Mapping[str, Machine] | None = None,
        app: App | None = None,
        kv: bool = False,
        tasks: bool = False,
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
        if keys is not None and named.setdefault(KV, keys) is not keys:
            raise ConfigError(f"with kv=True the name {KV!r} belongs to the key-value store")
        models = ModelsMachine(app.schemas, migrations=app.migrations) if app is not None and app.models else None
        if models is not None and named.setdefault(MODELS, models) is not models:
            raise ConfigError(f"with an app the name {MODELS!r} belongs to its models")
        queues = TasksMachine() if tasks or (app is not None and app.tasks.types) else None
        if queues is not None and named.setdefault(TASKS, queues) is not queues:
            raise ConfigError(f"with tasks the name {TASKS!r} belongs to them")
        super().__init__(
            config,
            machines=named,
            transport=transport,
            file_system=file_system,
            state_file_system=state_file_system,
            rng=rng,
            wall_clock_us=wall_clock_us,
            schema=schema or (app.schema if app is not None else ""),
            open_state=open_state,
            make_writer=make_writer,
        )
        self._machine = machine
        self._store = None if keys is None else Store(self, keys, wall_clock_us)
        self._broker = None
        if queues is not None:
            self._broker = Broker.of(
                self, queues, wall_clock_us, app.tasks.types if app else {}, app.queues if app else ()
            )
        self.app = app
        """What was given as ``app``."""
        self.models = models
        """The state machine of its models, for :class:`quorate.web.site.Site`."""
        self.upkeep = None
        """What is done for the models beside the requests."""
        self._binding = None
        self._declaring = None
        if app is not None and models is not None:
            self._declaring = Declaring(models, self._schema)
            self.upkeep = Upkeep(app.schemas, models)
            name = f"node {config.node_id}"
            self._binding = Binding(app.models, models, self, name, self.upkeep.local, app.read_consistency)
        self._now_us = wall_clock_us

    @property
    def kv(self) -> Kv:
        """The key-value store. Raises :class:`ConfigError` if the node was made without."""
        if self._store is None:
            raise ConfigError("this node has no key-value store: make it with kv=True")
        return self._store.kv

    @property
    def tasks(self) -> Broker:
        """The queues of tasks. Raises :class:`ConfigError` if the node was made without."""
        if self._broker is None:
            raise ConfigError("this node has no tasks: make it with tasks=True, or with an app that declares some")
        return self._broker

    def worker(self, **options: Unpack[WorkerOptions]) -> AbstractAsyncContextManager[Worker]:
        """``async with node.worker(concurrency=4):`` does tasks of the app, in this process, while the block runs.

        It takes them from the whole cluster, as ``quorate worker`` does. At the end of the block nothing more is
        begun, and what was begun gets ``drain_seconds`` to end: so leave it before the node. Tasks that are
        ``exactly_once`` have effects on the models and keys of this node. Raises :class:`ConfigError` if the node was
        made without an app that declares tasks, and what entering :func:`~quorate.tasks.worker.hosting.hosted` raises.
        """
        if self.app is None:
            raise ConfigError("this node knows no tasks to do: make it with an app that declares some")
        transactions = None
        if self.models is not None and self.upkeep is not None:
            served = Served(self.app.read_consistency, self.upkeep.local)
            transactions = TransactionResource(self.app.schemas, self.models, self, served)
        effects = AppEffects(transactions, keys=self._store is not None)
        return hosted(self.app.tasks, BrokerSource(self.tasks, effects), self.using, **options)

    @contextmanager
    def using(self) -> Iterator[None]:
        """Inside the block, and in tasks that are started there, the app's models and tasks are asked of this node.

        That need only be said if several nodes with the same app run in the process. Raises :class:`ConfigError` if
        this node has none.
        """
        if self.app is None:
            raise ConfigError("this node has no models or tasks: make it with app=…")
        with ExitStack() as chosen:
            if self._binding is not None:
                chosen.enter_context(self._binding.chosen())
            if self._broker is not None:
                chosen.enter_context(self.app.tasks.gateways.chosen(self._broker))
            yield

    async def start(self) -> None:
        """As :meth:`quorate.node.node.Node.start`."""
        await super().start()
        if self._stopped.is_set():
            return
        if self._store is not None:
            self._store.begin()
        if self._broker is not None:
            self._broker.begin()
            if self.app is not None:
                self.app.tasks.gateways.add(self._broker, f"node {self.node_id}")
        if self._binding is not None and self.upkeep is not None:
            try:
                self.upkeep.open(self.config.data_dir)
            except BaseException:
                await self.stop(hand_over=False)
                raise
            if self._declaring is not None:
                self._declaring.begin(self)
            self.upkeep.begin(self, lambda: self.is_leader, self._now_us)
            self._binding.begin()

    async def _close(self, *, graceful: bool) -> None:
        if self._broker is not None:
            if self.app is not None:
                self.app.tasks.gateways.remove(self._broker)
            await self._broker.end()
        if self._binding is not None and self.upkeep is not None:
            self._binding.end()
            await self.upkeep.end()
        if self._declaring is not None:
            await self._declaring.end()
        if self._store is not None:
            await self._store.end()  # the group has stopped, and so all that is under way ends
        await super()._close(graceful=graceful)
