"""What the payload and the result of a function's tasks are checked by: its annotations."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast, get_type_hints

import msgspec
from pydantic import (
    BaseModel,
    ConfigDict,
    PydanticSchemaGenerationError,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic_core import PydanticSerializationError

from quorate.errors import ConfigError
from quorate.tasks.errors import InvalidTask
from quorate.tasks.limits import RESULT_BYTES_MAX
from quorate.tasks.sending import SendOptions

_NAN_AS_IT_IS = ConfigDict(ser_json_inf_nan="constants")
"""What JSON cannot have is written all the same, so that it is found, rather than made ``null``."""


class Unstorable(Exception):
    """A function returned what its annotation does not say, what JSON cannot have, or too much of it."""


class Arguments:
    """The payloads of a function's tasks: JSON objects of its arguments."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        """``name`` is that of the type. Raises :class:`~quorate.errors.ConfigError`."""
        self._name = name
        self._signature = inspect.signature(function)
        self._model = _model_of(self._signature, hints_of(function, name), name)

    def encoded(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """The payload of a call with these. Raises :class:`InvalidTask`."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidTask("payload", "arguments", f"{self._name}: {error}") from None
        given = dict(bound.arguments)
        for parameter in self._signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                given |= given.pop(parameter.name, {})
        try:
            payload = self._model.model_validate(given).model_dump_json(by_alias=True)
            msgspec.json.decode(payload)  # NaN and infinity are no JSON
        except (ValidationError, PydanticSerializationError, msgspec.DecodeError) as error:
            raise _invalid(self._name, error) from None
        return payload.encode()

    def apart(self, kwargs: dict[str, Any]) -> tuple[dict[str, Any], SendOptions]:
        """What is for the function, and options of the task that were given with it.

        A function that takes any name takes all of them.
        """
        parameters = self._signature.parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            return kwargs, SendOptions()
        options = kwargs.keys() & SendOptions.__annotations__.keys() - parameters.keys()
        given = {name: value for name, value in kwargs.items() if name not in options}
        return given, cast("SendOptions", {name: kwargs[name] for name in options})

    def decoded(self, payload: bytes) -> dict[str, Any]:
        """What to call the function with, by name. Raises :class:`InvalidTask`."""
        try:
            parsed = self._model.model_validate_json(b"{}" if payload == b"null" else payload)
        except ValidationError as error:
            raise _invalid(self._name, error) from None
        values = {name: getattr(parsed, name) for name in type(parsed).model_fields}
        return values | (parsed.model_extra or {})


class Result:
    """The results of a function's tasks: JSON as its annotation says."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        """``name`` is that of the type. Raises :class:`~quorate.errors.ConfigError`."""
        self._name = name
        try:
            self._adapter = _adapter(hints_of(function, name).get("return", Any))
        except (PydanticSchemaGenerationError, TypeError) as error:
            raise _undeclarable(name, error) from None

    def encoded(self, result: object) -> bytes:
        """As JSON. Raises :class:`Unstorable`."""
        name = self._name
        try:
            checked = self._adapter.validate_python(result)
            encoded = self._adapter.dump_json(checked)
            msgspec.json.decode(encoded)  # NaN and infinity are no JSON, and a lone surrogate is no text
        except ValidationError as error:
            raise Unstorable(f"{name} returned what its annotation does not say: {_first(error)}") from None
        except (PydanticSerializationError, msgspec.DecodeError, ValueError) as error:
            raise Unstorable(f"{name} returned what cannot be stored as JSON: {error}") from None
        if len(encoded) > RESULT_BYTES_MAX:
            raise Unstorable(f"{name} returned {len(encoded)} bytes of JSON, the most is {RESULT_BYTES_MAX}")
        return encoded

    def decoded(self, result: bytes) -> Any:
        """What the function returned. Raises :class:`pydantic.ValidationError` if it returned something else then."""
        return self._adapter.validate_json(result)


def hints_of(function: Callable[..., Any], name: str) -> dict[str, Any]:
    """Its annotations. Raises :class:`~quorate.errors.ConfigError`."""
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ConfigError(f"task {name}: an annotation cannot be resolved: {error}") from None


def _model_of(signature: inspect.Signature, hints: dict[str, Any], name: str) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    extra = "forbid"
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise ConfigError(f"task {name}: the argument {parameter.name} has no name by which a task could give it")
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
            continue
        if parameter.name.startswith(("_", "model_")):
            raise ConfigError(f"task {name}: an argument cannot be called {parameter.name}")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints.get(parameter.name, Any), default)
    try:
        config = ConfigDict(extra=cast("Any", extra), arbitrary_types_allowed=False, **_NAN_AS_IT_IS)
        return create_model(f"{name} arguments", __config__=config, **fields)
    except (PydanticSchemaGenerationError, TypeError) as error:
        raise _undeclarable(name, error) from None


def _adapter(returned: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(returned, config=_NAN_AS_IT_IS)
    except PydanticUserError:  # a model, which says itself how it is written
        return TypeAdapter(returned)


def _undeclarable(name: str, error: Exception) -> ConfigError:
    return ConfigError(f"task {name}: {' '.join(str(error).split())[:300]}")


def _invalid(name: str, error: Exception) -> InvalidTask:
    message = _first(error) if isinstance(error, ValidationError) else str(error)
    return InvalidTask("payload", "arguments", f"{name}: {message}")


def _first(error: ValidationError) -> str:
    finding = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, finding["loc"]))
    return f"{where}: {finding['msg']}" if where else finding["msg"]
