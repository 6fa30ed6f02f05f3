"""What the benchmark of tasks has done: nothing, so that what is measured is the queue."""

from __future__ import annotations

from quorate.app import App

app = App(title="Bench")


@app.task(queue="bench", retention="10m")
async def nothing(number: int, text: str = "") -> int:
    """Takes no time."""
    return number
