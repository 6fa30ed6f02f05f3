"""Runs many seeds in several processes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice

from quorate.errors import QuorateError
from quorate.testing.simulation.report import Report
from quorate.testing.simulation.simulation import run_seed

SEEDS_AT_ONCE = 5
"""What one worker is given at a time: few enough for a steady progress."""


def run_seeds(seeds: Iterable[int], on_report: Callable[[Report], None], *, workers: int = 1) -> None:
    """Run all ``seeds``; ``on_report`` is told of each, in whatever order they end. For the main thread.

    A KeyboardInterrupt ends the workers, and passes. Raises :class:`QuorateError` if a worker dies.
    """
    if workers == 1:
        for seed in seeds:
            on_report(run_seed(seed))
    else:
        _run_in_processes(iter(seeds), workers, on_report)


def _run_in_processes(seeds: Iterable[int], workers: int, take: Callable[[Report], None]) -> None:
    # Spawned, not forked: a worker must not depend on what happened in this process before.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        running: set[Future[list[Report]]] = set()
        try:
            with _interrupts_ignored():  # each of the first chunks starts a worker, which inherits it
                for _ in range(workers):
                    running.add(pool.submit(_run_chunk, list(islice(seeds, SEEDS_AT_ONCE))))
            while True:
                while len(running) < 2 * workers and (chunk := list(islice(seeds, SEEDS_AT_ONCE))):
                    running.add(pool.submit(_run_chunk, chunk))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    for report in future.result():
                        take(report)
        except BrokenProcessPool as error:
            raise QuorateError(f"a worker died: {error}") from error
        except BaseException:
            # What the workers do has no effect outside of them: they need not finish it. The pool's own thread is
            # waited for, as it would otherwise meet the interpreter's end, which takes its pipe away.
            for process in multiprocessing.active_children():
                process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _run_chunk(seeds: list[int]) -> list[Report]:
    return [run_seed(seed) for seed in seeds]
