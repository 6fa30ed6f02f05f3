"""The command line as a whole: help, versions, refusals."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from quorate import __version__
from quorate.cli import bench as bench_module
from quorate.cli import node as node_module
from quorate.errors import ConfigError, RemovedFromCluster

from .support import outcome


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(capsys, "--version") == (0, f"quorate {__version__}\n", "")


COMMANDS = [
    [], ["node"], ["worker"], ["status"], ["doctor"], ["demo"], ["bench"], ["bench", "crud"], ["bench", "kv"],
    ["bench", "reads"], ["bench", "stateless"], ["bench", "compare"], ["bench", "idle"], ["inspect"], ["recover"],
    ["members"], ["members", "list"], ["members", "add"], ["members", "promote"], ["members", "demote"],
    ["members", "remove"], ["members", "update"], ["members", "transfer-leader"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_a_help(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    code, out, err = outcome(capsys, *command, "--help")
    assert (code, err) == (0, "")
    assert f"quorate {' '.join(command)}".strip() in out


def test_a_shell_can_complete_commands(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("_QUORATE_COMPLETE", "complete_bash"),
        ("COMP_WORDS", "quorate members t"),
        ("COMP_CWORD", "2"),
    ):
        monkeypatch.setenv(name, value)
    assert outcome(capsys) == (0, "transfer-leader\n", "")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nonsense"], 2, "quorate: No such command 'nonsense'"),
        (["demo", "--port", "70000"], 2, "quorate demo: Invalid value for '--port'"),
        (["demo", "--products", "1"], 2, "quorate demo: Invalid value for '--products'"),
        (["bench", "crud", "--seconds", "0"], 2, "quorate bench crud: Invalid value for '--seconds'"),
        (["bench", "crud", "--connections", "1,x"], 2, "quorate: --connections takes numbers from 1 to 1024"),
        (["bench", "crud", "--preseed", "10"], 2, "quorate: without --mode or --suite all cases are measured"),
        (["bench", "crud", "--mode", "bulk", "--suite", "bulk_vs_single"], 2, "quorate: give either --mode or --suite"),
        (["bench", "crud", "--mode", "random", "--read", "60"], 2, "quorate: creates, reads, updates and deletes make"),
        (["bench", "crud", "--mode", "single", "--light-reads", "count"], 2, "quorate: --create, --read, --update, --"),
        (
            ["bench", "crud", "--suite", "bulk_vs_single", "--rate", "5"],
            2,
            "quorate: --rate does not count with --suite",
        ),
        (["bench", "crud", "--mode", "bulk", "--port", "9000"], 2, "quorate: --failovers and --port count without"),
        (["bench", "idle", "--rows", "0"], 2, "quorate bench idle: Invalid value for '--rows'"),
        (["bench", "crud", "--nodes", "0"], 2, "quorate bench crud: Invalid value for '--nodes'"),
        (["bench", "reads", "--rate", "0"], 2, "quorate bench reads: Invalid value for '--rate'"),
        (["bench", "stateless", "--connections", ","], 2, "quorate: --connections takes numbers from 1 to 1024"),
        (["bench", "compare", "mysql"], 2, "quorate bench compare: Invalid value for 'system'"),
        (["bench", "kv", "--rounds", "0"], 2, "quorate bench kv: Invalid value for '--rounds'"),
        (["bench", "crud", "--model", "small"], 2, "quorate bench crud: Invalid value for '--model'"),
        (["bench", "crud", "--connections", "0"], 2, "quorate: --connections takes numbers from 1 to 1024"),
        (["node", "--node-id", "1", "--port", "x"], 2, "quorate node: Invalid value for '--port': it should"),
        (["node"], 2, "quorate: node_id is required"),
        (["node", "--node-id", "1", "--snapshot-threshold", "0"], 2, "quorate: --snapshot-threshold must be"),
        (["members", "add", "4"], 2, "quorate: '4' names no id"),
        (["members", "add", "nowhere"], 2, "quorate: 'nowhere' is no peer"),
        (["members", "add", "4@8083", "--learner", "--witness"], 2, "quorate: a node is either a --learner"),
        (["members", "add", "4@8083", "--priority", "101"], 2, "quorate members add: Invalid value for '--priority'"),
        (["members", "update", "4"], 2, "quorate: an update changes something"),
        (["members", "remove", "0"], 2, "quorate members remove: Invalid value for 'node_id'"),
        (["members", "remove", "x"], 2, "quorate members remove: Invalid value for 'node_id'"),
        (["members", "list", "--cluster", ""], 2, "quorate: no cluster is given"),
        (["inspect", "/nowhere"], 2, "quorate: there is no directory /nowhere"),
        (["inspect", "/", "--entries", "x"], 2, "quorate: --entries takes FROM..TO"),
        (["inspect", "/", "--payload"], 2, "quorate: --payload goes with --entries"),
        (["recover", "--data-dir", "/nowhere"], 2, "quorate: /nowhere is no data directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    ended, out, err = outcome(capsys, *arguments)
    assert (ended, out) == (code, "")
    assert err.startswith(words)
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["members"], ["bench"]], ids=str)
def test_without_a_subcommand_the_help_is_all_that_is_said(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    ended, out, err = outcome(capsys, *arguments)
    assert (ended, err) == (2, "")
    assert "Usage: quorate" in out


def test_a_node_that_was_removed_has_an_exit_code_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve(settings: object) -> None:
        raise RemovedFromCluster("this node was removed by entry 17")

    monkeypatch.setattr(node_module, "_serve", serve)
    assert outcome(capsys, "node", "--node-id", "1") == (3, "", "quorate: this node was removed by entry 17\n")


def test_a_results_table_is_where_it_says(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "build" / "table.md"
    bench_module._write(None, "nowhere")
    bench_module._write(path, "a page")
    assert (path.read_text(), capsys.readouterr().out) == ("a page", f"The table is in {path}.\n")
    with pytest.raises(ConfigError, match="cannot write"):
        bench_module._write(path / "table.md", "a page")


@pytest.mark.parametrize(
    ("asked", "command"),
    [
        (("bench",), "bench crud --markdown build/bench-crud.md "),
        (("bench", "RESULTS=mine.md"), "bench crud --markdown mine.md "),
        (("bench-kv",), "bench kv --markdown build/bench-kv.md "),
        (("bench-kv", "RESULTS=benchmarks/results/kv.md"), "bench kv --markdown benchmarks/results/kv.md "),
        (("bench-all",), "benchmarks/run_all.py build/results "),
        (("bench-all", "RESULTS=benchmarks/results"), "benchmarks/run_all.py benchmarks/results "),
    ],
)
def test_the_results_that_are_kept_are_written_only_if_that_is_asked_for(asked: tuple[str, ...], command: str) -> None:
    root = Path(__file__).parents[2]
    planned = subprocess.run(["make", "-n", *asked], cwd=root, capture_output=True, text=True, check=True)
    assert command in planned.stdout
