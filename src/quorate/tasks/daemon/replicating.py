"""Handing an operation over to the cluster: into the log, once, with a clear word of how that went."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

from quorate.errors import (
    CommandFailed,
    NodeStopped,
    NotApplied,
    OutcomeUnknown,
    ProposalTooLarge,
    QuorateError,
)
from quorate.machine.outcome import Applied
from quorate.tasks.commands import Submit, encode_command
from quorate.tasks.daemon.daemon import Daemon
from quorate.tasks.daemon.events import OperationChanged
from quorate.tasks.daemon.operations import (
    Operation,
    OperationEvent,
    OperationResult,
    OperationState,
    after,
    as_request,
    is_same,
)
from quorate.tasks.daemon.ports import TaskNode
from quorate.tasks.errors import IdTaken, NoSuchTask, QueueFull, TooMany
from quorate.tasks.gathering import States, Submits
from quorate.tasks.lifecycle import State
from quorate.tasks.machine import MACHINE
from quorate.tasks.submission import Submissions

REMEMBERED_MAX = 10_000
"""Operations that failed; of older ones is forgotten that they did."""


class ReadOnlyCluster(NotApplied):
    """This node is cut off from every quorum: nothing can be replicated for now, and nothing was. Try again later.

    Reads with ``consistency="eventually"`` go on.
    """


class Replicating:
    """Follows each operation along the table of :mod:`quorate.tasks.daemon.operations`."""

    def __init__(
        self,
        node: TaskNode,
        daemon: Daemon,
        tell: Callable[[OperationChanged], None],
        is_cut_off: Callable[[], bool],
        retry_seconds: float,
    ) -> None:
        self._node = node
        self._daemon = daemon
        self._tell = tell
        self._is_cut_off = is_cut_off
        self._retry_seconds = retry_seconds
        self._failed: OrderedDict[str, None] = OrderedDict()
        self._submits = Submits(self._propose)
        self.counts: Counter[OperationState] = Counter()
        """How often an operation came into each state."""

    async def replicate(self, operation: Operation, place: str | None, seconds: float | None) -> OperationResult:
        """See :meth:`ConsensusManager.replicate_operation`."""
        command = self._command(operation, place)  # what is wrong by itself has no states
        before = OperationState.FAILED if operation.id in self._failed else None
        event = OperationEvent.SUBMIT if before is None else OperationEvent.RETRY
        state = self._moved(operation.id, before, event)
        try:
            result = await self._replicated(operation, command, seconds)
        except asyncio.CancelledError:
            self._fail(operation.id, state, "nobody waited for its outcome", is_retryable=True)
            raise
        except QuorateError as error:
            if isinstance(error, CommandFailed):  # the log has it, and what it asks for was refused
                state = self._moved(operation.id, state, OperationEvent.REPLICATE)
            self._fail(operation.id, state, str(error), is_retryable=may_retry(error))
            raise
        state = self._moved(operation.id, state, OperationEvent.REPLICATE)
        self._moved(operation.id, state, OperationEvent.COMMIT)
        return result

    def state_of(self, operation_id: str, is_known: bool) -> OperationState | None:
        """As far as this node knows; ``is_known``: there is a task of that id."""
        if not is_known:
            return OperationState.FAILED if operation_id in self._failed else None
        if operation_id in self._failed:
            return self._moved(operation_id, OperationState.FAILED, OperationEvent.LEARN)
        return OperationState.COMMITTED

    async def end(self) -> None:
        """Return when everybody knows what has become of his operation, as far as it is on its way by now."""
        await self._submits.end()

    # -- states ------------------------------------------------------------------------------------------

    def _moved(
        self,
        operation_id: str,
        before: OperationState | None,
        event: OperationEvent,
        error: str = "",
        *,
        is_retryable: bool = False,
    ) -> OperationState:
        state = after(before, event)
        self.counts[state] += 1
        if state is OperationState.FAILED:
            self._failed[operation_id] = None
            while len(self._failed) > REMEMBERED_MAX:
                self._failed.popitem(last=False)
        elif state is OperationState.COMMITTED or before is OperationState.FAILED:
            self._failed.pop(operation_id, None)
        self._tell(
            OperationChanged(
                operation_id=operation_id, before=before, state=state, error=error, is_retryable=is_retryable
            )
        )
        return state

    def _fail(self, operation_id: str, state: OperationState, error: str, *, is_retryable: bool) -> None:
        self._moved(operation_id, state, OperationEvent.FAIL, error, is_retryable=is_retryable)

    # -- the log -----------------------------------------------------------------------------------------

    def _command(self, operation: Operation, place: str | None) -> Submit:
        now = datetime.now(UTC)
        request = as_request(operation, self._daemon.queue, place, self._daemon.daemon_id, now)
        kinds = self._daemon.kinds
        # Another daemon may know the type: then what this one would have by default is not known, and not needed.
        submissions = Submissions({operation.type: kinds[operation.type]} if operation.type in kinds else None)
        return submissions.of_one(request, int(now.timestamp() * 1_000_000))

    async def _replicated(self, operation: Operation, command: Submit, seconds: float | None) -> OperationResult:
        try:
            return await self._proposed(operation, command, seconds)
        except IdTaken:
            # What was handed over before may have been placed elsewhere, or asked for at another time.
            return await self._found(operation)

    async def _proposed(self, operation: Operation, command: Submit, seconds: float | None) -> OperationResult:
        """Again and again: with an id, it is there once. Who sets no time of their own travel together at first."""
        clock = asyncio.get_running_loop().time
        together = seconds is None
        ends = clock() + (self._node.config.proposal_timeout_ms / 1000 if seconds is None else seconds)
        unknown: OutcomeUnknown | None = None
        while True:
            if self._is_cut_off():
                raise unknown or ReadOnlyCluster(
                    f"node {self._node.node_id} is cut off from every quorum: the operation was not replicated"
                )
            try:
                if together:
                    together = False
                    applied = await self._submits.submit(command)
                else:
                    applied = await self._propose(command, max(ends - clock(), 0.001))
            except OutcomeUnknown as error:
                ended: NotApplied | OutcomeUnknown = error
                unknown = error
            except (NodeStopped, ProposalTooLarge) as error:
                raise unknown or error from None
            except NotApplied as error:
                ended = unknown or error
            else:
                ((state, duplicate),) = cast("States", applied.result)
                return OperationResult(
                    operation_id=operation.id,
                    replicated=True,
                    committed=True,
                    log_index=applied.index,
                    term=applied.term,
                    status=State(state).label,
                    duplicate=duplicate,
                )
            if clock() + self._retry_seconds >= ends:
                raise ended
            await asyncio.sleep(self._retry_seconds)

    async def _propose(self, command: Submit, seconds: float | None = None) -> Applied:
        return await self._node.propose(encode_command(command), machine=MACHINE, timeout=seconds)

    async def _found(self, operation: Operation) -> OperationResult:
        """The operation as it was handed over before. Raises :class:`IdTaken` if that was another one."""
        try:
            task = await self._node.tasks.task(operation.id, consistency="eventually")  # it was refused here, too
        except NoSuchTask:
            raise IdTaken(operation.id) from None  # it was, and is forgotten by now
        if not is_same(operation, task.type, task.schema_version, bytes(task.payload)):
            raise IdTaken(operation.id)
        return OperationResult(
            operation_id=operation.id,
            replicated=True,
            committed=True,
            log_index=self._node.applied_index,
            term=self._node.status.term,
            status=task.status,
            duplicate=True,
        )


def may_retry(error: QuorateError) -> bool:
    """Whether the same operation may be handed over again with a better end."""
    if isinstance(error, ProposalTooLarge):
        return False
    return isinstance(error, NotApplied | OutcomeUnknown | QueueFull | TooMany) or not isinstance(error, CommandFailed)
