"""Domain events: methods of a model that change its object inside the log, on every node alike.

::

    class Product(Model):
        ...
        @event
        def stock_changed(self, delta: int) -> None:
            self.stock += delta

The method may set fields and raise :class:`ValueError` to refuse. It must be a pure function of the object, its
arguments and ``context`` (an :class:`~quorate.machine.contract.ApplyContext`), which it gets if it asks for it.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.errors import PydanticUserError

from quorate.errors import ConfigError
from quorate.machine.contract import ApplyContext
from quorate.models.errors import Invalid, RuleBroken, SchemaBehind
from quorate.models.merge import plain_errors
from quorate.models.store.schema import EventMethod, ModelSchema, Row

log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., None])

_MARK = "__quorate_event__"
_CONTEXT = "context"
_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
MESSAGE_CHARACTERS_MAX = 500


def event(method: F) -> F:
    """Declare a method as an event: ``POST /api/<resource>/<id>/<its-name>`` with its arguments as a JSON object."""
    setattr(method, _MARK, True)
    return method


def event_methods(model: type[BaseModel]) -> dict[str, EventMethod]:
    """The methods of a model that are events. Raises :class:`ConfigError`."""
    found: dict[str, EventMethod] = {}
    for cls in reversed(model.__mro__):
        for name, value in list(vars(cls).items()):
            if getattr(value, _MARK, False):
                found[name] = _event_method(f"{model.__name__}.{name}", value)
    return found


def _event_method(where: str, function: Callable[..., None]) -> EventMethod:
    name = function.__name__
    if not inspect.isfunction(function) or inspect.iscoroutinefunction(function) or not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: an event is a plain method with a name in snake_case")
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ConfigError(f"{where}: {error}") from error
    fields: dict[str, Any] = {}
    takes_context = False
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(f"{where}: {parameter.name} should be a parameter with a name")
        if parameter.name == _CONTEXT:
            takes_context = True
            continue
        if parameter.name not in hints:
            raise ConfigError(f"{where}: the parameter {parameter.name} has no type")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    config = ConfigDict(extra="forbid", allow_inf_nan=False, ser_json_bytes="base64", val_json_bytes="base64")
    try:
        title = "".join(word.capitalize() for word in name.split("_"))
        arguments: type[BaseModel] = create_model(title, __config__=config, **fields)
    except (PydanticUserError, TypeError, NameError) as error:
        raise ConfigError(f"{where}: {error}") from error
    summary = (inspect.getdoc(function) or "").partition("\n")[0]
    return EventMethod(
        name=name,
        path=name.replace("_", "-"),
        function=function,
        arguments=arguments,
        takes_context=takes_context,
        summary=summary,
    )


def called_row(schema: ModelSchema, row: Row, name: str, arguments: str, context: ApplyContext) -> Row:
    """The row that the event makes of ``row``. Raises :class:`RuleBroken`."""
    method = schema.events.get(name)
    if method is None:
        raise SchemaBehind(f"entry {context.index} names the event {schema.name}.{name}, which is not declared here")
    try:
        given = method.arguments.__pydantic_validator__.validate_json(arguments).__dict__
    except ValidationError as error:  # another version of the declaration let it through
        raise Invalid.of(schema.name, plain_errors(error)) from None
    instance = schema.load(row)
    try:
        method.function(instance, **given, **({_CONTEXT: context} if method.takes_context else {}))
        checked = schema.model.__pydantic_validator__.validate_python(dict(instance.__dict__))
    except ValidationError as error:
        message = "; ".join(f"{field}: {text}" if field else text for field, _, text in plain_errors(error))
        raise RuleBroken(schema.name, name, message) from None
    except (ValueError, AssertionError) as error:
        message = str(error)[:MESSAGE_CHARACTERS_MAX] or f"{name} is refused"
        raise RuleBroken(schema.name, name, message) from None
    except Exception as error:  # what it says may differ between nodes
        log.exception("entry %d: %s.%s failed", context.index, schema.name, name)
        raise RuleBroken(schema.name, name, f"{name} failed: {type(error).__name__}") from None
    return schema.encode(checked)
