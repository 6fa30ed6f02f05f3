"""What clients do, and what must be true of what they were told: one workload per file."""

from __future__ import annotations

from quorate.testing.simulation.workloads.appends import Appends
from quorate.testing.simulation.workloads.bank import Bank
from quorate.testing.simulation.workloads.contract import Workload
from quorate.testing.simulation.workloads.increments import Increments
from quorate.testing.simulation.workloads.registers import Registers
from quorate.testing.simulation.workloads.seats import Seats

WORKLOADS: dict[str, type[Workload]] = {
    workload.name: workload for workload in (Appends, Bank, Increments, Registers, Seats)
}
"""By name."""

__all__ = ["WORKLOADS", "Appends", "Bank", "Increments", "Registers", "Seats", "Workload"]
