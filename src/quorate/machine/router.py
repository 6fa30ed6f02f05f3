"""Puts several state machines on one log: decodes entries, gives each machine its commands, keeps applied indexes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import apsw

from quorate.errors import (
    CommandFailed,
    ConfigError,
    ProtocolViolation,
    RequestIdReused,
    StorageError,
    StorageFailed,
)
from quorate.machine.commands import Command, decode_batch
from quorate.machine.contract import ApplyContext, DiskStateMachine, StateMachine
from quorate.machine.outcome import decode_outcome, encode_outcome
from quorate.machine.sessions import MemorySessions, Sessions, SqliteSessions, fingerprint_of
from quorate.machine.sqlite import SqliteState
from quorate.raft.entry import Entry, EntryKind

log = logging.getLogger(__name__)

_NOT_REFUSALS = (OSError, MemoryError, apsw.Error)
"""What other nodes need not run into when they apply the same command: this node cannot go on."""


class _Host:
    """One machine with its sessions and the index up to which it has applied the log."""

    def __init__(self, name: str, machine: StateMachine | DiskStateMachine, sessions: Sessions, applied: int) -> None:
        self.name = name
        self.machine = machine
        self.applied = applied
        self._sessions = sessions

    def apply(self, command: Command, context: ApplyContext) -> object:
        """The command's outcome: the machine's result, or the :class:`CommandFailed` that refuses it."""
        if command.request_id is None:
            return self._run(command.body, context)
        fingerprint = fingerprint_of(command.body)
        remembered = self._sessions.find(command.request_id)
        if remembered is not None:
            if remembered[0] != fingerprint:
                return RequestIdReused(f"request id {command.request_id!r} was used for another command")
            return decode_outcome(remembered[1])
        outcome = self._run(command.body, context)
        self._sessions.remember(command.request_id, fingerprint, encode_outcome(outcome), context.time_us)
        return outcome

    def _run(self, body: bytes, context: ApplyContext) -> object:
        try:
            return self.machine.apply(body, context)
        except CommandFailed as refusal:
            return refusal
        except (StorageError, ProtocolViolation):
            raise
        except apsw.ConstraintError as error:  # depends on nothing but the state: a refusal on every node
            return self._refused(error, context)
        except _NOT_REFUSALS as error:
            raise StorageFailed(f"machine {self.name!r} cannot apply entry {context.index}: {error}") from error
        except Exception as error:
            return self._refused(error, context)

    def _refused(self, error: Exception, context: ApplyContext) -> CommandFailed:
        log.warning("machine %r refused entry %d: %r", self.name, context.index, error, exc_info=error)
        failure = CommandFailed(f"{type(error).__name__}: {error}")
        failure.__cause__ = error
        return failure


class Router:
    """All machines of one group. Used from the event loop's thread, but for :meth:`sync`."""

    def __init__(
        self,
        machines: Mapping[str, StateMachine | DiskStateMachine],
        *,
        open_state: Callable[[Path], SqliteState] = SqliteState,
    ) -> None:
        """``open_state`` opens the group's SQLite file."""
        self.machines = dict(machines)
        self._open_state = open_state
        self._hosts: dict[str, _Host] = {}
        self._opened: list[DiskStateMachine] = []
        self._state: SqliteState | None = None
        self._last_time_us = 0
        self._last_index = 0
        self._broken = False
        self.unflushed = 0
        """Commands applied since the last :meth:`flush`."""

    def open(self, state_path: Path | str) -> None:
        """Open every machine. The SQLite file is made only if a machine keeps its state in it.

        Whatever it raises, :meth:`close` cleans up.
        """
        last_times: dict[int, int] = {}
        for name, machine in self.machines.items():
            if isinstance(machine, StateMachine):
                self._hosts[name] = _Host(name, machine, MemorySessions(), 0)
                last_times[0] = 0
                continue
            if not isinstance(machine, DiskStateMachine):
                raise ConfigError(f"machine {name!r} is neither a StateMachine nor a DiskStateMachine")
            if self._state is None:
                self._state = self._open_state(Path(state_path))
            applied, time_us = self._state.applied(name)
            last_times[applied] = time_us
            self._hosts[name] = _Host(name, machine, SqliteSessions(self._state, name), applied)
            self._opened.append(machine)
            machine.open(self._state)
        self._last_time_us = last_times[self.applied] if last_times else 0
        self._last_index = self.applied

    @property
    def applied(self) -> int:
        """Up to here every machine has applied the log: replay continues behind it."""
        return min((host.applied for host in self._hosts.values()), default=0)

    @property
    def applied_by_any(self) -> int:
        """Up to here some machine has applied the log, which proves that it is committed."""
        return max((host.applied for host in self._hosts.values()), default=0)

    def apply(self, entry: Entry) -> list[object]:
        """Apply one committed entry, in log order; returns one outcome per command in it.

        Raises :class:`StorageFailed` when a machine's state can no longer be trusted: the node must stop. Then,
        as after any other exception, an entry may be half applied, and nothing is committed any more.
        """
        if self._broken:
            raise StorageFailed("the state machines failed before")
        try:
            outcomes = self._apply_batch(entry) if entry.kind is EntryKind.COMMANDS else []
        except _NOT_REFUSALS as error:
            self._broken = True
            raise StorageFailed(f"cannot apply entry {entry.index}: {error}") from error
        except BaseException:
            self._broken = True
            raise
        self._last_index = entry.index
        return outcomes

    def _apply_batch(self, entry: Entry) -> list[object]:
        batch = decode_batch(entry.payload)
        self._last_time_us = max(batch.time_us, self._last_time_us + 1)
        if self._state is not None:
            self._state.begin()
        outcomes: list[object] = []
        for position, command in enumerate(batch.commands):
            context = ApplyContext(entry.index, entry.term, self._last_time_us, batch.seed, position)
            outcomes.append(self._apply_command(command, context))
        self.unflushed += len(batch.commands)
        return outcomes

    def _apply_command(self, command: Command, context: ApplyContext) -> object:
        host = self._hosts.get(command.machine)
        if host is None:
            return CommandFailed(f"this cluster runs no machine named {command.machine!r}")
        if context.index <= host.applied:
            return None  # a replay for another machine's sake; nobody waits for this answer
        return host.apply(command, context)

    def flush(self) -> None:
        """Commit what was applied, with the applied index, to the SQLite file: it survives this process.

        After a failure, :class:`StorageFailed` included that this raises, the file stays as it was committed last.
        """
        if self._state is not None and self.unflushed and not self._broken:
            self._broken = True  # unless all of this succeeds
            for host in self._hosts.values():
                if isinstance(host.machine, DiskStateMachine) and host.applied < self._last_index:
                    host.applied = self._last_index
                    self._state.set_applied(host.name, host.applied, self._last_time_us)
            self._state.commit()
            self._broken = False
        self.unflushed = 0

    def sync(self) -> int:
        """Make what was flushed durable; see :meth:`SqliteState.sync`. Blocks for an fsync; may run in a thread."""
        state = self._state
        return state.sync() if state is not None else 0

    def close(self, *, flush: bool = True) -> None:
        """Flush, unless told not to, and close. Everything is closed whatever fails, and then that is raised."""
        with ExitStack() as closing:
            if self._state is not None:
                closing.callback(self._state.close)
            for machine in self._opened:
                closing.callback(machine.close)
            try:
                if flush:
                    self.flush()
            finally:
                self._opened, self._state = [], None
