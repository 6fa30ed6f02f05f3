"""The membership as a program sees and changes it: ``node.members``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress

from quorate.errors import NotLeader, OutcomeUnknown, TransferFailed
from quorate.node.calls import LeaderCall, LeaderCalls
from quorate.node.conditions import Conditions
from quorate.node.group import Group
from quorate.node.operations import (
    Add,
    AnyOperation,
    Demote,
    Operation,
    Promote,
    Remove,
    Transfer,
    Update,
    decode_operation,
    encode_operation,
    promoted,
)
from quorate.node.proposing import LEADER_POLL_SECONDS
from quorate.node.status import even_voters_warning
from quorate.raft.membership import Configuration, Member, MemberRole

log = logging.getLogger(__name__)

SUCCESSOR_SECONDS = 1.0
"""How long a leader looks for somebody who could take over."""


class Members:
    """The members of the cluster. Changes can be asked of any node; the leader makes them, one at a time.

    Each change returns the index of its log entry once it is committed and no longer joint. It raises
    :class:`~quorate.errors.ConfigError` if it cannot be, :class:`~quorate.errors.MembershipConflict` if another one
    is under way or the configuration is no longer that of entry ``expected_index``, another
    :class:`~quorate.errors.NotApplied` if nothing happened, and :class:`OutcomeUnknown` if it may have, or still may.
    """

    def __init__(
        self,
        node_id: int,
        group: Callable[[], Group],
        calls: LeaderCalls,
        conditions: Conditions,
        *,
        seconds: float,
    ) -> None:
        """``group`` raises while there is none; ``seconds`` is the default time-out."""
        self._node_id = node_id
        self._group = group
        self._calls = calls
        self._seconds = seconds
        self._conditions = conditions

    # -- what there is -----------------------------------------------------------------------------------

    @property
    def configuration(self) -> Configuration:
        """The configuration in force, committed or not."""
        return self._group().core.configuration

    @property
    def index(self) -> int:
        """The log entry that holds it: what ``expected_index`` is compared with."""
        return self._group().core.log.configurations.index

    def __iter__(self) -> Iterator[Member]:
        return iter(self.configuration)

    # -- changes -----------------------------------------------------------------------------------------

    async def add(
        self,
        node_id: int,
        address: str,
        *,
        role: MemberRole | str = MemberRole.VOTER,
        priority: int = 1,
        expected_index: int | None = None,
        timeout: float | None = None,
    ) -> int:
        """Add a node, which was started with ``join``. It becomes a voter by itself once it has caught up."""
        added = Add(node_id=node_id, address=address, role=MemberRole(role), priority=priority)
        return await self.perform(added, expected_index, timeout)

    async def promote(self, node_id: int, *, expected_index: int | None = None, timeout: float | None = None) -> int:
        """Have a learner become a voter once it has caught up."""
        return await self.perform(Promote(node_id=node_id), expected_index, timeout)

    async def demote(self, node_id: int, *, expected_index: int | None = None, timeout: float | None = None) -> int:
        """Make a voter a learner. A leader hands its leadership over first."""
        return await self.perform(Demote(node_id=node_id), expected_index, timeout)

    async def remove(self, node_id: int, *, expected_index: int | None = None, timeout: float | None = None) -> int:
        """Take a member out. A leader hands its leadership over first."""
        return await self.perform(Remove(node_id=node_id), expected_index, timeout)

    async def update(
        self,
        node_id: int,
        *,
        address: str | None = None,
        priority: int | None = None,
        expected_index: int | None = None,
        timeout: float | None = None,
    ) -> int:
        """Change a member's address or priority."""
        return await self.perform(Update(node_id=node_id, address=address, priority=priority), expected_index, timeout)

    async def transfer(self, to: int | None = None, timeout: float | None = None) -> int:
        """Hand the leadership to ``to``, or to whoever is fittest; returns the new leader's id."""
        return await self.perform(Transfer(node_id=to or 0), None, timeout)

    async def perform(
        self, operation: AnyOperation, expected_index: int | None = None, timeout: float | None = None
    ) -> int:
        """Do ``operation`` here or have the leader do it, waiting for a leader as long as there is time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._seconds if timeout is None else timeout)
        while True:
            remaining = deadline - loop.time()
            try:
                group = self._group()
                leader = group.core.leader
                if leader is None:
                    raise NotLeader(None)
                if leader == self._node_id:
                    return await self._perform_here(group, operation, expected_index, remaining)
                return await self._calls.call(leader, encode_operation(operation), expected_index, remaining)
            except NotLeader:
                if loop.time() + LEADER_POLL_SECONDS >= deadline:
                    raise
            await asyncio.sleep(LEADER_POLL_SECONDS)

    async def answer(self, call: LeaderCall) -> int:
        """Do what another node asks. Raises :class:`NotLeader` on a node that does not lead."""
        operation = decode_operation(call.operation)
        group = self._group()
        if not group.core.is_leader:
            raise NotLeader(group.core.leader)
        expected = call.expected_index - 1 if call.expected_index else None
        return await self._perform_here(group, operation, expected, call.timeout_ms / 1000)

    # -- on the leader -----------------------------------------------------------------------------------

    async def _perform_here(
        self, group: Group, operation: AnyOperation, expected_index: int | None, seconds: float
    ) -> int:
        try:
            async with asyncio.timeout(seconds):
                if isinstance(operation, Transfer):
                    return await self._transfer(group, operation.node_id or None)
                if isinstance(operation, Remove | Demote) and operation.node_id == self._node_id:
                    await self._step_aside(group, operation)
                return await self._change(group, operation, expected_index)
        except TimeoutError:
            raise OutcomeUnknown("no quorum confirmed the change in time; it may still come about") from None

    async def _change(self, group: Group, operation: Operation, expected_index: int | None) -> int:
        core = group.core
        await self._conditions.until(lambda: not core.is_leader or core.may_change_membership)
        if not core.is_leader:
            raise NotLeader(core.leader)
        members = operation.applied_to(core.configuration)
        if expected_index in (None, core.log.configurations.index):
            core.configuration.changed_to(map(promoted, members))  # what it comes to in the end must be possible too
        index = group.change_membership(members, expected_index)
        term = core.term

        def ended() -> bool:
            committed_index, committed = core.log.configurations.at(core.log.committed)
            return core.term != term or (committed_index >= index and not committed.is_joint)

        await self._conditions.until(ended)
        if core.term != term:
            raise OutcomeUnknown("the leader changed before the change was confirmed; it may still come about")
        voters = core.configuration.voters
        log.info("the configuration of entry %d is in force: %s", index, described(core.configuration))
        if len(voters) % 2 == 0:
            log.warning("%s", even_voters_warning(len(voters)))
        return index

    async def _step_aside(self, group: Group, operation: Operation) -> None:
        """Let another node lead before this one goes; it will then do what was asked."""
        operation.applied_to(group.core.configuration)  # what cannot be done is no reason to hand over
        if len(group.core.configuration.voters) > 1:
            await self._transfer(group, None)
            raise NotLeader(group.core.leader)

    async def _transfer(self, group: Group, to: int | None) -> int:
        core = group.core
        if to == core.node_id:
            return to
        term = core.term
        if to is None:
            # One that was elected a moment ago has not heard yet who could take over.
            with suppress(TimeoutError):
                async with asyncio.timeout(SUCCESSOR_SECONDS):
                    await self._conditions.until(lambda: core.term != term or core.fittest_successor is not None)
        target = group.transfer_leadership(to)
        await self._conditions.until(lambda: (core.term != term and core.leader is not None) or core.successor is None)
        await self._conditions.until(lambda: core.leader is not None)
        if core.leader == core.node_id:
            raise TransferFailed(f"node {target} did not take over in time; node {core.node_id} goes on leading")
        assert core.leader is not None
        return core.leader


def described(configuration: Configuration) -> str:
    """The members in a few words."""
    return ", ".join(
        f"{member.node_id}@{member.address}" + ("" if member.role is MemberRole.VOTER else f" ({member.role})")
        for member in configuration
    )
