"""``App``: what a user's program declares, as one importable object."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractContextManager
from functools import cached_property
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar, Unpack, get_args, overload

from quorate.errors import ConfigError
from quorate.models.migrations import Migration
from quorate.models.model import Model, schema_of
from quorate.models.objects.binding import acting_as
from quorate.models.objects.transaction import Transaction
from quorate.models.store.forms import fingerprint_of, form_of, rules_of
from quorate.models.store.schema import ModelSchema
from quorate.node.identity import DECLARED
from quorate.node.reads import Consistency
from quorate.tasks.declaration import Registry, TaskDecorator, TaskOptions, TaskType
from quorate.tasks.errors import InvalidTask
from quorate.tasks.submission import check_name

P = ParamSpec("P")
R = TypeVar("R")


class App:
    """A set of declarations that belong together and are replicated together.

    ``models`` are the classes in the order given; ``resources`` finds a model by the name of its resource,
    as in ``/api/<resource>``. ``read_consistency`` is that of reads which do not say: with ``eventually`` only
    those are strong that return a field which is ``consistent_read``. ``migrations`` are all those that there ever
    were, in order: see :mod:`quorate.models.migrations`.

    ``@app.task`` declares a function as a type of tasks; ``tasks`` has them by their names. Tasks of other types, or
    in other queues than theirs and ``queues``, are refused. Raises :class:`~quorate.errors.ConfigError` if the set does
    not hold together.
    """

    def __init__(
        self,
        *,
        models: Iterable[type[Model]] = (),
        title: str = "Quorate",
        read_consistency: Consistency = "strong",
        migrations: Iterable[Migration] = (),
        queues: Iterable[str] = (),
    ) -> None:
        if read_consistency not in get_args(Consistency):
            raise ConfigError(f"App: read_consistency={read_consistency!r} should be 'strong' or 'eventually'")
        self.title = title
        self.read_consistency: Consistency = read_consistency
        self.models = tuple(models)
        self.migrations = tuple(migrations)
        self.queues = _queues(queues)
        self.tasks = Registry()
        self.schemas = _in_order_of_references(_schemas(self.models))
        self.resources = MappingProxyType({schema_of(model).resource: model for model in self.models})

    @cached_property
    def schema_fingerprint(self) -> str:
        """A digest, equal on two nodes if they store alike and judge commands alike."""
        return fingerprint_of(len(self.migrations), form_of(self.schemas), rules_of(self.schemas))

    @property
    def schema(self) -> str:
        """What a node says of its models to its peers: they may differ, for the log says which are in force."""
        return f"{DECLARED}{len(self.migrations)}.{self.schema_fingerprint}" if self.models else ""

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> TaskType[P, R, Coroutine[Any, Any, R]]: ...

    @overload
    def task(self, function: Callable[P, R], /) -> TaskType[P, R, R]: ...

    @overload
    def task(self, function: None = None, /, **options: Unpack[TaskOptions]) -> TaskDecorator: ...

    def task(self, function: Callable[..., Any] | None = None, /, **options: Unpack[TaskOptions]) -> Any:
        """``@app.task``, or ``@app.task(queue="mail", timeout="30s")``, declares a function as a type of tasks.

        What is given are the defaults of its tasks. With ``cron`` the cluster submits one at each turn of the
        expression. ``health`` is asked by workers from time to time; while it says that something is wrong, they take
        no tasks of this type. Raises :class:`~quorate.errors.ConfigError` for what makes no sense.
        """
        return self.tasks.task(**options) if function is None else self.tasks.task(function)

    def transaction(self, *, optimistic: bool = False, request_id: str | None = None) -> Transaction:
        """``async with app.transaction():`` carries out what is awaited of the models in it together, or not at all.

        It is proposed as one entry when the block ends; an exception that leaves the block proposes nothing. Until then
        nothing has changed: reads see the state from before, and objects at hand get their new values at the end, but
        for the ids of new objects, which are there at once. A refusal is raised at the end of the block, of several
        operations as :class:`~quorate.models.errors.InTransaction`.

        ``optimistic``: every object that is changed must be as it was read (``VersionMismatch`` otherwise);
        :meth:`Transaction.check` asks that of an object which is not changed. With a ``request_id`` the same
        transaction, tried again, is applied once: for one that creates objects their ids must be the same then.
        """
        return Transaction(self.models, optimistic=optimistic, request_id=request_id)

    def acting_as(self, actor: str | None) -> AbstractContextManager[None]:
        """``with app.acting_as("ann"):`` says who makes the changes in the block, for events and histories."""
        return acting_as(actor)

    def __repr__(self) -> str:
        models = ", ".join(model.__name__ for model in self.models)
        tasks = f", tasks=[{', '.join(self.tasks.types)}]" if self.tasks.types else ""
        return f"App(models=[{models}]{tasks}, title={self.title!r})"


def load_app(target: str) -> App:
    """The app that ``target``, such as ``examples.shop:app``, names. The working directory can be imported from.

    Raises :class:`~quorate.errors.ConfigError` with one line that says what is wrong.
    """
    module_name, colon, attribute = target.partition(":")
    if not (colon and attribute.isidentifier() and all(map(str.isidentifier, module_name.split(".")))):
        raise ConfigError(f"{target!r} does not name an app; write module:attribute, as in examples.shop:app")
    directory = os.getcwd()
    if directory not in sys.path:
        sys.path.insert(0, directory)
    try:
        module = importlib.import_module(module_name)
    except ConfigError as error:
        raise ConfigError(f"{target}: {error}") from error
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name is not None
        if missing and f"{module_name}.".startswith(f"{error.name}."):  # type: ignore[attr-defined]
            raise ConfigError(f"{target}: there is no module {error.name} here") from None  # type: ignore[attr-defined]
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{target}: importing {module_name} failed with {reason}") from error
    app = getattr(module, attribute, None)
    if app is None:
        raise ConfigError(f"{target}: the module {module_name} has no attribute {attribute}")
    if not isinstance(app, App):
        kind = "class" if isinstance(app, type) else type(app).__name__
        raise ConfigError(f"{target}: is a {kind}, not a quorate.App")
    return app


def _queues(names: Iterable[str]) -> tuple[str, ...]:
    try:
        return tuple(check_name(name, "queues") for name in names)
    except InvalidTask as error:
        raise ConfigError(f"App: {error}") from None


def _schemas(models: tuple[type[Model], ...]) -> list[ModelSchema]:
    schemas: list[ModelSchema] = []
    for model in models:
        if not isinstance(model, type) or not issubclass(model, Model) or model is Model:
            raise ConfigError(f"App: {model!r} is not a model")
        schemas.append(schema_of(model))
    for what in ("name", "resource", "table"):
        seen: dict[str, ModelSchema] = {}
        for schema in schemas:
            twin = seen.setdefault(getattr(schema, what).lower(), schema)
            if twin is not schema or schemas.count(schema) > 1:
                raise ConfigError(
                    f"App: the models {twin.name} and {schema.name} have the same {what} {getattr(schema, what)!r}"
                )
    for schema in schemas:
        for column in schema.columns:
            target = None if column.references is None else column.references.target
            if column.references is not None and target is not None and target not in schemas:
                raise ConfigError(
                    f"{schema.name}.{column.name}: its foreign key's model {column.references.model} is not in the App"
                )
    return schemas


def _in_order_of_references(schemas: list[ModelSchema]) -> tuple[ModelSchema, ...]:
    """Targets of foreign keys first. A class must exist to be referred to by another, so there is no cycle."""
    ordered: dict[str, ModelSchema] = {}
    by_name = {schema.name: schema for schema in schemas}

    def add(schema: ModelSchema) -> None:
        for column in schema.columns:
            references = column.references
            if references is not None and references.model not in (schema.name, *ordered):
                add(by_name[references.model])
        ordered[schema.name] = schema

    for schema in schemas:
        if schema.name not in ordered:
            add(schema)
    return tuple(ordered.values())
