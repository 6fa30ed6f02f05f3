"""Proposals as a caller makes them: checked before anything is done, and tried again where that is safe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from time import monotonic

from quorate.config import RaftConfig
from quorate.errors import (
    ConfigError,
    NodeStopped,
    NotApplied,
    NotLeader,
    NotRunEverywhere,
    OutcomeUnknown,
    ProposalTooLarge,
    QuorateError,
)
from quorate.machine.commands import JOINT, Command
from quorate.machine.contract import Machine
from quorate.machine.joint import Part, check_parts, encode_parts
from quorate.machine.outcome import Applied
from quorate.machine.router import Router
from quorate.node.figures import Figures
from quorate.node.group import Group

LEADER_POLL_SECONDS = 0.02
"""How often who waits for a leader looks whether there is one."""
REQUEST_ID_CHARACTERS_MAX = 256


class Proposing:
    """What callers of a node propose: see :meth:`quorate.node.node.Node.propose`."""

    def __init__(
        self,
        config: RaftConfig,
        machines: Mapping[str, Machine],
        router: Router,
        figures: Figures,
        *,
        group: Callable[[], Group],
        is_witness: Callable[[], bool],
        without: Callable[[str], Sequence[int]],
    ) -> None:
        """``group`` raises when the node cannot propose; ``without`` gives the members that do not run a machine."""
        self._config = config
        self._machines = machines
        self._router = router
        self._figures = figures.proposals
        self._group = group
        self._is_witness = is_witness
        self._without = without
        self.awaited = 0
        """Proposals under way that the end of the node waits for."""
        self.has_ended = False
        """Nothing more is proposed, because the node is about to stop."""

    async def one(
        self,
        machine: str,
        body: bytes,
        request_id: str | None,
        timeout: float | None,
        *,
        forward: bool,
        patient: bool,
        alone: bool,
    ) -> Applied:
        """One machine's command."""
        bytes_max = self._config.max_command_bytes
        command = checked_command(
            machine, body, request_id, origin=self._config.node_id, machines=self._machines, bytes_max=bytes_max
        )
        check_run_everywhere(machine, self._router.latecomers, self._without)
        return await self._propose(command, timeout, forward=forward, patient=patient, alone=alone)

    async def together(self, parts: Sequence[tuple[str, bytes]], timeout: float | None) -> Applied:
        """Several machines' commands, all of them or none."""
        bytes_max = self._config.max_command_bytes
        command = checked_joint(parts, origin=self._config.node_id, machines=self._machines, bytes_max=bytes_max)
        for machine, _ in parts:
            check_run_everywhere(machine, self._router.latecomers, self._without)
        return await self._propose(command, timeout)

    async def _propose(
        self,
        command: Command,
        timeout: float | None,
        *,
        forward: bool = True,
        patient: bool = True,
        alone: bool = False,
    ) -> Applied:
        seconds = self._config.proposal_timeout_ms / 1000 if timeout is None else timeout
        if self.has_ended:
            raise NodeStopped("the node is stopping")
        awaited = 0 if alone else 1  # nobody waits at the end of a node for what takes long
        self.awaited += awaited
        began = monotonic()
        try:
            may_forward = forward and not alone and not self._is_witness()
            if may_forward and patient:
                applied = await propose_anywhere(self._group, command, seconds)
            else:
                group = self._group()
                if not (may_forward or group.core.is_leader):
                    raise NotLeader(group.core.leader)
                applied = await group.propose(command, seconds, may_forward=may_forward, alone=alone)
        except QuorateError as error:
            self._figures.failed(error, monotonic() - began)
            raise
        finally:
            self.awaited -= awaited
        self._figures.succeeded(monotonic() - began)
        return applied


def checked_command(
    machine: str, body: bytes, request_id: str | None, *, origin: int, machines: Container[str], bytes_max: int
) -> Command:
    """A command that every node will be able to read: one that none can read would stop them all.

    Raises :class:`TypeError`, :class:`ValueError` (text with half a surrogate pair), :class:`ConfigError` or
    :class:`ProposalTooLarge`.
    """
    if not isinstance(body, bytes | bytearray | memoryview):
        raise TypeError(f"a command is bytes, not {type(body).__name__}")
    if len(body) > bytes_max:
        raise ProposalTooLarge(f"the command has {len(body)} bytes, the most is {bytes_max}")
    if machine not in machines:
        raise ConfigError(f"this node runs no machine named {machine!r}")
    if request_id is not None:
        if len(request_id) > REQUEST_ID_CHARACTERS_MAX:
            raise ProposalTooLarge(f"a request id has at most {REQUEST_ID_CHARACTERS_MAX} characters")
        request_id.encode()
    return Command(machine, bytes(body), request_id, origin)


def checked_joint(
    parts: Sequence[tuple[str, bytes]], *, origin: int, machines: Mapping[str, Machine], bytes_max: int
) -> Command:
    """A joint command that every node will be able to read; its ``parts`` are machines' names and their commands.

    Raises what :func:`checked_command` raises, and :class:`ConfigError` for machines that can do nothing together.
    """
    checked = [
        checked_command(machine, body, None, origin=origin, machines=machines, bytes_max=bytes_max)
        for machine, body in parts
    ]
    check_parts([part.machine for part in checked], machines)
    body = encode_parts([Part(part.machine, part.body) for part in checked])
    if len(body) > bytes_max:
        raise ProposalTooLarge(f"the parts of the command have {len(body)} bytes together, the most is {bytes_max}")
    return Command(JOINT, body, None, origin)


def check_run_everywhere(machine: str, latecomers: Container[str], without: Callable[[str], Sequence[int]]) -> None:
    """Nobody may pass over a command: it would be gone with the log. See :mod:`quorate.machine.latecomers`.

    ``without`` gives the members that do not run a machine. Raises :class:`NotRunEverywhere`.
    """
    if machine not in latecomers:
        return
    lacking = without(machine)
    if lacking:
        nodes = "node" if len(lacking) == 1 else "nodes"
        raise NotRunEverywhere(
            f"{machine!r} is new in this cluster, and {nodes} {', '.join(map(str, lacking))} cannot be seen to run it "
            "yet: it takes nothing before every member was started with this program"
        )


async def propose_anywhere(group: Callable[[], Group], command: Command, seconds: float) -> Applied:
    """Propose here or through the leader; wait for a leader as long as there is time.

    A request id makes it safe to propose again what may have been lost with a leader. ``group`` raises when the
    node cannot propose.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    unknown: OutcomeUnknown | None = None
    while True:
        try:
            return await group().propose(command, deadline - loop.time())
        except NotLeader as error:
            ended: NotLeader | OutcomeUnknown = unknown or error
        except NotApplied as error:
            raise unknown or error from None  # an earlier attempt may still be applied
        except OutcomeUnknown as error:
            ended = unknown = error
        if isinstance(ended, OutcomeUnknown) and command.request_id is None:
            raise ended
        if loop.time() + LEADER_POLL_SECONDS >= deadline:
            raise ended
        await asyncio.sleep(LEADER_POLL_SECONDS)
