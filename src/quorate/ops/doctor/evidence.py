"""What was seen of a cluster, and of a data directory: plain values, and what they say at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from quorate.ops.cluster_status import Report, leading
from quorate.ops.inspect.directory import DirectoryReport


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
    listens: bool | None = None
    """Of a node that could not be asked: whether somebody refused the connection (``False``), or nobody said a word
    (``None``)."""
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
    def answers(self) -> list[Look]:
        """The nodes that answered when they were looked at last."""
        return [look for look in self.looks if look.error is None]

    @cached_property
    def reports(self) -> list[Report]:
        """What they said."""
        return [look.report for look in self.answers]

    @cached_property
    def leader(self) -> Report | None:
        """The report of the leader of the highest term."""
        return leading(self.reports)

    @cached_property
    def membership(self) -> dict[str, Any] | None:
        """The configuration in force, as the leader has it, or whoever has the latest."""
        if self.leader is not None and self.leader["membership"]:
            return dict(self.leader["membership"])
        found = [report["membership"] for report in self.reports if report.get("membership")]
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
        same = (
            look.report for look in self.before if look.error is None and look.report["node_id"] == report["node_id"]
        )
        return next(same, None)

    def member_at(self, address: str) -> int | None:
        """The id of the member whose address this is."""
        return next((node_id for node_id, member in self.members.items() if member["address"] == address), None)

    def cluster_flag(self) -> str:
        """The option that names these nodes, for the commands that mend."""
        return f"--cluster {','.join(look.address for look in self.answers) or ','.join(self.asked)}"
