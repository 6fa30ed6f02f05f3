"""What the doctor does not take for a trouble, whom it blames, and what it says is to be done."""

from __future__ import annotations

from typing import Any

import pytest

from quorate.ops.doctor.disk import free_space_severity, sync_seconds
from quorate.ops.doctor.evidence import Obstacle
from quorate.ops.doctor.findings import Severity

from .clinic import Cluster, member
from .test_doctor import (
    a_broken_link,
    a_change_that_lasts,
    a_follower_astray,
    a_mail_server,
    a_name_that_is_unknown,
    a_node_in_chaos,
    a_paused_node,
    a_slow_answer,
    a_stranger_at_a_members_address,
    a_witness,
    another_cluster_asked_as_well,
    another_program,
    quorum_is_lost,
)

NOTE, WARNING, CRITICAL = Severity


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


@pytest.mark.parametrize("node_id", [2, 3])
def test_a_node_that_came_up_only_now_is_not_connected_and_quick_at_once(node_id: int) -> None:
    cluster = Cluster()
    a_broken_link(cluster)
    cluster.now[3]["peers"][1]["connected"] = False
    cluster.before[node_id] = {"address": f"127.0.0.1:{8079 + node_id}", "error": "unreachable"}
    cluster.looks[node_id] = {"round_trip": 1.4}
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
        for name in ("process", "disk", "settings", "schema", "storage", "storage_profile", "faults", "fsyncs"):
            del report[name]
    assert cluster.found() == {}


def test_injected_faults_are_told_but_not_what_is_well() -> None:
    cluster = Cluster()
    a_node_in_chaos(cluster)
    assert cluster.said("faults_may_be_injected") == (
        'Faults are injected into node 3: {"clock_offset_ms": 5000, "seconds_left": 10}.'
    )


def test_a_host_of_ipv6_is_named_as_other_programs_take_it() -> None:
    cluster = Cluster()
    cluster.gone(3, obstacle=Obstacle.SILENT)
    cluster.now[3]["address"] = "[fd00::3]:8082"
    cluster.addresses[3] = "[fd00::3]:8082"
    (finding,) = cluster.findings("address_is_silent")
    assert finding.mend.startswith("ping -c 3 fd00::3; nc -vz -w 3 fd00::3 8082;")


def test_one_voter_fewer_is_the_one_that_is_missed_least() -> None:
    cluster = Cluster()
    for report in (*cluster.before.values(), *cluster.now.values()):
        report["membership"]["members"].append(member(4))
    cluster.before[4] = cluster.before[3] | {"node_id": 4, "address": "127.0.0.1:8083"}
    cluster.now[4] = cluster.now[3] | {"node_id": 4, "address": "127.0.0.1:8083"}
    flag = "--cluster 127.0.0.1:8080,127.0.0.1:8081,127.0.0.1:8082"
    (finding,) = cluster.findings("even_voters")
    assert finding.mend.startswith(f"One fewer: quorate members demote 4 {flag},127.0.0.1:8083;")
    cluster.member(2, role="witness")
    (finding,) = cluster.findings("even_voters")
    assert finding.mend.startswith("One fewer: quorate members remove 2 ")
    cluster.gone(4)
    (finding,) = cluster.findings("even_voters")
    assert finding.mend.startswith(f"One fewer: quorate members remove 4 {flag};")
    assert finding.mend.endswith(f"quorate members add 5@HOST:PORT {flag}")


def test_a_node_without_an_app_is_why_there_is_no_connection() -> None:
    cluster = Cluster()
    a_broken_link(cluster)
    cluster.now[3]["schema"] = None
    (finding,) = cluster.findings("nodes_cannot_reach_each_other")
    assert finding.cause.startswith("Node 3 was started without --app")


def test_what_went_a_moment_ago_may_be_a_restart() -> None:
    cluster = Cluster()
    cluster.gone(3)
    assert (
        cluster.findings("nothing_listens")[0].cause == "The node ended, or is being restarted: 10 s ago it answered."
    )
    cluster.before[3] = cluster.now[3]
    assert cluster.findings("nothing_listens")[0].cause.startswith("The node does not run")


def test_a_stranger_counts_for_nothing_else() -> None:
    cluster = Cluster()
    a_stranger_at_a_members_address(cluster)
    assert cluster.said("another_cluster_answers") == (
        "At 127.0.0.1:8082 answers a node of cluster 'another', not of 'quorate'."
    )
    leader = cluster.evidence().leader
    assert leader is not None
    assert leader["cluster_id"] == "quorate"


def test_what_a_node_remembers_of_a_stranger_is_over_where_another_answers() -> None:
    cluster = Cluster()
    cluster.now[2]["other_cluster_at"] = ["127.0.0.1:8082"]
    assert cluster.found() == {}


def test_a_witness_needs_no_schema() -> None:
    cluster = Cluster()
    a_witness(cluster)
    for reports in (cluster.before, cluster.now):
        reports[3]["member_role"] = "witness"
        reports[3]["schema"] |= {"matches": False, "version": 0, "cluster_version": None, "cluster_fingerprint": None}
    assert cluster.found() == {"few_copies": NOTE}


def test_a_schema_that_nobody_could_declare_yet_is_no_difference() -> None:
    cluster = Cluster()
    for report in cluster.now.values():
        report["schema"] |= {"matches": False, "cluster_version": None, "cluster_fingerprint": None}
    cluster.leaderless()
    assert cluster.found() == {"no_leader": CRITICAL}


@pytest.mark.parametrize(
    ("now", "before", "seconds"),
    [
        ({}, {}, None),
        ({"sync_seconds_last": 0.0, "sync_seconds_p99": None, "syncs": None}, {"syncs": None}, 0.0),
        ({"sync_seconds_last": 0.001, "sync_seconds_p99": 9.0}, {}, 0.001),
        (
            {"syncs": 3, "sync_seconds_sum": 9.0, "sync_seconds_last": 0.002},
            {"syncs": 3, "sync_seconds_sum": 9.0},
            0.002,
        ),
        ({"syncs": 5, "sync_seconds_sum": 9.0}, {"syncs": 3, "sync_seconds_sum": 8.0}, 0.5),
        ({"syncs": 1, "sync_seconds_sum": 0.1, "sync_seconds_last": 0.1}, {"syncs": 9, "sync_seconds_sum": 8.0}, 0.1),
    ],
    ids=["never", "no sync yet", "slow once", "none meanwhile", "two meanwhile", "started anew"],
)
def test_how_long_a_sync_takes(now: dict[str, Any], before: dict[str, Any], seconds: float | None) -> None:
    assert sync_seconds(now, before) == seconds


def test_which_clock_is_off_and_which_way() -> None:
    cluster = Cluster()
    cluster.clocks = {1: 5.0, 2: 5.0, 3: 5.0}
    assert cluster.said("own_clock_differs") == "This machine's clock is 5.0 s behind the nodes' clocks."
    cluster.clocks = {1: -5.0, 2: -5.0, 3: -5.0}
    assert cluster.said("own_clock_differs") == "This machine's clock is 5.0 s ahead of the nodes' clocks."
    cluster.looks[1] = {"round_trip": 9.5}
    assert cluster.said("own_clock_differs") == "", "an answer that took so long may be that old"


def test_a_connection_that_came_back_is_no_trouble() -> None:
    cluster = Cluster()
    cluster.before[2]["peers"][1]["connected"] = False
    assert cluster.found() == {}


def test_one_who_hangs_up_is_another_than_one_who_is_silent() -> None:
    cluster = Cluster()
    a_mail_server(cluster)
    assert cluster.said("no_answer").endswith("ends them without an answer.")
    a_paused_node(cluster)
    assert cluster.said("no_answer").endswith("stays without an answer.")


def test_a_member_that_is_elsewhere_by_now_is_named_by_its_id() -> None:
    cluster = Cluster()
    for wrong, check in ((another_program, "not_a_node"), (a_name_that_is_unknown, "name_is_unknown")):
        wrong(cluster)
        (finding,) = cluster.findings(check)
        assert "quorate members update 3 --address HOST:PORT --cluster 127.0.0.1:8080,127.0.0.1:8081" in finding.mend
    cluster.everywhere(membership=None)
    (finding,) = cluster.findings("name_is_unknown")
    assert "quorate members update ID --address" in finding.mend


def test_a_change_that_lasts_does_so_without_a_leader_too() -> None:
    cluster = Cluster()
    a_change_that_lasts(cluster)
    cluster.leaderless()
    assert cluster.found()["change_lasts"] is WARNING


def test_a_member_without_a_connection_is_not_said_to_be_silent_on_it() -> None:
    cluster = Cluster()
    cluster.member(3, heard=False, connected=False)
    assert cluster.found() == {}


def test_how_slow_an_answer_was_is_told_in_milliseconds() -> None:
    cluster = Cluster()
    a_slow_answer(cluster)
    assert cluster.said("slow_answers") == "Node 2 took 900 ms to answer."


def test_only_a_stranger_that_was_never_a_member_has_to_be_added() -> None:
    cluster = Cluster()
    a_stranger_at_a_members_address(cluster)
    assert "--join" not in cluster.findings("another_cluster_answers")[0].mend
    cluster = Cluster()
    another_cluster_asked_as_well(cluster)
    assert "--cluster-id quorate --join;" in cluster.findings("another_cluster_answers")[0].mend


def test_apps_of_one_version_are_told_apart() -> None:
    cluster = Cluster()
    cluster.now[3]["schema"] |= {"matches": False, "fingerprint": "b" * 64}
    assert cluster.said("schema_differs") == (
        "Node 3 has version 1 (bbbbbbbb) of the schema, and version 1 (aaaaaaaa) is in force."
    )
    cluster.now[3]["schema"] |= {"cluster_version": None, "differing_rules": ["A.b", "C.d"]}
    assert cluster.said("schema_differs").endswith("and none is in force. These rules differ: A.b and C.d.")


def test_a_difference_of_the_schema_needs_no_leader_once_one_is_in_force() -> None:
    cluster = Cluster()
    cluster.leaderless()
    cluster.now[3]["schema"] |= {"matches": False}
    assert cluster.found() == {"no_leader": CRITICAL, "schema_differs": WARNING}


def test_who_serves_no_models() -> None:
    cluster = Cluster()
    cluster.now[3]["schema"] = None
    assert cluster.said("app_is_missing") == "Node 3 serves no models, and others do."
    cluster.everywhere(schema=None)
    assert cluster.found() == {}, "a cluster of keys and tasks alone"


@pytest.mark.parametrize(
    ("of", "name", "value", "given_by"),
    [
        ("settings", "election_timeout_ms", 2000, "--preset"),
        ("settings", "lease_reads", True, "--lease-reads"),
        ("storage", "fsync_on_append", False, "--fsync-on-append"),
        ("settings", "max_command_bytes", 5, "max_command_bytes in their RaftConfig"),
    ],
)
def test_a_setting_that_differs_is_named_with_what_gives_it(of: str, name: str, value: object, given_by: str) -> None:
    cluster = Cluster()
    for report in cluster.now.values():
        report["settings"]["max_command_bytes"] = 4
    settings = cluster.now[3][of]
    (settings["settings"] if of == "storage" else settings)[name] = value
    (finding,) = cluster.findings("settings_differ")
    assert finding.what.startswith(f"The setting {name} differs: ")
    assert f"{value} on node 3" in finding.what
    assert finding.mend == f"Start them with the same {given_by}, one after the other"


@pytest.mark.parametrize("size", [0, None])
def test_a_file_system_without_a_size_is_not_full(size: int | None) -> None:
    cluster = Cluster()
    cluster.now[3]["disk"] |= {"free_bytes": size, "total_bytes": size}
    assert cluster.found() == {}


def test_how_slow_a_disk_is_is_told_in_milliseconds() -> None:
    cluster = Cluster()
    cluster.now[3]["disk"] |= {"syncs": 1004, "sync_seconds_sum": 2.0}
    assert cluster.said("disk_is_slow") == "The disk of node 3 takes 250 ms for a sync."


def test_a_sync_that_ended_meanwhile_or_that_nobody_waits_for_does_not_stand_still() -> None:
    cluster = Cluster()
    for reports in (cluster.before, cluster.now):
        reports[3]["storage"]["unsynced_entries"] = 4
    cluster.now[3]["fsyncs"] += 1
    assert cluster.found() == {}
    cluster.now[3]["fsyncs"] -= 1
    cluster.before[3]["storage"]["unsynced_entries"] = 0
    assert cluster.found() == {}
    cluster.everywhere(storage={"settings": {"fsync_on_append": False}, "power_loss": None, "unsynced_entries": 4})
    assert cluster.found() == {"acknowledges_before_sync": NOTE}


def test_who_leads_has_a_quorum_even_if_nobody_else_can_be_reached_from_here() -> None:
    cluster = Cluster()
    for node_id in (2, 3):
        cluster.gone(node_id, obstacle=Obstacle.SILENT)
    assert cluster.found() == {"address_is_silent": WARNING, "no_spare_voter": WARNING}


def test_whose_answers_are_missed_is_said_by_id_or_by_address() -> None:
    cluster = Cluster()
    quorum_is_lost(cluster)
    assert cluster.findings("quorum_is_lost")[0].cause == "No answer from 1@127.0.0.1:8080 and 2@127.0.0.1:8081."
    cluster.everywhere(membership=None)
    assert cluster.findings("quorum_is_lost")[0].cause == "No answer from 127.0.0.1:8080 and 127.0.0.1:8081."
    cluster = Cluster()
    cluster.gone(3)
    assert cluster.findings("no_spare_voter")[0].cause == "No answer from node 3."


def test_a_node_that_came_up_only_now_may_know_no_leader_yet() -> None:
    cluster = Cluster()
    cluster.before[3] = {"address": "127.0.0.1:8082", "error": "unreachable"}
    cluster.now[3] |= {"leader": None}
    assert cluster.found() == {}


def test_a_witness_serves_no_reads_and_that_is_well() -> None:
    cluster = Cluster()
    a_witness(cluster)
    cluster.now[3]["member_role"] = "witness"
    cluster.looks[3] = {"unhealthy": "a witness holds no data"}
    assert cluster.found() == {"few_copies": NOTE}


@pytest.mark.parametrize(("term", "told"), [(4, "a leader was lost or replaced."), (5, "leaders do not last.")])
def test_one_election_is_no_flapping(term: int, told: str) -> None:
    cluster = Cluster()
    for report in cluster.now.values():
        report["term"] = term
    assert cluster.said("terms_rise") == f"The term rose by {term - 3} within 10 s: {told}"


@pytest.mark.parametrize("trace", [{"role": "failed"}, {"failure": "a write failed"}])
def test_a_node_that_gave_up_says_so_in_one_way_or_the_other(trace: dict[str, str]) -> None:
    cluster = Cluster()
    cluster.now[2] |= trace
    assert cluster.found() == {"node_failed": CRITICAL}


def test_no_node_serves_without_a_leader_nor_after_it_gave_up_and_that_is_not_said_twice() -> None:
    cluster = Cluster()
    cluster.looks = {node_id: {"unhealthy": "no leader is known"} for node_id in (1, 2, 3)}
    cluster.leaderless()
    assert cluster.found() == {"no_leader": CRITICAL}
    cluster = Cluster()
    cluster.looks[2] = {"unhealthy": "the node has failed"}
    cluster.now[2] |= {"role": "failed", "failure": "a write failed"}
    assert cluster.found() == {"node_failed": CRITICAL}


def test_who_leads_is_not_made_a_learner() -> None:
    cluster = Cluster()
    for report in (*cluster.before.values(), *cluster.now.values()):
        report["membership"]["members"] = [member(1), member(3)]
        report |= {"leader": 3, "role": "leader" if report["node_id"] == 3 else "follower"}
    assert cluster.findings("even_voters")[0].mend.startswith("One fewer: quorate members demote 1 ")


def test_a_membership_that_changes_while_one_looks_neither_differs_nor_lasts() -> None:
    cluster = Cluster()
    cluster.now[3]["membership"]["configuration_index"] = 2  # it is on its way from there to 7
    assert cluster.found() == {}
    cluster = Cluster()
    a_change_that_lasts(cluster)
    cluster.before[1]["membership"]["configuration_index"] = 6  # another change
    assert cluster.found() == {"change_lasts": NOTE}
