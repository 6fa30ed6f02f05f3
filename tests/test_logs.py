"""The log: its two forms, its rotation (D100), what happens to a cluster in fields, and no secrets in it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from quorate.cli import worker as worker_module
from quorate.config import load_node_config
from quorate.errors import ConfigError
from quorate.logs import LogFormat, LogSettings, begin_logging
from quorate.rest.http_client import HttpClient, RequestFailed
from quorate.testing import TestCluster

from .cli.support import outcome
from .node.support import Counter
from .web.support import free_ports

PASSWORD = "the-keys-password-7f3a"
TOKEN = "the-admins-token-91cc"


@pytest.fixture
def root() -> logging.Logger:
    """The root logger."""
    return logging.getLogger()


def objects(path: Path) -> list[dict[str, Any]]:
    """The lines that are complete, each of which is a JSON object."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def test_json_has_who_when_where_and_the_fields(tmp_path: Path, root: logging.Logger) -> None:
    file = tmp_path / "logs" / "node.log"
    begin_logging(LogSettings(format=LogFormat.JSON, file=file), {"node_id": 3})
    log = logging.getLogger("quorate.node.group")
    log.info("term %d: node %d leads", 4, 1, extra={"event": "leader_elected", "term": 4, "leader": 1})
    log.debug("not at this level")
    logging.getLogger("uvicorn.error").warning("two\nlines")
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("it failed")
    elected, served, failed = objects(file)
    time = datetime.fromisoformat(elected.pop("time"))
    assert abs(time - datetime.now(UTC)) < timedelta(minutes=1)
    assert elected == {
        "level": "INFO",
        "logger": "quorate.node.group",
        "message": "term 4: node 1 leads",
        "node_id": 3,
        "event": "leader_elected",
        "term": 4,
        "leader": 1,
    }
    assert (served["logger"], served["message"]) == ("uvicorn.error", "two\nlines")
    assert "ValueError: broken" in failed["exc_info"]


class Unprintable:
    """Its ``repr`` is a mistake."""

    def __repr__(self) -> str:
        raise RuntimeError("it has no words")


def log_mistakenly(root: logging.Logger, message: str, *arguments: object) -> None:
    """Give the line to our handler alone: that of pytest would not have it."""
    root.handlers[-1].handle(logging.LogRecord("quorate", logging.INFO, __file__, 1, message, arguments, None))


def test_whatever_is_logged_is_a_line_of_json(
    tmp_path: Path, root: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also names of files that are no UTF-8, numbers that are none, and calls that are mistakes."""
    file = tmp_path / "node.log"
    begin_logging(LogSettings(format=LogFormat.JSON, file=file), {"node_id": 3})
    log = logging.getLogger("quorate.somewhere")
    monkeypatch.setattr(log, "handlers", [root.handlers[-1]])
    monkeypatch.setattr(log, "propagate", False)  # what pytest keeps of it, no process could tell another
    log.info("half a pair: %s", "\udcff", extra={"peer": "\ud800", "members": ["\udcff"], "seconds": float("nan")})
    log_mistakenly(root, "not a number: %d", "three")
    log_mistakenly(root, "it is %s", Unprintable())
    log.info("\x00 \x1b[31m \u2028 \U0001f600", extra={"peer": Unprintable()})
    try:
        raise ValueError("\udcff")
    except ValueError:
        log.exception("it failed")
    half, number, words, odd, failed = objects(file)
    assert (half["message"], half["peer"], half["members"]) == ("half a pair: \\udcff", "\\ud800", ["\\udcff"])
    assert half["seconds"] is None
    assert number["message"].startswith("'not a number: %d' (line ")
    assert (number["level"], number["logger"], number["node_id"]) == ("ERROR", "quorate", 3)
    assert "it has no words" in words["message"]
    assert odd["message"] == "\x00 \x1b[31m \u2028 \U0001f600"
    assert "ValueError: \\udcff" in failed["exc_info"]
    assert capsys.readouterr().err == ""


def test_a_terminal_obeys_nothing_that_is_logged(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    begin_logging(LogSettings(), {"node_id": 3})
    logging.getLogger("quorate").warning("\x1b[2J\x07 %s", "\r gone\x9b")
    log_mistakenly(root, "not a number: %d", "three")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("quorate: \\x1b[2J\\x07 \\x0d gone\\x9b")
    assert "cannot be written" in second


def test_the_console_has_a_line_for_people(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    begin_logging(LogSettings(level="warning"), {"node_id": 3})
    logging.getLogger("quorate").warning("node %d stops", 3)
    logging.getLogger("quorate").info("not at this level")
    line = capsys.readouterr().err
    assert line.endswith(" WARNING node 3 quorate: node 3 stops\n")
    assert line.count("\n") == 1


def test_files_are_rotated_by_size_and_the_oldest_go(tmp_path: Path, root: logging.Logger) -> None:
    file = tmp_path / "node.log"
    begin_logging(LogSettings(file=file, rotate_mb=1, backups=2), {"node_id": 1})
    for _ in range(400):
        logging.getLogger("quorate").info("%s", "x" * 10_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node.log", "node.log.1", "node.log.2"]
    assert all(path.stat().st_size <= 1_000_000 for path in tmp_path.iterdir())


def test_a_line_longer_than_a_file_may_be_is_written_all_the_same(tmp_path: Path, root: logging.Logger) -> None:
    file = tmp_path / "node.log"
    begin_logging(LogSettings(file=file, rotate_mb=1, backups=1), {"node_id": 1})
    for _ in range(2):
        logging.getLogger("quorate").info("%s", "x" * 1_100_000)
    assert [path.stat().st_size > 1_100_000 for path in sorted(tmp_path.iterdir())] == [True, True]


def test_a_file_that_was_renamed_is_opened_anew(tmp_path: Path, root: logging.Logger) -> None:
    """What logrotate does, with nobody told of it."""
    file, renamed = tmp_path / "node.log", tmp_path / "node.log-20261122"
    begin_logging(LogSettings(file=file), {"node_id": 1})
    logging.getLogger("quorate").info("before")
    file.rename(renamed)
    logging.getLogger("quorate").info("after")
    file.unlink()
    logging.getLogger("quorate").info("at last")
    assert renamed.read_text().endswith(": before\n")
    assert file.read_text().endswith(": at last\n")
    assert file.read_text().count("\n") == 1


WRITES_LINES = """
import logging, sys
from pathlib import Path
from quorate.logs import LogFile
log = logging.getLogger()
log.setLevel("INFO")
log.addHandler(LogFile(Path(sys.argv[1]), 5000, 100))
input()
for number in range(1000):
    log.info("%s-%d %s", sys.argv[2], number, "x" * 20)
"""


def test_two_processes_rotate_one_file_and_no_line_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "shared.log"
    command = (sys.executable, "-c", WRITES_LINES, str(file))
    writers = [subprocess.Popen((*command, name), stdin=subprocess.PIPE, text=True) for name in "ab"]
    try:
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("\n")
            writer.stdin.flush()
        for writer in writers:
            writer.communicate(timeout=30)
            assert writer.returncode == 0
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    lines = [line.split()[0] for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{name}-{number}" for name in "ab" for number in range(1000))
    assert len(list(tmp_path.iterdir())) > 10
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 5200


def test_a_file_that_cannot_be_written_any_more_is_told_of_once(
    tmp_path: Path, root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "logs"
    begin_logging(LogSettings(file=directory / "node.log"), {"node_id": 1})
    (directory / "node.log").unlink()
    directory.rmdir()
    for _ in range(3):
        logging.getLogger("quorate").info("nowhere to go")
    assert capsys.readouterr().err == f"the log cannot be written to {directory}/node.log: No such file or directory\n"
    directory.mkdir()
    logging.getLogger("quorate").info("here again")
    assert (directory / "node.log").read_text().count("\n") == 1


def test_without_a_size_nothing_is_rotated(tmp_path: Path, root: logging.Logger) -> None:
    file = tmp_path / "node.log"
    begin_logging(LogSettings(file=file, rotate_mb=0), {"node_id": 1})
    for _ in range(120):
        logging.getLogger("quorate").info("%s", "x" * 10_000)
    assert [path.name for path in tmp_path.iterdir()] == ["node.log"]


def test_what_cannot_be_is_said_at_once(tmp_path: Path, root: logging.Logger) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"the log cannot be written to .*node\.log"):
        begin_logging(LogSettings(file=tmp_path / "file" / "node.log"), {"node_id": 1})
    with pytest.raises(ConfigError, match="--log-level is debug, info, warning or error, not 'loud'"):
        LogSettings(level="loud")


def test_flags_variables_and_files_set_it_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "node.toml"
    file.write_text('node_id = 1\nlog_backups = 3\nlog_format = "json"\n')
    monkeypatch.setenv("QUORATE_LOG_ROTATE_MB", "7")
    settings = load_node_config(file, {"log_file": "node.log", "log_level": "DEBUG"})
    assert settings.log == LogSettings(
        level="debug", format=LogFormat.JSON, file=Path("node.log"), rotate_mb=7, backups=3
    )


async def test_what_happens_to_a_cluster_is_a_line_each_with_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    """An election, a partition, a snapshot, a cut of the log, a change of the membership."""
    caplog.set_level(logging.INFO)
    settings = {"snapshot_threshold": 20, "snapshot_trailing_entries": 5}
    async with TestCluster(3, machine=Counter, settings=settings) as cluster:
        old = await cluster.wait_for_leader()
        alone = cluster.partition_network([old.node_id])[0]
        await cluster.wait_until(lambda: not alone.has_majority and cluster.has_leader())
        await cluster.wait_until(lambda: cluster.leader is not old)
        leader = await cluster.wait_for_leader()
        for _ in range(60):
            await leader.propose(b"1")
        await cluster.wait_until(lambda: leader.status.snapshot_index > 20)
        cluster.heal()
        await cluster.wait_for_convergence()
        await leader.members.remove(old.node_id)
    told: dict[str, list[dict[str, Any]]] = {}
    for record in caplog.records:
        told.setdefault(getattr(record, "event", ""), []).append(vars(record))
    assert {(each["term"], each["leader"]) for each in told["leader_elected"]} >= {(leader.status.term, leader.node_id)}
    assert old.node_id in {each["leader"] for each in told["leader_lost"]}
    assert {True, False} <= {each["cut_off"] for each in told["partition_detected"]}
    assert all(each["seconds"] > 0 for each in told["partition_recovered"])
    assert all(each["index"] > 0 for each in told["log_compacted"])
    assert {each["peer"] for each in told["snapshot_sent"]} == {old.node_id}
    assert {each["peer"] for each in told["snapshot_installed"]} == {leader.node_id}
    assert all(each["index"] and "@" in each["members"] for each in told["membership_changed"])


def test_each_process_of_a_worker_has_a_file_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two could not rotate one."""
    started: list[list[str]] = []
    monkeypatch.setattr(worker_module.subprocess, "Popen", lambda command, **_: started.append(list(command)))
    team = worker_module._Team(["worker", "--log-file", "logs/worker.log"], 2, None, Path("logs/worker.log"))
    for position in range(2):
        team._start(position)
    assert [command[-2:] for command in started] == [
        ["--log-file", "logs/worker.1.log"],
        ["--log-file", "logs/worker.2.log"],
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--log-level", "loud"), 2, "quorate: --log-level is debug, info, warning or error, not 'loud'\n"),
        (("--log-format", "xml"), 2, "quorate worker: Invalid value for '--log-format'"),
        (("--log-file", "/proc/none/worker.log"), 2, "quorate: the log cannot be written to /proc/none/worker.log"),
    ],
)
def test_a_worker_refuses_what_cannot_be(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, str], code: int, said: str
) -> None:
    ended, out, err = outcome(capsys, "worker", "--app", "examples.mailer:app", *arguments)
    assert (ended, out) == (code, "")
    assert err.startswith(said)


@pytest.mark.e2e
async def test_a_nodes_whole_life_is_told_in_fields_and_no_secret_is(tmp_path: Path) -> None:
    """At the most talkative level, with passwords and tokens given, right and wrong, and refused requests."""
    (port,) = free_ports(1)
    file = tmp_path / "node.log"
    flags = ("--node-id", "1", "--port", str(port), "--data-dir", str(tmp_path / "data"))
    log = ("--log-file", str(file), "--log-format", "json", "--log-level", "debug", "--statistics-seconds", "0.1")
    command = [sys.executable, "-m", "quorate", "node", *flags, *log]
    secrets = {"QUORATE_KV_PASSWORD": PASSWORD, "QUORATE_ADMIN_TOKEN": TOKEN}
    process = subprocess.Popen(  # noqa: ASYNC220 - for the life of the test
        command, env=os.environ | secrets, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        async with HttpClient() as http, asyncio.timeout(30):
            await _until_healthy(http, port)
            assert b"+OK" in await _redis(port, f"AUTH {PASSWORD}\r\nSET a 1\r\n")
            assert b"WRONGPASS" in await _redis(port, f"AUTH {PASSWORD}x\r\n")
            for token in (TOKEN, f"{TOKEN}x"):
                headers = {"authorization": f"Bearer {token}"}
                await http.post(f"http://127.0.0.1:{port}/cluster/members", {"wrong": True}, headers)
            await _until_told(file, "statistics")
            process.send_signal(signal.SIGHUP)  # what tools send that have renamed the file
            file.rename(before := tmp_path / "before.log")
            await _until_told(file, "statistics")
        process.send_signal(signal.SIGTERM)
        printed, _ = await asyncio.to_thread(process.communicate, timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, printed
    lines = [*objects(before), *objects(file)]
    assert all(line["node_id"] == 1 and line["time"] and line["level"] for line in lines)
    elected = next(line for line in lines if line.get("event") == "leader_elected")
    assert (elected["term"], elected["leader"]) == (1, 1)
    assert lines[-1]["message"] == "node 1 has stopped"
    told = before.read_bytes() + file.read_bytes() + printed
    assert PASSWORD.encode() not in told
    assert TOKEN.encode() not in told


async def _until_healthy(http: HttpClient, port: int) -> None:
    while True:
        try:
            if (await http.get(f"http://127.0.0.1:{port}/health")).status == 200:
                return
        except RequestFailed:
            pass
        await asyncio.sleep(0.02)


async def _until_told(file: Path, event: str) -> None:
    while True:
        with suppress(FileNotFoundError):
            if any(line.get("event") == event for line in objects(file)):
                return
        await asyncio.sleep(0.02)


async def _redis(port: int, commands: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{commands}QUIT\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer
