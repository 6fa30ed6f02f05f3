"""Queues and lanes: there while something is in them or said of them, and gone behind that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from quorate.errors import CommandFailed
from quorate.machine.contract import ApplyContext
from quorate.tasks.commands import (
    Cancel,
    Command,
    Configure,
    New,
    Purge,
    RemoveQueue,
    Schedule,
    Slot,
    Spec,
    Submit,
    Tick,
    encode_command,
)
from quorate.tasks.errors import NoSuchQueue, QueueInUse, TooMany
from quorate.tasks.lifecycle import State
from quorate.tasks.limits import LANES_MAX, PENDING_MAX
from quorate.tasks.store import tables

from .support import SPEC, Replica

BRIEF = Spec("mail", "send", retention_ms=0)


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return Replica(tmp_path / "db")


def do_all(replica: Replica, **more: Any) -> None:
    for lease in replica.claim(250, **more):
        replica.complete(lease)
    replica.settle()


def there(replica: Replica) -> tuple[list[str], list[tuple[str, str]]]:
    """Queues and lanes, which are in the file what they are in memory."""
    memory = replica.memory()
    replica.reopen()
    assert replica.memory() == memory
    found = replica.machine.tables
    assert replica.count("task_queue") == len(found.queues)
    assert replica.count("task_lane") == len(found.lanes)
    return list(found.queues), [(lane.queue.name, lane.type) for lane in found.lanes.values()]


def test_a_queue_goes_with_its_last_task(replica: Replica) -> None:
    replica.add("a", "b", spec=BRIEF)
    replica.add("c", spec=Spec("mail", "cut"))
    assert there(replica) == (["mail"], [("mail", "send"), ("mail", "cut")])
    do_all(replica, types=("send",))
    assert there(replica) == (["mail"], [("mail", "cut")])
    replica.do(Purge((int(State.READY),)))
    replica.later(3_601)
    replica.settle()
    assert there(replica) == ([], [])
    assert replica.count("task_count") == 0
    replica.add("d", spec=BRIEF)
    assert there(replica) == (["mail"], [("mail", "send")]), "it comes back like any other"


@pytest.mark.parametrize("settings", [{"paused": True}, {"pending_max": 7}])
def test_a_queue_stays_while_anything_is_said_of_it(replica: Replica, settings: dict[str, Any]) -> None:
    replica.do(Configure("mail", **settings))
    replica.do(Configure("other"))
    assert there(replica) == (["mail"], [])
    replica.add("a", spec=BRIEF)
    replica.do(Cancel("a"))
    replica.settle()
    assert there(replica) == (["mail"], [])
    replica.do(Configure("mail", False, PENDING_MAX))
    assert there(replica) == ([], [])


def test_what_comes_and_goes_never_adds_up_to_too_many(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "QUEUES_MAX", 3)
    monkeypatch.setattr(tables, "LANES_MAX", 3)
    for number in range(20):
        replica.add(f"t{number}", spec=Spec(f"q{number}", f"t{number}", retention_ms=0))
        if number > 1:
            replica.do(Cancel(f"t{number - 2}"))
            replica.settle()
    replica.add("another", spec=Spec("q18", "another"))
    for queue, kind in (("q20", "t"), ("q18", "yet another")):
        with pytest.raises(TooMany):
            replica.add("too many", spec=Spec(queue, kind))
    assert there(replica)[0] == ["q18", "q19"]


def test_a_turn_that_is_left_out_leaves_no_lane(replica: Replica) -> None:
    replica.add("a")
    replica.do(Configure("mail", pending_max=1))
    slot_us = replica.time_us
    replica.do(Schedule("hourly", "0 * * * *", "UTC", Spec("mail", "report"), b"", slot_us))
    assert replica.do(Tick(9, [Slot("hourly", slot_us, slot_us + 1)])) == 1
    assert there(replica) == (["mail"], [("mail", "send")])


def test_a_queue_is_removed_once_its_tasks_have_ended(replica: Replica) -> None:
    replica.do(Configure("mail", paused=True, pending_max=5))
    replica.add("a", "b")
    replica.add("c", spec=Spec("other", "send"))
    with pytest.raises(QueueInUse, match="the queue mail is in use: 2 of its tasks have not ended"):
        replica.do(RemoveQueue("mail"))
    replica.do(Cancel("a"))
    with pytest.raises(QueueInUse, match="the queue mail is in use: 1 of its tasks has not ended"):
        replica.do(RemoveQueue("mail"))
    assert replica["a"].state is State.CANCELLED, "what is refused removes nothing"
    replica.do(Cancel("b"))
    assert replica.do(RemoveQueue("mail")) == 2
    assert there(replica) == (["other"], [("other", "send")])
    with pytest.raises(NoSuchQueue, match="there is no queue mail"):
        replica.do(RemoveQueue("mail"))
    replica.add("d")
    assert replica.claim(9, queues=("mail",)), "its settings went with it"


def test_a_large_queue_is_removed_bit_by_bit_and_keeps_its_settings_meanwhile(replica: Replica) -> None:
    ids = [f"t{number}" for number in range(5)]
    replica.add(*ids)
    for task_id in ids:
        replica.do(Cancel(task_id))
    replica.do(Configure("mail", paused=True))
    assert replica.do(RemoveQueue("mail", 2)) == 2
    assert replica.machine.tables.queues["mail"].paused
    assert [replica.do(RemoveQueue("mail", 2)) for _ in range(2)] == [2, 1]
    assert there(replica) == ([], [])


def test_a_queue_waits_for_those_who_have_not_heard_of_its_tasks(replica: Replica) -> None:
    replica.add("a")
    replica.submit(New(0, "b", b"", depends_on=("a",)), spec=Spec("other", "send"))
    replica.do(Cancel("a"))
    assert replica.do(RemoveQueue("mail")) == 1
    assert there(replica)[0] == ["mail", "other"]
    replica.settle()
    assert there(replica)[0] == ["other"]
    assert (replica["b"].state, replica["b"].error) == (
        State.DEAD,
        "it depends on the task a, which was cancelled",
    )


COMMANDS: dict[str, Callable[[], Command]] = {
    "the last task of all queues": lambda: Purge((int(State.CANCELLED),)),
    "one queue": lambda: RemoveQueue("mail"),
    "the settings of one without tasks": lambda: Configure("films", paused=False),
    "a lane, and another is made": lambda: Submit([SPEC, Spec("new", "new")], [New(1, "new", b"")]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_joint_command_took_away_is_back_when_that_is_refused(replica: Replica, name: str) -> None:
    replica.do(Configure("films", paused=True))
    for number, queue in enumerate(("mail", "first", "mail", "last")):
        replica.add(f"t{number}", spec=Spec(queue, f"t{number}"))
        replica.do(Cancel(f"t{number}"))
    before, digest, mark = replica.memory(), replica.digest(), replica.machine.mark()
    with suppress(CommandFailed), replica.state.savepoint():
        replica.machine.apply(encode_command(COMMANDS[name]()), ApplyContext(99, 1, replica.time_us))
        assert replica.memory() != before
        raise CommandFailed("another part is refused")
    replica.machine.undo(mark)
    assert (replica.memory(), replica.digest()) == (before, digest)
    assert there(replica)[0] == ["films", "mail", "first", "last"]


def test_many_lanes_go_in_one_command(replica: Replica) -> None:
    assert LANES_MAX >= 1000
    specs = [Spec("mail", f"t{number}") for number in range(250)]
    replica.do(Submit(specs, [New(number, str(number), b"") for number in range(250)]))
    replica.do(Purge((int(State.READY),)))
    replica.later(3_601)
    replica.settle()
    assert there(replica) == ([], [])
