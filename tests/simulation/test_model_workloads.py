"""The judgement of the workloads of declared models: the reference agrees with the machine, and lies are found out."""

from __future__ import annotations

import json
from collections import Counter as Counts
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from quorate.machine.commands import Batch, Command, encode_batch
from quorate.machine.router import Router
from quorate.models.commands import (
    Call,
    Change,
    Check,
    Create,
    Declare,
    Delete,
    Operation,
    Patch,
    Replace,
    Retain,
    encode_command,
)
from quorate.models.machine import MACHINE
from quorate.models.rest.events_json import EventDocuments
from quorate.raft.entry import Entry, EntryKind
from quorate.rest.http import RequestError
from quorate.testing.simulation import clients
from quorate.testing.simulation.clients import Ended
from quorate.testing.simulation.disk import DiskPlan, SimulatedDisk
from quorate.testing.simulation.invariants import Violation
from quorate.testing.simulation.loop import Scheduler
from quorate.testing.simulation.models import OUTDATED, Answer, ModelsPlan, SimulatedModels
from quorate.testing.simulation.rollout import Rollout
from quorate.testing.simulation.sqlite_state import SimulatedSqliteState
from quorate.testing.simulation.workloads import ModelFeeds, ModelTransfers, ModelUpgrades, ModelVersions, Workload
from quorate.testing.simulation.workloads.model_feeds import Watcher
from quorate.testing.simulation.workloads.model_upgrades import GARDEN
from quorate.testing.simulation.workloads.models import ModelsWorkload, Sight
from quorate.testing.simulation.workloads.shop import SHOP

STATE = Path("/simulated/state.sqlite")
SECOND_US = 1_000_000


class Log:
    """A log, and a node that has applied it."""

    def __init__(self, app: Any = SHOP, kept: int = 100_000) -> None:
        disk = SimulatedDisk(Scheduler(), Random(1), DiskPlan(), Counts())
        disk.make_directories(STATE.parent)
        self.machine = SimulatedModels(app, ModelsPlan(events_kept=kept), lambda: None)
        self.entries: list[Entry] = []
        self._router = Router({MACHINE: self.machine}, open_state=lambda path: SimulatedSqliteState(path, disk))
        self._router.open(STATE)
        self.add(self.machine.declarations.wanted)

    def add(self, command: Any, *, at: float = 0.0, origin: int = 1) -> Any:
        """One more entry, at so many seconds of the log's time; returns its outcome."""
        batch = Batch(int(at * SECOND_US), 0, [Command(MACHINE, encode_command(command), None, origin)])
        entry = Entry(len(self.entries) + 1, 1, EntryKind.COMMANDS, encode_batch(batch))
        self.entries.append(entry)
        (outcome,) = self._router.apply(entry)
        return outcome

    def change(self, name: str | None, *operations: Operation, at: float = 0.0, origin: int = 1) -> Any:
        return self.add(Change(list(operations), name, self.machine.declarations.version), at=at, origin=origin)

    def judge(self, workload: Workload) -> None:
        known = SimpleNamespace(committed=self.entries)
        host = SimpleNamespace(node_id=1, invariants=SimpleNamespace(known=known))
        workload.check(SimpleNamespace(models=self.machine, host=host))  # type: ignore[arg-type]


def told(
    workload: Any, number: int, kind: str, key: str, result: Any = None, *, argument: Any = None,
    ended: Ended = Ended.OK, writes: bool = True,
) -> clients.Operation:  # fmt: skip
    """Operation n of client 1, which lasts from n to n + 0.5."""
    operation = clients.Operation(number, 1, kind, key, argument, float(number), number + 0.5, ended, result)
    workload.history.append(operation)
    if writes:
        workload.writes.append(operation)
        if isinstance(workload, ModelsWorkload):
            workload.asked[operation.name] = {1}
    return operation


# -- the reference ---------------------------------------------------------------------------------------


def any_operation(rng: Random) -> Operation:
    key, other = rng.randrange(4), rng.randrange(4)
    expected = rng.choice((None, None, rng.randrange(1, 60)))
    makers: list[Callable[[], Operation]] = [
        lambda: Create("Counter", ("id", "hits", "colour"), [(key, 0, "red")]),
        lambda: Patch("Counter", key, ("hits",), (rng.randrange(3),), expected),
        lambda: Replace("Counter", key, ("hits", "colour"), (rng.randrange(3), rng.choice(("red", "blue"))), expected),
        lambda: Delete("Counter", key, expected),
        lambda: Check("Counter", key, expected),
        lambda: Create("Wallet", ("id", "owner", "balance", "moved_at"), [(key, f"owner {other}", 0, 0)]),
        lambda: Call("Wallet", key, "moved", json.dumps({"amount": rng.randrange(-40, 40)}), expected),
        lambda: Patch("Wallet", key, ("owner",), (f"owner {other}",)),
        lambda: Create("Shelf", ("id", "label"), [(key, f"label {other}")]),
        lambda: Create(
            "Item", ("id", "code", "shelf_id", "place"), [(key, f"code {other}", rng.randrange(4), rng.randrange(2))]
        ),
        lambda: Patch("Item", key, ("shelf_id", "place"), (rng.choice((None, other)), rng.randrange(2))),
        lambda: Create("Tag", ("id", "text", "item_id"), [(None, "t", rng.choice((None, other))) for _ in range(3)]),
        lambda: Create("Order", ("id", "item_id"), [(key, other)]),
        lambda: Delete(rng.choice(("Shelf", "Item", "Order")), key),
    ]
    return rng.choice(makers)()


@pytest.mark.parametrize("seed", range(8))
def test_the_reference_agrees_with_the_machine(seed: int) -> None:
    rng, log, workload = Random(seed), Log(kept=20), ModelFeeds(Random(0))
    refused = 0
    for number in range(150):
        operations = [any_operation(rng) for _ in range(rng.choice((1, 1, 2, 4)))]
        refused += isinstance(log.change(f"1.{number}", *operations, at=number / 10), Exception)
        if rng.random() < 0.1:
            log.add(Retain(), at=number / 10)
    assert 20 < refused < 145
    log.judge(workload)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE model_counter SET hits = 7", "Counter: there is"),
        ("UPDATE model_counter SET _version = _version + 1", "Counter: there is"),
        ("DELETE FROM model_tag", "are counted"),
        ("UPDATE quorate_events SET actor = 'other' WHERE sequence = 2", "events: there is"),
        ("UPDATE quorate_events SET sequence = 9 WHERE sequence = 2", "events: there is"),
        ("UPDATE history_model_counter SET time_us = 5", "history of Counter"),
        ("DELETE FROM history_model_counter WHERE sequence = 2", "history of Counter"),
    ],
)
def test_a_state_that_the_log_does_not_lead_to(sql: str, words: str) -> None:
    log, workload = Log(), ModelFeeds(Random(0))
    log.change("1.1", Create("Counter", ("id", "hits", "colour"), [(1, 0, "red")]))
    log.change("1.2", Patch("Counter", 1, ("hits",), (1,)))
    log.change("1.3", Create("Tag", ("id", "text", "item_id"), [(None, "t", None)]))
    log.judge(workload)
    log._router._state.connection.execute(sql)  # type: ignore[union-attr]
    with pytest.raises(Violation, match=words):
        log.judge(workload)


# -- what clients were told ------------------------------------------------------------------------------


def counted() -> tuple[Log, ModelVersions]:
    """Counter 1 is created, raised, and raised once more by somebody who had not seen that."""
    log, workload = Log(), ModelVersions(Random(0))
    log.change("1.1", Create("Counter", ("id", "hits", "colour"), [(1, 0, "red")]))
    log.change("1.2", Patch("Counter", 1, ("hits",), (1,), 1))
    log.change("1.3", Patch("Counter", 1, ("hits",), (1,), 1))
    told(workload, 1, "create counter", "counters/1", Answer(201, 1, {}))
    told(workload, 2, "raise", "counters/1", Answer(200, 2, {}), argument=(1, 1))
    told(workload, 3, "raise", "counters/1", RequestError(412, "changed"), argument=(1, 1))
    return log, workload


def test_what_the_log_bears_out_passes() -> None:
    log, workload = counted()
    log.judge(workload)


@pytest.mark.parametrize(
    ("number", "changes", "words"),
    [
        (1, {"result": RequestError(409, "taken")}, "was refused, and applied 1 times"),
        (1, {"ended": Ended.NOT_APPLIED}, "applied all the same"),
        (2, {"result": Answer(200, 3, {})}, "by the log the version is"),
        (3, {"result": Answer(200, 3, {})}, "acknowledged, and applied 0 times"),
        (3, {"result": RequestError(404, "no")}, "by the log it is"),
        (3, {"ended": Ended.NOT_APPLIED}, "by the log it is"),
        (1, {"invoked": 9.0, "completed": 9.5}, "stands before it in the log"),
    ],
)
def test_answers_that_are_not_those_of_the_log(number: int, changes: dict[str, Any], words: str) -> None:
    log, workload = counted()
    for name, value in changes.items():
        setattr(workload.writes[number - 1], name, value)
    with pytest.raises(Violation, match=words):
        log.judge(workload)


def test_a_write_that_is_lost_or_there_twice() -> None:
    log, workload = counted()
    told(workload, 4, "paint", "counters/1", Answer(200, 3, {}))
    with pytest.raises(Violation, match="acknowledged, and applied 0 times"):
        log.judge(workload)
    for colour in ("blue", "red"):
        log.change("1.4", Patch("Counter", 1, ("colour",), (colour,)))
    with pytest.raises(Violation, match="applied 2 times"):
        log.judge(workload)


def test_an_update_that_is_lost() -> None:
    log, workload = counted()
    log.change("1.4", Patch("Counter", 1, ("hits",), (1,)))  # what the first has written is written once more
    told(workload, 4, "raise", "counters/1", Answer(200, 2, {}), argument=(1, 1))
    with pytest.raises(Violation, match="was at 1 at change 2, and had been raised 2 times"):
        log.judge(workload)


def test_a_change_that_counts_as_that_of_another_node() -> None:
    log, workload = counted()
    log.change("1.4", Patch("Counter", 1, ("colour",), ("blue",)), origin=2)
    told(workload, 4, "paint", "counters/1", Answer(200, 3, {}))
    with pytest.raises(Violation, match="counts as node 2's"):
        log.judge(workload)


@pytest.mark.parametrize(
    ("strong", "version", "body", "words"),
    [
        (True, 2, {"id": 1, "hits": 1, "colour": "red"}, ""),
        (False, 1, {"id": 1, "hits": 0, "colour": "red"}, ""),
        (True, 1, {"id": 1, "hits": 0, "colour": "red"}, "had to see version 2"),
        (False, 2, {"id": 1, "hits": 2, "colour": "red"}, "was never there"),
        (False, 3, {"id": 1, "hits": 1, "colour": "red"}, "was never there"),
        (True, 0, None, "it was there all the time"),
        (False, 0, None, ""),
    ],
)
def test_reads(strong: bool, version: int, body: Any, words: str) -> None:
    log, workload = counted()
    read = told(workload, 4, "look", "counters/1", writes=False)
    workload.sights.append(Sight(read, "Counter", 1, strong, version, body))
    if words:
        with pytest.raises(Violation, match=words):
            log.judge(workload)
    else:
        log.judge(workload)


def test_money_that_is_made() -> None:
    log, workload = Log(), ModelTransfers(Random(0))
    log.change(None, Create("Wallet", ("id", "owner", "balance", "moved_at"), [(1, "ann", 3, 0)]))
    with pytest.raises(Violation, match="money was made"):
        log.judge(workload)


# -- watchers --------------------------------------------------------------------------------------------


def test_a_watcher_is_told_everything_once() -> None:
    workload = ModelFeeds(Random(0))
    log = Log(kept=5)
    process: Any = SimpleNamespace(models=log.machine, host=SimpleNamespace(node_id=1))
    watcher = Watcher(0)
    workload._take(watcher, {"id": "0"}, process)
    workload._take(watcher, {"id": "1", "data": "{}"}, process)
    assert watcher.after == 1
    for part, words in (
        ({"id": "1", "data": "{}"}, "told number 1 behind 1"),
        ({"id": "3", "data": "{}"}, "told number 3 behind 1"),
        ({"id": "2"}, "is said to be at 2"),
        ({"event": "gone", "data": '{"oldest": 3}'}, "are to be kept"),
    ):
        with pytest.raises(Violation, match=words):
            workload._take(watcher, part, process)


def test_a_watcher_is_told_what_has_happened() -> None:
    log, workload = Log(), ModelFeeds(Random(0))
    log.change("1.1", Create("Counter", ("id", "hits", "colour"), [(1, 0, "red")]))
    (event,) = log.machine.events.after(0, 10).events
    document = json.loads(EventDocuments(SHOP.schemas).encoded(event))
    workload.watchers.append(Watcher(1, [(1, document)]))
    log.judge(workload)
    workload.watchers.append(Watcher(1, [(1, {**document, "actor": "1.2"})]))
    with pytest.raises(Violation, match="was told as"):
        log.judge(workload)
    workload.watchers[1].told[:] = [(2, document)]
    with pytest.raises(Violation, match="never happened"):
        log.judge(workload)


# -- upgrades --------------------------------------------------------------------------------------------


def garden() -> tuple[Log, ModelUpgrades]:
    log, workload = Log(GARDEN[-1]), ModelUpgrades(Random(0))
    names = ("id", "height", "name", "colour", "slug", "initial")
    log.change("1.1", Create("Plant", names, [(1, 0, "Oak", "green", "oak", "O")]))
    log.change("1.2", Call("Plant", 1, "grown", '{"cm": 5}'))
    told(workload, 1, "plant", "1", Answer(201, 1, {}))
    told(workload, 2, "grow", "1", Answer(200, 2, {}), argument=5)
    told(workload, 3, "look", "1", Answer(200, 2, {"id": 1, "name": "Oak", "height": 5}), writes=False)
    return log, workload


def test_a_garden_that_the_events_bear_out() -> None:
    log, workload = garden()
    log.judge(workload)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE model_plant SET height = 4", "by the events there is"),
        ("UPDATE model_plant SET name = 'Elm'", "by the events there is"),
        ("UPDATE model_plant SET slug = 'elm'", "was made of no name"),
        ("UPDATE model_plant SET initial = 'E'", "was made of no name"),
        ("UPDATE model_plant SET _version = 7", "by the events there is"),
        ("DELETE FROM model_plant", "by the events there are the plants"),
        ("UPDATE quorate_events SET sequence = 9 WHERE sequence = 2", "have gaps"),
        ("UPDATE quorate_events SET actor = '1.9' WHERE sequence = 2", "acknowledged, and applied 0 times"),
        ("UPDATE history_model_plant SET changes = (SELECT min(changes) FROM history_model_plant)", "the history has"),
    ],
)
def test_a_garden_that_the_events_do_not_bear_out(sql: str, words: str) -> None:
    log, workload = garden()
    connection = log._router._state.connection  # type: ignore[union-attr]
    connection.execute(sql)
    with pytest.raises(Violation, match=words):
        log.judge(workload)


def test_a_node_is_told_that_its_program_is_too_old_only_if_it_is() -> None:
    log = Log(GARDEN[0])
    fired: Counts[str] = Counts()
    known: Any = SimpleNamespace(committed=log.entries)
    host: Any = SimpleNamespace(version=0, process=None)
    rollout = Rollout(GARDEN, {1: host}, known, Random(0), SimpleNamespace(event=lambda *_: None), fired)  # type: ignore[arg-type]
    assert not host.on_outdated(host, 0)
    wanted = SimulatedModels(GARDEN[2], ModelsPlan(), lambda: None).declarations
    declare = Declare(wanted.version, wanted.fingerprint, "{}", GARDEN[0].schema_fingerprint)
    batch = Batch(0, 0, [Command(MACHINE, encode_command(declare))])
    log.entries.append(Entry(2, 1, EntryKind.COMMANDS, encode_batch(batch)))
    assert rollout.declared == 2
    assert host.on_outdated(host, 1)
    assert (host.version, fired[OUTDATED]) == (2, 1)
    assert not host.on_outdated(host, 2)
