"""The machine of the keys: what it answers, what a power loss, a restart and a snapshot leave of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from quorate.kv import checkpoint, keyspace, waiting
from quorate.kv.machine import MACHINE, KvMachine
from quorate.kv.replies import CommandError
from quorate.kv.slots import Slots
from quorate.machine.commands import Command
from quorate.machine.contract import DiskStateMachine, StateMachine
from quorate.machine.router import Router
from quorate.machine.sqlite import SqliteState
from quorate.raft.entry import Entry
from tests.machine.support import Ledger, Script, entry

Machines = Mapping[str, StateMachine | DiskStateMachine]
Open = Callable[..., Router]
KEYS = [b"key:%d" % number for number in range(12)]
SLICE = 0.0
"""Seconds that end behind the first step of a checkpoint."""


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few keys are to the checkpoints what millions are elsewhere."""
    monkeypatch.setattr(Slots.__init__, "__defaults__", (8,))
    for module in (keyspace, waiting):
        monkeypatch.setattr(module, "SLOT_MASK", 7)
    monkeypatch.setattr(keyspace, "DIRTY_SLOTS", 4)
    monkeypatch.setattr(keyspace, "DIRTY_MASK", 3)
    monkeypatch.setattr(waiting, "SLOTS_PER_STEP", 2)
    monkeypatch.setattr(KvMachine, "rows_per_segment", 2)
    monkeypatch.setattr(checkpoint, "SPARE_SEGMENTS", 2)
    monkeypatch.setattr(checkpoint, "SEGMENTS_FREED_PER_STEP", 1)
    monkeypatch.setattr(checkpoint, "STEPS_OF_FREEING", 3)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    routers: list[Router] = []

    def open_router(machines: Machines, name: str = "state", saved: bytes = b"", **options: Any) -> Router:
        router = Router(machines, **options)
        routers.append(router)
        router.open(tmp_path / name, saved)
        return router

    yield open_router
    for router in routers:
        router.close(flush=False)


def requests(*lines: str, request_id: str | None = None) -> Command:
    body = msgspec.msgpack.encode([[word.encode() for word in line.split()] for line in lines])
    return Command(MACHINE, body, request_id)


def answer(router: Router, index: int, *lines: str, request_id: str | None = None) -> Any:
    (outcome,) = router.apply(entry(index, requests(*lines, request_id=request_id)))
    return outcome


def settle(router: Router) -> None:
    """Complete a checkpoint of what is there now."""
    while router.is_checkpointing or router.begin_checkpoint():
        router.flush()


def keys_of(router: Router) -> dict[bytes, Any]:
    machine = router.machines[MACHINE]
    assert isinstance(machine, KvMachine)
    return {key: item.value for key, item in machine.keyspace.items.items()}


# -- applying --------------------------------------------------------------------------------------------


def test_each_request_gets_its_reply_and_a_bad_one_concerns_no_other(opened: Open) -> None:
    router = opened({MACHINE: KvMachine()})
    replies = answer(router, 1, "SET a 1", "NONSENSE x", "HGET a f", "GET", "", "GET a")
    assert (replies[0], replies[5]) == (b"OK", b"1")
    assert [str(reply).split()[0] for reply in replies[1:5]] == ["ERR", "WRONGTYPE", "ERR", "ERR"]
    assert all(isinstance(reply, CommandError) for reply in replies[1:5])


def test_a_retried_request_gets_the_same_replies_also_behind_a_restart(opened: Open) -> None:
    router = opened({MACHINE: KvMachine()})
    first = answer(router, 1, "RPUSH a 1", "GET a", "SET b 1", request_id="r")
    settle(router)
    router.close(flush=False)
    router = opened({MACHINE: KvMachine()})
    again = answer(router, 2, "RPUSH a 1", "GET a", "SET b 1", request_id="r")
    assert [(type(reply), str(reply)) for reply in again] == [(type(reply), str(reply)) for reply in first]
    assert answer(router, 3, "LLEN a") == [1]


def test_a_request_remembered_behind_the_last_checkpoint_is_applied_again_after_a_crash(opened: Open) -> None:
    router = opened({MACHINE: KvMachine()})
    answer(router, 1, "RPUSH a 1", request_id="r1")
    settle(router)
    answer(router, 2, "RPUSH a 2", request_id="r2")
    router.flush()
    router.close(flush=False)
    router = opened({MACHINE: KvMachine()})
    assert router.applied == 1
    assert answer(router, 2, "RPUSH a 2", request_id="r2") == [2]
    assert answer(router, 3, "RPUSH a 2", request_id="r2") == [2]
    assert answer(router, 4, "LLEN a") == [2]


def test_chance_is_the_same_on_every_node(opened: Open) -> None:
    digests = set()
    for name in ("one", "other"):
        router = opened({MACHINE: KvMachine()}, name)
        answer(router, 1, "SADD s " + " ".join(map(str, range(100))))
        if name == "other":
            settle(router)
            router.close(flush=False)
            router = opened({MACHINE: KvMachine()}, name)
        answer(router, 2, "SPOP s 50")
        digests.add(router.digest())
    assert len(digests) == 1


# -- checkpoints -----------------------------------------------------------------------------------------


def test_what_is_flushed_without_a_checkpoint_does_not_count(opened: Open) -> None:
    router = opened({MACHINE: KvMachine()})
    answer(router, 1, "SET a 1")
    router.flush()
    assert (router.unflushed, router.is_checkpointing) == (0, False)
    router.sync()
    assert router.durable_index == 0
    settle(router)
    assert router.durable_index == 0
    router.sync()
    assert router.durable_index == 1


def test_a_checkpoint_begins_by_itself_when_enough_is_dirty(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quorate.kv.machine.DIRTY_KEYS", 3)
    router = opened({MACHINE: KvMachine()})
    answer(router, 1, "SET a 1", "SET b 1")
    router.flush(SLICE)
    assert not router.is_checkpointing
    answer(router, 2, "SET c 1")
    router.begins_checkpoints = False
    router.flush(SLICE)
    assert not router.is_checkpointing
    router.begins_checkpoints = True
    router.flush(SLICE)
    assert router.is_checkpointing


@pytest.mark.parametrize("whole", [False, True], ids=["of what was changed", "of all keys"])
def test_a_checkpoint_holds_the_moment_of_its_beginning(opened: Open, whole: bool) -> None:
    router = opened({MACHINE: KvMachine()})
    if whole:
        answer(router, 1, "SET first x", "FLUSHALL")
    answer(router, 2, *(f"SET s{number} old" for number in range(30)), "HSET h f old", "RPUSH l old", "SET gone old")
    router.begin_checkpoint()
    before = router.digest()
    router.flush(SLICE)
    index = 2
    while (
        router.is_checkpointing
    ):  # what was written, what is being written and what is to come changes, again and again
        index += 1
        changed = [f"APPEND s{number} new" for number in range(index % 3, 30, 3)]
        answer(router, index, *changed, f"SET new{index} x", "HSET h f new", "RPUSH l new", "DEL gone", "SET gone new")
        router.flush(SLICE)
    assert index > 10
    router.close(flush=False)
    router = opened({MACHINE: KvMachine()})
    assert (router.applied, router.digest()) == (2, before)


def test_deleted_keys_leave_nothing_in_the_file_in_the_end(opened: Open) -> None:
    router = opened({MACHINE: KvMachine()})
    answer(router, 1, *(f"SET {number} x" for number in range(20)))
    settle(router)
    answer(router, 2, *(f"DEL {number}" for number in range(20)))
    settle(router)
    router.close(flush=False)
    router = opened({MACHINE: KvMachine()})
    assert keys_of(router) == {}
    answer(router, 3, "SET last x")
    settle(router)
    assert count(router, ALL) - count(router, VOID) == 1


ALL = "kv_segment"
VOID = "kv_segment WHERE number < (SELECT first FROM kv_checkpoint)"


def count(router: Router, rows: str) -> Any:
    state = router._state
    assert state is not None
    return state.connection.execute(f"SELECT count(*) FROM {rows}").get


def test_the_newest_row_of_a_key_counts(opened: Open) -> None:
    router = opened({MACHINE: KvMachine()})
    answer(router, 1, *(f"SET other{number} x" for number in range(20)), "SET back 1", "SET gone 1", "RPUSH l 1")
    settle(router)
    answer(router, 2, "SET gone 2", "DEL back", "DEL l")
    settle(router)
    answer(router, 3, "DEL gone", "SET back 3", "RPUSH l 3")
    settle(router)
    assert count(router, VOID) == 0
    before = router.digest()
    router.close(flush=False)
    router = opened({MACHINE: KvMachine()})
    assert router.digest() == before
    assert (answer(router, 4, "MGET gone back", "LLEN l")) == [[None, b"3"], 1]


def test_the_file_does_not_grow_with_the_number_of_changes(opened: Open) -> None:
    router = opened({MACHINE: KvMachine()})
    sizes = []
    for index in range(1, 200):
        answer(router, index, *(f"SET {number} {index}" for number in range(index % 7, 40, 7)))
        settle(router)
        sizes.append(count(router, ALL))
    assert max(sizes[:100]) > 40  # of two rows each
    assert max(sizes[100:]) <= max(sizes[:100])
    assert router.digest() == reopened(router, opened).digest()


def test_the_file_does_not_grow_with_the_number_of_changes_to_a_large_value(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SPARE_BYTES", 20_000)
    monkeypatch.setattr(checkpoint, "SPARE_SEGMENTS", 1000)
    router = opened({MACHINE: KvMachine()})
    answer(router, 1, "SET large " + "x" * 10_000, *(f"SET {number} x" for number in range(9)))
    for index in range(2, 30):
        answer(router, index, f"APPEND large {index}")
        settle(router)
        assert count(router, ALL) < 15
    assert router.digest() == reopened(router, opened).digest()


def test_a_segment_holds_about_as_many_bytes(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KvMachine, "rows_per_segment", 1000)
    router = opened({MACHINE: KvMachine()})
    answer(router, 1, *(f"SET {number} x" for number in range(500)))
    settle(router)
    assert count(router, ALL) < 5
    answer(router, 2, *(f"SET large{number} {'x' * checkpoint.BYTES_PER_SEGMENT}" for number in range(5)))
    settle(router)
    assert count(router, ALL) >= 5
    assert router.digest() == reopened(router, opened).digest()


def reopened(router: Router, opened: Open) -> Router:
    """The same behind a crash."""
    router.close(flush=False)
    return opened({MACHINE: KvMachine()})


def test_what_an_unfinished_checkpoint_has_written_does_not_count(opened: Open) -> None:
    router = opened({MACHINE: KvMachine()})
    answer(router, 1, *(f"SET {number} old" for number in range(20)))
    settle(router)
    before, complete = router.digest(), count(router, ALL)
    answer(router, 2, *(f"SET {number} new" for number in range(15)))
    router.begin_checkpoint()
    for _ in range(5):
        router.flush(SLICE)
    assert count(router, ALL) > complete
    router = reopened(router, opened)
    assert (router.applied, router.digest(), count(router, ALL)) == (1, before, complete)


def test_a_checkpoint_that_began_before_all_keys_were_deleted_has_them(opened: Open) -> None:
    router = opened({MACHINE: KvMachine()})
    answer(router, 1, *(f"SET {number} old" for number in range(20)), "DEL 3")
    router.begin_checkpoint()
    before = router.digest()
    router.flush(SLICE)
    answer(router, 2, "APPEND 1 new", "FLUSHALL", "SET 2 new", "SET 3 new", "SET 20 new", "DEL 2")
    while router.is_checkpointing:
        router.flush(SLICE)
    router = reopened(router, opened)
    assert (router.applied, router.digest()) == (1, before)


def test_what_was_deleted_all_at_once_is_gone_behind_a_restart_and_in_time_from_the_file(opened: Open) -> None:
    router = opened({MACHINE: KvMachine()})
    answer(router, 1, *(f"SET {number} x" for number in range(100)))
    settle(router)
    answer(router, 2, "FLUSHALL", "SET 5 new", "SET new x")
    settle(router)
    assert count(router, VOID) == 50
    for index in range(3, 30):
        router = reopened(router, opened)
        assert keys_of(router) == {b"5": b"new", b"new": b"x"} | ({b"more": b"x"} if index > 3 else {})
        answer(router, index, "SET more x")
        settle(router)
        assert count(router, VOID) <= max(50 - 3 * (index - 2), 10)
    assert count(router, ALL) < 20


def test_a_snapshot_made_while_the_file_is_freed_is_freed_where_it_is_installed(opened: Open, tmp_path: Path) -> None:
    router = opened(machines_of(mixed=True))
    answer(router, 1, *(f"SET {number} x" for number in range(30)))
    settle(router)
    answer(router, 2, "FLUSHALL", "SET 5 new")
    settle(router)
    index = 3
    answer(router, index, "SET more x")
    capture = router.capture()  # of a file with void segments, completed by one that has fewer
    while not capture.complete:
        router.flush(SLICE)
    capture.copy_state(tmp_path / "copy")
    capture.close()
    freed_here = count(router, VOID)
    router = opened(machines_of(mixed=True), "copy", capture.machines)
    assert keys_of(router) == {b"5": b"new", b"more": b"x"}
    assert count(router, VOID) > freed_here
    while count(router, ALL) > 10:
        index += 1
        assert index < 30
        answer(router, index, "SET more x")
        settle(router)


def test_closing_completes_a_checkpoint(opened: Open) -> None:
    router = opened({MACHINE: KvMachine()})
    answer(router, 1, *(f"SET {number} x" for number in range(20)))
    router.begin_checkpoint()
    router.flush(SLICE)
    answer(router, 2, "SET 1 y", "DEL 2")
    before = router.digest()
    router.close()
    router = opened({MACHINE: KvMachine()})
    assert (router.applied, router.digest()) == (2, before)


# -- random histories ------------------------------------------------------------------------------------


def random_request(rng: Random) -> str:
    if rng.random() < 0.02:
        return "FLUSHALL"
    key = rng.choice(KEYS).decode()
    kind, number = rng.randrange(9), rng.randrange(100)
    return [
        f"SET {key} {number}",
        f"SET {key} {number} PX {rng.randrange(1, 60)}",
        f"DEL {key} {rng.choice(KEYS).decode()}",
        f"APPEND {key} {number}",
        f"HSET h{key} f{number % 5} {number}",
        f"HDEL h{key} f{number % 5} f{number % 3}",
        f"RPUSH l{key} {number}",
        f"ZADD z{key} {number / 3} m{number % 5}",
        f"SPOP t{key}" if number % 2 else f"SADD t{key} {number}",
    ][kind]


def random_entry(rng: Random, index: int, *, mixed: bool) -> Entry:
    commands = [
        requests(
            *(random_request(rng) for _ in range(rng.randrange(4))),
            request_id=f"r{rng.randrange(index + 1)}" if rng.random() < 0.3 else None,
        )
        for _ in range(rng.randrange(1, 4))
    ]
    if mixed:
        commands += [Command("ledger", b"%d" % index), Command("script", b"%d" % index, f"s{index}")]
    return entry(index, *commands, time_us=10_000 * index)


def machines_of(*, mixed: bool) -> dict[str, StateMachine | DiskStateMachine]:
    return {MACHINE: KvMachine(), "ledger": Ledger(), "script": Script()} if mixed else {MACHINE: KvMachine()}


def first_of(router: Router) -> Any:
    """The first segment that counts: another one behind each checkpoint of all keys."""
    state = router._state
    assert state is not None
    return state.connection.execute("SELECT first FROM kv_checkpoint").get


class Photographed(SqliteState):
    """Keeps an image of the file from each commit: a power loss leaves one of them."""

    images: list[bytes]

    def commit(self) -> None:
        super().commit()
        self.images.append(self.connection.serialize("main"))


@pytest.mark.parametrize("seed", range(8))
def test_whatever_commit_a_power_loss_leaves_the_state_is_that_of_the_applied_index(
    opened: Open, tmp_path: Path, seed: int
) -> None:
    rng = Random(seed)
    Photographed.images = []
    router = opened(machines_of(mixed=False), open_state=Photographed)
    digests, entries = [router.digest()], [random_entry(rng, index, mixed=False) for index in range(1, 101)]
    for each in entries:
        router.apply(each)
        digests.append(router.digest())
        if rng.random() < 0.05:
            settle(router)
        elif rng.random() < 0.3:
            router.begin_checkpoint()
        for _ in range(rng.randrange(4)):
            router.flush(SLICE)
    indexes, firsts = set(), set()
    for number, image in enumerate(Photographed.images):
        (tmp_path / f"{number}").write_bytes(image)
        again = opened(machines_of(mixed=False), f"{number}")
        indexes.add(again.applied)
        firsts.add(first_of(again))
        assert again.digest() == digests[again.applied]
        if number % 10 == 0:  # crashes again and again, in the middle of a checkpoint
            for each in entries[again.applied :]:
                again.apply(each)
                if rng.random() < 0.2:
                    again.begin_checkpoint()
                again.flush(SLICE)
                if rng.random() < 0.1:
                    again.close(flush=False)
                    again = opened(machines_of(mixed=False), f"{number}")
                    assert again.digest() == digests[again.applied]
                    break
            for each in entries[again.applied :]:
                again.apply(each)
            assert again.digest() == digests[-1]
        again.close(flush=False)
    assert len(indexes) > 5
    assert len(firsts) > 1


@pytest.mark.parametrize("mixed", [False, True], ids=["alone", "with others"])
@pytest.mark.parametrize("seed", range(6))
def test_a_snapshot_is_that_of_one_index_whatever_is_applied_while_it_is_written(
    opened: Open, tmp_path: Path, seed: int, mixed: bool
) -> None:
    rng = Random(seed)
    router = opened(machines_of(mixed=mixed))
    digests, entries = [router.digest()], [random_entry(rng, index, mixed=mixed) for index in range(1, 121)]
    captures = []
    firsts = set()
    for each in entries:
        router.apply(each)
        digests.append(router.digest())
        firsts.add(first_of(router))
        for _ in range(rng.randrange(1, 5)):
            router.flush(SLICE)
        if rng.random() < 0.05:
            router.begin_checkpoint()
        elif not router.is_checkpointing and rng.random() < 0.2:
            captures.append(router.capture())
        for number, capture in enumerate(captures):
            if not capture.closed and capture.complete and rng.random() < 0.3:
                capture.copy_state(tmp_path / f"copy{number}")
                capture.close()
    taken = 0
    for number, capture in enumerate(captures):
        path = tmp_path / f"copy{number}"
        if not path.exists():
            assert capture.has_state
            capture.close()
            continue
        taken += 1
        router.check_copy(path, capture.machines, capture.index)
        other = opened(machines_of(mixed=mixed), path.name, capture.machines)
        assert (other.applied, other.is_level, other.digest()) == (capture.index, True, digests[capture.index])
        for each in entries[other.applied :]:
            other.apply(each)
            if rng.random() < 0.5:
                other.flush(SLICE)
        assert other.digest() == digests[-1]
        other.close(flush=False)
    assert taken
    assert len(firsts) > 1
