"""One machine with its sessions: turns a command into an outcome, and knows how far it has got."""

from __future__ import annotations

import logging
from types import GeneratorType

import apsw

from quorate.errors import CommandFailed, ProtocolViolation, RequestIdReused, StorageError, StorageFailed
from quorate.machine.commands import Command
from quorate.machine.contract import ApplyContext, DiskStateMachine, StateMachine, Steps
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
        """The command's outcome: the machine's result, or the :class:`CommandFailed` that refuses it.

        Of a command that takes long, the :data:`Steps` to it.
        """
        if command.request_id is None:
            return self.run(command.body, context)
        fingerprint = fingerprint_of(command.body)
        remembered = self._sessions.find(command.request_id)
        if remembered is not None:
            if remembered[0] != fingerprint:
                return RequestIdReused(f"request id {command.request_id!r} was used for another command")
            return self._decoded(remembered[1])
        outcome = self.run(command.body, context)
        if type(outcome) is GeneratorType:
            return self._remembering(outcome, command.request_id, fingerprint, context)
        self._sessions.remember(command.request_id, fingerprint, self._encoded(outcome), context.time_us)
        return outcome

    def _remembering(self, steps: Steps, request_id: str, fingerprint: bytes, context: ApplyContext) -> Steps:
        outcome = yield from steps
        self._sessions.remember(request_id, fingerprint, self._encoded(outcome), context.time_us)
        return outcome

    def _encoded(self, outcome: object) -> bytes:
        return encode_outcome(outcome)

    def _decoded(self, encoded: bytes) -> object:
        return decode_outcome(encoded)

    def run(self, body: bytes, context: ApplyContext) -> object:
        """The outcome of a command that came without a request id, or the :data:`Steps` to it."""
        try:
            outcome = self.machine.apply(body, context)
        except Exception as error:
            return self._outcome_of(error, context)
        return self._in_steps(outcome, context) if type(outcome) is GeneratorType else outcome

    def _in_steps(self, steps: Steps, context: ApplyContext) -> Steps:
        try:
            return (yield from steps)
        except Exception as error:
            return self._outcome_of(error, context)

    def _outcome_of(self, error: Exception, context: ApplyContext) -> CommandFailed:
        """The refusal that ``error`` is, on every node. Raises it where others need not meet it."""
        match error:
            case CommandFailed():
                return error
            case StorageError() | ProtocolViolation():
                raise error
            case apsw.ConstraintError():  # depends on nothing but the state
                return self._refused(error, context)
            case _ if isinstance(error, NOT_REFUSALS):
                raise StorageFailed(f"machine {self.name!r} cannot apply entry {context.index}: {error}") from error
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
