"""What is done to the cluster: each scenario is one fault from its beginning until it is undone, again and again.

One thing is broken at a time, and never a majority: then the rest has to go on, and what it costs can be measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

from quorate.errors import QuorateError
from quorate.ops.chaos.target import Target

DOWN_SECONDS = 1.0
"""A node that was killed is started again after so long, if that is up to us."""
CUT_SECONDS = 3.0
PAUSE_SECONDS = 2.0
SLOW_DISK_SECONDS = 3.0
SLOW_DISK_MS = (20, 200)
FULL_DISK_SECONDS = 15.0
SKEW_SECONDS = 3.0
SKEW_MS_MAX = 3_600_000
SHARE = 3
"""No fault lasts longer than this part of the time from one to the next: the rest is for recovery."""
REST_SECONDS = 1.0
"""... and between two faults there is so long a calm at least."""


class Scenario(StrEnum):
    """What can be rehearsed."""

    LEADER_CRASH = "leader_crash"
    FOLLOWER_CRASH = "follower_crash"
    ROLLING_RESTART = "rolling_restart"
    PARTITION_LEADER = "partition_leader"
    PARTITION_HALVES = "partition_halves"
    SLOW_DISK = "slow_disk"
    FULL_DISK = "full_disk"
    PAUSE = "pause"
    CLOCK_SKEW = "clock_skew"
    MEMBERSHIP_CHURN = "membership_churn"


ALL = "all"
"""Stands for all of them, one after the other."""


def scenarios_of(name: str) -> tuple[Scenario, ...]:
    """The scenarios that ``name`` asks for. Raises :class:`ValueError`."""
    return tuple(Scenario) if name == ALL else (Scenario(name),)


@dataclass(slots=True, kw_only=True)
class Fault:
    """Something that was done. Times are of the monotonic clock, in seconds."""

    scenario: Scenario
    told: str
    """To which node, and what, for people."""
    began: float
    ended: float | None = None
    """When it was undone; a node that was killed, when it was started again or was expected to be."""
    recovered: float | None = None
    """When every node was whole again."""


@dataclass(slots=True)
class Attack:
    """Does scenarios to a target, and remembers when. ``findings`` is what went wrong that no fault excuses."""

    target: Target
    rng: Random
    tell: Callable[[str], None]
    every_seconds: float
    """From the beginning of one fault to that of the next, if the cluster has recovered by then."""
    faults: list[Fault] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    current: Fault | None = None
    """What is broken just now."""

    async def run(self, scenario: Scenario, seconds: float) -> None:
        """Do it again and again, for ``seconds``, or once if it takes longer; then the cluster is whole.

        Raises :class:`~quorate.ops.local_cluster.NoProgress` if it does not recover.
        """
        over = time.monotonic() + seconds
        while True:
            began = time.monotonic()
            try:
                await DOING[scenario](self)
            except QuorateError as error:
                self.findings.append(f"{scenario}: {error}")
            await self.recover()
            next_at = max(began + self.every_seconds, time.monotonic() + REST_SECONDS)
            if next_at + REST_SECONDS > over:
                break
            await asyncio.sleep(next_at - time.monotonic())
        await asyncio.sleep(max(0.0, over - time.monotonic()))

    async def recover(self) -> None:
        """Wait until the cluster is whole, and note when. Raises :class:`~quorate.ops.local_cluster.NoProgress`."""
        await self.target.settle()
        if self.current is not None:
            self.current.recovered = time.monotonic()
        self.current = None

    @asynccontextmanager
    async def breaking(self, scenario: Scenario, told: str) -> AsyncIterator[None]:
        """What is done inside is one fault, and over on leaving."""
        self.tell(f"{scenario}: {told}")
        self.current = fault = Fault(scenario=scenario, told=told, began=time.monotonic())
        self.faults.append(fault)
        try:
            yield
        finally:
            fault.ended = time.monotonic()

    async def hold(self, seconds: float) -> float:
        """Wait for so long, or less where faults follow each other quickly."""
        held = self.lasting(seconds)
        await asyncio.sleep(held)
        return held

    def lasting(self, seconds: float) -> float:
        """How long a fault is to last that should last for ``seconds``."""
        return min(seconds, self.every_seconds / SHARE)

    async def follower(self) -> int:
        """Some voter that does not lead."""
        leader = await self.target.leader()
        return self.rng.choice([node_id for node_id in self.target.voters if node_id != leader])

    async def somebody(self) -> int:
        """The leader in every other case, for most hangs on it; else a follower."""
        return await self.target.leader() if self.rng.random() < 0.5 else await self.follower()

    async def put(self, node_id: int, seconds: float, **faults: Any) -> None:
        """Have a node break itself for ``seconds``, and take it back then."""
        # It would end by itself, too: so that it does even if we cannot say so any more.
        await self.target.put(node_id, seconds + 1, **faults)
        await asyncio.sleep(seconds)
        await self.target.clear(node_id)


# -- processes -------------------------------------------------------------------------------------------


async def _crash(attack: Attack, scenario: Scenario, node_id: int, who: str) -> None:
    async with attack.breaking(scenario, f"node {node_id}, {who}, is killed"):
        await attack.target.crash(node_id)
        await attack.hold(DOWN_SECONDS)
        await attack.target.bring_back(node_id)


async def _leader_crash(attack: Attack) -> None:
    await _crash(attack, Scenario.LEADER_CRASH, await attack.target.leader(), "the leader")


async def _follower_crash(attack: Attack) -> None:
    await _crash(attack, Scenario.FOLLOWER_CRASH, await attack.follower(), "a follower")


async def _rolling_restart(attack: Attack) -> None:
    """One after the other, each back before the next."""
    for node_id in attack.target.voters:
        async with attack.breaking(Scenario.ROLLING_RESTART, f"node {node_id} is restarted"):
            await attack.target.restart(node_id)
        await attack.recover()


async def _pause(attack: Attack) -> None:
    node_id, seconds = await attack.somebody(), attack.lasting(PAUSE_SECONDS)
    async with attack.breaking(Scenario.PAUSE, f"node {node_id} is paused for {seconds:.1f} s"):
        await attack.target.put(node_id, seconds + 1, pause_ms=round(seconds * 1000))
        await asyncio.sleep(seconds)


# -- the network -----------------------------------------------------------------------------------------


def _cut(peers: list[int]) -> list[dict[str, Any]]:
    return [{"peer": peer, "direction": "both", "drop": 1.0} for peer in peers]


async def _partition_leader(attack: Attack) -> None:
    leader = await attack.target.leader()
    others = [node_id for node_id in attack.target.voters if node_id != leader]
    seconds = attack.lasting(CUT_SECONDS)
    async with attack.breaking(Scenario.PARTITION_LEADER, f"node {leader}, the leader, is cut off for {seconds:.1f} s"):
        await attack.put(leader, seconds, links=_cut(others))


async def _partition_halves(attack: Attack) -> None:
    """The smaller half cuts itself off from the larger one: messages pass in neither direction."""
    shuffled = attack.rng.sample(attack.target.voters, len(attack.target.voters))
    few = shuffled[: (len(shuffled) - 1) // 2]
    many = shuffled[len(few) :]
    seconds = attack.lasting(CUT_SECONDS)
    told = f"{_listed(few)} | {_listed(many)} for {seconds:.1f} s"
    async with attack.breaking(Scenario.PARTITION_HALVES, told):
        await asyncio.gather(*(attack.put(node_id, seconds, links=_cut(many)) for node_id in few))


def _listed(nodes: list[int]) -> str:
    return ", ".join(map(str, sorted(nodes)))


# -- disks and clocks ------------------------------------------------------------------------------------


async def _slow_disk(attack: Attack) -> None:
    node_id, seconds = await attack.somebody(), attack.lasting(SLOW_DISK_SECONDS)
    delay_ms = attack.rng.randint(*SLOW_DISK_MS)
    told = f"every sync of node {node_id} takes {delay_ms} ms more, for {seconds:.1f} s"
    async with attack.breaking(Scenario.SLOW_DISK, told):
        await attack.put(node_id, seconds, disk={"delay_ms": delay_ms})


async def _full_disk(attack: Attack) -> None:
    """A node that cannot write has to stop by itself."""
    node_id = await attack.somebody()
    async with attack.breaking(Scenario.FULL_DISK, f"the disk of node {node_id} is full"):
        if not await attack.target.let_end(node_id, FULL_DISK_SECONDS, disk={"full": True}):
            attack.findings.append(f"node {node_id} went on though its disk was full")
        await attack.target.bring_back(node_id)


async def _clock_skew(attack: Attack) -> None:
    """Some nodes' wall clocks are off, that of the leader among them: what it says is written down."""
    leader, seconds = await attack.target.leader(), attack.lasting(SKEW_SECONDS)
    off = {
        node_id: attack.rng.randint(-SKEW_MS_MAX, SKEW_MS_MAX) or 1
        for node_id in attack.target.voters
        if node_id == leader or attack.rng.random() < 0.3
    }
    told = ", ".join(f"node {node_id} by {ms / 1000:+.1f} s" for node_id, ms in off.items())
    async with attack.breaking(Scenario.CLOCK_SKEW, f"clocks are off for {seconds:.1f} s: {told}"):
        await asyncio.gather(*(attack.put(node_id, seconds, clock_offset_ms=ms) for node_id, ms in off.items()))


# -- the membership --------------------------------------------------------------------------------------


async def _membership_churn(attack: Attack) -> None:
    """A node comes and goes, where there is one; a follower stops voting and votes again; another node leads."""
    if (newcomer := await attack.target.start_newcomer()) is not None:
        new_id, address = newcomer
        async with attack.breaking(Scenario.MEMBERSHIP_CHURN, f"node {new_id} is added, votes, and is removed"):
            await attack.target.change("POST", "members", {"node_id": new_id, "address": address})
            await attack.target.wait_votes(new_id)
            await attack.target.change("DELETE", f"members/{new_id}")
            await attack.target.dismiss(new_id)
        await attack.recover()
    node_id = await attack.follower()
    async with attack.breaking(Scenario.MEMBERSHIP_CHURN, f"node {node_id} becomes a learner, and a voter again"):
        try:
            await attack.target.change("POST", f"members/{node_id}/demote")
            await attack.hold(DOWN_SECONDS)
        except BaseException:  # such as an interruption: nothing but us would make it a voter again
            with suppress(QuorateError):
                await attack.target.change("POST", f"members/{node_id}/promote")
            raise
        await attack.target.change("POST", f"members/{node_id}/promote")
    await attack.recover()
    successor = await attack.follower()
    async with attack.breaking(Scenario.MEMBERSHIP_CHURN, f"node {successor} takes the leadership over"):
        await attack.target.change("POST", "leader", {"node_id": successor})


DOING: dict[Scenario, Callable[[Attack], Awaitable[None]]] = {
    Scenario.LEADER_CRASH: _leader_crash,
    Scenario.FOLLOWER_CRASH: _follower_crash,
    Scenario.ROLLING_RESTART: _rolling_restart,
    Scenario.PARTITION_LEADER: _partition_leader,
    Scenario.PARTITION_HALVES: _partition_halves,
    Scenario.SLOW_DISK: _slow_disk,
    Scenario.FULL_DISK: _full_disk,
    Scenario.PAUSE: _pause,
    Scenario.CLOCK_SKEW: _clock_skew,
    Scenario.MEMBERSHIP_CHURN: _membership_churn,
}
