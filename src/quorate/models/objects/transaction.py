"""Changes of several objects that are proposed together: all are carried out, or none."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import UUID

import msgspec

from quorate.machine.identifiers import uuid7
from quorate.models.commands import Call, Check, Create, Delete, MergePatch, Operation, Patch
from quorate.models.errors import DoneInPart
from quorate.models.objects import stored
from quorate.models.objects.binding import Binding, binding_of
from quorate.models.store.columns import SqlValue

if TYPE_CHECKING:
    from quorate.models.model import Model

OPERATIONS_MAX = 1_000

OnOne = Patch | MergePatch | Call | Delete | Check

_open: ContextVar[Transaction | None] = ContextVar("quorate_transaction", default=None)


def open_transaction() -> Transaction | None:
    """The one whose block surrounds the call."""
    return _open.get()


async def _nothing(binding: Binding, result: object) -> None:
    pass


class Transaction:
    """``async with app.transaction():``; see :meth:`quorate.app.App.transaction`."""

    def __init__(self, models: Iterable[type[Model]], *, optimistic: bool, request_id: str | None) -> None:
        self._models = tuple(models)
        self._optimistic = optimistic
        self._request_id = request_id
        self._binding: Binding | None = None
        self._token: Token[Transaction | None] | None = None
        self._operations: list[Operation] = []
        self._settling: list[stored.Settle] = []
        self._touched: set[tuple[str, SqlValue]] = set()
        self._created: list[Model] = []

    async def __aenter__(self) -> Self:
        if open_transaction() is not None:
            raise RuntimeError("a transaction is open here already, and cannot hold another")
        if self._operations or self._token is not None:
            raise RuntimeError("a transaction is entered once")
        self._binding = binding_of(*self._models)
        self._token = _open.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._token is not None
        assert self._binding is not None
        binding, self._binding = self._binding, None
        _open.reset(self._token)
        results: list[object] | None = None
        try:
            if error is None and self._operations:
                results = await binding.submit(self._operations, self._request_id)
        finally:
            if results is None:
                for instance in self._created:
                    stored.forget(instance)
        failures: list[DoneInPart] = []
        for settle, result in zip(self._settling, results or (), strict=results is not None):
            try:
                await settle(binding, result)
            except DoneInPart as failure:  # the other objects are to have their new values nevertheless
                failures.append(failure)
        if failures:
            raise failures[0]

    def check(self, instance: Model) -> None:
        """Have the transaction refused if the object has changed since it was read, or is gone."""
        key = stored.key_of(instance)
        schema = instance.__model_schema__
        self._add(type(instance), Check(schema.name, key, stored.version_of(instance)), _nothing)

    # -- for the objects ---------------------------------------------------------------------------------

    def identify(self, instance: Model) -> None:
        """Give a new object its id now, so that others can refer to it."""
        schema = instance.__model_schema__
        if schema.key_is_stamped and instance.__dict__[schema.key.name] is None:
            instance.__dict__[schema.key.name] = UUID(int=uuid7())

    def create(self, instance: Model, operation: Create, settle: stored.Settle) -> None:
        """Gather the creation of an object."""
        self._add(type(instance), operation, settle)
        stored.mark(instance, stored.TO_BE_CREATED)
        self._created.append(instance)
        self._touched.add((operation.model, stored.key_of(instance)))

    def change(self, instance: Model, operation: OnOne, settle: stored.Settle) -> None:
        """Gather another change of an object."""
        which = operation.model, operation.key
        if self._optimistic and operation.expected is None and which not in self._touched:
            operation = msgspec.structs.replace(operation, expected=stored.version_of(instance))
        self._add(type(instance), operation, settle)
        self._touched.add(which)

    def _add(self, model: type[Model], operation: Operation, settle: stored.Settle) -> None:
        if self._binding is None:
            raise RuntimeError("the transaction has ended: it takes changes within its block")
        if model not in self._models:
            raise RuntimeError(f"{model.__name__} is not a model of the app whose transaction this is")
        if len(self._operations) >= OPERATIONS_MAX:
            raise RuntimeError(f"a transaction has at most {OPERATIONS_MAX} operations")
        self._operations.append(operation)
        self._settling.append(settle)
