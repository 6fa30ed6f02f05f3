"""Judges what a cluster holds against what its clients were told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quorate.ops.history import History, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found. Rows are products; names are unique to one create each."""

    acknowledged: int
    lost: int
    """Acknowledged rows that at least one node lacks."""
    duplicated: int
    """Rows that some node has twice, by name or id, and retries that were refused because they were applied again."""
    altered: int
    """Acknowledged rows that at least one node holds with other values."""
    unexpected: int
    """Rows that some node has, though nobody asked for them or their creation was refused."""
    identical: bool
    """Whether all nodes hold the same rows in the same order."""

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return self.identical and not (self.lost or self.duplicated or self.altered or self.unexpected)


def judge(history: History, rows_by_node: Mapping[int, Sequence[Row]]) -> Verdict:
    """Compare the rows of every node, all of them read after the last write, with ``history``."""
    told = {row["id"]: row for _, row in history.acknowledged}
    may_exist = {row["name"] for row in told.values()} | history.unresolved
    lost: set[str] = set()
    altered: set[str] = set()
    doubled: set[str] = set()
    unexpected: set[str] = set()
    for rows in rows_by_node.values():
        held = {row["id"]: row for row in rows}
        lost |= told.keys() - held.keys()
        altered |= {key for key in told.keys() & held.keys() if told[key] != held[key]}
        for column in ("id", "name"):
            doubled |= {str(value) for value, times in Counter(row[column] for row in rows).items() if times > 1}
        unexpected |= {str(row["name"]) for row in rows if row["name"] not in may_exist}
    acknowledged_twice = len(history.acknowledged) - len({row["name"] for _, row in history.acknowledged})
    everyone = [list(rows) for rows in rows_by_node.values()]
    return Verdict(
        acknowledged=len(history.acknowledged),
        lost=len(lost),
        duplicated=len(doubled) + acknowledged_twice + len(history.refused),
        altered=len(altered),
        unexpected=len(unexpected),
        identical=bool(everyone) and all(rows == everyone[0] for rows in everyone),
    )
