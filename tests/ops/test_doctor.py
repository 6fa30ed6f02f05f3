"""The doctor, shown clusters with one thing wrong each (A1.56-A1.98, D59-D66): it says that, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from quorate.ops.doctor.checks import OF_A_CLUSTER, OF_A_DIRECTORY, diagnose
from quorate.ops.doctor.evidence import Evidence, Obstacle
from quorate.ops.doctor.findings import Severity
from tests.cli.support import outcome

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
    cluster.gone(3, obstacle=Obstacle.SILENT)


def a_name_that_is_unknown(cluster: Cluster) -> None:
    cluster.gone(3, obstacle=Obstacle.UNKNOWN_NAME)


def a_paused_node(cluster: Cluster) -> None:
    cluster.gone(3, "no answer")
    cluster.looks[3] = {"round_trip": 3.0}


def another_program(cluster: Cluster) -> None:
    cluster.gone(3, "not a node")


def a_mail_server(cluster: Cluster) -> None:
    cluster.gone(3, "no answer")


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


def strangers_where_only_a_node_sees_them(cluster: Cluster) -> None:
    cluster.gone(3, obstacle=Obstacle.SILENT)
    cluster.now[2]["other_cluster_at"] = ["127.0.0.1:8082"]


def a_stranger_at_a_members_address(cluster: Cluster) -> None:
    for reports in (cluster.before, cluster.now):
        reports[3] |= {"cluster_id": "another", "role": "leader", "leader": 3, "term": 9, "version": "0.0.1"}


def another_cluster_asked_as_well(cluster: Cluster) -> None:
    for reports in (cluster.before, cluster.now):
        reports[4] = reports[1] | {"node_id": 1, "address": "127.0.0.1:8083", "cluster_id": "another"}


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


def a_node_to_be_added(cluster: Cluster) -> None:
    for reports in (cluster.before, cluster.now):
        nobody = {"configuration_index": 0, "joint": False, "committed": True, "members": []}
        reports[4] = reports[3] | {"node_id": 4, "address": "127.0.0.1:8083", "member_role": None, "leader": None,
                                   "membership": nobody}  # fmt: skip


def a_node_to_be_added_alone(cluster: Cluster) -> None:
    a_node_to_be_added(cluster)
    for reports in (cluster.before, cluster.now):
        for node_id in (1, 2, 3):
            del reports[node_id]


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
    cluster.now[3]["disk"] |= {"syncs": 1010, "sync_seconds_sum": 3.0}


def a_very_slow_disk(cluster: Cluster) -> None:
    cluster.now[3]["disk"] |= {"syncs": 1002, "sync_seconds_sum": 4.0}


def a_slow_disk_without_a_sync_meanwhile(cluster: Cluster) -> None:
    cluster.now[3]["disk"] |= {"sync_seconds_p99": 0.4, "sync_seconds_last": 0.2}


def a_disk_that_stands_still(cluster: Cluster) -> None:
    for reports in (cluster.before, cluster.now):
        reports[3]["storage"]["unsynced_entries"] = 4


def much_memory(cluster: Cluster) -> None:
    for reports in (cluster.before, cluster.now):
        reports[2]["process"]["resident_bytes"] = 501_000_000


def memory_that_grows(cluster: Cluster) -> None:
    cluster.before[2]["process"]["resident_bytes"] = 200_000_000
    cluster.now[2]["process"]["resident_bytes"] = 310_000_000


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


def a_node_for_chaos(cluster: Cluster) -> None:
    cluster.now[3]["faults"] = {"active": {}, "fired": {}}


def a_node_in_chaos(cluster: Cluster) -> None:
    active = {"links": [], "disk": {"delay_ms": 0, "full": False}, "clock_offset_ms": 5000, "seconds_left": 10}
    cluster.now[3]["faults"] = {"active": active, "fired": {}}


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
    (a_name_that_is_unknown, {"name_is_unknown": WARNING, "no_spare_voter": WARNING}),
    (a_paused_node, {"no_answer": WARNING, "no_spare_voter": WARNING}),
    (another_program, {"not_a_node": WARNING, "no_spare_voter": WARNING}),
    (a_mail_server, {"no_answer": WARNING, "no_spare_voter": WARNING}),
    (a_broken_link, {"nodes_cannot_reach_each_other": WARNING}),
    (a_silent_member, {"member_is_not_heard": WARNING}),
    (a_slow_answer, {"slow_answers": WARNING}),
    (one_id_twice, {"same_id_twice": CRITICAL, "no_spare_voter": WARNING}),
    (
        strangers_where_only_a_node_sees_them,
        {"another_cluster_answers": CRITICAL, "address_is_silent": WARNING, "no_spare_voter": WARNING},
    ),
    (a_stranger_at_a_members_address, {"another_cluster_answers": CRITICAL, "no_spare_voter": WARNING}),
    (another_cluster_asked_as_well, {"another_cluster_answers": WARNING}),
    (four_voters, {"even_voters": WARNING, "learner_waits_for_its_vote": NOTE}),
    (one_voter, {"single_voter": NOTE}),
    (an_older_membership, {"memberships_differ": WARNING}),
    (a_change_under_way, {"change_lasts": NOTE}),
    (a_change_that_lasts, {"change_lasts": WARNING}),
    (a_joining_node, {"joining_node_waits": WARNING}),
    (a_node_to_be_added, {"joining_node_waits": WARNING}),
    (a_node_to_be_added_alone, {"joining_node_waits": WARNING}),
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
    (a_very_slow_disk, {"disk_is_slow": CRITICAL}),
    (a_slow_disk_without_a_sync_meanwhile, {"disk_is_slow": WARNING}),
    (a_disk_that_stands_still, {"disk_stands_still": CRITICAL}),
    (much_memory, {"memory_is_high": WARNING}),
    (memory_that_grows, {"memory_grows": WARNING}),
    (a_busy_core, {"processor_is_busy": NOTE}),
    (an_older_version, {"versions_differ": WARNING}),
    (an_older_app, {"schema_differs": WARNING}),
    (no_app, {"app_is_missing": WARNING}),
    (a_quick_profile, {"acknowledges_before_sync": NOTE}),
    (a_power_loss, {"power_was_lost": WARNING}),
    (another_profile, {"settings_differ": NOTE}),
    (other_timings, {"settings_differ": WARNING}),
    (a_node_for_chaos, {"faults_may_be_injected": NOTE}),
    (a_node_in_chaos, {"faults_may_be_injected": WARNING}),
]


@pytest.mark.parametrize(("wrong", "found"), CASES, ids=[wrong.__name__ for wrong, _ in CASES])
def test_each_thing_that_may_be_wrong_is_found_alone(wrong: Wrong, found: dict[str, Severity]) -> None:
    cluster = Cluster()
    wrong(cluster)
    assert cluster.found() == found
    assert diagnose(cluster.evidence()).severity is max(found.values())


COMMAND = re.compile(r"quorate (?:node|members|status|doctor|inspect|recover) .*?(?=[;:] |, |\. | && |$)")
FILLED_IN = {"@HOST:PORT": "@h:1", "HOST:PORT": "h:1", "DIR": "d", "MODULE:APP": "m:a", " ID": " 9"}


def test_the_commands_that_mend_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    commands: dict[tuple[str, ...], str] = {}
    for wrong, _ in CASES:
        cluster = Cluster()
        wrong(cluster)
        for finding in diagnose(cluster.evidence()).findings:
            mend = finding.mend
            for blank, value in FILLED_IN.items():
                mend = mend.replace(blank, value)
            for command in COMMAND.findall(mend):
                assert re.fullmatch(r"[-\w.:,@/ ]+", command), f"a shell takes something else: {command}"
                shape = tuple(word for word in command.split() if word.startswith("-") or word.isalpha())
                commands.setdefault(shape, command)
    assert len(commands) > 10
    for command in commands.values():
        code, _, err = outcome(capsys, *command.split()[1:], "--help")
        assert code == 0, f"{command}: {err}"


def test_every_check_has_been_shown_something() -> None:
    checks = {check.__name__ for each in OF_A_CLUSTER.values() for check in each}
    assert checks == {name for _, found in CASES for name in found}


def test_every_check_is_in_the_handbook_once() -> None:
    checks = [check.__name__ for table in (OF_A_CLUSTER, OF_A_DIRECTORY) for each in table.values() for check in each]
    assert {name: PAGE.count(f"| `{name}` |") for name in checks} == dict.fromkeys(checks, 1)


def test_without_evidence_nothing_is_looked_at() -> None:
    assert diagnose(Evidence()).found == {}
