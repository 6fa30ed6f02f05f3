"""The doctor, shown clusters with one thing wrong each (A1.56-A1.98, D59-D66): it says that, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quorate.ops.doctor.checks import OF_A_CLUSTER, OF_A_DIRECTORY, diagnose
from quorate.ops.doctor.disk import free_space_severity
from quorate.ops.doctor.evidence import Evidence
from quorate.ops.doctor.findings import Severity

from .clinic import Cluster, member

NOTE, WARNING, CRITICAL = Severity

Wrong = Callable[[Cluster], object]
PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text()


def test_a_healthy_cluster_is_fine() -> None:
    assert Cluster().found() == {}
    assert diagnose(Cluster().evidence()).severity == 0


# -- quorum and leader -----------------------------------------------------------------------------------


def quorum_is_lost(cluster: Cluster) -> None:
    cluster.gone(1)
    cluster.gone(2)
    cluster.leaderless()


def no_leader(cluster: Cluster) -> None:
    cluster.leaderless()


def a_majority_without_a_leader(cluster: Cluster) -> None:
    cluster.gone(1)
    cluster.leaderless()


def two_leaders_of_one_term(cluster: Cluster) -> None:
    cluster.now[2] |= {"role": "leader", "leader": 2}
    cluster.before[2] |= {"role": "leader", "leader": 1}


def a_deposed_leader(cluster: Cluster) -> None:
    cluster.now[2] |= {"role": "leader", "term": 2}


def a_failed_node(cluster: Cluster) -> None:
    cluster.now[2] |= {"role": "failed", "failure": "a write failed: No space left on device"}


def one_election(cluster: Cluster) -> None:
    for report in cluster.now.values():
        report["term"] = 4


def flapping(cluster: Cluster) -> None:
    for report in cluster.now.values():
        report["term"] = 5


def a_follower_astray(cluster: Cluster) -> None:
    for reports in (cluster.before, cluster.now):
        reports[3] |= {"leader": None, "role": "pre_candidate"}


def a_dead_follower(cluster: Cluster) -> None:
    cluster.gone(3)


def an_unhealthy_node(cluster: Cluster) -> None:
    cluster.looks[3] = {"unhealthy": "no leader is known"}


# -- reachability ----------------------------------------------------------------------------------------


def no_node_at_all(cluster: Cluster) -> None:
    for node_id in (1, 2, 3):
        cluster.gone(node_id)


def a_firewall(cluster: Cluster) -> None:
    cluster.gone(3, listens=None)


def a_paused_node(cluster: Cluster) -> None:
    cluster.gone(3, "no answer", listens=True)


def another_program(cluster: Cluster) -> None:
    cluster.gone(3, "not a node", listens=True)


def a_broken_link(cluster: Cluster) -> None:
    for reports in (cluster.before, cluster.now):
        reports[2]["peers"][1]["connected"] = False


def a_silent_member(cluster: Cluster) -> None:
    cluster.member(3, heard=False)


def a_slow_answer(cluster: Cluster) -> None:
    cluster.looks[2] = {"round_trip": 0.9}
    cluster.clocks[2] = 1.2  # as right as can be told from so slow an answer


def one_id_twice(cluster: Cluster) -> None:
    cluster.now[3] |= {"node_id": 2}
    cluster.before[3] |= {"node_id": 2}


def strangers_at_an_address(cluster: Cluster) -> None:
    cluster.now[2]["other_cluster_at"] = ["127.0.0.1:8082"]


def two_clusters(cluster: Cluster) -> None:
    cluster.now[3]["cluster_id"] = "another"


# -- membership ------------------------------------------------------------------------------------------


def four_voters(cluster: Cluster) -> None:
    for report in cluster.now.values():
        report["membership"]["members"].append(member(4, role="learner", promote=True))


def one_voter(cluster: Cluster) -> None:
    del cluster.now[2], cluster.now[3], cluster.before[2], cluster.before[3]
    for reports in (cluster.before, cluster.now):
        reports[1]["membership"]["members"] = [member(1)]
        reports[1]["peers"] = []


def an_older_membership(cluster: Cluster) -> None:
    for reports in (cluster.before, cluster.now):
        reports[3]["membership"]["configuration_index"] = 2


def a_change_under_way(cluster: Cluster) -> None:
    cluster.leader["membership"]["joint"] = True


def a_change_that_lasts(cluster: Cluster) -> None:
    for reports in (cluster.before, cluster.now):
        reports[1]["membership"]["joint"] = True


def a_joining_node(cluster: Cluster) -> None:
    for reports in (cluster.before, cluster.now):
        reports[4] = reports[3] | {"node_id": 4, "address": "127.0.0.1:8083", "role": "joining", "member_role": None,
                                   "membership": None, "leader": None}  # fmt: skip


def a_removed_node(cluster: Cluster) -> None:
    for reports in (cluster.before, cluster.now):
        reports[4] = reports[3] | {"node_id": 4, "address": "127.0.0.1:8083", "member_role": None}


def a_wiped_disk(cluster: Cluster) -> None:
    cluster.member(3, repairing=True)


def a_learner_on_its_way(cluster: Cluster) -> None:
    cluster.member(3, role="learner", promote=True, leaving=False)


def a_witness(cluster: Cluster) -> None:
    cluster.member(3, role="witness")


def two_witnesses(cluster: Cluster) -> None:
    cluster.member(2, role="witness")
    cluster.member(3, role="witness")


# -- replication -----------------------------------------------------------------------------------------


def entries_that_stay_uncommitted(cluster: Cluster) -> None:
    cluster.before[1]["last_index"] = 510
    cluster.leader["last_index"] = 520


def a_member_that_falls_behind(cluster: Cluster) -> None:
    cluster.member(3, lag=50_000)


def a_member_that_catches_up(cluster: Cluster) -> None:
    cluster.member(3, lag=50_000)
    cluster.leader["membership"]["members"][2]["lag"] = 20_000


def a_snapshot_on_its_way(cluster: Cluster) -> None:
    cluster.member(3, snapshot=True, lag=50_000)


def a_slow_applier(cluster: Cluster) -> None:
    cluster.everywhere(commit_index=5_000, last_index=5_000, applied_index=5_000)
    cluster.now[2]["applied_index"] = 3_000


def a_log_of_many_entries(cluster: Cluster) -> None:
    cluster.everywhere(commit_index=90_000, last_index=90_000, applied_index=90_000, snapshot_index=80_000)
    cluster.now[2]["snapshot_index"] = 10


def a_log_of_many_bytes(cluster: Cluster) -> None:
    cluster.now[2]["log_bytes"] = 2**30


# -- machines --------------------------------------------------------------------------------------------


def a_clock_that_is_off(cluster: Cluster) -> None:
    cluster.clocks[2] = -2.0


def a_clock_that_is_far_off(cluster: Cluster) -> None:
    cluster.clocks[2] = 3600.0


def a_clock_here_that_is_off(cluster: Cluster) -> None:
    cluster.clocks = {1: 5.0, 2: 5.1, 3: 4.9}


def a_full_disk(cluster: Cluster) -> None:
    cluster.now[3]["disk"]["free_bytes"] = 10**6


def a_disk_that_fills(cluster: Cluster) -> None:
    cluster.now[3]["disk"]["free_bytes"] = 19 * 2**30


def a_slow_disk(cluster: Cluster) -> None:
    cluster.now[3]["disk"]["sync_seconds_p99"] = 0.4


def a_disk_that_stands_still(cluster: Cluster) -> None:
    cluster.now[3]["disk"]["sync_seconds_p99"] = 2.5


def much_memory(cluster: Cluster) -> None:
    for reports in (cluster.before, cluster.now):
        reports[2]["process"]["resident_bytes"] = 501_000_000


def memory_that_grows(cluster: Cluster) -> None:
    cluster.now[2]["process"]["resident_bytes"] += 110_000_000


def a_busy_core(cluster: Cluster) -> None:
    cluster.now[2]["process"]["cpu_seconds"] += 9.5


# -- programs and settings -------------------------------------------------------------------------------


def an_older_version(cluster: Cluster) -> None:
    cluster.now[3]["version"] = "0.0.9"


def an_older_app(cluster: Cluster) -> None:
    cluster.now[3]["schema"] |= {"matches": False, "version": 2, "differing_rules": ["Product.price"]}


def no_app(cluster: Cluster) -> None:
    cluster.now[3]["schema"] = None


def a_quick_profile(cluster: Cluster) -> None:
    cluster.everywhere(storage={"settings": {"fsync_on_append": False}, "power_loss": None})


def a_power_loss(cluster: Cluster) -> None:
    cluster.now[3]["storage"]["power_loss"] = "up to 20 entries may be missing"


def another_profile(cluster: Cluster) -> None:
    cluster.now[3]["storage_profile"] = "durable_security"


def other_timings(cluster: Cluster) -> None:
    cluster.now[3]["settings"]["election_timeout_ms"] = 2000


GONE = {"nothing_listens": WARNING}


CASES: list[tuple[Wrong, dict[str, Severity]]] = [
    (quorum_is_lost, {"quorum_is_lost": CRITICAL, **GONE}),
    (no_leader, {"no_leader": CRITICAL}),
    (a_majority_without_a_leader, {"no_leader": CRITICAL, **GONE}),
    (two_leaders_of_one_term, {"two_leaders": CRITICAL}),
    (a_deposed_leader, {"two_leaders": WARNING}),
    (a_failed_node, {"node_failed": CRITICAL}),
    (one_election, {"terms_rise": WARNING}),
    (flapping, {"terms_rise": CRITICAL}),
    (a_follower_astray, {"leaders_disagree": WARNING}),
    (a_dead_follower, {"no_spare_voter": WARNING, **GONE}),
    (an_unhealthy_node, {"node_does_not_serve": WARNING}),
    (no_node_at_all, {"nothing_answers": CRITICAL, **GONE}),
    (a_firewall, {"address_is_silent": WARNING, "no_spare_voter": WARNING}),
    (a_paused_node, {"no_answer": WARNING, "no_spare_voter": WARNING}),
    (another_program, {"not_a_node": WARNING, "no_spare_voter": WARNING}),
    (a_broken_link, {"nodes_cannot_reach_each_other": WARNING}),
    (a_silent_member, {"member_is_not_heard": WARNING}),
    (a_slow_answer, {"slow_answers": WARNING}),
    (one_id_twice, {"same_id_twice": CRITICAL, "no_spare_voter": WARNING}),
    (strangers_at_an_address, {"another_cluster_answers": CRITICAL}),
    (two_clusters, {"another_cluster_answers": WARNING}),
    (four_voters, {"even_voters": WARNING, "learner_waits_for_its_vote": NOTE}),
    (one_voter, {"single_voter": NOTE}),
    (an_older_membership, {"memberships_differ": WARNING}),
    (a_change_under_way, {"change_lasts": NOTE}),
    (a_change_that_lasts, {"change_lasts": WARNING}),
    (a_joining_node, {"joining_node_waits": WARNING}),
    (a_removed_node, {"node_is_no_member": WARNING}),
    (a_wiped_disk, {"node_is_repaired": WARNING}),
    (a_learner_on_its_way, {"learner_waits_for_its_vote": NOTE}),
    (a_witness, {"few_copies": NOTE}),
    (two_witnesses, {"few_copies": CRITICAL}),
    (entries_that_stay_uncommitted, {"nothing_commits": CRITICAL}),
    (a_member_that_falls_behind, {"member_lags": WARNING}),
    (a_member_that_catches_up, {"member_lags": NOTE}),
    (a_snapshot_on_its_way, {"gets_a_snapshot": NOTE}),
    (a_slow_applier, {"applies_slowly": WARNING}),
    (a_log_of_many_entries, {"log_is_not_cut": WARNING}),
    (a_log_of_many_bytes, {"log_is_not_cut": WARNING}),
    (a_clock_that_is_off, {"clocks_differ": WARNING}),
    (a_clock_that_is_far_off, {"clocks_differ": CRITICAL}),
    (a_clock_here_that_is_off, {"own_clock_differs": NOTE}),
    (a_full_disk, {"disk_fills": CRITICAL}),
    (a_disk_that_fills, {"disk_fills": WARNING}),
    (a_slow_disk, {"disk_is_slow": WARNING}),
    (a_disk_that_stands_still, {"disk_is_slow": CRITICAL}),
    (much_memory, {"memory_is_high": WARNING}),
    (memory_that_grows, {"memory_grows": WARNING}),
    (a_busy_core, {"processor_is_busy": WARNING}),
    (an_older_version, {"versions_differ": WARNING}),
    (an_older_app, {"schema_differs": WARNING}),
    (no_app, {"app_is_missing": WARNING}),
    (a_quick_profile, {"acknowledges_before_sync": NOTE}),
    (a_power_loss, {"power_was_lost": WARNING}),
    (another_profile, {"settings_differ": NOTE}),
    (other_timings, {"settings_differ": WARNING}),
]


@pytest.mark.parametrize(("wrong", "found"), CASES, ids=[wrong.__name__ for wrong, _ in CASES])
def test_each_thing_that_may_be_wrong_is_found_alone(wrong: Wrong, found: dict[str, Severity]) -> None:
    cluster = Cluster()
    wrong(cluster)
    assert cluster.found() == found
    assert diagnose(cluster.evidence()).severity is max(found.values())


def test_a_learner_makes_no_number_even() -> None:
    cluster = Cluster()
    for report in cluster.now.values():
        report["membership"]["members"].append(member(4, role="learner"))
    assert cluster.found() == {}


def test_a_busy_leader_whose_entries_are_on_their_way_is_fine() -> None:
    cluster = Cluster()
    cluster.before[1]["last_index"] = 510
    cluster.now[1] |= {"last_index": 530, "commit_index": 520, "applied_index": 519}
    assert cluster.found() == {}


@pytest.mark.parametrize(("trip", "found"), [(0.4, {"clocks_differ": WARNING}), (0.48, {})])
def test_an_offset_counts_beyond_half_of_the_round_trip(trip: float, found: dict[str, Severity]) -> None:
    cluster = Cluster()
    cluster.looks[2] = {"round_trip": trip}
    cluster.clocks[2] = 0.73 + trip / 2  # the answer, which has the time, came at once, and the question took all of it
    assert cluster.found() == found


def test_of_two_nodes_the_clock_here_says_which_is_wrong() -> None:
    cluster = Cluster()
    cluster.gone(3)
    cluster.clocks[2] = 3600.0
    assert cluster.said("clocks_differ") == "The clock of node 2 is 3600.0 s ahead."
    assert cluster.said("own_clock_differs") == ""


@pytest.mark.parametrize(
    ("free_gib", "total_gib", "severity"),
    [(10, 100, None), (4, 100, WARNING), (25, 1000, None), (1.5, 10, WARNING), (0.2, 10, CRITICAL), (3, 10, None)],
)
def test_how_little_room_is_too_little(free_gib: float, total_gib: float, severity: Severity | None) -> None:
    assert free_space_severity(int(free_gib * 2**30), int(total_gib * 2**30)) is severity


def test_a_connection_that_broke_only_now_is_dialled_again() -> None:
    cluster = Cluster()
    cluster.now[2]["peers"][1]["connected"] = False
    assert cluster.found() == {}


def test_what_is_said_names_nodes_and_places() -> None:
    cluster = Cluster()
    quorum_is_lost(cluster)
    assert cluster.said("quorum_is_lost").startswith("The quorum is lost: 1 of 3 voters answer, and 2 are needed.")
    assert "127.0.0.1:8080 (node 1)" in cluster.said("nothing_listens")
    cluster = Cluster()
    a_follower_astray(cluster)
    assert cluster.said("leaders_disagree") == "Node 1 leads, but node 3 knows no leader."


def test_nodes_of_an_older_version_that_say_less_are_no_trouble() -> None:
    cluster = Cluster()
    for report in (*cluster.before.values(), *cluster.now.values()):
        for name in ("process", "disk", "settings", "schema", "storage", "storage_profile"):
            del report[name]
    assert cluster.found() == {}


def test_every_check_has_been_shown_something() -> None:
    checks = {check.__name__ for each in OF_A_CLUSTER.values() for check in each}
    assert checks == {name for _, found in CASES for name in found}


def test_every_check_is_in_the_handbook_once() -> None:
    checks = [check.__name__ for table in (OF_A_CLUSTER, OF_A_DIRECTORY) for each in table.values() for check in each]
    assert {name: PAGE.count(f"| `{name}` |") for name in checks} == dict.fromkeys(checks, 1)


def test_without_evidence_nothing_is_looked_at() -> None:
    assert diagnose(Evidence()).found == {}
