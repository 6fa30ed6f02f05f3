"""What cannot work ends in one clear line and a non-zero exit, never in a traceback. Stopping is quick and exits 0."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.ops.local_cluster import LocalCluster
from quorate.ops.ports import free_ports

from .support import leader_and_followers, quorate


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port on which something listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_ports(1)[0]))
        taken.listen()
        yield taken.getsockname()[1]


def refusal(*arguments: str, cwd: Path | None = None) -> str:
    """The one line with which the command gives up."""
    ended = quorate(*arguments, cwd=cwd)
    assert ended.returncode not in (0, None)
    told = [line for line in ended.stderr.splitlines() if " INFO " not in line and " WARNING " not in line]
    assert len(told) == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.returncode > 0
    return told[0]


def node(tmp_path: Path, *arguments: str, port: int | None = None) -> tuple[str, ...]:
    """A command line for one node."""
    chosen = str(port or free_ports(1)[0])
    return ("node", "--node-id", "1", "--port", chosen, "--data-dir", str(tmp_path / "data"), *arguments)


def test_a_busy_port(tmp_path: Path, busy_port: int) -> None:
    assert f"cannot listen on 127.0.0.1:{busy_port}" in refusal(*node(tmp_path, port=busy_port))


def test_a_busy_port_for_the_demo(tmp_path: Path, busy_port: int) -> None:
    line = refusal("demo", "--port", str(busy_port - 1), "--data-dir", str(tmp_path))
    assert f"cannot listen on 127.0.0.1:{busy_port}: Address already in use" in line


async def test_a_data_directory_in_use(shared_cluster: LocalCluster) -> None:
    used = next(iter(shared_cluster.nodes.values()))
    line = refusal("node", "--node-id", "1", "--port", str(free_ports(1)[0]), "--data-dir", str(used.data_dir))
    assert f"{used.data_dir} is in use by process {used.pid}" in line


@pytest.mark.parametrize("kind", ["file", "below a file", "unwritable"])
def test_a_directory_that_cannot_be_used(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("not a directory")
    directory = {
        "file": tmp_path / "file",
        "below a file": tmp_path / "file" / "data",
        "unwritable": Path("/proc/quorate"),  # not even for root
    }[kind]
    command = ("node", "--node-id", "1", "--port", str(free_ports(1)[0]), "--data-dir", str(directory))
    assert str(directory) in refusal(*command)
    assert str(directory) in refusal("demo", "--port", str(free_ports(3)[0]), "--data-dir", str(directory))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--peers", "nowhere:port"], "'nowhere:port' is no peer"),
        (["--peers", "127.0.0.1:99999"], "is no peer"),
        (["--frobnicate"], "No such option"),
        (["--port", "eighty"], "Invalid value for '--port'"),
        (["--port", "0"], "port"),
        (["--node-id", "0"], "--node-id must be from 1 to 999999999, not 0"),
        (["--log-level", "loud"], "--log-level must be"),
        (["--preset", "moon"], "preset"),
        (["--app", "examples.nothing:app"], "examples.nothing"),
        (["--app", "nonsense"], "'nonsense' does not name an app"),
        (["--app", "json:app"], "json"),
        (["--app", "json:dumps"], "not a quorate.App"),
        (["--config", "/nowhere.toml"], "cannot read /nowhere.toml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_flag(tmp_path: Path, arguments: list[str], words: str) -> None:
    assert words in refusal(*node(tmp_path, *arguments))


def test_an_app_that_fails_to_import(tmp_path: Path) -> None:
    (tmp_path / "broken_app.py").write_text("1 / 0\n")
    line = refusal(*node(tmp_path, "--app", "broken_app:app"), cwd=tmp_path)
    assert "ZeroDivisionError: division by zero" in line


@pytest.mark.parametrize("arguments", [[], ["node"], ["bench"], ["nonsense"]], ids=" ".join)
def test_a_command_that_is_incomplete(arguments: list[str]) -> None:
    ended = quorate(*arguments)
    assert ended.returncode != 0
    assert "Traceback" not in ended.stdout + ended.stderr


async def test_sigterm_ends_a_node_quickly_with_exit_code_0(shared_cluster: LocalCluster) -> None:
    leader, followers = await leader_and_followers(shared_cluster)
    for stopped in (followers[0], leader):
        stopped.terminate()
        assert await stopped.wait_ended(10) == 0
        assert "Traceback" not in stopped.log_path.read_text()
        stopped.start()
        await shared_cluster.wait_formed()
