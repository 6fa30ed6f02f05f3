"""The search for an order of one object's operations that explains every answer.

Wing and Gong's search ("Testing and verifying concurrent objects", 1993) with Lowe's memory of what was tried
("Testing for linearizability", 2017). A configuration is (answered operations that took effect, unknown operations
that did, state). Next may come whatever was invoked before the first of the remaining answers was received. A
configuration from which nothing leads to the end is not tried twice.

What is left out, and why no order is missed that way:

1. *Unobservable unknowns.* UNKNOWN operations that no order needs, by the model's word (reads among them).
2. *Idle unknowns.* An UNKNOWN operation is not spent where it changes nothing: it may as well never take effect.
3. *Spent unknowns.* Of two configurations that differ only in the unknown operations used up, one having used all that
   the other has and more, the latter can do whatever the former can. This is what a failed configuration rules out.
4. *Twin unknowns.* Of UNKNOWN operations that ask for the same, the one invoked first is used first: it can stand
   wherever the others can.
5. *Pointless unknowns.* If an operation leads to the same state with and without the unknown one just before it, that
   one was not needed; the way without it is being tried.
6. *Reads at once.* An answered operation that never changes a state takes effect as soon as its answer fits: moving
   it forward from anywhere behind changes nothing for the others.
7. *Twin answers.* Of operations that ask for the same and are answered the same, the one answered first comes first:
   exchanging the two in an order keeps to all times.
8. *Missed chances.* If an answer fits one state only, that state never comes back, and something that would leave it
   must come before the answer's operation, then nothing leads to the end.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from quorate.testing.linearizability.model import Model
from quorate.testing.linearizability.operations import Operation, Outcome

NEVER = 1 << 62
"""An instant after every other."""


@dataclass(slots=True)
class Found:
    """How a search ended."""

    possible: bool | None
    """Whether there is an order; None if the search was given up."""
    steps: int
    """How many times an operation was tried in some configuration."""
    order: list[Operation]
    """The order, if there is one. UNKNOWN operations that are not in it do not take effect."""
    stuck: Operation | None
    """If there is none: the first answer that no configuration got beyond."""


class _Node:
    """A configuration. Answered operations are numbered by invocation; all before ``base`` took effect."""

    __slots__ = ("base", "before", "move", "parent", "reads", "state", "used", "window")

    def __init__(
        self, base: int, window: int, used: int, state: Any, before: Any, parent: _Node | None, move: int
    ) -> None:
        self.base = base
        self.window = window  # bit i: whether operation base + i took effect; bit 0 is never set
        self.used = used  # bit i: whether unknown operation i took effect
        self.state = state
        self.before = before  # the state before, if an unknown operation was last
        self.parent = parent
        self.move = move
        self.reads: Sequence[int] = ()  # what took effect here without changing the state


Pending: TypeAlias = list[tuple[_Node, int]]


def search(operations: Sequence[Operation], model: Model[Any], step_limit: int) -> Found:
    """Look for an order of ``operations``, which are those of one key, none of them NOT_APPLIED."""
    return _Search(operations, model.prepared(operations)).run(step_limit)


class _Search:
    def __init__(self, operations: Sequence[Operation], model: Model[Any]) -> None:
        self._model = model
        self._answered = sorted((op for op in operations if op.outcome is Outcome.OK), key=lambda op: op.invoked)
        unknown = (op for op in operations if op.outcome is Outcome.UNKNOWN and not model.unobservable(op))
        self._unknown = sorted(unknown, key=lambda op: op.invoked)
        self._count = len(self._answered)
        self._index_times()
        self._reading = [model.changes_nothing(op) for op in self._answered]
        self._inputs = [op.input for op in (*self._answered, *self._unknown)]
        self._outputs = [op.output for op in self._answered]
        changing = [None if reads else op for op, reads in zip(self._answered, self._reading, strict=True)]
        self._twins = _classes([op and (op.input, op.output) for op in changing])
        classes = _classes([(op.input,) for op in self._unknown])
        self._earlier_twin = [-1] * len(self._unknown)
        last: dict[int, int] = {}
        for place, number in classes.items():
            self._earlier_twin[place] = last.get(number, -1)
            last[number] = place
        self._last_chance: dict[Hashable, int] = {}
        for op, invoked in zip(self._answered, self._invoked, strict=False):
            if (state := model.only_state(op)) is not None:
                self._last_chance[state] = invoked  # the latest: operations are sorted by it
        self._seen: dict[Hashable, list[int]] = {}
        self._furthest = -1

    def _index_times(self) -> None:
        """Turn times into whole numbers: even for invocations, odd, and so later at the same instant, for returns."""
        times = {op.invoked for op in (*self._answered, *self._unknown)}
        times.update(op.returned for op in self._answered if op.returned is not None)
        instants = {time: 2 * place for place, time in enumerate(sorted(times))}
        self._invoked = [*(instants[op.invoked] for op in self._answered), NEVER]
        self._returned = [instants[op.returned] + 1 for op in self._answered if op.returned is not None]
        self._opened = [instants[op.invoked] for op in self._unknown]

    def run(self, step_limit: int) -> Found:
        pending: Pending = []
        steps = 0
        node: _Node | None = _Node(0, 0, 0, self._model.initial(), None, None, -1)
        while True:
            if node is not None and self._expand(node, pending):
                return Found(True, steps, self._order(node), None)
            if not pending:
                place = self._returned.index(self._furthest)
                return Found(False, steps, [], self._answered[place])
            if steps >= step_limit:
                return Found(None, steps, [], None)
            steps += 1
            node = self._follow(*pending.pop())

    def _expand(self, node: _Node, pending: Pending) -> bool:
        """Let the reads that fit take effect, and note what may come next; True if nothing is left to be explained."""
        step, state = self._model.step, node.state
        invoked, returned, reading = self._invoked, self._returned, self._reading
        inputs, outputs = self._inputs, self._outputs
        place, bits = node.base, node.window
        deadline = NEVER
        moves: list[int] = []
        reads: list[int] = []
        # In the order of invocation: what comes next cannot have been answered before it was invoked, so the
        # operations met before the deadline shrinks to its final value were invoked before that as well.
        while invoked[place] < deadline:
            if not bits & 1:
                if not reading[place]:
                    moves.append(place)
                    deadline = min(deadline, returned[place])
                elif step(state, inputs[place], outputs[place]) is not None:
                    reads.append(place)
                else:
                    deadline = min(deadline, returned[place])
            bits >>= 1
            place += 1
        if reads:
            self._absorb(node, reads)
        if deadline == NEVER:
            return True
        self._furthest = max(self._furthest, deadline)
        if self._last_chance.get(state, -1) > deadline:
            return False
        # Last in, first out: first whatever must come soonest, unknown operations only if nothing else helps.
        for place, opened in enumerate(self._opened):
            if opened > deadline:
                break
            twin = self._earlier_twin[place]
            if not node.used >> place & 1 and (twin < 0 or node.used >> twin & 1):
                pending.append((node, self._count + place))
        if len(moves) > 1:
            moves.sort(key=returned.__getitem__)
            if self._twins:
                moves = list(self._first_of_twins(moves))
            moves.reverse()
        pending.extend([(node, move) for move in moves])
        return False

    def _absorb(self, node: _Node, reads: list[int]) -> None:
        node.reads = reads
        node.before = None  # the unknown operation just before was of use
        window = node.window
        for place in reads:
            window |= 1 << (place - node.base)
        node.base, node.window = _shifted(node.base, window)

    def _first_of_twins(self, moves: list[int]) -> Iterator[int]:
        met: set[int] = set()
        for place in moves:
            number = self._twins.get(place)
            if number is None:
                yield place
            elif number not in met:
                met.add(number)
                yield place

    def _follow(self, parent: _Node, move: int) -> _Node | None:
        """The configuration that ``move`` leads to, unless it is impossible or need not be tried."""
        state, before = parent.state, parent.before
        base, window, used = parent.base, parent.window, parent.used
        model, asked = self._model, self._inputs[move]
        if move < self._count:
            output = self._outputs[move]
            after = model.step(state, asked, output)
            if after is None or (before is not None and model.step(before, asked, output) == after):
                return None
            base, window = _shifted(base, window | 1 << (move - base))
            last = None
        else:
            after = model.step_unknown(state, asked)
            if after is None or after == state:
                return None
            if before is not None and model.step_unknown(before, asked) == after:
                return None
            used |= 1 << (move - self._count)
            last = state
        tried = self._seen.setdefault((base, window, after), [])
        for less in tried:
            if less & used == less:
                return None
        tried.append(used)
        return _Node(base, window, used, after, last, parent, move)

    def _order(self, node: _Node | None) -> list[Operation]:
        backwards: list[Operation] = []
        everything = [*self._answered, *self._unknown]
        while node is not None:
            backwards += [self._answered[place] for place in reversed(node.reads)]
            if node.move >= 0:
                backwards.append(everything[node.move])
            node = node.parent
        return backwards[::-1]


def _shifted(base: int, window: int) -> tuple[int, int]:
    """The same set of operations, with as many as possible before ``base``."""
    if window & 1:
        done = (~window & (window + 1)).bit_length() - 1
        return base + done, window >> done
    return base, window


def _classes(items: Sequence[Hashable | None]) -> dict[int, int]:
    """For the places in ``items`` of what is there more than once: a number for each of the classes of equals."""
    places: dict[Hashable, list[int]] = {}
    for place, item in enumerate(items):
        try:
            if item is not None:
                places.setdefault(item, []).append(place)
        except TypeError:  # an answer that cannot be hashed has no twin
            continue
    groups = [group for group in places.values() if len(group) > 1]
    return {place: number for number, group in enumerate(groups) for place in group}
