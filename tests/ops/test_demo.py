"""The demo's status line."""

from __future__ import annotations

from quorate.ops.demo import status_line

GONE = {"address": "127.0.0.1:8082", "error": "unreachable"}


def test_a_cluster_with_a_leader() -> None:
    leader = {"role": "leader", "term": 3, "commit_index": 41, "applied_index": 40}
    follower = {"role": "follower", "term": 3, "commit_index": 40, "applied_index": 39}
    stale = {"role": "leader", "term": 2, "commit_index": 9, "applied_index": 9}
    line = status_line([follower, leader, GONE])
    assert line == "term 3, committed 41 | 1: follower 39 | 2: leader 40 | 3: gone"
    assert status_line([stale, leader]) == "term 3, committed 41 | 1: leader 9 | 2: leader 40"


def test_a_cluster_without_a_leader() -> None:
    candidate = {"role": "candidate", "term": 4, "commit_index": 1, "applied_index": 1}
    assert status_line([GONE, candidate, GONE]) == "no leader | 1: gone | 2: candidate 1 | 3: gone"
