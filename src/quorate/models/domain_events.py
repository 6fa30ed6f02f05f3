"""Domain events: methods of a model that change its object inside the log, on every node alike.

::

    class Product(Model):
        ...
        @event
        def stock_changed(self, delta: int) -> None:
            self.stock += delta

The method may set fields and raise :class:`ValueError` to refuse. It must be a pure function of the object, its
arguments and ``context`` (an :class:`~quorate.machine.contract.ApplyContext`), which it gets if it has a parameter of
that name: the first one behind ``self``, so that type checkers know that callers do not give it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Generator
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, SchemaError

from quorate.errors import ConfigError
from quorate.machine.contract import ApplyContext
from quorate.models.annotations import SUPPORTED, codec_of, value_type
from quorate.models.store.schema import EventMethod

if TYPE_CHECKING:
    from quorate.models.model import Model

P = ParamSpec("P")
M = TypeVar("M", bound="Model")

CONTEXT = "context"
_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")


class DomainEvent(Generic[P]):
    """What :func:`event` makes of a method.

    Called on an object that is stored, it is proposed, and to be awaited: the object then has its new values. Called
    on one that is not (inside the log, and in a test of its rule) the method runs at once.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        update_wrapper(cast("Any", self), function)
        self.function = function

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> DomainEvent[P]: ...
    @overload
    def __get__(self, instance: M, owner: type[Any]) -> Callable[P, Awaitable[M]]: ...
    def __get__(self, instance: M | None, owner: type[Any]) -> DomainEvent[P] | Callable[P, Awaitable[M]]:
        return self if instance is None else partial(self._call, instance)

    def _call(self, instance: M, *arguments: P.args, **named: P.kwargs) -> Awaitable[M]:
        from quorate.models.objects.changing import call

        if instance.is_stored:
            return call(instance, self.function.__name__, arguments, named)
        self.function(instance, *arguments, **named)
        return _AtOnce(self.function.__name__)


class _AtOnce:
    """The method has run. That there is nothing to wait for is worth a word: it may have been meant to be kept."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __await__(self) -> Generator[Any, Any, Any]:
        raise RuntimeError(f"{self._name} has changed an object that is not stored; create() one, or get() it")
        yield  # pragma: no cover


@overload
def event(method: Callable[Concatenate[Any, ApplyContext, P], None]) -> DomainEvent[P]:
    """A method that asks for the context, which its callers do not give."""


@overload
def event(method: Callable[Concatenate[Any, P], None]) -> DomainEvent[P]:
    """Any other."""


def event(method: Callable[..., None]) -> DomainEvent[...]:
    """Declare a method as an event: ``await product.stock_changed(delta=5)``, and
    ``POST /api/<resource>/<id>/<its-name>`` with its arguments as a JSON object.

    It changes the object by setting its fields, and refuses with :class:`ValueError`. It runs inside the log, on every
    node, and must depend on nothing but the object, its arguments, and ``context`` (time and ids that the leader
    stamped), which it gets if that is its first parameter behind ``self``.
    """
    if not inspect.isfunction(method):
        raise ConfigError(f"{getattr(method, '__qualname__', method)!s}: an event is a plain method")
    return DomainEvent(method)


def event_methods(model: type[BaseModel]) -> dict[str, EventMethod]:
    """The methods of a model that are events, by their names. Raises :class:`ConfigError`."""
    found: dict[str, EventMethod] = {}
    for cls in reversed(model.__mro__):
        for name in vars(cls):
            value = inspect.getattr_static(model, name, None)  # what a class nearer by makes of the name
            if isinstance(value, DomainEvent) and name not in found:
                found[name] = _event_method(f"{model.__name__}.{name}", name, value.function)
    return found


def _event_method(where: str, name: str, function: Callable[..., None]) -> EventMethod:
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigError(f"{where}: an event is a plain method: it runs inside the log and cannot wait")
    if function.__name__ != name or not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: an event is a plain method with a name in snake_case")
    fields, takes_context = _parameters(where, function)
    config = ConfigDict(extra="forbid", allow_inf_nan=False, ser_json_bytes="base64", val_json_bytes="base64")
    try:
        title = "".join(word.capitalize() for word in name.split("_"))
        arguments: type[BaseModel] = create_model(title, __config__=config, **fields)
        _check_defaults(arguments, fields)
    except ValidationError as error:
        message = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ConfigError(f"{where}: a default does not fit its type: {message}") from None
    except (PydanticUserError, PydanticSerializationError, SchemaError, TypeError, NameError, ValueError) as error:
        raise ConfigError(f"{where}: {str(error).splitlines()[0]}") from error
    summary = (inspect.getdoc(function) or "").partition("\n")[0]
    return EventMethod(
        name=name,
        path=name.replace("_", "-"),
        function=function,
        arguments=arguments,
        takes_context=takes_context,
        summary=summary,
    )


def _parameters(where: str, function: Callable[..., None]) -> tuple[dict[str, Any], bool]:
    """Type and default of each argument, and whether there is a context among the parameters."""
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise ConfigError(f"{where}: an event is a plain method: its first parameter is self")
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigError(f"{where}: {error}") from error
    if hints.get("return", type(None)) is not type(None):
        raise ConfigError(f"{where}: an event returns None: it changes its object")
    fields: dict[str, Any] = {}
    takes_context = False
    for parameter in parameters[1:]:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(f"{where}: {parameter.name} should be a parameter with a name")
        if parameter.name == CONTEXT:
            takes_context = True
            continue
        if parameter.name.startswith("_"):
            raise ConfigError(f"{where}: the parameter {parameter.name} should not begin with _")
        if parameter.name not in hints:
            raise ConfigError(f"{where}: the parameter {parameter.name} has no type")
        if codec_of(value_type(hints[parameter.name])[0], ()) is None:
            raise ConfigError(f"{where}: the type of {parameter.name} is not supported; use {SUPPORTED}")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    return fields, takes_context


def _check_defaults(arguments: type[BaseModel], fields: dict[str, Any]) -> None:
    given = {name: default for name, (_, default) in fields.items() if default is not ...}
    required = {name for name in fields if name not in given}
    try:
        arguments.model_validate(given)
    except ValidationError as error:
        if any(each["type"] != "missing" or each["loc"][0] not in required for each in error.errors()):
            raise
