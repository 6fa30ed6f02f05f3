"""``quorate status``: the table, the JSON, the exit code."""

from __future__ import annotations

import json
from typing import Any

import pytest

from quorate.cli import status as status_module
from quorate.cli.main import main

FOLLOWER = {
    "node_id": 1,
    "address": "127.0.0.1:8080",
    "role": "follower",
    "term": 3,
    "leader": 2,
    "commit_index": 41,
    "applied_index": 40,
    "peers": [],
    "version": "0.1.0",
}
LEADER = {
    **FOLLOWER,
    "node_id": 2,
    "address": "127.0.0.1:8081",
    "role": "leader",
    "peers": [{"node_id": 1, "lag": 7}, {"node_id": 3, "lag": 0}],
}
STALE_LEADER = {
    **LEADER,
    "node_id": 3,
    "address": "127.0.0.1:8082",
    "term": 2,
    "peers": [{"node_id": 1, "lag": 99}, {"node_id": 2, "lag": 99}],
}
GONE = {"address": "127.0.0.1:8082", "error": "unreachable"}


def run(monkeypatch: pytest.MonkeyPatch, reports: list[dict[str, Any]], *arguments: str) -> int:
    """The command's exit code when the nodes say ``reports``."""

    async def fetch_statuses(addresses: list[str]) -> list[dict[str, Any]]:
        assert addresses == ["127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8082"]
        return reports

    monkeypatch.setattr(status_module, "fetch_statuses", fetch_statuses)
    with pytest.raises(SystemExit) as ended:
        main(["status", *arguments])
    return int(ended.value.code or 0)


def lines(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The printed words, line by line."""
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, [FOLLOWER, LEADER, GONE]) == 0
    heading, follower, leader, gone = lines(capsys)
    assert heading == [
        *("NODE", "ADDRESS", "ROLE", "TERM", "COMMIT", "APPLIED", "LAG", "SNAPSHOT", "LOG", "STORAGE"),
        *("LEADER", "VERSION"),
    ]
    assert follower == ["1", "127.0.0.1:8080", "follower", "3", "41", "40", "7", "-", "-", "-", "2", "0.1.0"]
    assert leader == ["2", "127.0.0.1:8081", "leader", "3", "41", "40", "0", "-", "-", "-", "2", "0.1.0"]
    assert gone == ["-", "127.0.0.1:8082", "unreachable"]


def test_a_deposed_leader_does_not_say_how_far_the_others_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, [FOLLOWER, LEADER, STALE_LEADER]) == 0
    assert [line[6] for line in lines(capsys)[1:]] == ["7", "0", "0"]


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, [FOLLOWER, LEADER, GONE], "--json") == 0
    assert json.loads(capsys.readouterr().out) == [FOLLOWER, LEADER, GONE]


def test_it_fails_if_no_node_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, [GONE, GONE, GONE]) == 1


def test_a_cluster_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["status", "--cluster", "host"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "quorate: 'host' is no peer: give host:port, a port, or id@host:port\n"


def member(node_id: int, role: str = "voter") -> dict[str, Any]:
    return {"node_id": node_id, "address": f"127.0.0.1:{8079 + node_id}", "role": role, "leaving": False}


def with_members(report: dict[str, Any], *members: dict[str, Any], joint: bool = False, **more: Any) -> dict[str, Any]:
    membership = {"configuration_index": 9, "joint": joint, "members": list(members)}
    return {**report, "membership": membership, **more}


MEMBERS = (member(1), member(2), member(3))


def test_the_table_tells_who_does_not_vote_and_what_the_log_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    learner = {**FOLLOWER, "member_role": "learner", "snapshot_index": 30, "log_bytes": 3 * 2**20}
    mending = {**FOLLOWER, "node_id": 3, "member_role": "voter", "repairing": True, "log_bytes": 2048}
    run(monkeypatch, [learner, with_members(LEADER, *MEMBERS), mending])
    _, first, _, third = capsys.readouterr().out.splitlines()[:4]
    assert first.split()[2] == "learner"
    assert first.split()[7:10] == ["30", "3.0", "MiB"]
    assert "follower, repairing" in third
    assert "2 KiB" in third


def test_a_change_under_way_and_members_that_were_not_asked_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, [FOLLOWER, with_members(LEADER, *MEMBERS, member(4, "learner"), joint=True), GONE])
    *_, unasked, joint = capsys.readouterr().out.splitlines()
    assert unasked == "Members that do not answer, or were not asked: 3@127.0.0.1:8082, 4@127.0.0.1:8083"
    assert joint == "The membership is being changed: joint configuration of entry 9."


def test_it_tells_when_too_few_voters_are_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, [with_members(FOLLOWER, *MEMBERS), GONE, GONE])
    assert capsys.readouterr().out.splitlines()[-1] == (
        "1 of 3 voters answer; a majority is 2: nothing is written now."
    )


def test_it_tells_of_a_node_whose_peers_are_of_another_cluster_now(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given_up = {**FOLLOWER, "cluster_id": "old", "other_cluster_at": ["127.0.0.1:8081"]}
    run(monkeypatch, [with_members(given_up, *MEMBERS), GONE, GONE])
    assert (
        "Node 1 is of cluster 'old', and another cluster's nodes answer at 127.0.0.1:8081: "
        "was it recovered by force without this node?"
    ) in capsys.readouterr().out.splitlines()


def test_what_waits_for_a_sync_and_what_may_be_lost_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A2.53-A2.67."""
    settings = {
        "enable_binary": True, "fsync_on_append": False, "flush_interval_ms": 20,
        "max_events_buffer": 2000, "buffer_size": 1 << 20,
    }  # fmt: skip
    storage = {"settings": settings, "unsynced_entries": 17, "unsynced_bytes": 4096, "power_loss": None}
    quick = {**LEADER, "storage_profile": "balanced", "storage": storage}
    readable = {**settings, "enable_binary": False, "fsync_on_append": True}
    audited = {
        **FOLLOWER,
        "storage_profile": "durable_security",
        "storage": {**storage, "settings": readable, "power_loss": "writes may be missing"},
    }
    assert run(monkeypatch, [audited, quick]) == 0
    heading, follower, leader, *notes = capsys.readouterr().out.splitlines()
    assert heading.split()[9] == "STORAGE"
    assert (follower.split()[9], leader.split()[9]) == ("durable_security", "balanced")
    assert notes[-3:] == [
        "Node 1 writes its log as JSON.",
        "Node 1: writes may be missing.",
        "Node 2 acknowledges before it syncs: 17 entries (4 KiB) wait for that now; at most 2000 entries or 1.0 MiB "
        "do, for 20 ms.",
    ]


def test_nodes_with_another_version_of_the_app_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = {
        "version": 1, "fingerprint": "19ef00112233", "cluster_version": 1, "cluster_fingerprint": "19ef00112233",
        "matches": True, "differing_rules": [],
    }  # fmt: skip
    newer = {**schema, "version": 2, "fingerprint": "25ca44556677", "matches": False, "differing_rules": ["Item.price"]}
    first = {**newer, "cluster_version": None, "cluster_fingerprint": None, "differing_rules": []}
    reports = [{**FOLLOWER, "schema": newer}, {**LEADER, "schema": schema}, {**STALE_LEADER, "schema": first}]
    assert run(monkeypatch, reports) == 0
    assert capsys.readouterr().out.splitlines()[4:] == [
        "Node 1 has version 2 (25ca4455) of the schema, and 1 (19ef0011) is in force; these rules differ: Item.price.",
        "Node 3 has version 2 (25ca4455) of the schema, and none is in force yet.",
    ]


def test_a_port_that_only_peers_are_answered_at_says_nothing_of_writes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    embedded = {"address": "127.0.0.1:8080", "error": "no answer"}
    assert run(monkeypatch, [embedded, GONE, GONE]) == 1
    printed = capsys.readouterr().out
    assert "a node may be embedded in a program" in printed
    assert "nothing is written" not in printed
