"""``quorate doctor``: what it prints, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from quorate.cli import doctor as doctor_module
from quorate.ops.doctor.evidence import Evidence
from quorate.ops.doctor.findings import Severity
from tests.ops.clinic import Cluster
from tests.ops.data_directories import make_directory

from .support import outcome

ADDRESSES = "127.0.0.1:8080,127.0.0.1:8081,127.0.0.1:8082"


def shown(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    async def look_at_cluster(addresses: Sequence[str], seconds: float) -> Evidence:
        assert (",".join(addresses), seconds) == (ADDRESSES, 2.0)
        return cluster.evidence()

    monkeypatch.setattr(doctor_module, "look_at_cluster", look_at_cluster)


def test_all_is_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shown(monkeypatch, Cluster())
    code, out, err = outcome(capsys, "doctor")
    assert (code, err) == (0, "")
    *subjects, _, summary = out.splitlines()
    assert len(subjects) == 9
    assert all(line.endswith("  fine") for line in subjects)
    assert summary == "3 of 3 nodes answered, 10 s long: all is well."


@pytest.mark.parametrize(
    ("offset", "code", "counted"), [(0.0, 0, "all is well"), (-2.0, 1, "1 warning"), (3600.0, 3, "1 critical")]
)
def test_the_exit_code_is_the_worst_of_what_is_found(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    offset: float,
    code: int,
    counted: str,
) -> None:
    cluster = Cluster()
    cluster.clocks[3] = offset
    shown(monkeypatch, cluster)
    ended, out, _ = outcome(capsys, "doctor", "--cluster", ADDRESSES)
    assert ended == code
    assert out.endswith(f": {counted}.\n")


def test_notes_are_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster()
    cluster.member(3, role="witness")
    shown(monkeypatch, cluster)
    code, out, _ = outcome(capsys, "doctor")
    assert code == 0
    assert "\n  note  With 1 witness of 3 voters" in out
    assert "\n    cause  A witness votes" in out
    assert "\n    mend   Start one more node with data, and add it: quorate members add 4@HOST:PORT" in out


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster()
    cluster.gone(3)
    cluster.clocks[2] = 0.25
    shown(monkeypatch, cluster)
    code, out, _ = outcome(capsys, "doctor", "--json")
    report = json.loads(out)
    assert (code, report["severity"], report["data_dir"]) == (1, "warning", None)
    assert report["nodes"][1] == {
        "address": "127.0.0.1:8081",
        "node_id": 2,
        "role": "follower",
        "error": None,
        "round_trip_ms": 2.0,
        "clock_offset_ms": pytest.approx(250, abs=0.01),
    }
    assert report["nodes"][2]["error"] == "unreachable"
    reachability = next(each for each in report["checks"] if each["subject"] == "reachability")
    (finding,) = reachability["findings"]
    assert (finding["check"], finding["severity"]) == ("nothing_listens", "warning")
    assert {"what", "cause", "mend"} <= set(finding)


def test_a_directory_alone_asks_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(make_directory(tmp_path / "node1"))
    code, out, _ = outcome(capsys, "doctor", "--data-dir", path, "--node-id", "2")
    assert code == Severity.CRITICAL
    assert out.startswith("data directory  1 critical")
    assert "belongs to node 1, not to node 2" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--cluster", "host"), 2, "quorate doctor: Invalid value for --cluster: 'host' is no peer: give host:port,"),
        (("--cluster", ","), 2, "quorate doctor: Invalid value for --cluster: no cluster is given:"),
        (("--node-id", "2"), 2, "quorate doctor: Invalid value for --node-id: it goes with --data-dir."),
        (("--seconds", "0"), 2, "quorate doctor: Invalid value for '--seconds'"),
        (("--patience",), 2, "quorate doctor: No such option: --patience"),
    ],
)
def test_what_is_called_wrongly_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: Sequence[str], code: int, said: str
) -> None:
    ended, out, err = outcome(capsys, "doctor", *arguments)
    assert (ended, out) == (code, "")
    assert err.startswith(said)
    assert err.count("\n") == 1
