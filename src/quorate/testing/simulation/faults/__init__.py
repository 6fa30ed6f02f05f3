"""What goes wrong, one file per part of the world. A kind of fault is a function; :data:`FAULTS` knows them all."""

from __future__ import annotations

from quorate.testing.simulation.faults import disk, leaders, membership, network, process, time
from quorate.testing.simulation.faults.nemesis import Fault, Nemesis

_PARTS = (network, leaders, process, disk, time, membership)
FAULTS: dict[str, Fault] = {fault.name: fault for part in _PARTS for fault in part.FAULTS}
"""Every kind of fault that a run may enable, by name."""

__all__ = ["FAULTS", "Fault", "Nemesis"]
