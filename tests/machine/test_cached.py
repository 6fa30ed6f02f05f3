"""Machines that write their state bit by bit: what is remembered of requests, and when a capture is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quorate.errors import StorageError
from quorate.machine.cached import CachedHost
from quorate.machine.commands import Command
from quorate.machine.contract import ApplyContext, CachedStateMachine, Rows
from quorate.machine.digest import Hash
from quorate.machine.router import Router
from quorate.machine.sqlite import SqliteState

from .support import Ledger, entry, no_op, obey

Open = Callable[..., Router]


class Tally(CachedStateMachine):
    """Adds up its commands in memory; a checkpoint takes three bits."""

    local_tables = frozenset({"tally"})

    def open(self, state: SqliteState) -> None:
        self.connection = state.connection
        self.connection.execute("CREATE TABLE IF NOT EXISTS tally (only INTEGER PRIMARY KEY, total INTEGER)")
        self.total = int(self.connection.execute("SELECT coalesce(sum(total), 0) FROM tally").get)

    def apply(self, command: bytes, context: ApplyContext) -> object:
        obey(command)
        self.total += int(command)
        return self.total

    def begin_checkpoint(self) -> None:
        self.writing, self.bits = self.total, 3

    def write_checkpoint(self, seconds: float) -> bool:
        self.bits -= 1
        if self.bits:
            return False
        self.connection.execute("INSERT OR REPLACE INTO tally VALUES (1, ?)", (self.writing,))
        return True

    def checkpoint_rows(self) -> list[Rows]:
        return [Rows("SELECT * FROM tally", (), "INSERT OR REPLACE INTO tally VALUES (?, ?)")]

    def digest_into(self, digest: Hash) -> None:
        digest.update(b"%d" % self.total)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    routers: list[Router] = []

    def open_router(name: str = "state", **machines: Tally | Ledger) -> Router:
        router = Router(machines or {"default": Tally()})
        routers.append(router)
        router.open(tmp_path / name)
        return router

    yield open_router
    for router in routers:
        router.close(flush=False)


def settle(router: Router) -> None:
    while router.is_checkpointing or router.begin_checkpoint():
        router.flush()


def remembered(router: Router) -> list[str]:
    host = router._hosts["default"]
    assert isinstance(host, CachedHost)
    return [request[0] for request in host.sessions.requests()]


def ask(router: Router, index: int, command: bytes = b"1") -> object:
    (outcome,) = router.apply(entry(index, Command("default", command, f"r{index}")))
    return outcome


def test_as_many_requests_as_may_be_are_remembered_also_behind_a_restart(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quorate.machine.sessions.REQUESTS_MAX", 10)
    monkeypatch.setattr("quorate.machine.cached.ROWS_PER_STEP", 3)
    router = opened()
    for index in range(1, 100):
        ask(router, index)
        if index % 7 == 0:
            router.begin_checkpoint()
        router.flush(0.0)
        if index % 20 == 0:
            settle(router)
            expected = remembered(router)
            assert len(expected) == 10
            ask(router, index + 1)  # forgets one, and is forgotten itself by a crash
            router.close(flush=False)
            router = opened()
            assert (router.applied, remembered(router)) == (index, expected)
    settle(router)
    settle(opened("other"))
    router.apply(no_op(100))
    settle(router)
    state = router._state
    assert state is not None
    assert state.connection.execute("SELECT count(*) FROM quorate_cached_requests").get <= 10


def test_a_refusal_is_remembered_as_one(opened: Open) -> None:
    router = opened()
    first = ask(router, 1, b"refuse")
    again = router.apply(entry(2, Command("default", b"refuse", "r1")))[0]
    assert (type(again), again.args) == (type(first), first.args)  # type: ignore[attr-defined]


def test_several_machines_stand_at_one_index_in_the_file(opened: Open) -> None:
    def machines() -> dict[str, Tally | Ledger]:
        return {"one": Tally(), "two": Tally(), "disk": Ledger()}

    router = opened(**machines())
    digests = [router.digest()]
    for index in range(1, 30):
        router.apply(entry(index, *(Command(name, b"%d" % index) for name in machines())))
        digests.append(router.digest())
        router.begin_checkpoint()
        router.flush(0.0)
    assert router.applied == 29
    router.close(flush=False)
    router = opened(**machines())
    for index in range(router.applied + 1, 30):
        router.apply(entry(index, *(Command(name, b"%d" % index) for name in machines())))
    assert (router.is_level, router.digest()) == (True, digests[29])


def test_a_capture_is_complete_with_its_checkpoint(opened: Open, tmp_path: Path) -> None:
    router = opened()
    ask(router, 1)
    capture = router.capture()
    assert capture.has_state
    assert not capture.complete
    with pytest.raises(StorageError, match="not all of it"):
        capture.copy_state(tmp_path / "copy")
    with pytest.raises(StorageError, match="under way"):
        router.capture()
    ask(router, 2)
    while not capture.complete:
        router.flush()
    capture.copy_state(tmp_path / "copy")
    capture.close()
    assert opened("copy").applied == 1


def test_a_capture_needs_no_checkpoint_where_nothing_was_applied_since_the_last(opened: Open) -> None:
    router = opened()
    ask(router, 1)
    settle(router)
    capture = router.capture()
    assert (capture.complete, router.is_checkpointing) == (True, False)
    capture.close()


def test_a_capture_that_is_given_up_pins_nothing(opened: Open) -> None:
    router = opened()
    ask(router, 1)
    router.capture().close()
    settle(router)
    ask(router, 2)
    settle(router)
    assert router.sync().complete
    assert router.durable_index == 2


def test_closing_goes_on_until_everything_is_written(opened: Open) -> None:
    router = opened()
    ask(router, 1)
    router.begin_checkpoint()
    ask(router, 2)
    router.close()
    assert opened().applied == 2
