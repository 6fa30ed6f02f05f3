"""Which node carries out what a program does with its models."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from quorate.errors import NodeStopped
from quorate.models.commands import Operation
from quorate.models.errors import NotInForce
from quorate.models.freshness import consistency_of
from quorate.models.local import Kept, LocalFields, LocalStore
from quorate.models.machine import ModelsMachine
from quorate.models.store.schema import Row
from quorate.models.store.tables import Table
from quorate.models.submitting import Submitter
from quorate.node.ports import Engine
from quorate.node.reads import Consistency

if TYPE_CHECKING:
    from quorate.models.model import Model

_bindings: list[Binding] = []
"""Those of the nodes that run in this process."""
_chosen: ContextVar[Binding | None] = ContextVar("quorate_node", default=None)
_actor: ContextVar[str | None] = ContextVar("quorate_actor", default=None)

ACTOR_CHARACTERS_MAX = 255
PATIENCE_SECONDS = 5.0
"""So long a call waits for what the app declares to be in force, which it is soon behind the first start."""
LOOK_SECONDS = 0.01


class Binding:
    """Some models and the node that keeps them. ``begin`` when it runs, ``end`` when it stops."""

    def __init__(
        self,
        models: Sequence[type[Model]],
        machine: ModelsMachine,
        engine: Engine,
        name: str,
        local: LocalStore | None = None,
        consistency: Consistency = "strong",
    ) -> None:
        """``consistency`` is that of reads which do not say and return no field that is ``consistent_read``."""
        store = local or LocalStore()
        schemas = {model: model.__model_schema__ for model in models}
        self._local = {model: LocalFields(schema, store) for model, schema in schemas.items() if schema.local_columns}
        self.models = frozenset(models)
        self.machine = machine
        self.engine = engine
        self.submitter = Submitter(engine, machine)
        self.name = name
        self.consistency: Consistency = consistency

    def begin(self) -> None:
        """From now on calls may go to the node."""
        if self not in _bindings:
            _bindings.append(self)

    def end(self) -> None:
        """The node takes no more calls. Idempotent."""
        if self in _bindings:
            _bindings.remove(self)

    @contextmanager
    def chosen(self) -> Iterator[None]:
        """Calls inside the block, and in tasks that are started there, go to this node."""
        token = _chosen.set(self)
        try:
            yield
        finally:
            _chosen.reset(token)

    def table(self, model: type[Model]) -> Table:
        """Where the objects of one model are: asked for each time, for a snapshot replaces the tables."""
        return self.machine.tables[model.__model_schema__.name]

    async def submit(self, operations: Sequence[Operation], request_id: str | None = None) -> list[object]:
        """The results of the operations, of which all are carried out or none."""
        ends = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            try:
                return await self.submitter.all(operations, actor=actor(), request_id=request_id)
            except NotInForce:
                if asyncio.get_running_loop().time() >= ends:
                    raise
            await asyncio.sleep(LOOK_SECONDS)

    def consistency_of(self, model: type[Model], *names: str) -> Consistency:
        """That of reads which do not say, and return these fields; all of them if none is named."""
        schema = model.__model_schema__
        return consistency_of(schema, names or schema.names, self.consistency)

    async def read(self, consistency: Consistency) -> None:
        """Return when a local read of that consistency is correct; read before awaiting anything else."""
        ends = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            await self.engine.read_barrier(consistency=consistency)
            if self.machine.declarations.are_served:
                return
            if asyncio.get_running_loop().time() >= ends:
                raise NotInForce(self.machine.declarations.version)
            await asyncio.sleep(LOOK_SECONDS)

    def whole(self, model: type[Model], row: Row) -> Row:
        """A row of the table with the values that this node has of its own for the object."""
        fields = self._local.get(model)
        return row if fields is None else fields.whole(self.table(model), row)

    async def keep(self, model: type[Model], kept: Kept) -> None:
        """Keep such values."""
        await self._local[model].keep(self.table(model), [kept])

    def behind(self, model: type[Model], kept: Kept) -> AbstractContextManager[None]:
        """Around what is done behind a change that is applied: see :meth:`LocalFields.behind`."""
        return self._local[model].behind([kept])


def binding_of(*models: type[Model]) -> Binding:
    """Where calls about these models go: to the node that was chosen, or to the only one that runs here.

    Raises :class:`~quorate.errors.NodeStopped` if there is none, and :class:`RuntimeError` if there are several.
    """
    names = ", ".join(model.__name__ for model in models)
    chosen = _chosen.get()
    if chosen is not None:
        if not chosen.models.issuperset(models):
            raise RuntimeError(f"{chosen.name} does not keep {names}: its app has other models")
        if chosen not in _bindings:
            raise NodeStopped(f"{chosen.name} is not running")
        return chosen
    running = [binding for binding in _bindings if binding.models.issuperset(models)]
    if not running:
        raise NodeStopped(f"no node that keeps {names} runs in this process: start one with the app, Node(…, app=app)")
    if len(running) > 1:
        nodes = ", ".join(binding.name for binding in running)
        raise RuntimeError(f"{nodes} keep {names} in this process: say which one is meant, with node.using()")
    return running[0]


@contextmanager
def acting_as(actor: str | None) -> Iterator[None]:
    """Changes inside the block are those of ``actor``, as events and histories tell."""
    if actor is not None and not (0 < len(actor) <= ACTOR_CHARACTERS_MAX and actor.isprintable()):
        raise ValueError(f"an actor is named by 1 to {ACTOR_CHARACTERS_MAX} printable characters")
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def actor() -> str | None:
    """Who acts here, if that is known."""
    return _actor.get()
