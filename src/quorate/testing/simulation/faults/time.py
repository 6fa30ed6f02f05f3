"""Faults of clocks."""

from __future__ import annotations

from quorate.testing.simulation.faults.nemesis import Fault, Nemesis

JUMP_HOURS_MAX = 5.0
"""Half of the time for which requests are remembered is more than all jumps together."""


def _jump(nemesis: Nemesis) -> str:
    host = nemesis.any_host()
    hours = nemesis.rng.choice((-1, 1)) * JUMP_HOURS_MAX * nemesis.rng.random() ** 4
    host.wall_clock_offset_us = int(hours * 3_600_000_000)
    return f"the calendar clock of node {host.node_id} is {hours * 3600:.1f} s off"


def _drift(nemesis: Nemesis) -> str | None:
    host = nemesis.any_running()
    if host is None or host.process is None:
        return None
    # Leases are made for clocks that differ by a little less than this.
    rate = nemesis.rng.choice((0.95, 0.99, 1.01, 1.05) if nemesis.has_leases else (0.5, 0.8, 1.25, 2.0))
    if host.process.loop.held is None:
        host.process.loop.set_rate(rate)
    return f"the clock of node {host.node_id} runs at {rate}"


def _suspend(nemesis: Nemesis) -> str | None:
    host = nemesis.any_running()
    if host is None or host.process is None:
        return None
    seconds = nemesis.seconds()
    host.process.loop.pause(seconds, suspended=True)
    return f"node {host.node_id} and its clock stand still for {seconds:.3f} s"


FAULTS = (
    Fault("clock jump", _jump),
    Fault("clock drift", _drift),
    Fault("suspension", _suspend, breaks_leases=True),
)
"""Kinds of faults."""
