"""What was seen of a cluster, and of a data directory: plain values, and what they say at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from quorate.ops.cluster_status import Report, leading
from quorate.ops.inspect.directory import DirectoryReport

ANSWER_SECONDS_MAX = 3.0
"""A node that says nothing for so long does not answer."""


class Obstacle(StrEnum):
    """Why no connection can be made."""

    REFUSED = "refused"
    """The machine is there, and nothing listens at the port."""
    UNKNOWN_NAME = "unknown name"
    SILENT = "silent"
    """Nothing comes back, or there is no route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One node, asked once. Times are in seconds."""

    address: str
    """Where it was asked."""
    report: Report
    """What it said; without an answer, its ``address`` and an ``error``."""
    asked_at: float = 0.0
    """Since 1970, by the clock of the machine that asks."""
    round_trip: float = 0.0
    obstacle: Obstacle | None = None
    """Of a node that could not be asked: what kept the question from it."""
    unhealthy: str | None = None
    """Why it cannot serve a strong read just now, if it says so."""

    @property
    def error(self) -> str | None:
        """Why there is no report."""
        return self.report.get("error")

    @property
    def called(self) -> str:
        """The node in a sentence."""
        return f"node {self.report['node_id']}" if self.error is None else self.address


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A data directory that was looked into."""

    path: str
    report: DirectoryReport | None
    """``None`` if nothing of ours is in it: ``problem`` says why."""
    problem: str | None = None
    is_new: bool = False
    """It is empty, or not there yet."""
    free_bytes: int | None = None
    total_bytes: int | None = None
    is_writable: bool = True
    node_id: int | None = None
    """The id that the node is to be started with, if that was said."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that checks go by. ``before`` and ``looks`` are of the same addresses, ``seconds`` apart."""

    asked: tuple[str, ...] = ()
    """The addresses that were given; members that were not among them are looked at as well."""
    before: tuple[Look, ...] = ()
    looks: tuple[Look, ...] = ()
    seconds: float = 0.0
    directory: Directory | None = None

    @cached_property
    def cluster_id(self) -> Any:
        """The cluster that is looked at: most of the nodes that answered are of it; or else, the first."""
        counts = Counter(look.report.get("cluster_id") for look in self.looks if look.error is None)
        return max(counts, key=counts.__getitem__, default=None)

    @cached_property
    def answers(self) -> list[Look]:
        """The nodes of the cluster that answered when they were looked at last."""
        return [look for look in self.looks if look.error is None and look.report.get("cluster_id") == self.cluster_id]

    @cached_property
    def strangers(self) -> list[Look]:
        """The nodes of other clusters that answered: no other judgement is about them."""
        return [look for look in self.looks if look.error is None and look.report.get("cluster_id") != self.cluster_id]

    @cached_property
    def reports(self) -> list[Report]:
        """What the nodes of the cluster said."""
        return [look.report for look in self.answers]

    @cached_property
    def holders(self) -> list[Report]:
        """Those of the members that hold data: no witnesses."""
        return [report for report in self.reports if report.get("member_role") in ("voter", "learner")]

    @cached_property
    def leader(self) -> Report | None:
        """The report of the leader of the highest term."""
        return leading(self.reports)

    @cached_property
    def membership(self) -> dict[str, Any] | None:
        """The configuration in force, as the leader has it, or whoever has the latest."""
        if self.leader is not None and self.leader["membership"]:
            return dict(self.leader["membership"])
        found = [
            report["membership"] for report in self.reports if report.get("membership") and not awaits_admission(report)
        ]
        return max(found, key=lambda each: int(each["configuration_index"]), default=None)

    @cached_property
    def members(self) -> dict[int, dict[str, Any]]:
        """The members of that configuration, by their ids."""
        return {member["node_id"]: member for member in self.membership["members"]} if self.membership else {}

    @cached_property
    def voters(self) -> set[int]:
        """Who decides; before the cluster is formed, nobody is known to."""
        return {
            node_id for node_id, member in self.members.items() if member["role"] != "learner" and not member["leaving"]
        }

    @cached_property
    def answering(self) -> set[int]:
        """The ids of the nodes that answered."""
        return {report["node_id"] for report in self.reports}

    @property
    def majority(self) -> int:
        """So many voters decide; while they are not known, of the addresses."""
        return (len(self.voters) or len(self.looks)) // 2 + 1

    def earlier(self, report: Report) -> Report | None:
        """What the same node said the first time."""
        names = ("node_id", "address", "cluster_id")
        for look in self.before:
            if look.error is None and all(look.report.get(name) == report.get(name) for name in names):
                return look.report
        return None

    def member_at(self, address: str) -> int | None:
        """The id of the member whose address this is."""
        return next((node_id for node_id, member in self.members.items() if member["address"] == address), None)

    def cluster_flag(self) -> str:
        """The option that names the members that answer, for the commands that mend."""
        members = [look.address for look in self.answers if look.report["node_id"] in self.members]
        return f"--cluster {','.join(members or [look.address for look in self.answers] or self.asked)}"

    def add(self) -> str:
        """The command that adds a node which is yet to be started."""
        return f"quorate members add {max(self.members, default=0) + 1}@HOST:PORT {self.cluster_flag()}"

    def start(self, node_id: int | None, address: str) -> str:
        """The command that runs the node with this id and address."""
        host, _, port = address.rpartition(":")
        known = [f"{number}@{member['address']}" for number, member in self.members.items() if number != node_id]
        others = known or [each for each in self.asked if each != address]
        peers = f" --peers {','.join(others)}" if others else ""
        app = " --app MODULE:APP" if any(report.get("schema") for report in self.reports) else ""
        return f"quorate node --node-id {node_id or 'ID'} --host {host} --port {port}{peers} --data-dir DIR{app}"


def awaits_admission(report: Report) -> bool:
    """Whether a node runs, and waits for ``quorate members add``: it knows of no cluster yet."""
    membership = report.get("membership")
    return membership is not None and not membership["members"]


def host_and_port(address: str) -> tuple[str, str]:
    """An address as other programs take it: an IPv6 host has no brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), port
