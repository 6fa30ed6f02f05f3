"""What must hold of strong reads: that they are fresh, and that nobody relies on a lease that has passed to another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quorate.node.group import Group
from quorate.raft.core import RaftCore
from quorate.raft.output import ReadReady
from quorate.testing.simulation.evidence import Evidence
from quorate.testing.simulation.knowledge import Invariant, Knowledge, Violation

FRESH = "strong reads are fresh (thesis §6.4)"


class LeasesAreExclusive(Invariant):
    """Thesis §6.4.1: while a leader may answer from its lease, nobody else commits anything."""

    name = "leases are exclusive (thesis §6.4.1)"

    def changed(self, evidence: Evidence, core: RaftCore) -> None:
        if not core.config.lease_reads or core.log.committed <= evidence.committed:
            return
        for other, now in self.known.lease_holders():
            leadership = other._leadership
            if other is core or leadership is None or other.log.committed >= core.log.committed:
                continue
            if leadership.reads._has_lease(other.log.committed, now):
                self.fail(
                    f"node {other.node_id} has the lease of term {other.term} and knows {other.log.committed} entries "
                    f"to be committed; node {core.node_id} commits {core.log.committed} in term {core.term}"
                )


def watch_reads(group: Group, known: Knowledge, abort: Callable[[BaseException], None]) -> None:
    """§8, thesis §6.4: neither a read index nor what a read sees is below what was committed before it began."""
    core, gate = group.core, group._reads
    ask, confirm, enter = core.read_index, gate.confirmed, gate.enter
    begun: dict[int, int] = {}

    def entered(future: asyncio.Future[None], deadline: float) -> None:
        least = len(known.committed)

        def ended(_: asyncio.Future[None]) -> None:
            let_pass = not future.cancelled() and future.exception() is None
            if let_pass and group.applied_index < least:
                found = f"node {core.node_id} lets a read pass at {group.applied_index}; when it began {least} entries"
                abort(Violation(FRESH, f"{found} were committed"))

        future.add_done_callback(ended)
        enter(future, deadline)

    def read_index(token: int, now: int) -> None:
        begun[token] = len(known.committed)
        ask(token, now)

    def confirmed(read: ReadReady, applied_index: int) -> None:
        least = begun.pop(read.token, 0)
        if read.index is not None and read.index < least:
            found = f"node {core.node_id} reads at {read.index}; when the read began {least} entries were committed"
            abort(Violation(FRESH, found))
        confirm(read, applied_index)

    core.read_index = read_index  # type: ignore[method-assign]
    gate.confirmed = confirmed  # type: ignore[method-assign]
    gate.enter = entered  # type: ignore[method-assign]
