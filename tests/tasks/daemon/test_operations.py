from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from itertools import product
from typing import Any

import msgspec
import pytest

from quorate.errors import ConfigError
from quorate.tasks.daemon import HIGH_THROUGHPUT, LOW_LATENCY, ConsensusSettings, Operation, OperationState
from quorate.tasks.daemon.operations import (
    TRANSITIONS,
    OperationEvent,
    Placement,
    Scope,
    after,
    as_request,
    checked,
    is_same,
)
from quorate.tasks.errors import InvalidTask
from quorate.testing import TestCluster

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALLOWED = {
    (None, "submit"): "pending",
    ("pending", "replicate"): "replicated",
    ("pending", "fail"): "failed",
    ("replicated", "commit"): "committed",
    ("replicated", "fail"): "failed",
    ("failed", "retry"): "pending",
    ("failed", "learn"): "committed",
}


@pytest.mark.parametrize(("before", "event"), list(product([None, *OperationState], OperationEvent)))
def test_d7_the_table_is_the_one_of_the_states(before: OperationState | None, event: OperationEvent) -> None:
    wanted = ALLOWED.get((before and before.value, event.value))
    if wanted is None:
        with pytest.raises(LookupError):
            after(before, event)
    else:
        assert after(before, event) is OperationState(wanted)


def test_committed_is_the_end_and_failed_is_not() -> None:
    assert {transition.before for transition in TRANSITIONS} == {None, *OperationState} - {OperationState.COMMITTED}


def test_d23_an_operation_can_be_given_as_a_mapping() -> None:
    given = {"id": "task-123", "daemon_id": "daemon-1", "type": "data_import", "payload": {"n": 1}, "timestamp": NOW}
    assert checked(given) == Operation(
        id="task-123", daemon_id="daemon-1", type="data_import", payload={"n": 1}, timestamp=NOW
    )
    assert checked({"id": "a", "type": "b", "scope": "leader"}).scope == "leader"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"id": "a"},
        {"id": "a", "type": "b", "colour": "red"},
        {"id": "", "type": "b"},
        {"id": 7, "type": "b"},
        {"id": "a b", "type": "b"},
        {"id": "a", "type": "b/c"},
        {"id": "a", "type": "daemon.drain"},
        {"id": "a", "type": "b", "scope": "cosmic"},
        {"id": "a", "type": "b", "placement": "best"},
        {"id": "a", "type": "b", "scope": "local", "placement": "hash"},
        {"id": "a", "type": "b", "schema_version": 0},
        {"id": "a", "type": "b", "schema_version": "2"},
        {"id": "a", "type": "b", "timestamp": datetime(2026, 1, 1)},
        {"id": "a", "type": "b", "timestamp": 1_700_000_000},
        {"id": "a", "type": "b", "capabilities": "gpu"},
        {"id": "a", "type": "b", "capabilities": [1]},
        {"id": "a", "type": "b", "capabilities": ["a b"]},
    ],
)
def test_what_is_no_operation_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask):
        checked(given)


@pytest.mark.parametrize(("field", "kind"), [("scope", Scope), ("placement", Placement)])
@pytest.mark.parametrize("given", ["cosmic", 7, None, []])
def test_what_is_none_of_a_few_words_is_told_all_of_them(field: str, kind: type[StrEnum], given: object) -> None:
    with pytest.raises(InvalidTask) as caught:
        checked({"id": "a", "type": "b", field: given})
    assert (caught.value.field, caught.value.reason) == (field, "enum")
    assert caught.value.message == f"should be one of {', '.join(kind)}, not {str(given)!r}"


def test_what_json_cannot_have_is_refused() -> None:
    with pytest.raises(InvalidTask, match="payload"):
        as_request(Operation(id="a", type="b", payload=object()), "operations", None, "d", NOW)


def test_an_operation_is_the_same_whoever_asks_for_it_and_when_and_another_one_with_another_payload() -> None:
    first = Operation(id="a", type="b", payload={"x": (1, 2)}, daemon_id="one", timestamp=NOW)
    payload = bytes(as_request(first, "operations", "placed:1", "d", NOW).payload)
    assert msgspec.json.decode(payload)["payload"] == {"x": [1, 2]}
    assert is_same(Operation(id="a", type="b", payload={"x": [1, 2]}), "b", 1, payload)
    assert not is_same(Operation(id="a", type="b", payload={"x": [1]}), "b", 1, payload)
    assert not is_same(Operation(id="a", type="c", payload={"x": [1, 2]}), "b", 1, payload)
    assert not is_same(Operation(id="a", type="b", payload={"x": [1, 2]}, schema_version=2), "b", 1, payload)
    assert not is_same(Operation(id="a", type="b"), "b", 1, b'{"to": "somebody"}')


def test_d85_to_d92_the_settings_and_the_presets() -> None:
    assert ConsensusSettings() == ConsensusSettings(
        replication_factor=3, partition_detection_ms=3_000, log_compaction_threshold=5_000, max_log_size=10_000
    )
    assert (
        ConsensusSettings(
            replication_factor=3,
            partition_detection_ms=1_000,
            recovery_retry_ms=100,
            snapshot_interval=500,
            log_compaction_threshold=1_000,
            max_log_size=2_000,
        )
        == LOW_LATENCY
    )
    assert (
        ConsensusSettings(
            replication_factor=3,
            partition_detection_ms=5_000,
            recovery_retry_ms=1_000,
            snapshot_interval=2_000,
            log_compaction_threshold=10_000,
            max_log_size=20_000,
        )
        == HIGH_THROUGHPUT
    )


@pytest.mark.parametrize("settings", [ConsensusSettings(), LOW_LATENCY, HIGH_THROUGHPUT])
def test_a_node_takes_its_part_of_the_settings(settings: ConsensusSettings) -> None:
    config = TestCluster(1, settings=settings.raft_settings())
    config._make_place(1)
    made = config.config(1)
    assert made.storage.snapshot_threshold + made.snapshot_trailing_entries == settings.max_log_size
    assert made.storage.snapshot_interval_ms == settings.snapshot_interval


@pytest.mark.parametrize(
    "given",
    [
        {"replication_factor": 0},
        {"partition_detection_ms": 5},
        {"recovery_retry_ms": 1.5},
        {"snapshot_interval": 99},
        {"max_log_size": 4_999},
        {"max_log_size": True},
        {"heartbeat": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ConsensusSettings().but(**given)
