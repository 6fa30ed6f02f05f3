"""What clients do, and what must be true of what they were told: one workload per file."""

from __future__ import annotations

from quorate.testing.simulation.workloads.appends import Appends
from quorate.testing.simulation.workloads.bank import Bank
from quorate.testing.simulation.workloads.contract import Workload
from quorate.testing.simulation.workloads.increments import Increments
from quorate.testing.simulation.workloads.kv_expiry import KvExpiry
from quorate.testing.simulation.workloads.kv_flushes import KvFlushes
from quorate.testing.simulation.workloads.kv_locks import KvLocks
from quorate.testing.simulation.workloads.kv_registers import KvRegisters
from quorate.testing.simulation.workloads.kv_revisions import KvRevisions
from quorate.testing.simulation.workloads.kv_transfers import KvTransfers
from quorate.testing.simulation.workloads.model_feeds import ModelFeeds
from quorate.testing.simulation.workloads.model_references import ModelReferences
from quorate.testing.simulation.workloads.model_transfers import ModelTransfers
from quorate.testing.simulation.workloads.model_upgrades import ModelUpgrades
from quorate.testing.simulation.workloads.model_versions import ModelVersions
from quorate.testing.simulation.workloads.registers import Registers
from quorate.testing.simulation.workloads.seats import Seats
from quorate.testing.simulation.workloads.task_effects import TaskEffects
from quorate.testing.simulation.workloads.task_lives import TaskLives

OF_KEYS: tuple[type[Workload], ...] = (KvExpiry, KvFlushes, KvLocks, KvRegisters, KvRevisions, KvTransfers)
"""Those that work on keys."""
OF_MODELS: tuple[type[Workload], ...] = (ModelFeeds, ModelReferences, ModelTransfers, ModelUpgrades, ModelVersions)
"""Those that try what is declared in full."""
OF_TASKS: tuple[type[Workload], ...] = (TaskEffects, TaskLives)
"""Those that work on tasks."""
OTHERS: tuple[type[Workload], ...] = (Appends, Bank, Increments, Registers, Seats)
WORKLOADS: dict[str, type[Workload]] = {
    workload.name: workload for workload in (*OTHERS, *OF_KEYS, *OF_MODELS, *OF_TASKS)
}
"""By name."""

__all__ = [
    "OF_KEYS",
    "OF_MODELS",
    "OF_TASKS",
    "OTHERS",
    "WORKLOADS",
    "Appends",
    "Bank",
    "Increments",
    "KvExpiry",
    "KvFlushes",
    "KvLocks",
    "KvRegisters",
    "KvRevisions",
    "KvTransfers",
    "ModelFeeds",
    "ModelReferences",
    "ModelTransfers",
    "ModelUpgrades",
    "ModelVersions",
    "Registers",
    "Seats",
    "TaskEffects",
    "TaskLives",
    "Workload",
]
