"""``quorate members``: what is asked of the cluster, what is printed, how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quorate.cli import members as members_module
from quorate.errors import MembershipConflict, OutcomeUnknown, QuorateError
from quorate.ops.members import ClusterUnreachable, Refused, WaitedInVain, Waiting

from .support import outcome


def member(node_id: int, **values: Any) -> dict[str, Any]:
    return {
        "node_id": node_id,
        "address": f"127.0.0.1:{8079 + node_id}",
        "role": "voter",
        "priority": 1,
        "promote": False,
        "leaving": False,
        "connected": True,
        "match_index": 41,
        "lag": 0,
        "repairing": False,
        "snapshot": False,
        **values,
    }


REPORT: dict[str, Any] = {
    "configuration_index": 17,
    "joint": False,
    "committed": True,
    "leader": 2,
    "leader_address": "127.0.0.1:8081",
    "members": [
        member(1),
        member(2),
        member(3, connected=False, match_index=None, lag=None),
        member(4, role="learner", promote=True, lag=12, priority=0),
    ],
}


class FakeCluster:
    """Stands for the client; remembers what it was asked."""

    asked: list[tuple[Any, ...]]
    refusal: QuorateError | None = None
    report: dict[str, Any] = REPORT

    admin_token: str | None = None

    def __init__(self, addresses: list[str], *, admin_token: str | None = None) -> None:
        type(self).asked = [("cluster", *addresses)]
        type(self).admin_token = admin_token

    async def __aenter__(self) -> FakeCluster:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def look(self) -> dict[str, Any]:
        return self._answer("look")

    async def change(self, *arguments: Any, expect: int | None = None) -> dict[str, Any]:
        return self._answer("change", *arguments, expect)

    change_and_look = change

    async def wait_for(
        self, node_id: int, seconds: float, *, role: str, progress: Callable[[Waiting], None]
    ) -> dict[str, Any]:
        for lag in (300, 200, 100):
            progress(Waiting(f"it is still a learner and lacks {lag} entries", lag))
        return self._answer("wait", node_id, seconds, role)

    def _answer(self, *asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        if self.refusal is not None:
            raise self.refusal
        return self.report


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeCluster]:
    """The cluster that the command talks to."""

    class Fake(FakeCluster):
        pass

    monkeypatch.setattr(members_module, "ClusterMembers", Fake)
    return Fake


def test_the_list(fake: type[FakeCluster], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = outcome(capsys, "members", "list", "--cluster", "8080,8081")
    assert (code, err) == (0, "")
    assert fake.asked == [("cluster", "127.0.0.1:8080", "127.0.0.1:8081"), ("look",)]
    heading, first, second, third, fourth, summary = [line.split() for line in out.splitlines()]
    assert heading == ["NODE", "ADDRESS", "MEMBER", "PRIORITY", "STATE", "MATCH", "LAG"]
    assert first == ["1", "127.0.0.1:8080", "voter", "1", "ok", "41", "0"]
    assert second[4] == "leader"
    assert third[4:] == ["not", "connected", "-", "-"]
    assert fourth == ["4", "127.0.0.1:8083", "learner", "0", "to", "be", "promoted", "41", "12"]
    assert " ".join(summary) == "the configuration of entry 17; node 2 leads"


def test_json(fake: type[FakeCluster], capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(outcome(capsys, "members", "list", "--json")[1]) == REPORT


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["promote", "4", "--no-wait"], ("change", "POST", "members/4/promote", None)),
        (["demote", "4", "--expect", "17"], ("change", "POST", "members/4/demote", None, 17)),
        (["remove", "4"], ("change", "DELETE", "members/4", None, None)),
        (["update", "4", "--priority", "0"], ("change", "PATCH", "members/4", {"priority": 0}, None)),
        (["update", "4", "--address", "x:1"], ("change", "PATCH", "members/4", {"address": "x:1"}, None)),
        (["transfer-leader"], ("change", "POST", "leader", {}, None)),
        (["transfer-leader", "3"], ("change", "POST", "leader", {"node_id": 3}, None)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_asked(
    fake: type[FakeCluster], capsys: pytest.CaptureFixture[str], arguments: list[str], asked: tuple[Any, ...]
) -> None:
    code, _, err = outcome(capsys, "members", *arguments)
    assert (code, err) == (0, "")
    assert fake.asked[1:] == [asked]


def test_an_added_node_is_waited_for_and_numbers_that_change_are_no_news(
    fake: type[FakeCluster], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = outcome(capsys, "members", "add", "4@8083", "--priority", "2", "--timeout", "5")
    body = {"node_id": 4, "address": "127.0.0.1:8083", "role": "voter", "priority": 2}
    assert fake.asked[1:] == [("change", "POST", "members", body, None), ("wait", 4, 5.0, "voter")]
    assert (code, err) == (0, "node 4: it is still a learner and lacks 300 entries\n")
    assert out.startswith("NODE")


@pytest.mark.parametrize(("flag", "role"), [("--learner", "learner"), ("--witness", "witness")])
def test_a_node_can_be_added_for_something_else(
    fake: type[FakeCluster], capsys: pytest.CaptureFixture[str], flag: str, role: str
) -> None:
    assert outcome(capsys, "members", "add", "4@8083", flag, "--no-wait")[0] == 0
    assert fake.asked[1][3]["role"] == role


def test_a_warning_goes_to_standard_error(fake: type[FakeCluster], capsys: pytest.CaptureFixture[str]) -> None:
    fake.report = {**REPORT, "warning": "4 voters survive one failure, no more than 3 do: have an odd number"}
    code, out, err = outcome(capsys, "members", "list")
    assert (code, err) == (0, f"warning: {fake.report['warning']}\n")
    assert "warning" not in out


@pytest.mark.parametrize(
    "refusal",
    [
        Refused("node 4 is a member already"),
        MembershipConflict("another change is under way"),
        OutcomeUnknown("it may have been done"),
        ClusterUnreachable("no node answers"),
        WaitedInVain("node 4 is still a learner"),
    ],
    ids=lambda refusal: type(refusal).__name__,
)
def test_every_failure_is_one_line(
    fake: type[FakeCluster], capsys: pytest.CaptureFixture[str], refusal: QuorateError
) -> None:
    fake.refusal = refusal
    assert outcome(capsys, "members", "remove", "4") == (1, "", f"quorate: {refusal}\n")


def test_the_admin_token_comes_from_a_variable_or_a_file(
    fake: type[FakeCluster], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert outcome(capsys, "members", "list")[0] == 0
    assert fake.admin_token is None
    file = tmp_path / "token"
    file.write_text("in-a-file\n")
    assert outcome(capsys, "members", "--admin-token-file", str(file), "list")[0] == 0
    assert fake.admin_token == "in-a-file"
    monkeypatch.setenv("QUORATE_ADMIN_TOKEN", "in-a-variable")
    assert outcome(capsys, "members", "list")[0] == 0
    assert fake.admin_token == "in-a-variable"
    code, _, error = outcome(capsys, "members", "--admin-token-file", str(file), "list")
    assert (code, error.count("\n")) == (2, 1)
    assert "not both" in error
