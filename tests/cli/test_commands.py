"""The command line as a whole: help, versions, refusals."""

from __future__ import annotations

import pytest

from quorate import __version__
from quorate.cli.main import main


def outcome(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    code = ended.value.code
    assert isinstance(code, int)
    return code, captured.out, captured.err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(capsys, "--version") == (0, f"quorate {__version__}\n", "")


@pytest.mark.parametrize("command", [[], ["node"], ["status"], ["demo"], ["bench"], ["bench", "crud"]], ids=" ".join)
def test_every_command_has_a_help(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    code, out, err = outcome(capsys, *command, "--help")
    assert (code, err) == (0, "")
    assert f"quorate {' '.join(command)}".strip() in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nonsense"], 2, "quorate: No such command 'nonsense'"),
        (["demo", "--port", "70000"], 2, "quorate demo: Invalid value for '--port'"),
        (["demo", "--products", "1"], 2, "quorate demo: Invalid value for '--products'"),
        (["bench", "crud", "--seconds", "0"], 2, "quorate bench crud: Invalid value for '--seconds'"),
        (["bench", "crud", "--connections", "1,x"], 1, "quorate: --connections takes numbers from 1 to 1024"),
        (["bench", "crud", "--connections", "0"], 1, "quorate: --connections takes numbers from 1 to 1024"),
        (["node", "--node-id", "1", "--port", "x"], 2, "quorate node: Invalid value for '--port'"),
        (["node"], 1, "quorate: node_id is required"),
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
