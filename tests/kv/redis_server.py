"""A real ``redis-server`` to compare with: on a socket in a folder of its own, and without anything on disk."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import hiredis
import pytest

from quorate.kv.commands.strings import STRING_BYTES_MAX

START_SECONDS_MAX = 20
PROGRAM = os.environ.get("QUORATE_TEST_REDIS_SERVER", "redis-server")
VERSION = "7.0"
"""The one that our commands answer as. Later ones write other texts here and there."""


class RedisClient:
    """One connection: a command's reply as the bytes that came, and as what they mean."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(START_SECONDS_MAX)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise

    def raw(self, *arguments: bytes) -> bytes:
        """The reply's bytes."""
        self._socket.sendall(hiredis.pack_command(arguments))
        return self.receive()

    def raw_without_waiting(self, *arguments: bytes) -> bytes:
        """The same for a command that may have its client wait: in a transaction it does not."""
        self.raw(b"MULTI")
        queued = self.raw(*arguments)
        if queued.startswith(b"-"):
            self.raw(b"DISCARD")
            return queued
        return self.raw(b"EXEC").removeprefix(b"*1\r\n")

    def receive(self) -> bytes:
        """The bytes of a reply, or of several if they come together."""
        reader, received = hiredis.Reader(), b""
        while reader.gets() is False:
            chunk = self._socket.recv(1 << 16)
            if not chunk:
                raise ConnectionError("redis-server has closed the connection")
            received += chunk
            reader.feed(chunk)
        return received

    def speak(self, version: int) -> None:
        """Use RESP2 or RESP3 from now on."""
        reply = self.raw(b"HELLO", b"%d" % version)
        assert not reply.startswith(b"-"), reply

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def parsed(reply: bytes) -> object:
    """What a reply's bytes mean; an error is a :class:`hiredis.ReplyError`."""
    reader = hiredis.Reader()
    reader.feed(reply)
    return reader.gets()


@contextmanager
def redis_server() -> Iterator[RedisClient]:
    """A client of a server that lives as long; skips the test where there is no such program."""
    program = shutil.which(PROGRAM)
    if program is None:
        pytest.skip(f"there is no {PROGRAM} here to compare with (on Debian and Ubuntu: apt install redis-server)")
    about = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if f"v={VERSION}." not in about:
        pytest.skip(f"{program} is not Redis {VERSION}: {about.strip()}")
    with TemporaryDirectory(prefix="quorate-redis-") as folder:
        process = subprocess.Popen(_command_line(program, Path(folder)), cwd=folder, stdout=subprocess.DEVNULL)
        try:
            client = _connected(Path(folder) / "socket", process)
            try:
                yield client
            finally:
                client.close()
        finally:
            process.terminate()
            process.wait(START_SECONDS_MAX)


def _command_line(program: str, folder: Path) -> Sequence[str]:
    settings = {
        "port": "0",
        "unixsocket": str(folder / "socket"),
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
        "databases": "1",
        "proto-max-bulk-len": str(STRING_BYTES_MAX),
    }
    return [program, *(word for name, value in settings.items() for word in (f"--{name}", value))]


def _connected(path: Path, process: subprocess.Popen[bytes]) -> RedisClient:
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        assert process.poll() is None, f"redis-server has ended with {process.returncode}"
        try:
            return RedisClient(path)
        except OSError:
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.01)
