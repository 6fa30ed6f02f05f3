"""Virtual time: one scheduler, and for each simulated process an event loop of its own on top of it.

Nothing here waits. When no callback is ready, the scheduler's clock jumps to the next timer, so an idle hour costs
as much as its timers do. Everything runs in one thread, in an order that depends on nothing but the calls made:
first in, first out among the ready, then by due time and order of arming among the timers.

Each process sees time through its own :class:`SimulatedLoop`: its monotonic clock may run fast or slow, its timers
may fire late, it may be paused (SIGSTOP) or suspended (a virtual machine whose clock stops with it), and it may die.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from math import ceil
from random import Random
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STEPS_AT_ONE_INSTANT_MAX = 200_000
"""More callbacks than this without time going on mean that something feeds itself."""

_ROUNDING_SECONDS = 1e-9
"""Timers are that late: who waits until a moment and then looks at the clock must not find it a rounding too early."""


class SimulationStuck(Exception):
    """Nothing is scheduled any more, or time does not go on."""


class SimulatedHandle(asyncio.TimerHandle):
    """A callback that is ready, or will be. ``_when`` is a reading of its loop's clock; 0 for none."""

    __slots__ = ("run_on",)

    def __init__(
        self, callback: Callable[..., object], args: Any, run_on: SimulatedLoop, context: Context | None, when: float
    ) -> None:
        self._callback = callback
        self._args = args
        self._context = context
        self._cancelled = False
        self._when = when
        self.run_on = run_on

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = _nothing
        self._args = ()

    def cancelled(self) -> bool:
        return self._cancelled

    def when(self) -> float:
        return self._when

    def __repr__(self) -> str:
        return f"<{self._callback!r} on {self.run_on.name}>"


def _nothing() -> None:
    """What a cancelled handle would run."""


class Scheduler:
    """The world's clock, and whatever is going to happen."""

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds since the world began."""
        self.steps = 0
        """Callbacks that were run."""
        self.ready: deque[SimulatedHandle] = deque()
        self._timers: list[tuple[float, int, SimulatedHandle]] = []
        self._numbers = count()
        self._running = False
        self._failure: BaseException | None = None
        self.world = SimulatedLoop(self, "the world", Random(0))  # type: ignore[abstract]
        """The loop of everything that is no simulated process. Its clock is the world's."""

    def at(self, when: float, handle: SimulatedHandle) -> None:
        """Make ``handle`` ready when the world's clock reads ``when``."""
        heappush(self._timers, (when, next(self._numbers), handle))

    def after(
        self, seconds: float, loop: SimulatedLoop, callback: Callable[..., object], *args: object
    ) -> SimulatedHandle:
        """Run ``callback`` on ``loop`` in so many of the world's seconds, whatever that loop's own clock says."""
        handle = SimulatedHandle(callback, args, loop, None, 0.0)
        heappush(self._timers, (self.now + seconds, next(self._numbers), handle))
        return handle

    def abort(self, failure: BaseException) -> None:
        """End :meth:`run` with ``failure`` behind the present callback; the first one counts."""
        if self._failure is None:
            self._failure = failure
        self._running = False

    def run(self, loop: SimulatedLoop, main: Coroutine[Any, Any, T]) -> T:
        """Run the world until ``main``, a coroutine on ``loop``, has ended; returns its result."""
        outside = asyncio._get_running_loop()
        asyncio._set_running_loop(loop)
        try:
            task = loop.create_task(main)
            task.add_done_callback(self._ended)
            self._running = True
            self._run()
        finally:
            asyncio._set_running_loop(outside)
        if self._failure is not None:
            raise self._failure
        return task.result()

    def _ended(self, _: asyncio.Future[Any]) -> None:
        self._running = False

    def _run(self) -> None:
        ready, timers, set_running_loop = self.ready, self._timers, asyncio._set_running_loop
        at_this_instant = 0
        running: SimulatedLoop | None = None
        while self._running:
            if ready:
                handle = ready.popleft()
            else:
                if not timers:
                    raise SimulationStuck(f"at {self.now:.6f} s nothing is scheduled, but the run has not ended")
                when, _, handle = heappop(timers)
                if when > self.now:
                    self.now = when
                    at_this_instant = 0
            if handle._cancelled:
                continue
            loop = handle.run_on
            if loop.held is not None:
                loop.held.append(handle)
                continue
            if handle._when and loop.time() < handle._when:
                self.at(loop.world_time(handle._when), handle)  # that clock was slowed since the timer was armed
                continue
            at_this_instant += 1
            if at_this_instant > STEPS_AT_ONE_INSTANT_MAX:
                raise SimulationStuck(f"at {self.now:.6f} s time does not go on; the last was {handle!r}")
            if loop is not running:
                set_running_loop(loop)
                running = loop
            loop.run_handle(handle)

    def take_ready(self, loop: SimulatedLoop) -> list[SimulatedHandle]:
        """Remove, and return, what is ready on ``loop``."""
        mine = [handle for handle in self.ready if handle.run_on is loop]
        others = [handle for handle in self.ready if handle.run_on is not loop]
        self.ready.clear()
        self.ready.extend(others)
        return mine


class SimulatedLoop(asyncio.AbstractEventLoop):
    """What one simulated process takes for its event loop.

    ``after_step`` is called behind each of its callbacks. ``slack_seconds`` rounds its timers up to multiples, as a
    busy machine does. ``rng`` draws how long work in threads takes.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        name: str,
        rng: Random,
        *,
        rate: float = 1.0,
        slack_seconds: float = 0.0,
        thread_seconds: float = 0.0005,
    ) -> None:
        self.name = name
        self.held: list[SimulatedHandle] | None = None
        """What became due while the process was paused; ``None`` while it runs."""
        self.after_step: Callable[[], None] | None = None
        self.on_error: Callable[[BaseException], None] = scheduler.abort
        """Told of what a callback raised: a correct process lets nothing escape."""
        self.owner: object = None
        """Whose loop it is, for whoever finds it running."""
        self._scheduler = scheduler
        self._ready: deque[SimulatedHandle] = scheduler.ready
        self._rng = rng
        self._reading, self._read_at, self._rate = 0.0, scheduler.now, rate
        self._slack = slack_seconds
        self._thread_seconds = thread_seconds
        self._used = 0.0
        self._suspended_rate: float | None = None
        self._in_threads: dict[SimulatedHandle, None] = {}
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._resuming: SimulatedHandle | None = None

    # -- time --------------------------------------------------------------------------------------------

    def time(self) -> float:
        """The process's monotonic clock."""
        return self._reading + (self._scheduler.now - self._read_at) * self._rate + self._used

    def world_time(self, when: float) -> float:
        """The world's time when this clock has certainly reached ``when``, if it goes on as it does."""
        return self._read_at + (when - self._reading) / self._rate + _ROUNDING_SECONDS

    def set_rate(self, rate: float) -> None:
        """Let the clock run faster or slower than the world's from now on; timers that are armed adapt."""
        self._reading, self._read_at, self._rate = self.time(), self._scheduler.now, rate

    def use(self, seconds: float) -> None:
        """The callback that runs now takes so long: the clock goes on, and the process does nothing else."""
        self._used += seconds

    # -- pausing and dying -------------------------------------------------------------------------------

    def pause(self, seconds: float, *, suspended: bool = False) -> None:
        """Do nothing for so long. When ``suspended``, the process's clock stands still meanwhile, too."""
        if isinstance(self.held, _Nowhere):
            return
        if self.held is None:
            self.held = []
        if self._resuming is not None:
            self._resuming.cancel()
        if suspended and self._suspended_rate is None:
            self._suspended_rate = self._rate
            self.set_rate(1e-12)
        self._resuming = self._scheduler.after(seconds, self._scheduler.world, self.resume)

    def resume(self) -> None:
        """Go on, with what became due meanwhile first."""
        if isinstance(self.held, _Nowhere):
            return
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None
        if self._suspended_rate is not None:
            self.set_rate(self._suspended_rate)
            self._suspended_rate = None
        held, self.held = self.held, None
        if held is not None:
            self._ready.extend(held)

    def halt(self) -> None:
        """Run nothing any more, without telling anyone: the process is gone."""
        if isinstance(self.held, _Nowhere):
            return
        if self._resuming is not None:
            self._resuming.cancel()
        mine = self._scheduler.take_ready(self) if self._ready is self._scheduler.ready else []
        self._ready = deque([*(self.held or ()), *mine])
        self.held = _Nowhere()

    def drain(self, last: Coroutine[Any, Any, object]) -> None:
        """Of a halted process: run ``last`` and what else is left to its end at once, so that nothing leaks.

        Threads end at once, timers never fire. Whatever is done here must have no effect on the world.
        """
        outside = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            ending = self.create_task(last)
            self._exhaust(lambda: ending.done())
            for task in list(self._tasks):
                task.cancel()
            self._exhaust(lambda: False)
            if ending.done() and not ending.cancelled():
                ending.exception()  # retrieved
        finally:
            asyncio._set_running_loop(outside)

    def _exhaust(self, done: Callable[[], bool]) -> None:
        for _ in range(STEPS_AT_ONE_INSTANT_MAX):
            if done():
                return
            if self._ready:
                handle = self._ready.popleft()
            elif self._in_threads:
                handle = next(iter(self._in_threads))
            else:
                return
            if not handle._cancelled:
                try:
                    handle._callback(*handle._args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException:
                    pass  # a dying process has nobody to complain to
        raise SimulationStuck(f"{self.name} does not come to its end")

    # -- running -----------------------------------------------------------------------------------------

    def run_handle(self, handle: SimulatedHandle) -> None:
        """Run one callback of this process."""
        self._scheduler.steps += 1
        try:
            context = handle._context
            if context is None:
                handle._callback(*handle._args)
            else:
                context.run(handle._callback, *handle._args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.on_error(error)
        if self.after_step is not None:
            self.after_step()
        if self._used:
            used, self._used = self._used, 0.0
            if self.held is None:
                self.pause(used)

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> SimulatedHandle:
        handle = SimulatedHandle(callback, args, self, context, 0.0)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> SimulatedHandle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> SimulatedHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> SimulatedHandle:
        if self._slack:
            when = ceil(when / self._slack) * self._slack
        handle = SimulatedHandle(callback, args, self, context, when)
        self._scheduler.at(self.world_time(when), handle)
        return handle

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """``func`` in a thread: it takes effect all at once, a little later."""
        future: asyncio.Future[T] = self.create_future()

        def run() -> None:
            del self._in_threads[handle]
            try:
                result = func(*args)
            except Exception as error:
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        handle = self._scheduler.after(self._rng.expovariate(1 / self._thread_seconds), self, run)
        self._in_threads[handle] = None
        return future

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, T] | Generator[Any, None, T], *, name: object = None, context: Any = None
    ) -> asyncio.Task[T]:
        task: asyncio.Task[T] = asyncio.Task(coro, loop=self)
        self._tasks[task] = None
        task.add_done_callback(self._forget_task)
        return task

    def _forget_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Exceptions that nobody asked a future for: of callers who have given up, so there is nothing to tell."""


class _Nowhere(list[SimulatedHandle]):
    """Where the callbacks of the dead go."""

    def append(self, handle: SimulatedHandle) -> None:
        pass
