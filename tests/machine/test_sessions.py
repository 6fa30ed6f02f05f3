"""The memory of requests: it finds what was applied, and is bounded by count and by bytes, not by time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quorate.machine import sessions
from quorate.machine.sessions import MemorySessions, Sessions, SqliteSessions, fingerprint_of
from quorate.machine.sqlite import SqliteState

DAY_US = 24 * 3600 * 1_000_000


@pytest.fixture(params=["memory", "sqlite"])
def make_sessions(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Sessions]]:
    if request.param == "memory":
        yield lambda machine: MemorySessions()
        return
    state = SqliteState(tmp_path / "state.sqlite")
    yield lambda machine: SqliteSessions(state, machine)
    state.close()


def test_what_was_remembered_is_found(make_sessions: Callable[[str], Sessions]) -> None:
    requests = make_sessions("one")
    assert requests.find("a") is None
    requests.remember("a", b"print", b"outcome", 1)
    assert requests.find("a") == (b"print", b"outcome")


def test_machines_have_memories_of_their_own(make_sessions: Callable[[str], Sessions]) -> None:
    one, two = make_sessions("one"), make_sessions("two")
    one.remember("a", b"print", b"outcome", 1)
    assert two.find("a") is None


def test_the_oldest_give_way_beyond_the_bound(
    make_sessions: Callable[[str], Sessions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "REQUESTS_MAX", 3)
    requests = make_sessions("one")
    for number in range(6):
        requests.remember(f"{number}", b"", b"", number)
    assert [requests.find(f"{number}") is not None for number in range(6)] == [False] * 3 + [True] * 3


def test_a_leap_of_the_clock_makes_nothing_forgotten(make_sessions: Callable[[str], Sessions]) -> None:
    requests = make_sessions("one")
    requests.remember("before", b"print", b"outcome", 1)
    for years in range(1, 10):
        requests.remember(f"{years}", b"", b"", years * 365 * DAY_US)
    assert requests.find("before") == (b"print", b"outcome")


def test_outcomes_in_memory_are_bounded_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "OUTCOME_BYTES_MAX", 10)
    requests = MemorySessions()
    requests.remember("a", b"", bytes(6), 1)
    requests.remember("b", b"", bytes(6), 2)
    assert requests.find("a") is None
    assert requests.find("b") is not None
    requests.remember("c", b"", bytes(11), 3)
    assert requests.find("b") is None
    requests.remember("d", b"", bytes(10), 4)
    assert requests.find("d") is not None


def test_fingerprints_tell_commands_apart() -> None:
    assert fingerprint_of(b"one") == fingerprint_of(b"one") != fingerprint_of(b"two")
