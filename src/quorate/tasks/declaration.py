"""``@app.task``: functions that workers call.

::

    @app.task(queue="mail", retries=3, timeout="30s")
    async def send_mail(to: str, subject: str) -> str: ...

    handle = await send_mail.send(to="a@example.org", subject="hi", delay=60)
    print(await handle.result(timeout=120))
    await send_mail.with_options(delay="1h", priority=9).send(to="b@example.org", subject="hi")

The payload of such a task is a JSON object of the function's arguments, checked by their annotations before it gets
into the log and again before the function is called; the result is JSON as the annotation of the return value says.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

from quorate.errors import ConfigError
from quorate.tasks.arguments import Arguments, Result
from quorate.tasks.commands import Spec
from quorate.tasks.cron import next_slot_us
from quorate.tasks.errors import InvalidTask
from quorate.tasks.gateways import Gateways
from quorate.tasks.handles import TaskHandle, returned
from quorate.tasks.records import TaskRecord
from quorate.tasks.sending import SendOptions, SpecOptions, request_of
from quorate.tasks.submission import Submissions, TaskRequest

P = ParamSpec("P")
R = TypeVar("R")
Called = TypeVar("Called")
"""What a call of the function gives: its result, or a coroutine of it."""

HealthCheck = Callable[[], str | None] | Callable[[], Awaitable[str | None]]
"""Returns what is wrong, or ``None``."""


class TaskOptions(SpecOptions, total=False):
    """What ``@app.task()`` takes."""

    name: str
    """Of the type; by default that of the function."""
    cron: str
    timezone: str
    health: HealthCheck


class TaskDecorator(Protocol):
    """What ``@app.task()`` returns."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> TaskType[P, R, Coroutine[Any, Any, R]]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> TaskType[P, R, R]: ...


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
        self._arguments = Arguments(function, name)
        self._result = Result(function, name)
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

    async def send(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """Submit a task that calls the function with these arguments.

        Options of the task may stand beside them (``delay=60``) where the function takes none of their names; type
        checkers know the function's alone, and want :meth:`with_options`. Raises :class:`InvalidTask` for arguments
        that the function does not take, and what submitting raises.
        """
        return await self._submit(self.request(*args, **kwargs))

    def request(self, *args: P.args, **kwargs: P.kwargs) -> TaskRequest:
        """The same as a request, for a batch."""
        arguments, options = self._arguments.apart(kwargs)
        return request_of(self.name, self._arguments.encoded(args, arguments), options)

    def with_options(self, **options: Unpack[SendOptions]) -> OptionedTask[P, R]:
        """``await send_mail.with_options(delay="5s", priority=9).send(…)``: what is special about a task.

        What is not said is as the type declares it. Raises :class:`TypeError` for options that there are not.
        """
        return OptionedTask(self.name, self._arguments, self._submit, options)

    async def _submit(self, request: TaskRequest) -> TaskHandle[R]:
        gateway = self._gateways.get()
        submitted = await gateway.submit(request)
        return TaskHandle(submitted.task_id, gateway, self._result.decoded)

    def handle(self, task_id: str) -> TaskHandle[R]:
        """Of a task of this type that was submitted before, here or elsewhere. The cluster is not asked for it yet."""
        return TaskHandle(task_id, self._gateways.get(), self._result.decoded)

    def check_payload(self, payload: bytes) -> None:
        """Raises :class:`InvalidTask`."""
        self._arguments.decoded(payload)

    # -- what records say --------------------------------------------------------------------------------

    def arguments_of(self, task: TaskRecord) -> dict[str, Any]:
        """What a task of this type calls the function with, by name, as its annotations say.

        Raises :class:`InvalidTask` if the function takes other arguments by now.
        """
        return self.arguments(bytes(task.payload))

    def result_of(self, task: TaskRecord) -> R:
        """What the function returned, as its annotation says.

        Raises :class:`~quorate.tasks.handles.TaskNotDone` if the task has not succeeded, and
        :class:`pydantic.ValidationError` if the function returned something else then.
        """
        value: R = returned(task, self._result.decoded)
        return value

    # -- running -----------------------------------------------------------------------------------------

    def arguments(self, payload: bytes) -> dict[str, Any]:
        """What to call the function with, by name. Raises :class:`InvalidTask`."""
        return self._arguments.decoded(payload)

    def encode_result(self, result: object) -> bytes:
        """As JSON. Raises :class:`~quorate.tasks.arguments.Unstorable`."""
        return self._result.encoded(result)


class OptionedTask(Generic[P, R]):
    """A type of tasks, with options for those that are sent by way of it."""

    def __init__(
        self,
        name: str,
        arguments: Arguments,
        submit: Callable[[TaskRequest], Awaitable[TaskHandle[R]]],
        options: SendOptions,
    ) -> None:
        """See :meth:`TaskType.with_options`."""
        unknown = options.keys() - SendOptions.__annotations__.keys()
        if unknown:
            raise TypeError(f"there is no option {min(unknown)!r}, but {', '.join(SendOptions.__annotations__)}")
        self._name = name
        self._arguments = arguments
        self._submit = submit
        self._options = options

    async def send(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """As :meth:`TaskType.send`."""
        return await self._submit(self.request(*args, **kwargs))

    def request(self, *args: P.args, **kwargs: P.kwargs) -> TaskRequest:
        """As :meth:`TaskType.request`."""
        return request_of(self._name, self._arguments.encoded(args, kwargs), self._options)


class Registry:
    """The types of tasks that an app declares."""

    def __init__(self) -> None:
        self.types: dict[str, TaskType[..., Any, Any]] = {}
        self.gateways = Gateways()
        """Where tasks are sent to: the node, or the client, that runs in this process."""

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> TaskType[P, R, Coroutine[Any, Any, R]]: ...

    @overload
    def task(self, function: Callable[P, R], /) -> TaskType[P, R, R]: ...

    @overload
    def task(self, function: None = None, /, **options: Unpack[TaskOptions]) -> TaskDecorator: ...

    def task(self, function: Callable[..., Any] | None = None, /, **options: Unpack[TaskOptions]) -> Any:
        """Declare a function as a type of tasks; what is given here are the defaults of its tasks.

        With ``cron`` the cluster submits one at each turn of the expression. ``health`` is asked by workers from time
        to time; while it says that something is wrong, they take no tasks of this type. Without options the parentheses
        may be left out. Raises :class:`~quorate.errors.ConfigError` for what makes no sense.
        """
        if function is not None:
            return self._declare(function, {})
        return lambda function: self._declare(function, options)

    def _declare(self, function: Callable[..., Any], options: TaskOptions) -> TaskType[..., Any, Any]:
        if not callable(function):
            raise ConfigError(f"@app.task stands before a function, not before {function!r}; options have names")
        name = options.get("name") or function.__name__
        unknown = options.keys() - TaskOptions.__annotations__.keys()
        if unknown:
            raise ConfigError(
                f"task {name}: there is no option {min(unknown)!r}, but {', '.join(TaskOptions.__annotations__)}"
            )
        if name in self.types:
            raise ConfigError(f"task {name}: the name is given twice")
        try:
            spec = _spec(name, options)
            declared: TaskType[..., Any, Any] = TaskType(function, self.gateways, name, spec, options)
        except InvalidTask as error:
            raise ConfigError(f"task {name}: {error}") from None
        self.types[name] = declared
        return declared


def _spec(name: str, options: TaskOptions) -> Spec:
    """The defaults of such tasks. Raises :class:`InvalidTask`."""
    given = {each: value for each, value in options.items() if each in SpecOptions.__annotations__}
    request = request_of(name, b"null", cast("SpecOptions", given))
    return Submissions().of_one(request, 0).specs[0]
