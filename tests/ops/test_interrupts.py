"""A signal ends work in order, and once only."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from quorate.ops.interrupts import SIGNALS, Interrupted, run_interruptible


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_lets_the_work_clean_up(number: signal.Signals) -> None:
    cleaned_up = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(10)
        finally:
            os.kill(os.getpid(), number)  # impatience changes nothing
            await asyncio.sleep(0.01)
            cleaned_up.append(True)

    with pytest.raises(Interrupted):
        run_interruptible(work())
    assert cleaned_up == [True]


def test_work_that_ends_gives_its_result() -> None:
    async def work() -> int:
        return 42

    assert run_interruptible(work()) == 42
