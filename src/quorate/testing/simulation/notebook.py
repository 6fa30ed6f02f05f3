"""The state machine of the simple workloads: registers, lists and counters, kept in memory or in SQLite.

Each command names the operation that it belongs to, and the machine notes how often each was applied: more than
once is what must never be.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import msgspec

from quorate.errors import CommandFailed
from quorate.machine.contract import ApplyContext, DiskStateMachine, StateMachine
from quorate.machine.sqlite import SqliteState

NOTEBOOK = "notebook"


class Mismatch(CommandFailed):
    """A compare-and-set found another value than was expected."""


def put(operation: str, key: str, value: int) -> bytes:
    """Set a register. Result: ``None``."""
    return msgspec.msgpack.encode(("put", operation, key, value))


def compare_and_set(operation: str, key: str, expected: int | None, value: int) -> bytes:
    """Set a register if it holds ``expected``; refused with :class:`Mismatch` if not."""
    return msgspec.msgpack.encode(("cas", operation, key, expected, value))


def append(operation: str, key: str, value: int) -> bytes:
    """Add to the end of a list. Result: its length."""
    return msgspec.msgpack.encode(("append", operation, key, value))


def add(operation: str, key: str, amount: int) -> bytes:
    """Add to a counter. Result: what it comes to."""
    return msgspec.msgpack.encode(("add", operation, key, amount))


class _Commands:
    """What the commands do, in terms of where the values are kept.

    ``spend`` is called for each command: applying takes time, sometimes a lot.
    """

    def __init__(self, spend: Callable[[], None]) -> None:
        self._spend = spend

    def apply(self, command: bytes, context: ApplyContext) -> object:
        kind, operation, key, *arguments = msgspec.msgpack.decode(command)
        self._spend()
        match kind, arguments:
            case "put", [value]:
                self.set_register(key, value)
                result: object = None
            case "cas", [expected, value]:
                if self.register(key) != expected:
                    raise Mismatch(key)
                self.set_register(key, value)
                result = None
            case "append", [value]:
                result = self.add_item(key, value)
            case "add", [amount]:
                result = self.add_to_total(key, amount)
            case _:
                raise CommandFailed(f"unknown command {kind}")
        self.note(operation)
        return result

    @abstractmethod
    def register(self, key: str) -> int | None: ...

    @abstractmethod
    def set_register(self, key: str, value: int) -> None: ...

    @abstractmethod
    def add_item(self, key: str, value: int) -> int: ...

    @abstractmethod
    def add_to_total(self, key: str, amount: int) -> int: ...

    @abstractmethod
    def note(self, operation: str) -> None: ...


class MemoryNotebook(_Commands, StateMachine):
    """In dicts."""

    def __init__(self, spend: Callable[[], None]) -> None:
        super().__init__(spend)
        self._registers: dict[str, int] = {}
        self._lists: dict[str, list[int]] = {}
        self._totals: dict[str, int] = {}
        self._times: dict[str, int] = {}

    def register(self, key: str) -> int | None:
        return self._registers.get(key)

    def set_register(self, key: str, value: int) -> None:
        self._registers[key] = value

    def items(self, key: str) -> list[int]:
        return list(self._lists.get(key, ()))

    def add_item(self, key: str, value: int) -> int:
        items = self._lists.setdefault(key, [])
        items.append(value)
        return len(items)

    def total(self, key: str) -> int:
        return self._totals.get(key, 0)

    def add_to_total(self, key: str, amount: int) -> int:
        total = self._totals[key] = self.total(key) + amount
        return total

    def note(self, operation: str) -> None:
        self._times[operation] = self._times.get(operation, 0) + 1

    def times_applied(self) -> dict[str, int]:
        return dict(self._times)

    def snapshot(self) -> bytes:
        return msgspec.msgpack.encode((self._registers, self._lists, self._totals, self._times))

    def restore(self, data: bytes) -> None:
        self._registers, self._lists, self._totals, self._times = msgspec.msgpack.decode(data)


class DiskNotebook(_Commands, DiskStateMachine):
    """In SQLite, with the same commands."""

    SCHEMA = """
    CREATE TABLE IF NOT EXISTS note_registers (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS note_items (
        number INTEGER PRIMARY KEY, key TEXT NOT NULL, value INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS note_totals (key TEXT PRIMARY KEY, total INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS note_times (operation TEXT PRIMARY KEY, times INTEGER NOT NULL) STRICT;
    """

    def open(self, state: SqliteState) -> None:
        self._connection = state.connection
        self._connection.execute(self.SCHEMA)

    def _one(self, sql: str, *arguments: str | int) -> Any:
        return self._connection.execute(sql, arguments).get

    def register(self, key: str) -> int | None:
        value: int | None = self._one("SELECT value FROM note_registers WHERE key = ?", key)
        return value

    def set_register(self, key: str, value: int) -> None:
        self._one(
            "INSERT INTO note_registers VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", key, value
        )

    def items(self, key: str) -> list[int]:
        rows = self._connection.execute("SELECT value FROM note_items WHERE key = ? ORDER BY number", (key,))
        return [value for (value,) in rows]

    def add_item(self, key: str, value: int) -> int:
        self._one("INSERT INTO note_items (key, value) VALUES (?, ?)", key, value)
        length: int = self._one("SELECT count(*) FROM note_items WHERE key = ?", key)
        return length

    def total(self, key: str) -> int:
        total: int | None = self._one("SELECT total FROM note_totals WHERE key = ?", key)
        return total or 0

    def add_to_total(self, key: str, amount: int) -> int:
        sql = "INSERT INTO note_totals VALUES (?, ?) ON CONFLICT DO UPDATE SET total = total + excluded.total"
        self._one(sql, key, amount)
        return self.total(key)

    def note(self, operation: str) -> None:
        self._one("INSERT INTO note_times VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1", operation)

    def times_applied(self) -> dict[str, int]:
        return dict(self._connection.execute("SELECT operation, times FROM note_times"))
