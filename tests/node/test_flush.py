"""What is applied is found by other connections to the state's file once that was asked for."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from quorate import Node, RaftConfig
from quorate.errors import ReadUnavailable
from quorate.node import applier

from .support import DiskCounter
from .test_life import free_port

COUNTED = "SELECT sum(amount) FROM counted"


async def test_a_flush_shows_what_was_applied_to_other_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applier, "FLUSH_SECONDS", 3600.0)  # none comes by itself
    config = RaftConfig(node_id=1, cluster_nodes=(f"1@127.0.0.1:{free_port()}",), data_dir=tmp_path)
    node = Node(config, machine=DiskCounter())
    with pytest.raises(ReadUnavailable):
        node.flush()
    async with node:
        await node.wait_for_leader()
        await node.propose(b"5")
        other = apsw.Connection(str(tmp_path / "groups" / "0" / "state.sqlite"))
        assert other.execute(COUNTED).get is None
        node.flush()
        assert other.execute(COUNTED).get == 5
        node.flush()
        with node._running_group().applier.paused():
            node.flush()  # which has been done already
        node._running_group().applier.suspend()
        with pytest.raises(ReadUnavailable, match="replaced by a snapshot"):
            node.flush()
        node._running_group().applier.go_on_behind(node.status.applied_index)
        node.flush()
        other.close()
    with pytest.raises(ReadUnavailable):
        node.flush()
