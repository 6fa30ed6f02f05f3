"""How a node presents itself to its peers."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from quorate._version import __version__
from quorate.config import RaftConfig
from quorate.transport.contract import Identity

DECLARED = "declared "
"""How a schema begins that is put in force by the log."""


def identity_of(config: RaftConfig, rng: Random, *, schema: str = "", machines: Iterable[str] = ()) -> Identity:
    """The node's identity for one process start: a new incarnation with each call. ``machines`` are those it runs.

    Nodes of another ``schema`` are refused, for the same log would give them another state; see :func:`are_compatible`.
    """
    return Identity(
        cluster_id=config.cluster_id,
        node_id=config.node_id,
        address=config.address,
        incarnation=rng.getrandbits(63),
        software=f"quorate {__version__}",
        schema=schema,
        machines=tuple(machines),
    )


def are_compatible(schema: str, other: str) -> bool:
    """Whether nodes of these schemas may talk to each other.

    Those that begin with :data:`DECLARED` may: the log says which of them is in force, every node applies by that one,
    and those that do not know it stop.
    """
    return schema == other or (schema.startswith(DECLARED) and other.startswith(DECLARED))
