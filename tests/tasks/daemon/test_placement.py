from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from quorate.node.status import MemberStatus
from quorate.raft.membership import MemberRole
from quorate.tasks.daemon import HealthThresholds, NodeHealth, Operation, Placement, Scope
from quorate.tasks.daemon.health import assess, is_reachable
from quorate.tasks.daemon.placement import Candidate, Placer, candidates, own_capabilities, placed_with
from quorate.tasks.records import WorkerRecord

NOW = datetime(2026, 1, 1, tzinfo=UTC)
THREE = [Candidate(1, 0.5), Candidate(2, 0.25), Candidate(3, 0.25)]


def worker(node_id: int | None, *capabilities: str, **more: Any) -> WorkerRecord:
    place = [] if node_id is None else [f"node:{node_id}", f"placed:{node_id}"]
    given: dict[str, Any] = {
        "worker_id": f"daemon-{node_id}",
        "queues": ["operations"],
        "types": ["import"],
        "capabilities": [*place, *capabilities],
        "concurrency": 4,
        "running": 0,
        "enlisted_at": NOW,
        "seen_at": NOW,
        "health": "",
    }
    return WorkerRecord(**{**given, **more})


def operation(**more: Any) -> Operation:
    return Operation(**{"id": "a", "type": "import", **more})


def test_scopes_have_their_places() -> None:
    placer = Placer()
    assert placer.place(operation(scope=Scope.LOCAL), 3, ()) == "node:3"
    assert placer.place(operation(scope=Scope.LEADER), 3, ()) == "leader"
    assert placer.place(operation(), 3, THREE) is None


def test_round_robin_takes_turns() -> None:
    placer = Placer()
    turns = [placer.place(operation(placement=Placement.ROUND_ROBIN), 1, THREE) for _ in range(6)]
    assert turns == ["placed:1", "placed:2", "placed:3"] * 2


def test_least_loaded_takes_that_with_the_least_to_do() -> None:
    assert Placer().place(operation(placement=Placement.LEAST_LOADED), 1, THREE) == "placed:2"


def test_hash_goes_by_the_key_and_moves_only_what_has_to_move() -> None:
    placer = Placer()

    def places(among: list[Candidate]) -> dict[str, str | None]:
        return {
            key: placer.place(operation(placement=Placement.HASH, key=key), 1, among) for key in map(str, range(300))
        }

    before, without = places(THREE), places(THREE[:2])
    counts = [list(before.values()).count(f"placed:{node_id}") for node_id in (1, 2, 3)]
    assert min(counts) > 60, "spread"
    assert all(before[key] == without[key] for key in before if before[key] != "placed:3")
    assert "placed:3" not in without.values()
    by_id = placer.place(operation(id="17", placement=Placement.HASH), 1, THREE)
    assert by_id == before["17"], "by default the id is the key"


@pytest.mark.parametrize("placement", [Placement.ROUND_ROBIN, Placement.LEAST_LOADED, Placement.HASH])
def test_where_nobody_is_there_to_choose_whoever_comes_takes_it(placement: Placement) -> None:
    assert Placer().place(operation(placement=placement), 1, []) is None


def test_candidates_are_healthy_and_offer_what_is_wanted() -> None:
    workers = [
        worker(1, "gpu", running=2),
        worker(2),
        worker(3, "gpu", types=["export"]),
        worker(4, "gpu"),
        worker(5, "gpu", queues=["other"]),
        worker(None, "gpu"),
        worker(6, "gpu", "import:v2", types=None, queues=None),
    ]
    wanted = operation(capabilities=("gpu",))
    healthy = {1, 2, 3, 5, 6}
    pending, begun = {"placed:6": 3}, {"placed:1": 1, "placed:6": 1}
    assert candidates(wanted, "operations", workers, healthy, pending, begun) == [Candidate(1, 0.5), Candidate(6, 1.0)]
    newer = operation(capabilities=("gpu",), schema_version=2)
    assert [each.node_id for each in candidates(newer, "operations", workers, healthy, {}, {})] == [6]


def test_what_stands_for_a_place_is_told_from_what_a_daemon_offers() -> None:
    assert own_capabilities(worker(1, "import:v2", "task-execution")) == ("task-execution",)
    assert placed_with("placed:12") == 12
    assert placed_with("node:12") is None
    assert placed_with("placed:here") is None


def member(**more: Any) -> MemberStatus:
    given: dict[str, Any] = {
        "node_id": 2,
        "address": "b:1",
        "role": MemberRole.VOTER,
        "priority": 1,
        "promote": False,
        "leaving": False,
        "connected": True,
    }
    return MemberStatus(**{**given, **more})


@pytest.mark.parametrize(
    ("status", "complaints", "health", "reason"),
    [
        (member(), [], "healthy", ""),
        (member(heard=True, lag=10, repairing=False, snapshot=False), [], "healthy", ""),
        (member(lag=11), [], "degraded", "11 entries"),
        (member(repairing=True), [], "degraded", "repaired"),
        (member(snapshot=True), [], "degraded", "snapshot"),
        (member(), ["daemon-2: no disk"], "degraded", "no disk"),
        (member(connected=False), [], "unhealthy", "no connection"),
        (member(heard=False), [], "unhealthy", "does not answer"),
    ],
)
def test_health_of_a_member(status: MemberStatus, complaints: list[str], health: str, reason: str) -> None:
    found, reasons = assess(status, complaints, HealthThresholds(lag_entries=10))
    assert found is NodeHealth(health)
    assert reason in "; ".join(reasons)
    assert bool(reasons) is (health != "healthy")
    assert is_reachable(status) is (health != "unhealthy")
