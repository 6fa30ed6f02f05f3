"""The interpreter's search for garbage in cycles, where it would cost much and find nothing."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = (10_000, 50, 1000)
"""Objects of each generation before the garbage collector looks at them. A look at all of a million keys' deadlines
takes 20 ms, in which the node does nothing else."""


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """For a time in which many objects are made, and nearly all of them stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def rare_garbage_collections() -> None:
    """For the rest of the process: what is here stays, and what requests leave behind holds hardly any cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
