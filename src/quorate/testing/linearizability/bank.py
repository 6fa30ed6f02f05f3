"""A bank: amounts move between accounts, and every look at all of them must add up."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from quorate.testing.linearizability.model import Model, Read
from quorate.testing.linearizability.operations import Operation, Outcome


@dataclass(frozen=True, slots=True)
class Transfer:
    """Move ``amount`` between two accounts. Answered with True, or with False if ``source`` holds too little."""

    source: Hashable
    target: Hashable
    amount: int

    def __str__(self) -> str:
        return f"transfer {self.amount} from {self.source!r} to {self.target!r}"


Balances: TypeAlias = tuple[int, ...]


class Bank(Model[Balances]):
    """Accounts that are never overdrawn. :class:`Read` is answered with a mapping of every account to its balance.

    The whole bank is one object: leave the operations' keys alone.
    """

    def __init__(self, balances: Mapping[Any, int]) -> None:
        self._accounts = tuple(balances)
        self._place = {account: place for place, account in enumerate(self._accounts)}
        self._start = tuple(balances.values())

    def initial(self) -> Balances:
        """The balances that the bank is created with, in the order of its accounts."""
        return self._start

    def step(self, state: Balances, input: Any, output: Any) -> Balances | None:
        """As :meth:`Model.step`."""
        if type(input) is Transfer:
            covered = state[self._place[input.source]] >= input.amount
            if covered is not output:
                return None
            return self._moved(state, input) if covered else state
        if len(output) != len(state):
            return None
        same = all(output.get(account) == amount for account, amount in zip(self._accounts, state, strict=True))
        return state if same else None

    def step_unknown(self, state: Balances, input: Any) -> Balances | None:
        """As :meth:`Model.step_unknown`."""
        if type(input) is Transfer and state[self._place[input.source]] >= input.amount:
            return self._moved(state, input)
        return None

    def _moved(self, state: Balances, transfer: Transfer) -> Balances:
        balances = list(state)
        balances[self._place[transfer.source]] -= transfer.amount
        balances[self._place[transfer.target]] += transfer.amount
        return tuple(balances)

    def changes_nothing(self, operation: Operation) -> bool:
        """Reads and refused transfers."""
        return type(operation.input) is Read or (operation.outcome is Outcome.OK and operation.output is False)
