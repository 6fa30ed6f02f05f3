"""Each of these brings a bug back that some real system had. The simulator has to find it, and soon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import quorate.raft.core
import quorate.raft.quorum
from quorate.machine.router import Router
from quorate.machine.sessions import MemorySessions, SqliteSessions
from quorate.node.reads import ReadGate
from quorate.raft.log import RaftLog
from quorate.raft.messages import RequestVote
from quorate.raft.output import HardState, ReadReady
from quorate.raft.persistence import Persistence
from quorate.storage.hard_state import HardStateFile
from quorate.storage.wal import Wal
from quorate.testing.simulation import run_seed

SEEDS_MAX = 120

Patch = Callable[[pytest.MonkeyPatch], None]


def acknowledges_before_durable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Persistence, "hold", lambda self, envelope: False)


def votes_for_anyone(patch: pytest.MonkeyPatch) -> None:
    def grants(request: RequestVote, candidate: int, hard_state: HardState, log: RaftLog) -> bool:
        return request.term > hard_state.term or hard_state.voted_for in (None, candidate)

    patch.setattr(quorate.raft.core, "grants_vote", grants)


def votes_twice(patch: pytest.MonkeyPatch) -> None:
    def grants(request: RequestVote, candidate: int, hard_state: HardState, log: RaftLog) -> bool:
        return log.is_up_to_date(request.last_index, request.last_term)

    patch.setattr(quorate.raft.core, "grants_vote", grants)


def half_is_a_majority(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(quorate.raft.quorum, "majority_size", lambda voters: max(1, len(voters) // 2))


def log_is_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Wal, "sync", lambda self: setattr(self, "_durable", self.last_index))


def vote_is_not_written(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(HardStateFile, "save", lambda self, state: setattr(self, "state", state))


def retries_apply_again(patch: pytest.MonkeyPatch) -> None:
    for sessions in (MemorySessions, SqliteSessions):
        patch.setattr(sessions, "find", lambda self, request_id: None)
        patch.setattr(sessions, "remember", lambda self, *arguments: None)


def reads_do_not_wait_for_apply(patch: pytest.MonkeyPatch) -> None:
    confirmed = ReadGate.confirmed

    def confirmed_at_once(self: ReadGate, read: ReadReady, applied_index: int) -> None:
        confirmed(self, read if read.index is None else ReadReady(read.token, 0), applied_index)

    patch.setattr(ReadGate, "confirmed", confirmed_at_once)


def replay_applies_twice(patch: pytest.MonkeyPatch) -> None:
    def apply(self: Any, command: Any, context: Any) -> object:
        return self._hosts[command.machine].apply(command, context)

    patch.setattr(Router, "_apply_command", apply)


@pytest.mark.parametrize(
    ("bring_back", "found"),
    [
        (acknowledges_before_durable, "promises are durable"),
        (votes_for_anyone, "leader completeness"),
        (votes_twice, "one vote per term"),
        (half_is_a_majority, ""),
        (log_is_not_synced, ""),
        (vote_is_not_written, ""),
        (retries_apply_again, ""),
        (reads_do_not_wait_for_apply, "not linearizable"),
        (replay_applies_twice, ""),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_known_bug_is_found(bring_back: Patch, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bring_back(monkeypatch)
    failures = []
    for seed in range(SEEDS_MAX):
        failure = run_seed(seed).failure
        if failure is not None:
            failures.append(failure)
            if found in failure:
                return
    raise AssertionError(f"not found in {SEEDS_MAX} seeds; these were: {failures}")
