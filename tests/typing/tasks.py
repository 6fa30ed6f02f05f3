"""What type checkers make of tasks: checked by mypy and basedpyright, never run. See ``test_typing``."""

from __future__ import annotations

import asyncio
from typing import assert_type

from quorate import App, TaskHandle

app = App()


@app.task(queue="mail", retries=3, timeout="30s")
async def send_mail(to: str, subject: str = "") -> str:
    return to + subject


@app.task()
def count(numbers: list[int]) -> int:
    return len(numbers)


async def called() -> None:
    assert_type(await send_mail("a@example.org", subject="hi"), str)
    assert_type(await asyncio.create_task(send_mail("a@example.org")), str)
    assert_type(count([1]), int)


async def sent() -> None:
    handle = await send_mail.send(to="a@example.org", subject="hi", delay=60)
    assert_type(handle, TaskHandle[str])
    assert_type(await handle.result(), str)
    assert_type(await handle.result(timeout=5), str)
    assert_type((await handle.status()).status, str)
    assert_type(await (await count.send([1])).result(), int)


async def refused() -> None:
    """Each of these has to be an error, to both: one that is none is one, too."""
    await send_mail(to=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await send_mail()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await count([1])  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    count(["a"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    app.task(retires=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
