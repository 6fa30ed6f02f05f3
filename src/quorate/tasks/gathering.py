"""Submits of many callers that travel as one command: what arrives while one is on its way becomes the next.

A command has a price of its own on every node, several times that of one task in it. Together the tasks are all or
none, which nobody asked for: so where one of them is refused, each is submitted once more, for itself, and gets its own
answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

from quorate.errors import OutcomeUnknown, QuorateError
from quorate.machine.outcome import Applied
from quorate.tasks.commands import New, Spec, Submit
from quorate.tasks.errors import TaskRefusal

GATHER_SECONDS_MAX = 0.005
"""So long a submit waits at most for the command before it to end."""
TASKS_MAX = 250
BYTES_MAX = 128 * 1024
"""Payloads in one command; a longer one travels alone."""

States = list[tuple[int, bool]]
"""The result of a submit: for each task its state, and whether it had been submitted before."""


class Submits:
    """Gathers commands of one task each. ``propose`` may be asked again for the same."""

    def __init__(self, propose: Callable[[Submit], Awaitable[Applied]]) -> None:
        self._propose = propose
        self._waiting: list[tuple[Submit, asyncio.Future[Applied]]] = []
        self._bytes = 0
        self._timer: asyncio.Handle | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def submit(self, command: Submit) -> Applied:
        """Its outcome, as if it had travelled alone; the entry is that of all."""
        (task,) = command.tasks
        if task.depends_on or len(task.payload) > BYTES_MAX:
            return await self._propose(command)
        if len(self._waiting) >= TASKS_MAX or self._bytes + len(task.payload) > BYTES_MAX:
            self._send()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Applied] = loop.create_future()
        self._waiting.append((command, future))
        self._bytes += len(task.payload)
        if self._timer is None:
            self._timer = (
                loop.call_later(GATHER_SECONDS_MAX, self._send) if self._under_way else loop.call_soon(self._send)
            )
        return await future

    async def end(self) -> None:
        """The node has stopped: return when everybody knows what has become of its task."""
        self._send()
        if self._under_way:
            await asyncio.wait(self._under_way)

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._waiting, self._bytes = self._waiting, [], 0
        if gathered:
            sending = asyncio.get_running_loop().create_task(self._submit_all(gathered))
            self._under_way.add(sending)
            sending.add_done_callback(self._sent)

    def _sent(self, sending: asyncio.Task[None]) -> None:
        self._under_way.discard(sending)
        if not self._under_way:
            self._send()

    async def _submit_all(self, gathered: list[tuple[Submit, asyncio.Future[Applied]]]) -> None:
        gathered = [(command, future) for command, future in gathered if not future.done()]
        try:
            if len(gathered) > 1:
                try:
                    self._answer(gathered, await self._propose(_together([command for command, _ in gathered])))
                    return
                except TaskRefusal:
                    pass  # whose it is, the log tells
            await asyncio.gather(*(self._submit_one(command, future) for command, future in gathered))
        except BaseException as error:
            told = error if isinstance(error, QuorateError) else OutcomeUnknown("the submit was broken off")
            for _, future in gathered:
                if not future.done():
                    future.set_exception(told)
            if not isinstance(error, QuorateError):
                raise

    async def _submit_one(self, command: Submit, future: asyncio.Future[Applied]) -> None:
        try:
            applied = await self._propose(command)
        except QuorateError as error:
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(applied)

    def _answer(self, gathered: list[tuple[Submit, asyncio.Future[Applied]]], applied: Applied) -> None:
        states = cast("States", applied.result)
        seen: set[str] = set()
        for (command, future), (state, is_known) in zip(gathered, states, strict=True):
            task_id = command.tasks[0].id
            if not future.done():
                future.set_result(replace(applied, result=[(state, is_known or task_id in seen)]))
            seen.add(task_id)


def _together(commands: list[Submit]) -> Submit:
    """One command for the tasks of all, in their order."""
    places: dict[Spec, int] = {}
    tasks = []
    for command in commands:
        (spec,), (task,) = command.specs, command.tasks
        place = places.setdefault(spec, len(places))
        tasks.append(
            task if place == 0 else New(place, task.id, task.payload, task.run_at_us, task.delay_us, task.unique_key)
        )
    return Submit(list(places), tasks)
