"""``App``: what a user's program declares, as one importable object."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
from collections.abc import Iterable
from functools import cached_property
from types import MappingProxyType

from quorate.errors import ConfigError
from quorate.models.model import Model, schema_of
from quorate.models.store.schema import ModelSchema


class App:
    """A set of declarations that belong together and are replicated together.

    ``models`` are the classes in the order given; ``resources`` finds a model by the name of its resource,
    as in ``/api/<resource>``. Raises :class:`~quorate.errors.ConfigError` if the set does not hold together.
    """

    def __init__(self, *, models: Iterable[type[Model]] = (), title: str = "Quorate") -> None:
        self.title = title
        self.models = tuple(models)
        self.schemas = _in_order_of_references(_schemas(self.models))
        self.resources = MappingProxyType({schema_of(model).resource: model for model in self.models})

    @cached_property
    def schema_fingerprint(self) -> str:
        """A digest, equal on two nodes if they store alike and judge commands alike."""
        declared = {schema.name: schema.fingerprint() for schema in self.schemas}
        return hashlib.sha256(json.dumps(declared, sort_keys=True).encode()).hexdigest()

    def __repr__(self) -> str:
        return f"App(models=[{', '.join(model.__name__ for model in self.models)}], title={self.title!r})"


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
        raise ConfigError(f"{target}: is a {type(app).__name__}, not a quorate.App")
    return app


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
            if column.references is not None and column.references.target not in schemas:
                raise ConfigError(
                    f"{schema.name}.{column.name}: its foreign key's model {column.references.model} is not in the App"
                )
    return schemas


def _in_order_of_references(schemas: list[ModelSchema]) -> tuple[ModelSchema, ...]:
    """Targets of foreign keys first. A class must exist to be referred to, so there is no cycle."""
    ordered: dict[str, ModelSchema] = {}
    by_name = {schema.name: schema for schema in schemas}

    def add(schema: ModelSchema) -> None:
        for column in schema.columns:
            if column.references is not None and column.references.model not in ordered:
                add(by_name[column.references.model])
        ordered[schema.name] = schema

    for schema in schemas:
        if schema.name not in ordered:
            add(schema)
    return tuple(ordered.values())
