"""The key-value machine of simulated nodes: its checkpoints take as many slices as were drawn, and are counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import msgspec
import pytest

from quorate.kv.machine import MACHINE
from quorate.machine.commands import Batch, Command, encode_batch
from quorate.machine.router import Router
from quorate.raft.entry import Entry, EntryKind
from quorate.testing.simulation.disk import DiskPlan, SimulatedDisk
from quorate.testing.simulation.keys import CHECKPOINTS, LOADED, KeysPlan, SimulatedKv
from quorate.testing.simulation.loop import Scheduler
from quorate.testing.simulation.sqlite_state import SimulatedSqliteState

STATE = Path("/simulated/state.sqlite")


def disk() -> SimulatedDisk:
    made = SimulatedDisk(Scheduler(), Random(1), DiskPlan(), Counter())
    made.make_directories(STATE.parent)
    return made


def opened(on: SimulatedDisk, plan: KeysPlan) -> tuple[Router, SimulatedKv]:
    machine = SimulatedKv(plan, lambda: None)
    router = Router({MACHINE: machine}, open_state=lambda path: SimulatedSqliteState(path, on))
    router.open(STATE)
    return router, machine


def entry(index: int) -> Entry:
    body = msgspec.msgpack.encode([[b"SET", b"key:%d" % index, b"value"]])
    return Entry(index, 1, EntryKind.COMMANDS, encode_batch(Batch(index, 0, [Command(MACHINE, body)])))


def slices(plan: KeysPlan) -> int:
    """How many flushes a checkpoint of a hundred keys takes."""
    router, machine = opened(disk(), plan)
    for index in range(1, 101):
        router.apply(entry(index))
    assert router.begin_checkpoint()
    for number in range(1, 1000):
        assert machine.is_writing
        router.flush()
        if not router.is_checkpointing:
            assert machine.fired == {CHECKPOINTS: 1}
            router.close(flush=False)
            return number
    raise AssertionError("it does not end")


def test_a_checkpoint_takes_the_slices_that_were_drawn() -> None:
    never = 1_000_000
    assert slices(KeysPlan(dirty_keys=never, steps=1000)) == 1
    one_at_a_time = slices(KeysPlan(dirty_keys=never, steps=1))
    assert one_at_a_time > 5
    assert slices(KeysPlan(dirty_keys=never, steps=1)) == one_at_a_time, "a clock has a say in it"
    assert slices(KeysPlan(dirty_keys=never, steps=1, idle_slices=2)) == 3 * one_at_a_time - 2


@pytest.mark.parametrize(("changed", "begins"), [(4, False), (5, True)])
def test_so_many_changed_keys_begin_one(changed: int, begins: bool) -> None:
    router, machine = opened(disk(), KeysPlan(dirty_keys=5, steps=1))
    for index in range(1, changed + 1):
        router.apply(entry(index))
    router.flush()
    assert machine.is_writing is begins
    router.close(flush=False)


def test_a_start_from_a_checkpoint_is_counted_and_one_from_nothing_is_not() -> None:
    on = disk()
    router, machine = opened(on, KeysPlan(dirty_keys=1, steps=1000))
    assert not machine.fired[LOADED]
    router.apply(entry(1))
    router.flush()
    router.close(flush=False)
    again, machine = opened(on, KeysPlan())
    assert machine.fired[LOADED] == 1
    assert list(machine.keyspace.items) == [b"key:1"]
    again.close(flush=False)
