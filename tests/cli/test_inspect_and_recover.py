"""``quorate inspect`` and ``quorate recover``: what is printed, what is asked, how they end."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from quorate.ops.inspect.directory import inspect_directory
from tests.ops.data_directories import change_identity, footprint, identity_of, make_directory, overwrite, segments

from .support import outcome


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A healthy one."""
    return make_directory(tmp_path / "node1")


def test_a_healthy_directory_as_text(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = outcome(capsys, "inspect", str(directory), "--entries", "9..11", "--payload")
    assert (code, err) == (0, "")
    for words in (
        "node 1 at 127.0.0.1:8080 of cluster 'quorate'",
        "hard state: term 2, vote for node 2; copies: term 2 vote 2",
        "log: entries 1 to 30, the last of term 2",
        "configuration: of entry 10",
        "machine 'default': applied entry 28",
        "table things: 3 rows",
        "  10 term 1 MEMBERSHIP",
        "    4@127.0.0.1:8083 learner",
        "      command 9",
        "nothing is damaged",
    ):
        assert words in out, words
    assert "  12 term 1" not in out


def test_json_holds_everything(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outcome(capsys, "inspect", str(directory), "--json", "--entries", "30")
    report = json.loads(out)
    assert code == 0
    assert report["identity"]["cluster_id"] == "quorate"
    assert report["log"]["last_index"] == 30
    assert [entry["index"] for entry in report["entries"]] == [30]


def test_damage_is_shown_with_its_place_and_the_exit_code(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overwrite(segments(directory)[0], 100, b"\xff\xff")
    before = footprint(directory)
    code, out, _ = outcome(capsys, "inspect", str(directory))
    assert code == 1
    assert footprint(directory) == before
    assert "byte 32: expected entry 1, but its checksum does not match" in out
    assert "entry 2 follows at byte" in out
    assert "nothing is damaged" not in out


@pytest.mark.parametrize(("entries", "indexes"), [("..2", [1, 2]), ("29..", [29, 30]), ("7", [7]), ("40..", [])])
def test_a_range_may_be_open(
    directory: Path, capsys: pytest.CaptureFixture[str], entries: str, indexes: list[int]
) -> None:
    _, out, _ = outcome(capsys, "inspect", str(directory), "--json", "--entries", entries)
    assert [entry["index"] for entry in json.loads(out)["entries"]] == indexes


def test_without_the_flag_nothing_is_recovered_but_all_is_told(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = outcome(capsys, "recover", "--data-dir", str(directory))
    assert (code, err) == (1, "quorate: nothing was changed: it takes --force-new-cluster to do it\n")
    for words in (
        "GIVES UP THE OTHER MEMBERS",
        "its log ends with entry 30 of term 2",
        "Entries up to 28 were",
        "Entries 29 to 30 may never have been, but will take effect",
        "2@127.0.0.1:8081, 3@127.0.0.1:8082, 4@127.0.0.1:8083 (learner)",
    ):
        assert words in out, words
    assert identity_of(directory).cluster_id == "quorate"


@pytest.mark.parametrize(("node_id", "words"), [(4, "This node is a LEARNER"), (7, "This node is NO MEMBER")])
def test_a_node_that_did_not_decide_is_told_apart(
    directory: Path, capsys: pytest.CaptureFixture[str], node_id: int, words: str
) -> None:
    change_identity(directory, node_id=node_id)
    assert words in outcome(capsys, "recover", "--data-dir", str(directory))[1]


@pytest.mark.parametrize("typed", ["", "2\n", "yes\n"])
def test_it_wants_the_node_id_typed(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    code, _, err = outcome(capsys, "recover", "--data-dir", str(directory), "--force-new-cluster")
    assert (code, err) == (1, "quorate: nothing was changed: it was not confirmed\n")
    assert inspect_directory(directory).log.last_index == 30


@pytest.mark.parametrize("typed", [None, " 1 \n"])
def test_confirmed_it_is_done_and_says_how_to_go_on(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, typed: str | None
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed or ""))
    yes = ["--yes"] if typed is None else []
    code, out, err = outcome(
        capsys, "recover", "--data-dir", str(directory), "--force-new-cluster", "--new-cluster-id", "shop-2", *yes
    )
    assert (code, err) == (0, "")
    assert "quorate node --node-id 1 --port 8080 --cluster-id shop-2" in out
    assert "quorate members add N@HOST:PORT --cluster 127.0.0.1:8080" in out
    assert identity_of(directory).cluster_id == "shop-2"
    code, out, _ = outcome(capsys, "inspect", str(directory))
    assert code == 0
    assert "recovered by force: see recovered-" in out
