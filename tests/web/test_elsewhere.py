"""Requests that wait for the declarations to be in force."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from quorate.errors import NodeStopped
from quorate.web.elsewhere import Elsewhere


async def test_who_waits_is_sent_away_when_the_node_is_about_to_stop() -> None:
    declarations = SimpleNamespace(are_served=False, are_stored=False, version=0)
    node = SimpleNamespace(peer_schemas={2: "same"}, leader=2, is_draining=True)
    elsewhere = Elsewhere(cast("Any", node), cast("Any", SimpleNamespace(declarations=declarations)), "same")
    for writes in (True, False):
        with pytest.raises(NodeStopped):
            await elsewhere.address(writes=writes)
    declarations.are_served = declarations.are_stored = True
    assert await elsewhere.address(writes=True) is None
