"""What became of seeds: of one, and of many together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from quorate.testing.simulation.faults import FAULTS
from quorate.testing.simulation.keys import EVENTS as OF_KEYS
from quorate.testing.simulation.models import EVENTS as OF_MODELS
from quorate.testing.simulation.tasks import EVENTS as OF_TASKS

BATCH_MIN = 300
"""In a batch of so many seeds every kind of fault must have happened: one that never does tests nothing."""

CONSEQUENCES = (
    "answers lost",
    "client answer lost",
    "client gives up early",
    "client request lost",
    "client request sent twice",
    "failed syncs",
    "failed writes",
    "frames corrupted",
    "frames truncated",
    "half-open connections kept",
    "messages cut",
    "messages dropped",
    "messages duplicated",
    "messages reordered",
    "re-add, emptied",
    "removed nodes told so",
    "writes to a full disk",
    *OF_KEYS,
    *OF_MODELS,
    *OF_TASKS,
)
"""What happens because of faults, or all the time: counted beside the faults themselves, and demanded like them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of one seed. It can be pickled."""

    seed: int
    failure: str | None
    """What was violated; ``None`` if nothing was."""
    digest: str
    """Of the trace: the same in every run of this seed."""
    fired: Counter[str] = field(default_factory=Counter)
    """Faults by kind, and :data:`CONSEQUENCES`."""
    operations: Counter[str] = field(default_factory=Counter)
    """Of clients, by kind and outcome."""
    counts: Counter[str] = field(default_factory=Counter)
    """Elections, messages, entries and so on."""
    simulated_seconds: float = 0.0
    worked_seconds: float = 0.0
    """Of the processor."""


class Summary:
    """Many reports together."""

    def __init__(self) -> None:
        self.passed = 0
        self.failures: dict[int, str] = {}
        """Seed → what was violated."""
        self.fired: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()
        """By outcome."""
        self.counts: Counter[str] = Counter()
        self.simulated_seconds = 0.0
        self.worked_seconds = 0.0

    def add(self, report: Report) -> None:
        """Take in one more."""
        if report.failure is None:
            self.passed += 1
        else:
            self.failures[report.seed] = report.failure
        self.fired.update(report.fired)
        self.counts.update(report.counts)
        for name, count in report.operations.items():
            self.operations[name.partition(": ")[2]] += count
        self.simulated_seconds += report.simulated_seconds
        self.worked_seconds += report.worked_seconds

    @property
    def seeds(self) -> int:
        """How many there were."""
        return self.passed + len(self.failures)

    @property
    def speed(self) -> float:
        """Simulated seconds per second of one worker."""
        return self.simulated_seconds / self.worked_seconds if self.worked_seconds else 0.0

    @property
    def never_fired(self) -> list[str]:
        """What never happened, though so many seeds should have made it happen."""
        if self.seeds < BATCH_MIN:
            return []
        return [name for name in (*FAULTS, *CONSEQUENCES) if not self.fired[name]]

    @property
    def good(self) -> bool:
        """Whether nothing was violated, and everything was tried."""
        return not self.failures and not self.never_fired
