"""Doing to the cluster what the schedule says: a fault is begun, held for its time, undone, and counted if it hit."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

from quorate.errors import QuorateError
from quorate.ops.members import ClusterMembers
from quorate.ops.nemesis.cluster import NemesisCluster, NemesisNode
from quorate.ops.nemesis.schedule import Event, Kind

POLL_SECONDS = 0.1
TAKE_SECONDS_MAX = 15.0
WHOLE_SECONDS_MAX = 60.0
"""So long after the end of a round's faults every node is a whole member again."""
STOP_SECONDS_MAX = 45.0
FULL_DISK_SECONDS_MAX = 30.0
FULL_DISK_START_SECONDS = 4.0
REMOVED_SECONDS_MAX = 10.0
DELAY_SECONDS = (0.005, 0.2)
LOSS_SHARE = (0.02, 0.4)
CLOCK_US_MAX = 1800 * 1_000_000
DAMAGE_BYTES = 16
FAILED = 1
"""The exit code of a node that had to give up."""

Tell = Callable[[str], None]


class Faults:
    """Does one round's events. What no fault excuses is a line in ``findings``."""

    def __init__(self, cluster: NemesisCluster, tell: Tell) -> None:
        self.fired: Counter[Kind] = Counter()
        self.findings: list[str] = []
        self._cluster = cluster
        self._tell = tell
        self._busy: set[int] = set()
        self._heavy = asyncio.Lock()
        self._over = asyncio.Event()
        self._over_at = 0.0
        self._doing: dict[Kind, Callable[[Event], Awaitable[bool]]] = {
            Kind.KILL_ONE: self._kill_one,
            Kind.KILL_LEADER: self._kill_leader,
            Kind.KILL_ALL: self._kill_all,
            Kind.RESTART: self._restart,
            Kind.PAUSE_SHORT: self._pause,
            Kind.PAUSE_ELECTION: self._pause,
            Kind.PAUSE_LEASE: self._pause,
            Kind.CUT_ONE_WAY: self._cut_one_way,
            Kind.ISOLATE: self._isolate,
            Kind.SPLIT: self._split,
            Kind.DELAY: self._delay,
            Kind.LOSS: self._lose,
            Kind.CLOCK_FORWARD: self._jump,
            Kind.CLOCK_BACK: self._jump,
            Kind.TRANSFER: self._transfer,
            Kind.DISK_FULL: self._fill_disk,
            Kind.WIPE: self._wipe,
            Kind.CORRUPT: self._corrupt,
            Kind.REPLACE: self._replace,
        }

    # -- a round -----------------------------------------------------------------------------------------

    async def run(self, events: Iterable[Event], seconds: float) -> None:
        """Let the events happen in their time. On return all is undone, and every process runs."""
        self._over.clear()
        tasks = [asyncio.create_task(self._do(event)) for event in events]
        try:
            await asyncio.sleep(seconds)
            self._over_at = time.monotonic()
            self._over.set()
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _do(self, event: Event) -> None:
        await self._hold(event.at)
        if await self._doing[event.kind](event):
            self.fired[event.kind] += 1

    async def _hold(self, seconds: float) -> None:
        """Wait, but not beyond the round."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            pass

    async def _take(self, event: Event, among: Iterable[int] | None = None, *, leader: bool | None = None) -> int:
        """A node that nothing else is done to, from now on this event's; 0 if there is none in time."""
        deadline = time.monotonic() + TAKE_SECONDS_MAX
        wanted = event.leader if leader is None else leader
        while time.monotonic() < deadline:
            leading = await self._cluster.leader() if wanted else None
            allowed = self._cluster.nodes.keys() if among is None else among
            free = [node_id for node_id in allowed if self._is_free(node_id)]
            if leading is not None and leading["node_id"] in free:
                free = [leading["node_id"]]
            elif leader:
                free = []
            if free:
                chosen = Random(event.draw).choice(free)
                self._busy.add(chosen)
                return chosen
            await asyncio.sleep(POLL_SECONDS)
        return 0

    def _is_free(self, node_id: int) -> bool:
        return node_id not in self._busy and self._cluster.nodes[node_id].is_running

    def _told(self, event: Event, text: str) -> None:
        self._tell(f"{event.kind}: {text}")

    # -- processes ---------------------------------------------------------------------------------------

    async def _kill_one(self, event: Event, *, leader: bool | None = None) -> bool:
        if self._over.is_set() or not (taken := await self._take(event, leader=leader)):
            return False
        return await self._killed(event, [taken])

    async def _kill_leader(self, event: Event) -> bool:
        return await self._kill_one(event, leader=True)

    async def _kill_all(self, event: Event) -> bool:
        deadline = time.monotonic() + TAKE_SECONDS_MAX
        while self._busy and time.monotonic() < deadline:
            await self._hold(POLL_SECONDS)
        everyone = [node_id for node_id in self._cluster.nodes if self._is_free(node_id)]
        self._busy.update(everyone)
        return await self._killed(event, everyone) and len(everyone) == len(self._cluster.nodes)

    async def _killed(self, event: Event, taken: list[int]) -> bool:
        nodes = [self._cluster.nodes[node_id] for node_id in taken]
        self._told(event, f"node {', '.join(map(str, taken))} for {event.seconds:.1f} s")
        try:
            for node in nodes:
                node.kill_and_reap()
            await self._hold(event.seconds)
            for node in nodes:
                node.start()
        finally:
            self._busy.difference_update(taken)
        return True

    async def _restart(self, event: Event) -> bool:
        if self._over.is_set() or not (taken := await self._take(event)):
            return False
        node = self._cluster.nodes[taken]
        self._told(event, f"node {taken}")
        try:
            await self._stop(node)
            node.start()
        finally:
            self._busy.discard(taken)
        return True

    async def _stop(self, node: NemesisNode) -> None:
        # A process that is only just being started may not know yet what it is to do then.
        allowed = (0,) if await self._cluster.serves(node) else (0, -signal.SIGTERM)
        node.terminate()
        try:
            code = await node.wait_ended(STOP_SECONDS_MAX)
        except TimeoutError:
            self.findings.append(f"node {node.node_id} did not stop within {STOP_SECONDS_MAX:g} s of SIGTERM")
            node.kill_and_reap()
            return
        if code not in allowed:
            self.findings.append(f"node {node.node_id} was told to stop and ended with {code}: {node.last_log_line()}")

    async def _pause(self, event: Event) -> bool:
        if self._over.is_set() or not (taken := await self._take(event)):
            return False
        node = self._cluster.nodes[taken]
        self._told(event, f"node {taken} for {event.seconds:.2f} s")
        try:
            node.pause()
            await self._hold(event.seconds)
        finally:
            node.resume()
            self._busy.discard(taken)
        return True

    # -- the network and the clocks ----------------------------------------------------------------------

    async def _cut(self, event: Event, pairs: list[tuple[int, int]]) -> bool:
        if self._over.is_set():
            return False
        before = await self._cluster.weather.fired()
        self._told(event, f"{', '.join(f'{a}→{b}' for a, b in pairs)} for {event.seconds:.1f} s")
        self._cluster.weather.cut(pairs)
        try:
            await self._hold(event.seconds)
            after = await self._cluster.weather.fired()
        finally:
            self._cluster.weather.mend(pairs)
        return after["cut"] > before["cut"]

    async def _cut_one_way(self, event: Event) -> bool:
        rng = Random(event.draw)
        one = await self._some_node(event, rng)
        others = [node_id for node_id in self._cluster.nodes if node_id != one]
        chosen = others if rng.random() < 0.5 else [rng.choice(others)]
        outgoing = rng.random() < 0.5
        return await self._cut(event, [(one, other) if outgoing else (other, one) for other in chosen])

    async def _isolate(self, event: Event) -> bool:
        one = await self._some_node(event, Random(event.draw))
        others = [node_id for node_id in self._cluster.nodes if node_id != one]
        return await self._cut(event, [pair for other in others for pair in ((one, other), (other, one))])

    async def _split(self, event: Event) -> bool:
        nodes = sorted(self._cluster.nodes)
        Random(event.draw).shuffle(nodes)
        few = nodes[: (len(nodes) - 1) // 2]
        many = nodes[len(few) :]
        return await self._cut(event, [pair for a in few for b in many for pair in ((a, b), (b, a))])

    async def _some_node(self, event: Event, rng: Random) -> int:
        """The network may be disturbed around nodes to which other things are done."""
        leading = await self._cluster.leader() if event.leader else None
        return int(leading["node_id"]) if leading else rng.choice(sorted(self._cluster.nodes))

    async def _delay(self, event: Event) -> bool:
        seconds = Random(event.draw).uniform(*DELAY_SECONDS)
        return await self._disturb(event, "delay", {"delay": seconds, "jitter": seconds}, f"{seconds * 1000:.0f} ms")

    async def _lose(self, event: Event) -> bool:
        share = Random(event.draw).uniform(*LOSS_SHARE)
        return await self._disturb(event, "drop", {"drop": share}, f"{share:.0%}")

    async def _disturb(self, event: Event, counter: str, fault: dict[str, Any], told: str) -> bool:
        if self._over.is_set():
            return False
        rng = Random(event.draw)
        one = await self._some_node(event, rng)
        direction = rng.choice(("outgoing", "incoming", "both"))
        peers = [peer for peer in self._cluster.nodes if peer != one]
        chosen = peers if rng.random() < 0.7 else [rng.choice(peers)]
        links = [{"peer": peer, "direction": direction, **fault} for peer in chosen]
        weather = self._cluster.weather
        before = await weather.fired()
        self._told(event, f"{told}, node {one} {direction} {chosen} for {event.seconds:.1f} s")
        for link in links:
            weather.disturb(one, link)
        try:
            await self._hold(event.seconds)
            after = await weather.fired()
        finally:
            for link in links:
                weather.calm(one, link)
        return after[counter] > before[counter]

    async def _jump(self, event: Event) -> bool:
        if self._over.is_set():
            return False
        rng = Random(event.draw)
        sign = 1 if event.kind is Kind.CLOCK_FORWARD else -1
        # The leader's clock is the one that is written down; who that is may change.
        leading = await self._cluster.leader()
        first = int(leading["node_id"]) if leading else rng.choice(sorted(self._cluster.nodes))
        hit = [node_id for node_id in self._cluster.nodes if node_id == first or rng.random() < 0.4]
        offsets_us = {node_id: sign * round(CLOCK_US_MAX ** rng.uniform(0.6, 1)) for node_id in hit}
        weather = self._cluster.weather
        before = await weather.fired()
        told = ", ".join(f"node {node_id} by {offset / 1e6:+.3f} s" for node_id, offset in offsets_us.items())
        self._told(event, f"{told} for {event.seconds:.1f} s")
        for node_id, offset_us in offsets_us.items():
            weather.set_clock(node_id, offset_us)
        try:
            await self._hold(event.seconds)
            after = await weather.fired()
        finally:
            for node_id in offsets_us:
                weather.set_clock(node_id, 0)
        return after["clock"] > before["clock"]

    async def _transfer(self, event: Event) -> bool:
        if self._over.is_set():
            return False
        target = Random(event.draw).choice(sorted(self._cluster.nodes))
        self._told(event, f"to node {target}")
        try:
            async with ClusterMembers(self._cluster.addresses) as members:
                await members.change("POST", "leader", {"node_id": target})
        except QuorateError as error:
            self._told(event, f"to node {target}: {error}")
            return False
        return True

    # -- data that is lost: one node at a time -----------------------------------------------------------

    async def _fill_disk(self, event: Event) -> bool:
        async with self._heavy:
            disk = self._cluster.disk
            taken = await self._take(event, [disk.small_node], leader=False)
            if not taken:
                return False
            node = self._cluster.nodes[taken]
            self._told(event, f"node {taken}")
            try:
                ended = await self._until_disk_ends_it(node)
                await self._hold(event.seconds)
                if disk.outlives_process:
                    await self._start_on_full_disk(node)
                disk.free()
                node.start()
            finally:
                disk.free()
                self._busy.discard(taken)
            await self._until_whole(node)
            return ended

    async def _until_disk_ends_it(self, node: NemesisNode) -> bool:
        """A node that cannot write has to stop by itself, with an error."""
        node.may_end()
        deadline = time.monotonic() + FULL_DISK_SECONDS_MAX
        while node.pid is not None and time.monotonic() < deadline:
            self._cluster.disk.fill(node.pid)
            await asyncio.sleep(POLL_SECONDS)
        if node.is_running:
            # Without a majority nothing is written, so nothing fails.
            self._tell(f"node {node.node_id} goes on with a full disk")
            node.kill_and_reap()
            return False
        if node.exit_code != FAILED:
            line = node.last_log_line()
            self.findings.append(f"node {node.node_id}, its disk full, ended with {node.exit_code}: {line}")
        return True

    async def _start_on_full_disk(self, node: NemesisNode) -> None:
        """It may run or give up, as long as it does so in order."""
        node.start()
        node.may_end()
        try:
            code = await node.wait_ended(FULL_DISK_START_SECONDS)
        except TimeoutError:
            node.kill_and_reap()
            return
        if code != FAILED:
            line = node.last_log_line()
            self.findings.append(f"node {node.node_id}, started on a full disk, ended with {code}: {line}")

    async def _wipe(self, event: Event) -> bool:
        async with self._heavy:
            if not (taken := await self._take(event)):
                return False
            node = self._cluster.nodes[taken]
            self._told(event, f"node {taken}")
            try:
                node.kill_and_reap()
                shutil.rmtree(node.data_dir)
                await self._hold(event.seconds)
                node.start()
            finally:
                self._busy.discard(taken)
            await self._until_whole(node)
            return True

    async def _corrupt(self, event: Event) -> bool:
        async with self._heavy:
            if not (taken := await self._take(event)):
                return False
            node = self._cluster.nodes[taken]
            try:
                node.kill_and_reap()
                damaged = damage_middle(node.data_dir)
                self._told(event, f"node {taken}: {damaged or 'its log is too short'}")
                await self._hold(event.seconds)
                node.start()
            finally:
                self._busy.discard(taken)
            await self._until_whole(node)
            return damaged is not None

    async def _replace(self, event: Event) -> bool:
        async with self._heavy:
            if not (taken := await self._take(event)):
                return False
            node = self._cluster.nodes[taken]
            others = [address for address in self._cluster.addresses if address != node.address]
            self._told(event, f"node {taken} is removed, and added again empty")
            try:
                node.may_end()
                if not await self._change(others, "DELETE", f"members/{taken}", None, taken, there=False):
                    return False
                try:
                    await node.wait_ended(REMOVED_SECONDS_MAX)
                except TimeoutError:
                    node.kill_and_reap()  # cut off or paused, it cannot know
                shutil.rmtree(node.data_dir)
                node.joining = True
                node.start()
                node.joining = False
                body = {"node_id": taken, "address": node.address}
                if not await self._change(others, "POST", "members", body, taken, there=True):
                    return False
            finally:
                self._busy.discard(taken)
            await self._until_whole(node)
            return True

    async def _change(
        self, addresses: list[str], method: str, path: str, body: Any, node_id: int, *, there: bool
    ) -> bool:
        """Have the membership changed, in spite of everything, until ``node_id`` is a member or none."""
        why = ""
        while not self._too_late():
            try:
                async with ClusterMembers(addresses) as members:
                    await members.change(method, path, body)
                    return True
            except QuorateError as error:
                why = str(error)
            leader = await self._cluster.leader()
            membership = leader["membership"] if leader else None
            if membership and membership["committed"] and not membership["joint"]:
                ids = [member["node_id"] for member in membership["members"]]
                if (node_id in ids) is there:
                    return True
            await asyncio.sleep(POLL_SECONDS)
        self.findings.append(f"{method} /cluster/{path} was not done within {WHOLE_SECONDS_MAX:g} s: {why}")
        return False

    def _too_late(self) -> bool:
        return self._over.is_set() and time.monotonic() > self._over_at + WHOLE_SECONDS_MAX

    async def _until_whole(self, node: NemesisNode) -> None:
        began = time.monotonic()
        while not self._too_late():
            if await self._cluster.whole(node.node_id):
                self._tell(f"node {node.node_id} is whole again after {time.monotonic() - began:.1f} s")
                return
            await asyncio.sleep(POLL_SECONDS)
        report = (await self._cluster.statuses()).get(node.node_id)
        self.findings.append(
            f"node {node.node_id} was not whole again within {WHOLE_SECONDS_MAX:g} s after the round: {report}"
        )


def damage_middle(data_dir: Path) -> str | None:
    """Flip bytes in the middle of what is written of the log; what was damaged, or ``None`` if there is too little."""
    best: tuple[int, Path] | None = None
    for path in sorted(data_dir.rglob("*.raftlog")):
        if "damaged" not in str(path.relative_to(data_dir)):
            used = len(path.read_bytes().rstrip(b"\0"))
            best = max(best or (0, path), (used, path))
    if best is None or best[0] < 64 * DAMAGE_BYTES:
        return None
    used, path = best
    at = used // 2
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(DAMAGE_BYTES)
        file.seek(at)
        file.write(bytes(byte ^ 0xFF for byte in old))
    return f"{DAMAGE_BYTES} of {used} bytes in {path.name}"
