"""What the machine tests share: machines that count what is done to them, and entries to apply."""

from __future__ import annotations

from quorate.errors import CommandFailed, StorageFailed
from quorate.machine.commands import Batch, Command, encode_batch
from quorate.machine.contract import ApplyContext, DiskStateMachine, StateMachine
from quorate.machine.sqlite import SqliteState
from quorate.raft.entry import Entry, EntryKind


class Refusal(CommandFailed):
    """A refusal with arguments."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(name, number)
        self.name, self.number = name, number


class Awkward(CommandFailed):
    """A refusal that cannot be made of its ``args``."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class Script(StateMachine):
    """Does what its commands say, and remembers them."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.times: list[int] = []

    def apply(self, command: bytes, context: ApplyContext) -> object:
        self.times.append(context.time_us)
        obey(command)
        self.seen.append(command)
        return len(self.seen)

    def snapshot(self) -> bytes:
        return b"\n".join(self.seen)

    def restore(self, data: bytes) -> None:
        if data == b"rubbish":
            raise ValueError("not a snapshot")
        self.seen = data.split(b"\n") if data else []


class Ledger(DiskStateMachine):
    """Adds up its commands in the SQLite file; ``applied`` counts what this process applied."""

    def __init__(self) -> None:
        self.applied = 0
        self.closed = 0

    def open(self, state: SqliteState) -> None:
        self.state = state
        state.connection.execute(
            "CREATE TABLE IF NOT EXISTS ledger (number INTEGER PRIMARY KEY, amount INTEGER UNIQUE)"
        )

    def apply(self, command: bytes, context: ApplyContext) -> object:
        self.applied += 1
        obey(command)
        self.state.connection.execute("INSERT INTO ledger (amount) VALUES (?)", (int(command),))
        return self.total

    @property
    def total(self) -> int:
        (total,) = self.state.connection.execute("SELECT coalesce(sum(amount), 0) FROM ledger").fetchone()
        return int(total)

    def close(self) -> None:
        self.closed += 1


def obey(command: bytes) -> None:
    """Raise what the command says."""
    match command:
        case b"refuse":
            raise Refusal("no", 7)
        case b"value error":
            raise ValueError("not a number")
        case b"disk":
            raise OSError(28, "No space left on device")
        case b"memory":
            raise MemoryError
        case b"storage failed":
            raise StorageFailed("cannot go on")


def entry(index: int, *commands: bytes | Command, time_us: int = 0, term: int = 1, machine: str = "default") -> Entry:
    """A batch of commands at ``index``."""
    wrapped = [command if isinstance(command, Command) else Command(machine, command) for command in commands]
    payload = encode_batch(Batch(time_us or 1_000 * index, index, wrapped))
    return Entry(index, term, EntryKind.COMMANDS, payload)


def no_op(index: int) -> Entry:
    return Entry(index, 1, EntryKind.NOOP, b"")


def membership(index: int) -> Entry:
    return Entry(index, 1, EntryKind.MEMBERSHIP, b"the machines do not look into it")


def witnessed(index: int) -> Entry:
    return Entry(index, 1, EntryKind.WITNESSED, b"")
