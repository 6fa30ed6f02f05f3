"""Faults of processes: they are killed, paused, restarted, slow."""

from __future__ import annotations

from contextlib import suppress

from quorate.errors import QuorateError
from quorate.testing.simulation.faults.nemesis import Fault, Nemesis
from quorate.testing.simulation.host import Host

CHANGES_MAX = 40
"""A kill at a persistence point comes within so many changes of files."""


def _kill(nemesis: Nemesis) -> str | None:
    host = nemesis.any_running()
    if host is None:
        return None
    host.kill()
    return f"node {host.node_id}"


def _kill_all(nemesis: Nemesis) -> str:
    for host in nemesis.hosts.values():
        if host.process is not None:
            host.kill()
    return "every node"


def _power(nemesis: Nemesis) -> str | None:
    host = nemesis.any_running()
    if host is None:
        return None
    host.kill(power=True)
    return f"node {host.node_id}"


def _power_all(nemesis: Nemesis) -> str:
    for host in nemesis.hosts.values():
        host.kill(power=True)
    return "every node"


def _at_a_change(nemesis: Nemesis, *, power: bool) -> str | None:
    host = nemesis.any_host()
    changes = nemesis.rng.randint(0, CHANGES_MAX)
    if host.process is None:
        host.start()  # so that it is killed while it recovers
    if host.process is None:
        return None
    host.kill_after(changes, power=power)
    return f"node {host.node_id} at the {changes + 1}. change of its files"


def _pause(nemesis: Nemesis) -> str | None:
    host = nemesis.any_running()
    if host is None or host.process is None:
        return None
    seconds = nemesis.seconds()
    host.process.loop.pause(seconds)
    return f"node {host.node_id} for {seconds:.3f} s"


def _restart(nemesis: Nemesis) -> str | None:
    host = nemesis.any_running()
    if host is None:
        return None
    host.stop()
    return f"node {host.node_id}, in good order"


def ask_for_transfer(host: Host) -> None:
    """Ask the node on a machine to have another one lead."""
    process = host.process
    if process is None:
        return

    async def ask() -> None:
        with suppress(QuorateError):  # it may be refused, or fail: then the old leader goes on
            await process.node.transfer_leadership()

    process.loop.call_soon(lambda: process.loop.create_task(ask()))


def _transfer(nemesis: Nemesis) -> str | None:
    """No fault, but a change of leader that is no election like others."""
    host = nemesis.any_running()
    if host is None:
        return None
    ask_for_transfer(host)
    return f"node {host.node_id} is asked to have another node lead"


def _slow_apply(nemesis: Nemesis) -> str:
    host = nemesis.any_host()
    cost = nemesis.election_seconds * nemesis.rng.choice((0.01, 0.1, 0.3))
    seconds = nemesis.seconds()
    host.slow_apply_seconds = cost

    def end() -> None:
        host.slow_apply_seconds = 0.0

    nemesis.later(seconds, end)
    return f"node {host.node_id} takes {cost:.3f} s for each command, for {seconds:.3f} s"


FAULTS = (
    Fault("kill", _kill),
    Fault("kill all", _kill_all, weight=0.3),
    Fault("power loss", _power),
    Fault("power loss everywhere", _power_all, weight=0.3),
    Fault("kill at a persistence point", lambda nemesis: _at_a_change(nemesis, power=False)),
    Fault("power loss at a persistence point", lambda nemesis: _at_a_change(nemesis, power=True)),
    Fault("pause", _pause),
    Fault("restart", _restart),
    Fault("slow apply", _slow_apply),
    Fault("leadership transfer", _transfer, nodes_min=2),
)
"""Kinds of faults."""
