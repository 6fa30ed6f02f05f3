"""One node as a process of its own on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quorate.ops.local_process import LocalProcess, tied

HOST = "127.0.0.1"


class LocalNode(LocalProcess):
    """A ``quorate node`` process. ``arguments`` are added to the command line."""

    def __init__(
        self,
        node_id: int,
        port: int,
        data_dir: Path,
        arguments: Sequence[str],
        cwd: Path | None = None,
        *,
        host: str = HOST,
    ) -> None:
        super().__init__(f"node {node_id}", data_dir.with_name(f"{data_dir.name}.log"), cwd)
        self.node_id = node_id
        self.host = host
        self.port = port
        self.address = f"{host}:{port}"
        self.url = f"http://{self.address}"
        self.data_dir = data_dir
        self.arguments = tuple(arguments)

    def _command(self) -> list[str]:
        return self._node_command("quorate")

    def _node_command(self, *program: str) -> list[str]:
        """The command line that runs a node by the module ``program``."""
        place = ("--node-id", str(self.node_id), "--host", self.host, "--port", str(self.port))
        return tied(*program, "node", *place, "--data-dir", str(self.data_dir), *self.arguments)
