"""What the node tests may ask for."""

from __future__ import annotations

import pytest


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts come as soon as they are due; what was sent to the dead is soon forgotten, and the log kept for them."""
    monkeypatch.setattr("quorate.node.snapshots.compaction.POLL_SECONDS", 0.02)
    monkeypatch.setattr("quorate.node.snapshots.compaction.RETRY_SECONDS", 0.05)
    monkeypatch.setattr("quorate.node.snapshots.outgoing.LINGER_SECONDS", 0.5)
