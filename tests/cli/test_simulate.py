"""``quorate simulate``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import quorate.cli.simulate
from quorate.cli.main import main
from quorate.testing.simulation import Report


def outcome(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", *arguments])
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


def test_a_batch_ends_with_its_result(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = outcome(capsys, "--seeds", "3", "--start", "20", "--workers", "1")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "3 passed, 0 failed"
    for word in ("faults", "elections", "ok", "times as fast"):
        assert word in out


def test_workers_give_the_same_result() -> None:
    command = [sys.executable, "-m", "quorate", "simulate", "--seeds", "6", "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "6 passed, 0 failed"


def test_one_seed_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outcome(capsys, "--seed", "20", "--trace")
    assert code == 0
    assert re.search(r"^ +\d+\.\d{6}  node \d +is leader in term \d+$", out, re.MULTILINE)
    assert re.search(r"^ +\d+\.\d{6}  world +all faults end$", out, re.MULTILINE)
    assert out.splitlines()[-1] == "1 passed, 0 failed"


def test_a_failure_says_how_to_see_it_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(seed: int, tell: object = None) -> Report:
        return Report(seed=seed, failure="election safety: nodes 1 and 2", digest="")

    monkeypatch.setattr(quorate.cli.simulate, "run_seed", fail)
    code, out, _ = outcome(capsys, "--seed", "77")
    assert code == 1
    assert "seed 77: election safety: nodes 1 and 2" in out
    assert "quorate simulate --seed 77 --trace" in out
    assert out.splitlines()[-1] == "0 passed, 1 failed"


def test_a_batch_in_which_something_never_happened_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(seeds: range, on_report: Callable[[Report], None], **settings: object) -> None:
        for seed in seeds:
            on_report(Report(seed=seed, failure=None, digest=""))

    monkeypatch.setattr(quorate.cli.simulate, "run_seeds", nothing)
    code, out, _ = outcome(capsys, "--seeds", "300")
    assert code == 1
    assert "never fired: " in out
    assert out.splitlines()[-1] == "300 passed, 0 failed"


def test_a_trace_is_of_one_seed(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = outcome(capsys, "--trace")
    assert code == 2
    assert err.count("\n") == 1


def has_workers(pid: int) -> bool:
    """Whether both workers are started, and an interrupt is no longer ignored for that."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ignored = re.search(r"^SigIgn:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert ignored is not None
    return len(children) >= 2 and not int(ignored[1], 16) & 1 << signal.SIGINT - 1


def is_gone(group: int) -> bool:
    """Whether no process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once it holds; the test's time limit bounds it."""
    while not condition():
        time.sleep(0.01)


def test_an_interrupt_ends_everything_in_good_order() -> None:
    command = [sys.executable, "-m", "quorate", "simulate", "--seeds", "100000", "--workers", "2"]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    wait_until(lambda: has_workers(running.pid))
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does it: to all of them
    out, err = running.communicate(timeout=20)
    assert (running.returncode, err) == (130, "")
    assert out.splitlines()[-1].endswith(" passed, 0 failed")
    wait_until(lambda: is_gone(running.pid))
