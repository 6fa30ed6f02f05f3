"""The parts of the nemesis: its schedule, its records, its judge, and the way into a process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from quorate.ops.calls.judge import judge_calls, judge_lists
from quorate.ops.calls.record import NOT_APPLIED, OK, UNKNOWN, Call, Key, Record, Verb, load_calls
from quorate.ops.nemesis.clients import Clients
from quorate.ops.nemesis.disk import LimitedDisk
from quorate.ops.nemesis.faults import DAMAGE_BYTES, damage_middle
from quorate.ops.nemesis.node import Control
from quorate.ops.nemesis.schedule import HEAVY, HEAVY_OF_A_ROUND, Kind, make_schedule, make_up_round
from quorate.transport.faults import Direction

REGISTER: Key = ("register", "r0-1")
CLAIM: Key = ("claim", "c0-1")
LIST: Key = ("list", "list-0")


def call(key: Key, verb: Verb, value: Any = None, answer: Any = None, *, at: float, outcome: str = OK) -> Call:
    """A call that takes one second."""
    returned = at + 1 if outcome == OK else None
    return Call(
        client=int(at), key=key, verb=verb, value=value, answer=answer, invoked=at, returned=returned, outcome=outcome
    )


GOOD = [
    call(REGISTER, Verb.WRITE, 1, at=0),
    call(REGISTER, Verb.READ, answer=1, at=2),
    call(REGISTER, Verb.WRITE, 2, at=4, outcome=UNKNOWN),
    call(REGISTER, Verb.READ, answer=2, at=6),
    call(CLAIM, Verb.INSERT, 3, True, at=0),
    call(CLAIM, Verb.INSERT, 4, False, at=2),
    call(CLAIM, Verb.DELETE, None, True, at=4),
    call(CLAIM, Verb.CONTAINS, answer=False, at=6),
    call(LIST, Verb.APPEND, 5, at=0),
    call(LIST, Verb.APPEND, 6, at=2, outcome=NOT_APPLIED),
    call(LIST, Verb.READ, answer=(5,), at=4),
    call(LIST, Verb.COUNT, answer=1, at=6),
]


# -- the schedule ----------------------------------------------------------------------------------------


def test_a_seed_always_draws_the_same_schedule() -> None:
    assert make_schedule(7, 600) == make_schedule(7, 600)
    assert make_schedule(7, 600) != make_schedule(8, 600)


@pytest.mark.parametrize("seed", range(20))
def test_ten_minutes_have_room_for_every_kind_of_fault(seed: int) -> None:
    schedule = make_schedule(seed, 600)
    assert schedule.planned == set(Kind)
    assert sum(each.seconds for each in schedule.rounds) == pytest.approx(600)
    for each in schedule.rounds:
        assert 30 <= each.seconds <= 90
        assert {event.kind for event in each.events} == set(each.kinds)
        assert all(0 < event.at < each.seconds for event in each.events)
        assert sum(1 for kind in each.kinds if kind in HEAVY) <= HEAVY_OF_A_ROUND


def test_rounds_differ_in_what_they_allow() -> None:
    kinds = {each.kinds for each in make_schedule(1, 600).rounds}
    assert len(kinds) > 5


def test_a_short_run_has_rounds_too() -> None:
    schedule = make_schedule(3, 5)
    assert len(schedule.rounds) == 1
    assert schedule.planned


def test_what_had_no_effect_gets_a_round_of_its_own() -> None:
    made = make_up_round(1, 4, [Kind.LOSS, Kind.SPLIT])
    assert [event.kind for event in made.events] == [Kind.LOSS, Kind.SPLIT]
    assert made.events[-1].at < made.seconds


# -- the record and the judge ----------------------------------------------------------------------------


def test_a_good_history_is_found_good() -> None:
    assert judge_calls(GOOD) == []


@pytest.mark.parametrize(
    "bad",
    [
        call(REGISTER, Verb.READ, answer=1, at=8),
        call(CLAIM, Verb.CONTAINS, answer=True, at=8),
        call(LIST, Verb.READ, answer=(), at=8),
        call(LIST, Verb.READ, answer=(5, 5), at=8),
        call(LIST, Verb.READ, answer=(5, 6), at=8),
        call(LIST, Verb.COUNT, answer=2, at=8),
    ],
    ids=["stale read", "deleted and there", "lost", "duplicated", "refused and applied", "counted twice"],
)
def test_a_bad_history_is_caught(bad: Call) -> None:
    assert judge_calls([*GOOD, bad])


def test_it_names_the_call_that_was_refused_and_carried_out() -> None:
    (found, _) = judge_calls(
        [*GOOD, call(LIST, Verb.READ, answer=(5, 6), at=8), call(LIST, Verb.COUNT, answer=2, at=10)]
    )
    assert "was refused and applied all the same" in found


def test_a_history_can_be_saved_and_judged_again(tmp_path: Path) -> None:
    record = Record()
    for each in GOOD:
        record.add(each)
    record.save(tmp_path / "history.jsonl")
    assert load_calls(tmp_path / "history.jsonl") == GOOD


def test_silence_counts_only_while_clients_are_at_work() -> None:
    record = Record(active=[(0, 10), (100, 104)])
    for at in (1, 2, 8, 101):
        record.add(call(REGISTER, Verb.WRITE, at, at=at))
    assert record.longest_silence() == 6
    assert record.longest_silence(since=1) == 2
    assert record.outcomes() == {OK: 4}


@pytest.mark.parametrize(
    ("held", "field"),
    [([], "lost"), ([5, 5], "duplicated"), ([5, 6], "refused_but_there"), ([5, 99], "never_sent")],
)
def test_lists_are_held_against_what_was_told(held: list[int], field: str) -> None:
    assert judge_lists(GOOD, {"list-0": [5]}).good
    verdict = judge_lists(GOOD, {"list-0": held})
    assert getattr(verdict, field) == 1
    assert not verdict.good


# -- clients ---------------------------------------------------------------------------------------------

Answer = tuple[int, Any] | None


@asynccontextmanager
async def node(answer: Callable[[str], Answer]) -> AsyncIterator[str]:
    """Something that gives an answer to each request, told by its head; or hangs up on ``None``."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        given = answer((await reader.readuntil(b"\r\n\r\n")).decode())
        if given is not None:
            body = json.dumps(given[1]).encode()
            writer.write(b"HTTP/1.1 %d X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (given[0], len(body)))
            writer.write(body)
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def told(answers: list[Answer], verb: Verb, key: Key, monkeypatch: pytest.MonkeyPatch, share: float) -> Record:
    """What is written down of one call that gets these answers, the last of them again and again."""
    monkeypatch.setattr("quorate.ops.nemesis.clients.KEYED_SHARE", share)
    monkeypatch.setattr("quorate.ops.nemesis.clients.PATIENCE_SECONDS", 0.3)
    seen: list[str] = []

    def answer(head: str) -> Answer:
        seen.append(head.partition("idempotency-key: ")[2].partition("\r\n")[0])
        return answers[min(len(seen), len(answers)) - 1]

    record = Record()
    async with node(answer) as url:
        clients = Clients([url], record, Random(1), clients=1, calls_max=10)
        await clients.ask(1, key, verb, 5)
        await clients.aclose()
    assert len(set(seen)) == 1, "a retry has the same key"
    return record


NOT_YET: Answer = (503, {"outcome": "not_applied"})


@pytest.mark.parametrize(
    ("answers", "keyed", "outcome", "tries"),
    [
        ([(201, {})], False, OK, 1),
        ([None, (201, {})], True, OK, 2),
        ([NOT_YET, (201, {})], False, OK, 2),
        ([None], False, UNKNOWN, 1),
        ([(504, {})], False, UNKNOWN, 1),
    ],
)
async def test_what_a_client_knows(
    answers: list[Answer], keyed: bool, outcome: str, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made,) = (await told(answers, Verb.APPEND, LIST, monkeypatch, float(keyed))).calls
    assert (made.outcome, made.tries) == (outcome, tries)


async def test_a_refusal_after_an_unknown_outcome_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    (made,) = (await told([None, NOT_YET], Verb.APPEND, LIST, monkeypatch, 1.0)).calls
    assert made.outcome == UNKNOWN


async def test_what_is_refused_to_the_end_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    (made,) = (await told([NOT_YET], Verb.APPEND, LIST, monkeypatch, 1.0)).calls
    assert made.outcome == NOT_APPLIED


async def test_an_answer_that_no_right_cluster_gives_is_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    record = await told([(404, {"detail": "lost"})], Verb.WRITE, REGISTER, monkeypatch, 0.0)
    assert "404" in record.surprises[0]


# -- the way into a process ------------------------------------------------------------------------------


def test_the_control_disturbs_links_and_the_clock(tmp_path: Path) -> None:
    control = Control(tmp_path / "socket")
    cut = {"peer": 2, "direction": "outgoing", "cut": True}
    control.apply({"links": [cut], "clock_offset_us": 3_000_000})
    assert control.faults.judge(2, Direction.OUTGOING) is None
    assert control.faults.judge(2, Direction.INCOMING) == 0
    assert control.clock.time_ns() > 0
    assert control.apply({"links": []}) == {"cut": 1, "clock": 1}
    assert control.faults.judge(2, Direction.OUTGOING) == 0


def test_the_way_in_runs_the_program_that_operators_run(tmp_path: Path) -> None:
    done = subprocess.run(
        (sys.executable, "-m", "quorate.ops.nemesis.node", str(tmp_path / "socket"), "--version"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.startswith("quorate "), done.stderr


def test_a_log_is_damaged_in_the_middle_of_what_is_written(tmp_path: Path) -> None:
    log = tmp_path / "groups" / "0" / "log" / "1.raftlog"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"x" * 4000 + b"\0" * 4000)
    assert damage_middle(tmp_path) is not None
    data = log.read_bytes()
    assert len(data) == 8000
    assert data.count(b"x") == 4000 - DAMAGE_BYTES
    assert data[2000] != ord("x")


def test_a_log_too_short_to_have_a_middle_is_left_alone(tmp_path: Path) -> None:
    assert damage_middle(tmp_path) is None


def test_a_limited_disk_fails_writes_of_its_process_alone(tmp_path: Path) -> None:
    program = (
        "import sys\ninput()\nopen(sys.argv[1], 'wb', 0).write(b'x' * 5000)\nopen(sys.argv[1], 'ab', 0).write(b'x')"
    )
    child = subprocess.Popen(
        (sys.executable, "-c", program, str(tmp_path / "file")), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    LimitedDisk(1).fill(child.pid)
    _, errors = child.communicate(b"\n", timeout=30)
    assert child.returncode == 1
    assert b"File too large" in errors
    (tmp_path / "another").write_bytes(b"x" * 10_000)
