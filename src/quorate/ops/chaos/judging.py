"""Judges a run: is everything there that was acknowledged, once, on every node; and are the answers linearizable?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quorate.ops.calls.judge import ListVerdict, judge_calls, judge_lists
from quorate.ops.calls.record import OK, Call, Verb
from quorate.ops.chaos.readback import Held
from quorate.testing.linearizability import Verdict

DIFFERENCES_MAX = 3
UNDECIDED = f": {Verdict.UNDECIDED.value}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency:
    """What became of the promises."""

    nodes: int
    """How many of them could be read."""
    lists: ListVerdict
    """Of the node on which most of them were broken."""
    differing: int
    """Keys of which some node has another value than the first one."""
    linearizable: bool | None
    """``None``: nobody knows, for the search was given up."""
    findings: list[str]

    @property
    def percent(self) -> float:
        """Of what was acknowledged, how much is there, once, on every node; less what is there and should not be."""
        if not self.nodes:
            return 0.0
        total = max(1, self.lists.acknowledged)
        return 100.0 * max(0, total - self.lists.broken - self.differing) / total


def judge(calls: Sequence[Call], held: Mapping[int, Held]) -> Consistency:
    """Hold what the nodes have, by their ids, against what the clients were told in ``calls``.

    Of nodes that are not among them nothing is known: if none is, only the answers are judged.
    """
    findings = []
    verdicts = []
    for node_id, each in held.items():
        verdict = judge_lists(calls, each.lists)
        verdicts.append(verdict)
        if not verdict.good:
            findings.append(f"node {node_id} does not hold what was told: {verdict}")
    differing: set[str] = set()
    for node_id, each in held.items():
        first_id, first = next(iter(held.items()))
        names = sorted(_differences(first, each))
        differing.update(names)
        if names:
            shown = ", ".join(names[:DIFFERENCES_MAX])
            findings.append(f"nodes {first_id} and {node_id} differ in {len(names)} keys: {shown}")
    broken = judge_calls([*calls, *(read for each in held.values() for read in each.calls(calls))])
    linearizable = None if broken and all(UNDECIDED in told for told in broken) else not broken
    acknowledged = sum(1 for call in calls if call.verb is Verb.APPEND and call.outcome == OK)
    return Consistency(
        nodes=len(held),
        lists=max(verdicts, key=lambda each: each.broken, default=unread(acknowledged)),
        differing=len(differing),
        linearizable=linearizable,
        findings=findings + broken,
    )


def unread(acknowledged: int) -> ListVerdict:
    """What is known where nothing could be read."""
    return ListVerdict(acknowledged=acknowledged, lost=0, duplicated=0, refused_but_there=0, never_sent=0)


def _differences(first: Held, other: Held) -> set[str]:
    lists = {name for name in first.lists | other.lists if first.lists.get(name) != other.lists.get(name)}
    registers = first.registers | other.registers
    return lists | {name for name in registers if first.registers.get(name) != other.registers.get(name)}
