"""Joint commands: carried out by all of their machines or by none, also behind a crash at whatever moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quorate.errors import CommandFailed, ConfigError, ProtocolViolation, StorageFailed
from quorate.machine.cached import CachedHost
from quorate.machine.commands import JOINT, Command
from quorate.machine.contract import Machine
from quorate.machine.joint import _FORGOTTEN_AT_ONCE, PARTS_MAX, check_parts
from quorate.machine.router import Router
from quorate.raft.entry import Entry

from .joints import Account, Stock, together
from .support import Ledger, Refusal, Script, entry, no_op
from .test_cached import Tally
from .test_log_first import Log

Open = Callable[..., Router]
A, B, S, T = "a", "b", "s", "t"


def machines() -> dict[str, Machine]:
    return {A: Account(A), B: Account(B), S: Stock(S), T: Stock(T)}


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    routers: list[Router] = []

    def open_router(name: str = "state", made: dict[str, Machine] | None = None, *, log: bool = False) -> Router:
        router = Router(made or machines())
        router.log = Log(router) if log else None
        routers.append(router)
        router.open(tmp_path / name)
        return router

    yield open_router
    for router in routers:
        router.close(flush=False)


def do(router: Router, *parts: tuple[str, bytes]) -> Any:
    """The outcome of a joint command in an entry of its own."""
    (outcome,) = router.apply(entry(router.applied + 1, together(parts)))
    return outcome


def account(router: Router, name: str = A) -> Account:
    machine = router.machines[name]
    assert isinstance(machine, Account)
    assert machine.counted == (machine.count, machine.total)
    return machine


def stock(router: Router) -> Stock:
    machine = router.machines[S]
    assert isinstance(machine, Stock)
    return machine


def state(router: Router) -> tuple[int, int, int]:
    return account(router).total, account(router, B).total, stock(router).total


def rows(router: Router) -> list[Any]:
    assert router._state is not None
    return router._state.connection.execute("SELECT entry_index, position FROM quorate_joint ORDER BY 1, 2").fetchall()


def settle(router: Router) -> None:
    while router.is_checkpointing or router.begin_checkpoint():
        router.flush()


# -- all or nothing --------------------------------------------------------------------------------------


def test_each_part_has_its_result(opened: Open) -> None:
    router = opened()
    assert do(router, (B, b"3"), (A, b"5"), (S, b"7")) == [3, 5, 7]
    assert do(router, (A, b"1")) == [6]
    assert do(router, (S, b"1")) == [8]
    assert state(router) == (6, 3, 8)


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("refused", [b"-9", b"refuse", b"value error"])
def test_what_one_part_refuses_nobody_does(opened: Open, at: int, refused: bytes) -> None:
    router = opened()
    do(router, (A, b"1"), (B, b"2"), (S, b"3"))
    before = router.digest()
    told = list(stock(router).told)
    parts = [(A, b"10"), (B, b"20"), (S, b"30")]
    parts[at] = (parts[at][0], refused)
    outcome = do(router, *parts)
    assert isinstance(outcome, CommandFailed)
    assert isinstance(outcome, Refusal) or refused == b"value error"
    assert outcome.__notes__ == [f"as part {at} of a joint command, for {parts[at][0]!r}"]
    assert outcome.__traceback__ is None
    assert state(router) == (1, 2, 3)
    assert stock(router).told == told
    assert router._last_time_us == 2_000
    router._last_time_us = 1_000  # all else of the digest
    assert router.digest() == before


def test_what_breaks_a_constraint_refuses_the_whole(opened: Open) -> None:
    router = opened()
    do(router, (B, b"5"))
    outcome = do(router, (A, b"1"), (B, b"5"), (S, b"3"))
    assert (type(outcome), "UNIQUE" in str(outcome)) == (CommandFailed, True)
    assert state(router) == (0, 5, 0)
    assert do(router, (A, b"1"), (B, b"6"), (S, b"3")) == [1, 11, 3]


def test_others_in_the_entry_are_not_concerned(opened: Open) -> None:
    router = opened()
    outcomes = router.apply(
        entry(
            1,
            Command(A, b"1"),
            together([(A, b"2"), (S, b"-1")]),
            together([(A, b"3"), (S, b"4")]),
            Command(S, b"5"),
            Command(A, b"6"),
        )
    )
    assert [outcome if not isinstance(outcome, CommandFailed) else None for outcome in outcomes] == [
        1, None, [4, 4], 9, 10,
    ]  # fmt: skip
    assert rows(router) == [(1, 2)]


def test_what_takes_steps_is_refused_before_the_first(opened: Open) -> None:
    router = opened()
    outcome = do(router, (A, b"1"), (B, b"steps"))
    assert "steps" in str(outcome)
    assert (state(router), account(router, B).steps) == ((0, 0, 0), 0)


def test_a_cached_machine_that_checks_nothing_refuses(opened: Open) -> None:
    router = opened(made={A: Account(A), S: Tally()})
    outcome = do(router, (A, b"1"), (S, b"1"))
    assert (type(outcome), str(outcome)) == (CommandFailed, "Tally takes no part in joint commands")
    assert account(router).total == 0


def test_a_cached_machine_that_turns_round_stops_the_node(opened: Open) -> None:
    router = opened()
    stock(router).turns_round = True
    with pytest.raises(StorageFailed, match="found good"):
        do(router, (A, b"1"), (S, b"1"))
    with pytest.raises(StorageFailed):
        router.flush()


@pytest.mark.parametrize("at", range(2))
def test_what_other_nodes_need_not_meet_stops_the_node(opened: Open, at: int) -> None:
    router = opened()
    parts = [(A, b"1"), (S, b"1")]
    parts[at] = (parts[at][0], b"disk")
    with pytest.raises(StorageFailed):
        do(router, *parts)
    router.close()
    assert state(opened()) == (0, 0, 0)


def test_ids_and_seeds_differ_between_the_parts_and_stay_what_they_are(opened: Open) -> None:
    router = opened()
    do(router, (A, b"1"), (B, b"1"), (S, b"1"))
    made = [account(router).rows[0][1], account(router, B).rows[0][1], stock(router).ids[0]]
    ids, seeds = zip(*(each.split("/") for each in made), strict=True)
    assert (len(set(ids)), len(set(seeds))) == (3, 3)
    assert list(ids) == sorted(ids)
    router.flush()
    router.close(flush=False)
    router = opened()
    assert router.applied == 0
    do(router, (A, b"1"), (B, b"1"), (S, b"1"))
    assert stock(router).ids == [made[2]]


# -- what can be joint -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "1 to 8 parts"),
        ([f"m{number}" for number in range(PARTS_MAX + 1)], "1 to 8 parts, not 9"),
        (["nobody"], "no machine named 'nobody'"),
        ([A, "memory"], "lives in memory alone"),
        ([S, A], "must be the last"),
        ([A, S, "tally"], "must be the last"),
        ([A, B, A], "two parts"),
    ],
)
def test_others_can_do_nothing_together(opened: Open, names: list[str], message: str) -> None:
    made: dict[str, Machine] = {**machines(), "memory": Script(), "tally": Tally()}
    with pytest.raises(ConfigError, match=message):
        check_parts(names, made)
    router = opened(made=made)
    with pytest.raises(StorageFailed, match=message):
        do(router, *((name, b"1") for name in names))


def test_a_part_that_cannot_be_read_stops_the_node(opened: Open) -> None:
    with pytest.raises(ProtocolViolation, match="joint command"):
        opened().apply(entry(1, Command(JOINT, b"rubbish")))


def test_no_machine_has_the_name_of_joint_commands(opened: Open) -> None:
    with pytest.raises(ConfigError, match="can be named"):
        opened(made={JOINT: Ledger()})


def test_a_witness_does_nothing(tmp_path: Path) -> None:
    router = Router(machines(), witness=True)
    router.open(tmp_path / "state")
    assert router.apply(entry(1, together([(A, b"1"), (S, b"1")]))) == []
    router.close()


def test_a_node_that_lacks_a_machine_does_not_guess(opened: Open) -> None:
    router = opened(made={A: Account(A), S: Stock(S)})
    with pytest.raises(StorageFailed, match="'b'"):
        do(router, (A, b"1"), (B, b"1"))


def test_a_machine_that_was_not_there_when_the_others_did_their_parts_cannot_do_its_own(opened: Open) -> None:
    router = opened(made={A: Account(A)})
    router.apply(entry(1, Command(A, b"1")))
    router.close()
    with pytest.raises(StorageFailed, match="stand at different"):
        opened().apply(entry(1, together([(A, b"1"), (B, b"1")])))


# -- replay ----------------------------------------------------------------------------------------------

ENTRIES = [
    entry(1, together([(A, b"5"), (S, b"3")])),
    entry(2, together([(A, b"6"), (B, b"1"), (S, b"-4")])),  # refused: there are 3
    entry(3, Command(S, b"9"), together([(A, b"-20"), (S, b"1")]), together([(A, b"-4"), (S, b"-12")])),
    entry(4, together([(A, b"5"), (S, b"1")])),  # refused: there is such an amount
    entry(5, Command(A, b"30"), Command(S, b"40")),  # behind this, both would be carried out
    entry(6, together([(B, b"2"), (A, b"7")]), together([(S, b"-1")]), together([(S, b"-1000")])),
    entry(7, together([(B, b"3"), (S, b"-39")])),
    no_op(8),
]


def expected(opened: Open) -> list[str]:
    """The digests behind each of them, on a node that goes on."""
    router = opened("expected")
    digests = [router.digest()]
    for each in ENTRIES:
        router.apply(each)
        digests.append(router.digest())
    assert state(router) == (5 - 4 + 30 + 7, 5, 0)
    assert rows(router) == [(1, 0), (3, 2), (7, 0)]
    return digests


@pytest.mark.parametrize("log", [False, True], ids=["synced first", "log first"])
@pytest.mark.parametrize("flushed", range(len(ENTRIES) + 1))
@pytest.mark.parametrize("covered", range(len(ENTRIES) + 1))
def test_a_replay_comes_to_the_same_state(opened: Open, covered: int, flushed: int, log: bool) -> None:
    if covered > flushed:
        return
    digests = expected(opened)
    router = opened(log=log)
    for at, each in enumerate([None, *ENTRIES]):
        if each is not None:
            router.apply(each)
        if at == covered:
            settle(router)
        if at == flushed:
            router.flush()
    router.close(flush=False)
    router = opened(log=log)
    assert router.applied <= covered
    if not log:
        assert (router.applied, router.applied_by_any) == (covered, flushed)
    for each in ENTRIES[router.applied :]:
        router.apply(each)
        if router.is_level:
            assert router.digest() == digests[router.applied]
    assert router.digest() == digests[-1]


def test_a_refused_command_is_not_done_by_machines_that_are_behind_the_checkpoint(opened: Open) -> None:
    """Where the log is synced late, an index that brings no rows waits; the checkpoint does not wait for it."""
    router = opened(log=True)
    stock(router).bits_of_checkpoint = 1
    router.apply(entry(1, together([(A, b"5"), (S, b"3")])))
    router.flush()
    refused = [entry(2, together([(A, b"-9"), (S, b"1")])), entry(3, Command(S, b"1"))]
    for each in refused:
        router.apply(each)
    router.begin_checkpoint()
    router.flush()
    digest = router.digest()
    router.close(flush=False)
    router = opened()
    hosts = {name: host.applied for name, host in router._hosts.items()}
    assert hosts == {A: 1, B: 1, S: 3, T: 0}
    for each in refused:
        assert router.apply(each)[0] is None
    assert router.digest() == digest


def test_rows_are_forgotten_behind_every_checkpoint(opened: Open) -> None:
    router = opened(made={**machines(), "tally": Tally()})
    for index in range(1, 40):
        router.apply(entry(index, together([(A, b"%d" % index), (S, b"1")])))
        router.flush()
    assert len(rows(router)) == 39
    router.begin_checkpoint()
    router.apply(entry(40, together([(A, b"40"), (S, b"1")])))
    assert len(rows(router)) == 40, "the checkpoint is not there yet"
    while router.is_checkpointing:
        router.flush()
    router.apply(entry(41, together([(A, b"41"), (S, b"-1000")])))
    assert len(rows(router)) == 40, "what is refused leaves none"
    for index in range(42, 50):
        router.apply(entry(index, together([(A, b"%d" % index), (S, b"1")])))
        left = [at for at, _ in rows(router)]
        first = min(1 + _FORGOTTEN_AT_ONCE * (index - 41), 40)
        assert left == [*range(first, 41), *range(42, index + 1)]


def test_rows_are_kept_for_the_machine_whose_checkpoint_comes_last(opened: Open) -> None:
    router = opened()
    stock(router).bits_of_checkpoint = 1
    router.apply(entry(1, together([(A, b"1"), (T, b"1")])))
    router.begin_checkpoint()
    router.flush()
    assert {name: host.flushed for name, host in router._hosts.items() if isinstance(host, CachedHost)} == {S: 1, T: 0}
    router.apply(entry(2, together([(A, b"2"), (S, b"1")])))
    assert rows(router) == [(1, 0), (2, 0)]


def test_a_snapshot_brings_what_was_done(opened: Open, tmp_path: Path) -> None:
    router = opened()
    for each in ENTRIES[:3]:
        router.apply(each)
    digest = router.digest()
    capture = router.capture()
    router.apply(ENTRIES[3])
    while not capture.complete:
        router.flush()
    capture.copy_state(tmp_path / "copy")
    capture.close()
    other = opened("other")
    other.check_copy(tmp_path / "copy", b"", 3)

    def switch() -> None:
        (tmp_path / "copy").replace(tmp_path / "other")

    other.replace_state(switch, b"", 3)
    assert (other.applied, other.digest()) == (3, digest)
    for each in ENTRIES[3:]:
        other.apply(each)
    assert other.digest() == expected(opened)[-1]


# -- at random -------------------------------------------------------------------------------------------

amounts = st.integers(-12, 15).map(b"%d".__mod__)
singles = st.tuples(st.sampled_from([A, B, S, T]), amounts).map(lambda each: Command(*each))
names = st.sampled_from([[A], [A, B], [B, A], [A, S], [B, T], [A, B, S], [B, A, T], [S], [T]])
joints = names.flatmap(lambda taking_part: st.tuples(*[st.tuples(st.just(name), amounts) for name in taking_part])).map(
    together
)
entries = st.lists(st.one_of(joints, joints, singles), min_size=1, max_size=3)
moments = st.sampled_from(["crash", "flush", "flush", "begin", "begin", "settle", "close"])


@settings(max_examples=75, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.one_of(entries, entries, moments), max_size=40), st.booleans())
def test_restarts_at_any_moment_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, script: list[list[Command] | str], log: bool
) -> None:
    folder = tmp_path_factory.mktemp("joint")

    def made(name: str) -> Router:
        router = Router(machines())
        stock(router).bits_of_checkpoint = 1  # that of the other takes longer
        router.log = Log(router) if log else None
        router.open(folder / name)
        return router

    steady, restarted = made("steady"), made("restarted")
    done: list[Entry] = []
    try:
        for each in [*script, "crash"]:
            match each:
                case "crash" | "close":
                    restarted.close(flush=each == "close")
                    restarted = made("restarted")
                    for again in done[restarted.applied :]:
                        restarted.apply(again)
                    assert restarted.digest() == steady.digest()
                case "flush":
                    restarted.flush()
                case "begin":
                    restarted.begin_checkpoint()
                case "settle":
                    settle(restarted)
                case list():
                    done.append(entry(len(done) + 1, *each))
                    outcomes = [router.apply(done[-1]) for router in (steady, restarted)]
                    assert [*map(repr, outcomes[0])] == [*map(repr, outcomes[1])]
        assert state(steady) == state(restarted)
    finally:
        steady.close(flush=False)
        restarted.close(flush=False)
