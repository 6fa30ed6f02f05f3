"""The table of all checks, by subject, and what they make of the evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from quorate.ops.doctor import (
    clocks,
    directory,
    disk,
    leadership,
    membership,
    process,
    reachability,
    replication,
    storage,
    versions,
)
from quorate.ops.doctor.evidence import Evidence
from quorate.ops.doctor.findings import Finding, Severity

Check = Callable[[Evidence], Iterator[Finding]]

OF_A_CLUSTER: Mapping[str, tuple[Check, ...]] = {
    "quorum and leader": (
        leadership.quorum_is_lost,
        leadership.no_leader,
        leadership.two_leaders,
        leadership.node_failed,
        leadership.terms_rise,
        leadership.leaders_disagree,
        leadership.no_spare_voter,
        leadership.node_does_not_serve,
    ),
    "reachability": (
        reachability.nothing_answers,
        reachability.nothing_listens,
        reachability.name_is_unknown,
        reachability.address_is_silent,
        reachability.no_answer,
        reachability.not_a_node,
        reachability.same_id_twice,
        reachability.another_cluster_answers,
        reachability.nodes_cannot_reach_each_other,
        reachability.member_is_not_heard,
        reachability.slow_answers,
    ),
    "membership": (
        membership.even_voters,
        membership.single_voter,
        membership.memberships_differ,
        membership.change_lasts,
        membership.joining_node_waits,
        membership.node_is_no_member,
        membership.node_is_repaired,
        membership.learner_waits_for_its_vote,
        membership.few_copies,
    ),
    "replication": (
        replication.nothing_commits,
        replication.member_lags,
        replication.gets_a_snapshot,
        replication.applies_slowly,
        replication.log_is_not_cut,
    ),
    "clocks": (clocks.clocks_differ, clocks.own_clock_differs),
    "disks": (disk.disk_fills, disk.disk_is_slow, disk.disk_stands_still),
    "processes": (process.memory_is_high, process.memory_grows, process.processor_is_busy),
    "versions and schema": (versions.versions_differ, versions.schema_differs, versions.app_is_missing),
    "storage and settings": (
        storage.acknowledges_before_sync,
        storage.power_was_lost,
        storage.settings_differ,
        storage.faults_may_be_injected,
    ),
}
"""Looked at in this order: what is first may be the cause of what follows."""

OF_A_DIRECTORY: Mapping[str, tuple[Check, ...]] = {
    "data directory": (
        directory.directory_is_new,
        directory.directory_is_none_of_ours,
        directory.directory_is_not_writable,
        directory.directory_disk_fills,
        directory.directory_is_locked,
        directory.directory_is_damaged,
        directory.directory_is_repaired,
        directory.directory_has_another_id,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the checks found: subject → (the check's name, the finding), the worst first."""

    evidence: Evidence
    found: Mapping[str, tuple[tuple[str, Finding], ...]]

    @property
    def findings(self) -> list[Finding]:
        """All of them."""
        return [finding for each in self.found.values() for _, finding in each]

    @property
    def severity(self) -> Severity:
        """The worst; its number is the exit code. A note if nothing was found."""
        return max((finding.severity for finding in self.findings), default=Severity.NOTE)


def diagnose(evidence: Evidence) -> Diagnosis:
    """Go through the table, as far as there is evidence for it."""
    tables = [OF_A_CLUSTER] if evidence.looks else []
    tables += [OF_A_DIRECTORY] if evidence.directory is not None else []
    found: dict[str, tuple[tuple[str, Finding], ...]] = {}
    for table in tables:
        for subject, checks in table.items():
            here = [(check.__name__, finding) for check in checks for finding in check(evidence)]
            found[subject] = tuple(sorted(here, key=lambda each: -each[1].severity))
    return Diagnosis(evidence=evidence, found=found)
