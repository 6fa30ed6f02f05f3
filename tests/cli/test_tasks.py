"""``quorate tasks`` against a running node: what is printed in each format, how it ends, what it says when it fails."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from quorate.ops.ports import free_ports

from .support import outcome

TASK_KEYS = {"task_id", "status", "queue", "type", "payload", "attempt", "submitted_at"}


class Running:
    """A node process, and what a worker would ask of it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"content-type": "application/json"} if content else {})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        assert answer.status < 300, text
        return json.loads(text) if text else None

    def lease(self, queue: str) -> dict[str, Any]:
        """A task of that queue, claimed."""
        claimed = self.ask("POST", "/api/v1/workers/w/claim", {"wait": 20, "queues": [queue]})
        (leased,) = claimed["tasks"]
        return dict(leased)

    def kill(self, queue: str) -> str:
        """A task that is dead."""
        body = {"type": "t", "queue": queue, "max_retries": 0}
        task_id = str(self.ask("POST", "/api/v1/tasks", body)["task_id"])
        token = self.lease(queue)["token"]
        self.ask("POST", f"/api/v1/tasks/{task_id}/fail", {"token": token, "error": "it broke"})
        return task_id


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One node, which is a cluster."""
    (port,) = free_ports(1)
    directory = tmp_path_factory.mktemp("node")
    command = [sys.executable, "-m", "quorate", "node", "--node-id", "1", "--port", str(port), "--data-dir"]
    log = (directory / "log").open("wb")
    process = subprocess.Popen([*command, str(directory / "data")], stdout=log, stderr=subprocess.STDOUT)
    node = Running(port)
    try:
        _until_healthy(node)
        yield node
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _until_healthy(node: Running) -> None:
    ends = time.monotonic() + 30
    while True:
        try:
            node.ask("GET", "/health")
            return
        except (OSError, AssertionError):
            assert time.monotonic() < ends, "the node does not serve"
            time.sleep(0.05)


@pytest.fixture(autouse=True)
def _cluster(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found by the variable, behind one that is not there."""
    (dead,) = free_ports(1)
    monkeypatch.setenv("QUORATE_CLUSTER", f"{dead},{running.port}")


Capture = pytest.CaptureFixture[str]


def done(capsys: Capture, *arguments: str) -> str:
    """What a command printed that went well."""
    code, out, err = outcome(capsys, "tasks", *arguments)
    assert (code, err) == (0, ""), (out, err)
    return out


def document(capsys: Capture, *arguments: str) -> Any:
    """The same as JSON."""
    return json.loads(done(capsys, *arguments, "--format", "json"))


def test_a_task_is_submitted_and_shown_in_each_format(capsys: Capture) -> None:
    arguments = ["submit", "send", '{"to": "änn"}', "--id", "a1", "--queue", "one", "--priority", "7"]
    submitted = document(capsys, *arguments)
    assert submitted == {"task_id": "a1", "status": "ready"}
    assert yaml.safe_load(done(capsys, *arguments, "--format", "yaml")) == submitted  # it is the same task
    task = document(capsys, "status", "a1")
    assert task.keys() >= TASK_KEYS
    assert (task["payload"], task["priority"], task["queue"]) == ({"to": "änn"}, 7, "one")
    assert yaml.safe_load(done(capsys, "status", "a1", "-f", "yaml")) == task
    rows = dict(line.split(maxsplit=1) for line in done(capsys, "status", "a1").splitlines())
    assert (rows["task_id"].strip(), rows["status"].strip(), rows["payload"].strip()) == (
        "a1",
        "ready",
        '{"to": "änn"}',
    )
    assert "worker" not in rows


def test_everything_that_a_task_may_be_told(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    document(capsys, "submit", "send", "--id", "before", "-q", "two")
    (tmp_path / "payload.json").write_text("[1]")
    options = ["--timeout", "30s", "--max-retries", "1", "--ttl", "1d", "--retention", "60", "--unique-key", "k"]
    more = ["--depends-on", "before", "--capability", "gpu", "--capability", "big", "--delay", "1h"]
    path = f"@{tmp_path / 'payload.json'}"
    task_id = document(capsys, "submit", "send", path, "-q", "two", *options, *more)["task_id"]
    task = document(capsys, "status", task_id)
    assert (task["status"], task["payload"], task["timeout_ms"], task["max_retries"]) == ("waiting", [1], 30_000, 1)
    assert (task["capabilities"], task["unique_key"]) == (["big", "gpu"], "k")
    assert task["waits_for"] == [{"task_id": "before", "status": "ready"}]
    assert "before (ready)" in done(capsys, "status", task_id)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    monkeypatch.setattr("sys.stdin", io.StringIO('"from a pipe"'))
    task_id = document(capsys, "submit", "send", "-", "-q", "two", "--run-at", tomorrow)["task_id"]
    task = document(capsys, "status", task_id)
    assert (task["payload"], task["status"]) == ("from a pipe", "scheduled")


def test_it_may_wait_for_the_end(capsys: Capture, running: Running) -> None:
    def work(how: str, body: dict[str, Any]) -> None:
        leased = running.lease("waited")
        running.ask("POST", f"/api/v1/tasks/{leased['task_id']}/{how}", {"token": leased["token"], **body})

    arguments = ["tasks", "submit", "t", "-q", "waited", "--wait", "-f", "json"]
    for how, body, code, state in (
        ("complete", {"result": 7}, 0, "succeeded"),
        ("fail", {"error": "no", "retry": False}, 1, "dead"),
    ):
        worker = threading.Thread(target=work, args=(how, body))
        worker.start()
        ended = outcome(capsys, *arguments)
        worker.join()
        assert (ended[0], json.loads(ended[1])["status"]) == (code, state)
    code, _, err = outcome(capsys, "tasks", "submit", "t", "--wait", "--cron", "* * * * *")
    assert (code, err.count("\n")) == (2, 1)


def test_lists_are_filtered_and_paged(capsys: Capture) -> None:
    for number in range(3):
        document(capsys, "submit", "listed", "--id", f"l{number}", "-q", "listed")
    heading, *rows = done(capsys, "list", "--queue", "listed", "--status", "ready,running").splitlines()
    assert heading.split()[:4] == ["TASK", "STATUS", "QUEUE", "TYPE"]
    assert [row.split()[0] for row in rows] == ["l2", "l1", "l0"]
    page = document(capsys, "list", "--type", "listed", "--limit", "2")
    assert [task["task_id"] for task in page["tasks"]] == ["l2", "l1"]
    table = done(capsys, "list", "--type", "listed", "--limit", "2")
    assert f"--after {page['next']}" in table
    rest = document(capsys, "list", "--type", "listed", "--after", page["next"])
    assert [task["task_id"] for task in rest["tasks"]] == ["l0"]
    assert document(capsys, "list", "--worker", "nobody")["tasks"] == []


def test_tasks_are_cancelled_and_tried_again(capsys: Capture, running: Running) -> None:
    document(capsys, "submit", "t", "--id", "c1", "-q", "ended")
    assert done(capsys, "cancel", "c1") == ""
    assert document(capsys, "retry", "c1")["status"] == "ready"
    running.lease("ended")
    code, out, err = outcome(capsys, "tasks", "cancel", "c1")
    assert (code, out) == (1, "")
    assert err == "quorate: the task c1 is running: it can only be cancelled with force\n"
    assert done(capsys, "cancel", "c1", "--force") == ""


def test_dead_letters(capsys: Capture, running: Running) -> None:
    one, two = running.kill("dying"), running.kill("dying")
    table = done(capsys, "dead", "--queue", "dying")
    assert (one in table, two in table, "failed: it broke" in table) == (True, True, True)
    assert document(capsys, "retry", one)["status"] == "ready"
    assert document(capsys, "retry", "--dead", "--queue", "dying") == {"retried": 1}
    running.kill("lost")
    assert document(capsys, "purge", "--dead", "--queue", "lost") == {"purged": 1}
    assert document(capsys, "dead", "-q", "lost") == {"tasks": [], "next": None}


def test_queues_are_counted_paused_and_purged(capsys: Capture) -> None:
    document(capsys, "submit", "t", "-q", "full")
    document(capsys, "submit", "t", "-q", "full", "--delay", "60")
    assert document(capsys, "pause", "full")["paused"] is True
    (row,) = [line for line in done(capsys, "queues").splitlines() if line.startswith("full ")]
    assert row.split()[:4] == ["full", "paused", "2", "1000000"]
    assert document(capsys, "resume", "full")["paused"] is False
    stats = document(capsys, "stats")
    assert stats["queues"]["full"]["ready"] == 1
    (row,) = [line for line in done(capsys, "stats").splitlines() if line.startswith("full ")]
    assert row.split()[:4] == ["full", "1", "0", "1"]
    assert document(capsys, "purge", "-q", "full", "--status", "scheduled") == {"purged": 1}
    assert outcome(capsys, "tasks", "queues", "--remove", "full")[::2] == (
        1,
        "quorate: the queue full is in use: 1 of its tasks has not ended\n",
    )
    document(capsys, "pause", "full")
    assert document(capsys, "purge", "-q", "full") == {"purged": 1}
    left = document(capsys, "queues", "--remove", "full")["queues"]
    assert "full" not in [queue["name"] for queue in left]


def test_workers(capsys: Capture, running: Running) -> None:
    running.ask("PUT", "/api/v1/workers/bob", {"queues": ["mail"], "capabilities": ["gpu"], "concurrency": 3})
    (row,) = [line for line in done(capsys, "workers").splitlines() if line.startswith("bob")]
    assert row.split()[1:6] == ["mail", "all", "gpu", "0", "3"]
    (worker,) = document(capsys, "workers")["workers"]
    assert worker["worker_id"] == "bob"


def test_schedules(capsys: Capture) -> None:
    arguments = ["submit", "report", "--cron", "0 6 * * *", "--timezone", "Europe/Berlin", "--id", "morning"]
    assert document(capsys, *arguments)["name"] == "morning"
    row = done(capsys, "schedules").splitlines()[1]
    assert row.split()[:2] == ["morning", "0"]
    assert document(capsys, "schedules", "--remove", "morning") == {"schedules": []}
    assert outcome(capsys, "tasks", "schedules", "--remove", "morning")[0] == 1


def test_lists_are_shown_to_their_ends(capsys: Capture, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quorate.cli.tasks.LIMIT_MAX", 1)
    for name in ("ann", "bob", "cy"):
        running.ask("PUT", f"/api/v1/workers/{name}", {})
    assert [worker["worker_id"] for worker in document(capsys, "workers")["workers"]] == ["ann", "bob", "cy"]
    for name in ("ann", "bob", "cy"):
        running.ask("DELETE", f"/api/v1/workers/{name}")


def test_who_removes_what_the_program_declares_is_told_that_it_comes_back(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def ask(nodes: object, method: str, path: str, *_: object, **__: object) -> dict[str, Any]:
        asked.append(f"{method} {path.partition('?')[0]}")
        return {"name": "nightly", "declared": True, "schedules": [], "next": None}

    monkeypatch.setattr("quorate.cli.tasks._ask", ask)
    code, _, err = outcome(capsys, "tasks", "schedules", "--remove", "nightly")
    assert (code, asked) == (0, ["GET schedules/nightly", "DELETE schedules/nightly", "GET schedules"])
    assert "the program declares the schedule nightly" in err
    assert "it comes back" in err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["submit", "t", "{"], 2, "quorate: the payload is not valid JSON"),
        (["submit", "t", "@/no/such/file"], 2, "quorate: /no/such/file: No such file"),
        (["submit", "a b"], 1, "quorate: type: should be"),
        (["submit", "t", "--delay", "soon"], 1, "quorate: delay: should be"),
        (["submit", "t", "--depends-on", "nobody"], 1, "quorate: there is no task nobody to depend on"),
        (["status", "nobody"], 1, "quorate: there is no task nobody"),
        (["status", "../../status"], 1, "quorate: there is no task ../../status"),
        (["list", "--status", "asleep"], 1, "quorate: status: Query parameter should be of"),
        (["retry"], 2, "quorate: name one task"),
        (["retry", "a", "--dead"], 2, "quorate: name one task"),
        (["purge"], 2, "quorate: name the queue"),
        (["queues", "--remove", "nowhere"], 1, "quorate: there is no queue nowhere"),
        (["stats", "--cluster", ""], 2, "quorate: no cluster is given"),
    ],
    ids=str,
)
def test_what_goes_wrong_is_said_in_one_line(capsys: Capture, arguments: list[str], code: int, said: str) -> None:
    ended, out, err = outcome(capsys, "tasks", *arguments)
    assert (ended, out) == (code, "")
    assert err.startswith(said)
    assert err.count("\n") == 1


def test_what_is_called_wrongly_ends_with_2(capsys: Capture) -> None:
    for arguments in (["submit"], ["submit", "t", "--priority", "256"], ["stats", "--format", "xml"], ["nothing"], []):
        assert outcome(capsys, "tasks", *arguments)[0] == 2


def test_nobody_there(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quorate.cli.tasks.PATIENCE_SECONDS", 0.1)
    one, two = free_ports(2)
    code, _, err = outcome(capsys, "tasks", "stats", "--cluster", f"{one},{two}")
    assert (code, err.count("\n")) == (1, 1)
    assert "refused" in err


@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_looking_on_ends_by_ctrl_c_and_that_is_no_failure(form: str) -> None:
    process = _begin("stats", "--watch", "--format", form)
    assert process.stdout is not None
    first = [process.stdout.readline() for _ in range(2)]
    assert all(first)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")
    if form == "json":
        assert [json.loads(line)["schedules"] for line in first] == [0, 0]  # one line for each look
    if form == "yaml":
        assert list(yaml.safe_load_all(b"".join(first) + out))


def test_changes_are_followed_as_they_come(running: Running) -> None:
    processes = [_begin("watch", "--queue", "watched", "-f", form) for form in ("table", "json")]
    try:
        told: list[list[bytes]] = [[], []]
        readers = [
            threading.Thread(target=lambda at=at: told[at].append(processes[at].stdout.readline()))  # type: ignore[misc,union-attr]
            for at in range(2)
        ]
        for reader in readers:
            reader.start()
        ends = time.monotonic() + 30
        while any(reader.is_alive() for reader in readers):  # they may not have begun to look
            assert time.monotonic() < ends
            running.ask("POST", "/api/v1/tasks", {"type": "t", "queue": "watched"})
            running.ask("POST", "/api/v1/tasks", {"type": "t", "queue": "other"})
            time.sleep(0.05)
        assert b"ready" in told[0][0]
        change = json.loads(told[1][0])
        assert (change["queue"], change["status"], change["type"]) == ("watched", "ready", "t")
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
    assert [process.returncode for process in processes] == [0, 0]


def _begin(*arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "quorate", "tasks", *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
