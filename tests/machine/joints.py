"""Machines for joint commands, which keep in memory what has to be undone with the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quorate.errors import CommandFailed
from quorate.machine.commands import JOINT, Command
from quorate.machine.contract import ApplyContext, CachedStateMachine, DiskStateMachine, Rows
from quorate.machine.digest import Hash
from quorate.machine.joint import Part, encode_parts
from quorate.machine.sqlite import SqliteState

from .support import Refusal, obey


class Account(DiskStateMachine):
    """Amounts in a table, each once, with an id; their ``count`` and ``total`` in memory.

    A command is an amount. Zero and those that would make the total negative are refused, and so is an amount that is
    there already: that by the table, behind what was changed in memory.
    """

    def __init__(self, name: str) -> None:
        self._table = name
        self.steps = 0
        self.closed_steps = 0

    def open(self, state: SqliteState) -> None:
        self.connection = state.connection
        self.connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self._table} (number INTEGER PRIMARY KEY, amount INTEGER UNIQUE, id TEXT)"
        )
        self.count, self.total = self.counted

    @property
    def counted(self) -> tuple[int, int]:
        """What the table says."""
        found: tuple[int, int] = self.connection.execute(
            f"SELECT count(*), coalesce(sum(amount), 0) FROM {self._table}"
        ).get
        return found

    @property
    def rows(self) -> list[Any]:
        return self.connection.execute(f"SELECT amount, id FROM {self._table} ORDER BY number").fetchall()

    def apply(self, command: bytes, context: ApplyContext) -> object:
        if command == b"steps":
            return self._long()
        obey(command)
        amount = int(command)
        if self.total + amount < 0:
            raise Refusal("overdrawn", amount)
        self.connection.execute(
            f"INSERT INTO {self._table} (amount, id) VALUES (?, ?)",
            (amount, f"{context.uuid7()}/{context.random_seed}"),
        )
        self.count += 1
        self.total += amount
        return self.total

    def _long(self) -> Any:
        self.steps += 1
        yield

    def mark(self) -> tuple[int, int]:
        return self.count, self.total

    def undo(self, mark: tuple[int, int]) -> None:
        assert self.counted == mark, "the file first"
        self.count, self.total = mark


class Stock(CachedStateMachine):
    """Counts in memory by what commands add or take; ``told`` hears of each. A checkpoint takes several bits."""

    def __init__(self, name: str) -> None:
        self._table = name
        self.local_tables = frozenset({name})  # type: ignore[misc]  # of which there may be several
        self.total = 0
        self.ids: list[str] = []
        self.told: list[int] = []
        self.bits_of_checkpoint = 3
        self.turns_round = False
        """Whether it refuses what it had found good."""

    def open(self, state: SqliteState) -> None:
        self.connection = state.connection
        self.connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self._table} (only INTEGER PRIMARY KEY, total INTEGER, ids TEXT)"
        )
        found = self.connection.execute(f"SELECT total, ids FROM {self._table}").fetchone()
        self.total, self.ids = (found[0], found[1].split()) if found else (0, [])

    def check(self, command: bytes, context: ApplyContext) -> None:
        context.uuid7()
        obey(command)
        if self.total + int(command) < 0:
            raise Refusal("sold out", self.total)

    def apply(self, command: bytes, context: ApplyContext) -> object:
        if self.turns_round:
            raise CommandFailed("no more")
        self.check(command, context.of_part(0, 0))
        self.total += int(command)
        self.ids.append(f"{context.uuid7()}/{context.random_seed}")
        self.told.append(self.total)
        return self.total

    def begin_checkpoint(self) -> None:
        self.writing, self.bits = (self.total, " ".join(self.ids)), self.bits_of_checkpoint

    def write_checkpoint(self, seconds: float) -> bool:
        self.bits -= 1
        if self.bits:
            return False
        self.connection.execute(f"INSERT OR REPLACE INTO {self._table} VALUES (1, ?, ?)", self.writing)
        return True

    def checkpoint_rows(self) -> list[Rows]:
        return [Rows(f"SELECT * FROM {self._table}", (), f"INSERT OR REPLACE INTO {self._table} VALUES (?, ?, ?)")]

    def digest_into(self, digest: Hash) -> None:
        digest.update(repr((self.total, self.ids)).encode())


def together(parts: Sequence[tuple[str, bytes]]) -> Command:
    """A joint command."""
    return Command(JOINT, encode_parts([Part(*part) for part in parts]))
