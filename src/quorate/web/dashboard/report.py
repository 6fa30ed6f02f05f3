"""What a node tells a dashboard of itself: its status, and what it has counted."""

from __future__ import annotations

import asyncio
from typing import Any

from quorate.measures import Histogram
from quorate.node.node import Node
from quorate.node.timeline import rfc3339
from quorate.raft.roles import Role
from quorate.web.status import StatusPages

Report = dict[str, Any]


class Lately:
    """What a histogram has counted since it was asked the last time."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._since = list(histogram.counts)

    def lately(self) -> Report | None:
        """p50, p95 and p99 in seconds, and of how many; ``None`` if there were none."""
        since, self._since = self._since, list(self._histogram.counts)
        count = sum(self._since) - sum(since)
        if not count:
            return None
        quantiles = {f"p{percent}": self._histogram.quantile(percent / 100, since) for percent in (50, 95, 99)}
        return {"count": count, **quantiles}


class Reporter:
    """Of one node."""

    def __init__(self, node: Node, status: StatusPages) -> None:
        self._node = node
        self._status = status
        self._commits = Lately(node.figures.commit_seconds)
        self._proposals = Lately(node.figures.proposals.seconds)

    async def measure(self) -> Report:
        """``/status``, and the counters since the node was started."""
        figures = self._node.figures
        report = self._status.report()
        return {
            **report,
            "elections": self._elections(),
            "lag_seconds": self._lag_seconds(report),
            "latency": {"commit": self._commits.lately(), "proposal": self._proposals.lately()},
            "counters": {
                "proposals": figures.proposals.outcomes,
                "commands_applied": figures.commands_applied,
                "commands_logged": figures.commands_logged,
            },
        }

    def _lag_seconds(self, report: Report) -> dict[str, float]:
        """For how long each other member has lacked something, by its id; as the leader alone can tell."""
        appended, now = self._node.figures.appended, asyncio.get_running_loop().time()
        members = report["membership"].members if report["role"] == Role.LEADER.value else ()
        return {
            str(member.node_id): appended.seconds_behind(member.match_index, now)
            for member in members
            if member.match_index is not None and member.node_id != report["node_id"]
        }

    def _elections(self) -> Report:
        """``count`` and ``seconds`` are of those that this node has seen end; it ``stood`` in some, and ``won``."""
        timeline = self._node.timeline
        elections = timeline.elections
        return {
            "count": elections.count,
            "seconds_sum": round(elections.sum, 6),
            "seconds_last": timeline.election_seconds_last,
            "leaders": timeline.counts["leader_elected"],
            "stood": timeline.roles_taken[Role.CANDIDATE],
            "won": timeline.roles_taken[Role.LEADER],
            "elected_at": None if timeline.elected_at_us is None else rfc3339(timeline.elected_at_us),
        }
