"""One machine with its sessions: turns a command into an outcome, and knows how far it has got."""

from __future__ import annotations

import logging

import apsw

from quorate.errors import CommandFailed, ProtocolViolation, RequestIdReused, StorageError, StorageFailed
from quorate.machine.commands import Command
from quorate.machine.contract import ApplyContext, DiskStateMachine, StateMachine
from quorate.machine.outcome import decode_outcome, encode_outcome
from quorate.machine.sessions import MemorySessions, Sessions, fingerprint_of

log = logging.getLogger(__name__)

NOT_REFUSALS = (OSError, MemoryError, apsw.Error)
"""What other nodes need not run into when they apply the same command: this node cannot go on."""


class Host:
    """A machine on the log. ``applied`` is the index up to which it has applied it."""

    machine: StateMachine | DiskStateMachine

    def __init__(self, name: str, sessions: Sessions, applied: int) -> None:
        self.name = name
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
            return self._decoded(remembered[1])
        outcome = self._run(command.body, context)
        self._sessions.remember(command.request_id, fingerprint, self._encoded(outcome), context.time_us)
        return outcome

    def _encoded(self, outcome: object) -> bytes:
        return encode_outcome(outcome)

    def _decoded(self, encoded: bytes) -> object:
        return decode_outcome(encoded)

    def _run(self, body: bytes, context: ApplyContext) -> object:
        try:
            return self.machine.apply(body, context)
        except CommandFailed as refusal:
            return refusal
        except (StorageError, ProtocolViolation):
            raise
        except apsw.ConstraintError as error:  # depends on nothing but the state: a refusal on every node
            return self._refused(error, context)
        except NOT_REFUSALS as error:
            raise StorageFailed(f"machine {self.name!r} cannot apply entry {context.index}: {error}") from error
        except Exception as error:
            return self._refused(error, context)

    def _refused(self, error: Exception, context: ApplyContext) -> CommandFailed:
        log.warning("machine %r refused entry %d: %r", self.name, context.index, error, exc_info=error)
        failure = CommandFailed(f"{type(error).__name__}: {error}")
        failure.__cause__ = error
        return failure


class MemoryHost(Host):
    """A machine in memory, and the requests that it remembers."""

    def __init__(self, name: str, machine: StateMachine, sessions: MemorySessions, applied: int) -> None:
        super().__init__(name, sessions, applied)
        self.machine: StateMachine = machine
        self.sessions = sessions


class DiskHost(Host):
    """A machine in the SQLite file. ``flushed`` is the applied index that the file holds."""

    def __init__(self, name: str, machine: DiskStateMachine, sessions: Sessions, applied: int) -> None:
        super().__init__(name, sessions, applied)
        self.machine: DiskStateMachine = machine
        self.flushed = applied
