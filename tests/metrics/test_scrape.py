"""What nodes say at ``/metrics``, after everything was done once (see ``conftest``)."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from functools import partial
from itertools import count, pairwise
from typing import cast

import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics import parser

from quorate.metrics import registry
from quorate.metrics.registry import wants_openmetrics

from .conftest import OPENMETRICS, Said

SLICE_SECONDS_MAX = 0.0025

ASKED_FOR: dict[str, tuple[str, ...]] = {
    "A1.65 current_term": ("quorate_term",),
    "A1.66 current_leader": ("quorate_leader_id",),
    "A1.67 cluster_size": ("quorate_cluster_size",),
    "A1.68 healthy_nodes": ("quorate_healthy_members",),
    "A1.69 commit_latency_ms": ("quorate_commit_duration_seconds",),
    "A1.70 replication_lag_ms": ("quorate_peer_lag_seconds",),
    "A1.71 throughput_ops_per_sec": ("quorate_commands_applied_total",),
    "A1.72 election_count": ("quorate_elections_total",),
    "A1.73 last_election_duration_ms": ("quorate_last_election_duration_seconds",),
    "A1.74 log_size_entries": ("quorate_log_entries",),
    "A1.75 last_applied_index": ("quorate_applied_index",),
    "A1.76 commit_index": ("quorate_commit_index",),
    "A2.9 users_created": ("quorate_objects_created_total",),
    "A2.10 messages_created": ("quorate_objects_created_total",),
    "A2.11 replications_received": ("quorate_entries_received_total",),
    "A2.12 replications_sent": ("quorate_entries_sent_total",),
    "B69 leader elections": ("quorate_elections_total", "quorate_election_duration_seconds"),
    "B70 log replication latency": ("quorate_commit_duration_seconds", "quorate_peer_lag_seconds"),
    "B71 snapshot size and frequency": (
        "quorate_snapshot_bytes",
        "quorate_snapshots_sent_total",
        "quorate_compactions_total",
    ),
    "B72 node state transitions": ("quorate_role_changes_total",),
    "B73 RPC failure rate": ("quorate_peer_dropped_messages_total", "quorate_peer_sent_messages_total"),
    "D67 consensus.leader_id": ("quorate_leader_id",),
    "D68 consensus.is_leader": ("quorate_is_leader",),
    "D69 consensus.current_term": ("quorate_term",),
    "D70 consensus.partition_state": ("quorate_partition_state",),
    "D71 consensus.log_size": ("quorate_log_entries", "quorate_log_bytes"),
    "D72 consensus.operations.replicated": ("quorate_commands_replicated_total",),
    "D73 consensus.operations.committed": ("quorate_commands_applied_total",),
    "D74 cluster.healthy_nodes": ("quorate_healthy_members",),
    "D75 cluster.total_nodes": ("quorate_cluster_size",),
    "D76 no leader": ("quorate_leader_id",),
    "D77 partition": ("quorate_partition_state",),
    "D78 quorum lost": ("quorate_quorum_reachable",),
    "D79 memory": ("process_resident_memory_bytes",),
    "D80 replication latency p99": ("quorate_commit_duration_seconds",),
    "D81 success rate": ("quorate_proposals_total",),
    "D82 consensus_operations_replicated": ("quorate_commands_replicated_total",),
    "D83 consensus_log_size": ("quorate_log_entries",),
    "D84 consensus_partitions_detected": ("quorate_partitions_total",),
}


@pytest.mark.parametrize("asked", ASKED_FOR)
def test_everything_that_is_asked_for_has_a_metric(asked: str, said: Said) -> None:
    assert set(ASKED_FOR[asked]) <= set(said.leader.families)


def test_the_leader_tells_who_leads_who_is_there_and_how_far_all_are(said: Said) -> None:
    leader, follower = said.leader, said.follower
    assert leader.value("quorate_is_leader") == 1
    assert follower.value("quorate_is_leader") == 0
    assert follower.value("quorate_leader_id") == leader.value("quorate_leader_id") == said.leader_id
    assert leader.value("quorate_role", role="leader") == leader.value("quorate_role") == 1
    assert leader.value("quorate_cluster_size") == leader.value("quorate_healthy_members") == 3
    assert leader.value("quorate_quorum_reachable") == 1
    assert leader.value("quorate_partition_state") == leader.value("quorate_partitions_total") == 0
    assert leader.value("quorate_candidacies_won_total") >= 1
    assert leader.value("quorate_election_duration_seconds_count") == leader.value("quorate_elections_total") >= 1
    for peer in (said.follower_id, said.stopped_id):
        assert leader.value("quorate_peer_connected", peer=str(peer)) == 1
        assert leader.value("quorate_peer_sent_bytes_total", peer=str(peer)) > 0
    assert leader.value("quorate_peer_lag_entries", peer=str(said.follower_id)) == 0
    assert not follower.families["quorate_peer_lag_entries"].samples  # only the leader knows


def test_what_was_done_is_counted_where_it_was_done(said: Said) -> None:
    leader, follower = said.leader, said.follower
    assert leader.value("quorate_objects", model="Shelf") == follower.value("quorate_objects", model="Shelf") == 3
    assert leader.value("quorate_objects_created_total", model="Shelf") == 3
    assert follower.value("quorate_objects_created_total", model="Shelf") == 0
    assert leader.value("quorate_http_requests_total", face="models", method="POST", status="201") == 3
    assert leader.value("quorate_http_requests_total", face="models", method="POST", status="409") == 1
    assert leader.value("quorate_http_requests_total", face="tasks", status="201") == 1
    assert leader.value("quorate_http_requests_total", face="pages", status="200") == 1
    assert leader.value("quorate_http_request_duration_seconds_count", face="models", kind="write") == 4
    assert leader.value("quorate_proposals_total", outcome="refused") == 1
    assert leader.value("quorate_proposals_total", outcome="applied") >= 3
    assert leader.value("quorate_proposals_total", outcome="unknown") == 0
    assert leader.value("quorate_tasks", queue="reports", state="ready") == 1
    assert leader.value("quorate_tasks_pending") == follower.value("quorate_tasks_pending") == 1
    assert leader.value("quorate_keys") == follower.value("quorate_keys") == 2
    assert leader.value("quorate_keys_expiring") == 1
    assert leader.value("quorate_resp_request_duration_seconds_count", kind="write") == 2
    assert leader.value("quorate_resp_request_duration_seconds_count", kind="read") == 1
    assert leader.value("quorate_resp_failures_total") == 0


def test_the_way_of_entries_is_measured_at_each_step(said: Said) -> None:
    leader, follower = said.leader, said.follower
    entries = leader.value("quorate_entry_commands_count")
    assert entries >= 5
    assert leader.value("quorate_commit_duration_seconds_count") == entries
    assert leader.value("quorate_commands_replicated_total") == leader.value("quorate_entry_commands_sum") >= entries
    assert leader.value("quorate_commands_applied_total") == follower.value("quorate_commands_applied_total") >= entries
    assert follower.value("quorate_commit_duration_seconds_count") == 0
    assert leader.value("quorate_log_sync_duration_seconds_count") > 0
    assert leader.value("quorate_log_batch_entries_sum") >= entries
    assert leader.value("quorate_apply_duration_seconds_count") > 0
    assert leader.value("quorate_event_loop_delay_seconds_count") > 0
    assert follower.value("quorate_entries_received_total") >= entries
    assert leader.value("quorate_log_last_index") == leader.value("quorate_applied_index") > entries
    assert leader.value("quorate_disk_size_bytes") > leader.value("quorate_disk_free_bytes") > 0
    assert leader.value("process_open_fds") > 0


def test_a_member_that_is_gone_is_missed_by_name(said: Said) -> None:
    alone, gone = said.alone, str(said.stopped_id)
    assert alone.value("quorate_peer_connected", peer=gone) == 0
    assert alone.value("quorate_peer_connection_losses_total", peer=gone) == 1
    assert alone.value("quorate_peer_lag_entries", peer=gone) >= 1
    assert alone.value("quorate_peer_lag_seconds", peer=gone) > 0
    assert alone.value("quorate_peer_lag_entries", peer=str(said.follower_id)) == 0
    assert alone.value("quorate_healthy_members") == 2
    assert alone.value("quorate_partition_state") == alone.value("quorate_partitions_total") == 1
    assert alone.value("quorate_quorum_reachable") == 1


def test_who_waits_to_be_added_calls_nothing_a_partition(said: Said) -> None:
    outside = said.outside
    assert outside.value("quorate_leader_id") == outside.value("quorate_cluster_size") == 0
    for name in ("quorate_quorum_reachable", "quorate_partition_state"):
        assert not outside.families[name].samples
        assert said.witness.families[name].samples
    assert outside.value("quorate_log_entries") == 0


def test_a_witness_does_not_say_that_there_is_no_data(said: Said) -> None:
    assert set(said.witness.families) == set(said.leader.families)
    assert said.witness.value("quorate_members", role="witness") == 1
    for name in ("quorate_objects", "quorate_objects_created_total", "quorate_keys", "quorate_tasks_pending"):
        assert said.leader.families[name].samples
        assert not said.witness.families[name].samples


def test_openmetrics_is_spoken_where_it_is_asked_for(said: Said) -> None:
    answer = said.openmetrics
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family.type for family in parser.text_string_to_metric_families(answer.text)}  # type: ignore[no-untyped-call]
    plain = {family.name: family.type for family in said.leader.families.values()}
    assert {name: kind for name, kind in plain.items() if kind != "unknown"} == families


def test_prometheus_finds_nothing_to_complain_of(promtool: str, said: Said) -> None:
    checked = subprocess.run([promtool, "check", "metrics"], input=said.leader.text, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("accept", "is_wanted"),
    [
        (OPENMETRICS, True),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text ; Version=0.0.1", True),
        ("text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5", True),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.0, */*", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;version=1.x", False),
        ("text/plain;version=one", False),
        ("", False),
        (",;=,", False),
        ("*/*", False),
    ],
)
def test_what_is_not_spoken_is_not_promised(accept: str, is_wanted: bool) -> None:
    assert wants_openmetrics(accept) is is_wanted


async def test_scrapes_at_the_same_time_wait_for_each_other_and_others_have_the_loop_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happened: list[str] = []
    scrapes = count()

    def subjects(sources: object) -> list[Callable[[], list[Metric]]]:
        scrape = next(scrapes)

        def subject(number: int) -> list[Metric]:
            happened.append(f"{scrape}.{number}")
            return [GaugeMetricFamily(f"metric_{number}", "x", value=1)]

        return [partial(subject, number) for number in range(3)]

    async def others() -> None:
        while len(texts) < 2:
            happened.append("others")
            await asyncio.sleep(0)

    async def scrape(accept: str) -> None:
        texts.append((await metrics.text(accept))[0].decode())

    monkeypatch.setattr(registry, "SLICE_SECONDS", -1.0)
    monkeypatch.setattr(registry, "_subjects", subjects)
    metrics = registry.Metrics(cast("registry.Sources", None))
    texts: list[str] = []
    await asyncio.gather(scrape(OPENMETRICS), scrape(""), others())
    assert [each for each in happened if each != "others"] == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    assert all("others" in pair for pair in pairwise(happened))
    assert [text.count("# EOF\n") for text in texts] == [1, 0]
    assert all(text.count("# TYPE metric_") == 3 for text in texts)


def test_a_scrape_keeps_the_event_loop_for_a_bit_at_a_time(said: Said) -> None:
    assert min(said.seconds) < SLICE_SECONDS_MAX  # the least: other tests run on the same cores
