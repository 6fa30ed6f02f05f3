"""How a node presents itself to its peers."""

from __future__ import annotations

from random import Random

from quorate._version import __version__
from quorate.config import RaftConfig
from quorate.transport.contract import Identity


def identity_of(config: RaftConfig, rng: Random, *, schema: str = "") -> Identity:
    """The node's identity for one process start: a new incarnation with each call.

    Nodes of another ``schema`` are refused: the same log would give them another state.
    """
    return Identity(
        cluster_id=config.cluster_id,
        node_id=config.node_id,
        address=config.address,
        incarnation=rng.getrandbits(63),
        software=f"quorate {__version__}",
        schema=schema,
    )
