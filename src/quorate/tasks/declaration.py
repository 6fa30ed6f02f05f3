"""``@app.task``: functions that workers call.

::

    @app.task(queue="mail", retries=3, timeout="30s")
    async def send_mail(to: str, subject: str) -> str: ...

    handle = await send_mail.send(to="a@example.org", subject="hi", delay=60)
    print(await handle.result(timeout=120))

The payload of such a task is a JSON object of the function's arguments, checked by their annotations before it gets
into the log and again before the function is called; the result is JSON as the annotation of the return value says.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import (
    Any,
    Generic,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    get_type_hints,
    overload,
)

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
from quorate.tasks.commands import Spec
from quorate.tasks.cron import next_slot_us
from quorate.tasks.durations import Duration
from quorate.tasks.errors import InvalidTask
from quorate.tasks.gateways import Gateways
from quorate.tasks.handles import TaskHandle
from quorate.tasks.limits import RESULT_BYTES_MAX
from quorate.tasks.submission import Submissions, TaskRequest

P = ParamSpec("P")
R = TypeVar("R")
Called = TypeVar("Called")
"""What a call of the function gives: its result, or a coroutine of it."""

HealthCheck = Callable[[], str | None] | Callable[[], Awaitable[str | None]]
"""Returns what is wrong, or ``None``."""

_OPTIONS = frozenset(
    {"delay", "run_at", "task_id", "priority", "queue", "unique_key", "depends_on", "ttl", "retention", "exactly_once"}
)
"""What :meth:`TaskType.send` takes beside the function's arguments."""


_NAN_AS_IT_IS = ConfigDict(ser_json_inf_nan="constants")
"""What JSON cannot have is written all the same, so that it is found, rather than made ``null``."""


class TaskOptions(TypedDict, total=False):
    """What ``@app.task()`` takes. Durations are seconds, or such as ``"30s"``, ``"5m"``, ``"1.5h"``."""

    name: str
    """Of the type; by default that of the function."""
    queue: str
    retries: int
    """Attempts behind the first: 3 by default."""
    timeout: Duration
    """How long one attempt may take."""
    priority: int
    """0 to 255; higher goes first."""
    backoff: Duration
    """The pause behind the first failure, doubled with each that follows: 5 s by default."""
    backoff_max: Duration
    """One hour by default."""
    ttl: Duration
    """How long after its time a task may still be begun."""
    retention: Duration
    """How long it is kept once it has ended: one hour by default."""
    capabilities: Collection[str]
    """What a worker must offer."""
    schema_version: int
    """Of the payload."""
    exactly_once: bool
    """Effects on keys and models come about together with the task's result, or not at all."""
    cron: str
    timezone: str
    health: HealthCheck


class TaskDecorator(Protocol):
    """What ``@app.task()`` returns."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> TaskType[P, R, Coroutine[Any, Any, R]]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> TaskType[P, R, R]: ...


class Unstorable(Exception):
    """A function returned what its annotation does not say, what JSON cannot have, or too much of it."""


class TaskType(Generic[P, R, Called]):
    """A function that is done as tasks. Called, it does what it does, here and now."""

    def __init__(
        self,
        function: Callable[P, Called],
        gateways: Gateways,
        name: str,
        spec: Spec,
        options: TaskOptions,
    ) -> None:
        """See :meth:`Registry.task`. Raises :class:`InvalidTask` too."""
        self.function = function
        self.name = name
        self.spec = spec
        """The defaults of its tasks."""
        self.cron = options.get("cron")
        self.timezone = options.get("timezone", "UTC")
        self.health = options.get("health")
        self.is_async = inspect.iscoroutinefunction(function)
        self.__doc__ = function.__doc__
        self._gateways = gateways
        self._signature = inspect.signature(function)
        self._arguments, self._result = _types_of(function, self._signature, name)
        if self.cron is not None:
            next_slot_us(self.cron, self.timezone, time.time_ns() // 1000)
            self.check_payload(b"{}")  # the cluster gives no arguments

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Called:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"TaskType({self.name!r}, queue={self.spec.queue!r})"

    @property
    def queue(self) -> str:
        """Where its tasks go, unless they say another."""
        return self.spec.queue

    # -- sending -----------------------------------------------------------------------------------------

    async def send(self, *args: Any, **kwargs: Any) -> TaskHandle[R]:
        """Submit a task that calls the function with these arguments.

        Beside them: ``delay``, ``run_at``, ``priority``, ``queue``, ``task_id``, ``unique_key``, ``depends_on``,
        ``ttl``, ``retention``, ``exactly_once``, as in :class:`~quorate.tasks.submission.TaskRequest`. Raises
        :class:`InvalidTask` for arguments that the function does not take, and what submitting raises.
        """
        gateway = self._gateways.get()
        submitted = await gateway.submit(self.request(*args, **kwargs))
        return TaskHandle(submitted.task_id, gateway, self._result)

    def request(self, *args: Any, **kwargs: Any) -> TaskRequest:
        """The same as a request, for a batch."""
        options = {name: kwargs.pop(name) for name in _OPTIONS & kwargs.keys()}
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidTask("payload", "arguments", f"{self.name}: {error}") from None
        given = dict(bound.arguments)
        for parameter in self._signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                given |= given.pop(parameter.name, {})
        try:
            payload = self._arguments.model_validate(given).model_dump_json(by_alias=True)
            msgspec.json.decode(payload)  # NaN and infinity are no JSON
        except (ValidationError, PydanticSerializationError, msgspec.DecodeError) as error:
            raise _invalid(self.name, error) from None
        depends_on = [_id_of(each) for each in options.pop("depends_on", ())]
        task_id = options.pop("task_id", None)
        return TaskRequest(
            type=self.name, payload=msgspec.Raw(payload.encode()), id=task_id, depends_on=depends_on, **options
        )

    def check_payload(self, payload: bytes) -> None:
        """Raises :class:`InvalidTask`."""
        self._parse(payload)

    # -- running -----------------------------------------------------------------------------------------

    def arguments(self, payload: bytes) -> dict[str, Any]:
        """What to call the function with, by name. Raises :class:`InvalidTask`."""
        parsed = self._parse(payload)
        values = {name: getattr(parsed, name) for name in type(parsed).model_fields}
        return values | (parsed.model_extra or {})

    def _parse(self, payload: bytes) -> BaseModel:
        try:
            return self._arguments.model_validate_json(b"{}" if payload == b"null" else payload)
        except ValidationError as error:
            raise _invalid(self.name, error) from None

    def encode_result(self, result: object) -> bytes:
        """As JSON. Raises :class:`Unstorable`."""
        try:
            checked = self._result.validate_python(result)
            encoded = self._result.dump_json(checked)
            msgspec.json.decode(encoded)  # NaN and infinity are no JSON, and a lone surrogate is no text
        except ValidationError as error:
            raise Unstorable(f"{self.name} returned what its annotation does not say: {_first(error)}") from None
        except (PydanticSerializationError, msgspec.DecodeError, ValueError) as error:
            raise Unstorable(f"{self.name} returned what cannot be stored as JSON: {error}") from None
        if len(encoded) > RESULT_BYTES_MAX:
            raise Unstorable(f"{self.name} returned {len(encoded)} bytes of JSON, the most is {RESULT_BYTES_MAX}")
        return encoded


class Registry:
    """The types of tasks that an app declares."""

    def __init__(self) -> None:
        self.types: dict[str, TaskType[..., Any, Any]] = {}
        self.gateways = Gateways()
        """Where tasks are sent to: the node, or the client, that runs in this process."""

    def task(self, **options: Unpack[TaskOptions]) -> TaskDecorator:
        """Declare a function as a type of tasks; what is given here are the defaults of its tasks.

        With ``cron`` the cluster submits one at each turn of the expression. ``health`` is asked by workers from time
        to time; while it says that something is wrong, they take no tasks of this type. Raises
        :class:`~quorate.errors.ConfigError` for what makes no sense.
        """

        def declare(function: Callable[..., Any]) -> TaskType[..., Any, Any]:
            name = options.get("name") or function.__name__
            if name in self.types:
                raise ConfigError(f"task {name}: the name is given twice")
            try:
                spec = _spec(name, options)
                declared: TaskType[..., Any, Any] = TaskType(function, self.gateways, name, spec, options)
            except InvalidTask as error:
                raise ConfigError(f"task {name}: {error}") from None
            self.types[name] = declared
            return declared

        return cast("TaskDecorator", declare)


def _spec(name: str, options: TaskOptions) -> Spec:
    """The defaults of such tasks. Raises :class:`InvalidTask`."""
    request = TaskRequest(
        type=name,
        queue=options.get("queue"),
        max_retries=options.get("retries"),
        timeout=options.get("timeout"),
        priority=options.get("priority"),
        backoff=options.get("backoff"),
        backoff_max=options.get("backoff_max"),
        ttl=options.get("ttl"),
        retention=options.get("retention"),
        capabilities=list(options.get("capabilities", ())),
        schema_version=options.get("schema_version"),
        exactly_once=options.get("exactly_once"),
    )
    return Submissions().of_one(request, 0).specs[0]


def _types_of(
    function: Callable[..., Any], signature: inspect.Signature, name: str
) -> tuple[type[BaseModel], TypeAdapter[Any]]:
    """What the arguments and the result of a function are checked by."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ConfigError(f"task {name}: an annotation cannot be resolved: {error}") from None
    fields: dict[str, Any] = {}
    extra = "forbid"
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise ConfigError(f"task {name}: the argument {parameter.name} has no name by which a task could give it")
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
            continue
        if parameter.name in _OPTIONS or parameter.name.startswith(("_", "model_")):
            raise ConfigError(f"task {name}: an argument cannot be called {parameter.name}")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints.get(parameter.name, Any), default)
    try:
        config = ConfigDict(extra=cast("Any", extra), arbitrary_types_allowed=False, **_NAN_AS_IT_IS)
        arguments = create_model(f"{name} arguments", __config__=config, **fields)
        return arguments, _adapter(hints.get("return", Any))
    except (PydanticSchemaGenerationError, TypeError) as error:
        raise ConfigError(f"task {name}: {' '.join(str(error).split())[:300]}") from None


def _adapter(returned: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(returned, config=_NAN_AS_IT_IS)
    except PydanticUserError:  # a model, which says itself how it is written
        return TypeAdapter(returned)


def _invalid(name: str, error: Exception) -> InvalidTask:
    message = _first(error) if isinstance(error, ValidationError) else str(error)
    return InvalidTask("payload", "arguments", f"{name}: {message}")


def _first(error: ValidationError) -> str:
    finding = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, finding["loc"]))
    return f"{where}: {finding['msg']}" if where else finding["msg"]


def _id_of(target: object) -> str:
    if isinstance(target, TaskHandle):
        return target.task_id
    if not isinstance(target, str):
        raise InvalidTask("depends_on", "type", "should be ids or handles of tasks")
    return target
