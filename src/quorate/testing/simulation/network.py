"""The simulated network: paths between nodes with delays and faults, and what becomes of each message on them.

It keeps the transport's contract except where a fault of it is on: then messages are lost, overtaken, repeated or
damaged. Only the core's messages are repeated or overtaken. For the nodes' own, such as forwarded commands, the
promise of the contract is relied upon, and TCP keeps it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from quorate.errors import FrameError
from quorate.node.forwarding import ForwardAccepted, ForwardRefused
from quorate.raft.messages import (
    AppendEntriesReply,
    HeartbeatReply,
    Message,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
)
from quorate.testing.simulation.loop import Scheduler
from quorate.testing.simulation.trace import Trace
from quorate.transport.codec import Codec
from quorate.transport.contract import Lane, WireMessage
from quorate.transport.framing import FrameSplitter, encode_frame

if TYPE_CHECKING:
    from quorate.testing.simulation.transport import Connection, SimulatedTransport

ANSWERS = (AppendEntriesReply, HeartbeatReply, RequestVoteReply, ReadIndexReply, ForwardAccepted, ForwardRefused)
REMEMBERED_MAX = 24
VOTES_REMEMBERED_MAX = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """How a network behaves all the time. Probabilities are per message."""

    base_seconds: float = 0.0005
    jitter_seconds: float = 0.0005
    """The mean of what comes on top of the base, distributed exponentially."""
    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    bulk_bytes_per_second: float = 10e6
    through_codec: float = 1.0
    """How many messages are encoded and decoded; the others are handed over as they are, which is faster."""


@dataclass(slots=True)
class Path:
    """One direction between two nodes, and what is wrong with it now."""

    cut: int = 0
    """How many faults cut it at present."""
    answers_lost: int = 0
    half_open: int = 0
    """While positive, nobody learns that the other end of a connection is gone."""
    drop: float = 0.0
    damage: float = 0.0
    extra_seconds: float = 0.0
    clogged: int = 0
    held: list[tuple[Connection, int, WireMessage, Lane]] = field(default_factory=list)
    """What a clogged path has swallowed, to give it back all at once."""
    busy_until: dict[Lane, float] = field(default_factory=lambda: dict.fromkeys(Lane, 0.0))
    """Nothing that is sent now on a lane arrives before this, unless it is let overtake."""
    votes: deque[RequestVote] = field(default_factory=lambda: deque(maxlen=VOTES_REMEMBERED_MAX))
    """The latest requests for votes that were sent here."""
    past: deque[tuple[int, WireMessage]] = field(default_factory=lambda: deque(maxlen=REMEMBERED_MAX))
    """Messages sent here before, with the incarnation of their sender: for replays."""


class SimulatedNetwork:
    """Where the simulated transports find each other. ``fired`` counts what its faults did."""

    def __init__(
        self, scheduler: Scheduler, rng: Random, plan: NetworkPlan, codec: Codec, trace: Trace, fired: Counter[str]
    ) -> None:
        self.scheduler = scheduler
        self.rng = rng
        self.plan = plan
        self.codec = codec
        self.trace = trace
        self.fired = fired
        self.running: dict[str, SimulatedTransport] = {}
        """By address, the transports that accept connections."""
        self.powered: set[int] = set()
        """Machines that are on: they answer for processes that are gone."""
        self.observe: Callable[[int, int, WireMessage], None] = _nobody_looks
        """Told (source, target, message) of all that leaves a node."""
        self.delivered = 0
        self._paths: dict[tuple[int, int], Path] = {}

    def path(self, source: int, target: int) -> Path:
        """The path from one node to another."""
        key = (source, target)
        path = self._paths.get(key)
        if path is None:
            path = self._paths[key] = Path()
        return path

    def is_open(self, a: int, b: int) -> bool:
        """Whether packets go both ways between two nodes."""
        there, back = self.path(a, b), self.path(b, a)
        return not (there.cut or back.cut or there.clogged or back.clogged)

    def seconds(self, source: int, target: int) -> float:
        """How long something that leaves now is under way."""
        return self._seconds_on(self.path(source, target))

    def _seconds_on(self, path: Path) -> float:
        plan = self.plan
        return plan.base_seconds + self.rng.expovariate(1.0) * plan.jitter_seconds + path.extra_seconds

    # -- messages ----------------------------------------------------------------------------------------

    def send(self, connection: Connection, group: int, message: WireMessage, lane: Lane) -> bool:
        """Send a message over a connection; returns whether it is under way. The sender cannot tell."""
        path, rng, plan = connection.path, self.rng, self.plan
        if isinstance(message, RequestVote) and not message.pre_vote:
            path.votes.append(message)
        if path.cut:
            self.fired["messages cut"] += 1
            return False
        if path.answers_lost and isinstance(message, ANSWERS):
            self.fired["answers lost"] += 1
            return False
        chance = rng.random()
        if chance < plan.drop + path.drop:
            self.fired["messages dropped"] += 1
            return False
        if path.clogged:
            path.held.append((connection, group, message, lane))
            return True
        if path.damage and rng.random() < path.damage:
            self._send_damaged(connection, group, message)
            return False
        delay = self._seconds_on(path)
        if lane is Lane.BULK:
            delay += _weight(message) / plan.bulk_bytes_per_second
        due = self.scheduler.now + delay
        once = not isinstance(message, Message)
        if not once:
            path.past.append((connection.source.identity.incarnation, message))
        if not once and plan.reorder and rng.random() < plan.reorder:
            due += rng.random() * 20 * (plan.base_seconds + plan.jitter_seconds)
            self.fired["messages reordered"] += 1
        else:
            path.busy_until[lane] = due = max(due, path.busy_until[lane])
        self._deliver(connection, group, message, due - self.scheduler.now, lane)
        if not once and plan.duplicate and rng.random() < plan.duplicate:
            self.fired["messages duplicated"] += 1
            self._deliver(connection, group, message, due - self.scheduler.now + rng.random() * delay * 20, lane)
        return True

    def _deliver(
        self, connection: Connection, group: int, message: WireMessage, delay: float, lane: Lane = Lane.PROMPT
    ) -> None:
        body = None
        if self.rng.random() < self.plan.through_codec:
            body = self.codec.encode(group, message)
        if lane is Lane.BULK:
            size = _weight(message)
            connection.backlog_bytes[lane] += size
            self.scheduler.after(delay, self.scheduler.world, _landed, connection, lane, size)
        self.scheduler.after(delay, connection.target.loop, self._arrive, connection, group, message, body)

    def _arrive(self, connection: Connection, group: int, message: WireMessage, body: bytes | None) -> None:
        if body is not None:
            group, message = self.codec.decode(body)
        source = connection.source.node_id
        self.delivered += 1
        if self.trace.is_read:
            self.trace.event(connection.target.node_id, f"<- {source} {describe(message)}")
        else:
            self.trace.event(connection.target.node_id, f"<- {source} {type(message).__name__}")
        connection.target.receive(source, group, message)

    def _send_damaged(self, connection: Connection, group: int, message: WireMessage) -> None:
        """The message arrives truncated or altered: the receiver must notice, and close the connection."""
        frame = bytearray(encode_frame(self.codec.encode(group, message)))
        if self.rng.random() < 0.5:
            del frame[self.rng.randrange(len(frame)) :]
            self.fired["frames truncated"] += 1
        else:
            frame[self.rng.randrange(len(frame))] ^= 1 << self.rng.randrange(8)
            self.fired["frames corrupted"] += 1
        delay = self.seconds(connection.source.node_id, connection.target.node_id)
        self.scheduler.after(delay, connection.target.loop, self._arrive_damaged, connection, bytes(frame))

    def _arrive_damaged(self, connection: Connection, frame: bytes) -> None:
        try:
            for body in FrameSplitter().feed(frame):
                self.codec.decode(body)
                raise AssertionError(f"a damaged frame passed for an intact one: {frame.hex()}")
        except FrameError:
            pass
        connection.target.refuse(connection)

    # -- faults that act once ----------------------------------------------------------------------------

    def unclog(self, path: Path) -> None:
        """Let go, in order and at once, what a clogged path holds."""
        held, path.held = path.held, []
        for connection, group, message, lane in held:
            path.busy_until[lane] = due = max(self.scheduler.now + self.plan.base_seconds, path.busy_until[lane])
            self._deliver(connection, group, message, due - self.scheduler.now, lane)

    def replay(self, source: SimulatedTransport, target: SimulatedTransport, *, older: bool) -> int:
        """Repeat messages of the past on a connection that is up; with ``older`` those of earlier incarnations."""
        connection = source.connection_to(target.node_id)
        if connection is None or connection.target is not target:
            return 0
        incarnation = source.identity.incarnation
        past = [message for sent_by, message in connection.path.past if (sent_by != incarnation) is older]
        chosen = self.rng.sample(past, min(len(past), self.rng.randint(1, 6)))
        for message in chosen:
            self._deliver(connection, 0, message, self.rng.random() * 0.05)
        return len(chosen)

    def replay_votes(self, source: SimulatedTransport, target: SimulatedTransport, seconds: float) -> int:
        """Let requests for votes of the past arrive, once more or at last, on a connection that is up."""
        connection = source.connection_to(target.node_id)
        if connection is None or connection.target is not target:
            return 0
        for message in connection.path.votes:
            self._deliver(connection, 0, message, self.rng.random() * seconds)
        return len(connection.path.votes)

    def heal(self) -> None:
        """End every fault."""
        for path in self._paths.values():
            path.cut = path.answers_lost = path.half_open = path.clogged = 0
            path.drop = path.damage = path.extra_seconds = 0.0
            self.unclog(path)


def describe(message: WireMessage) -> str:
    """A message in one short line."""
    parts = []
    for name in message.__dataclass_fields__:
        value = getattr(message, name)
        if name == "entries":
            value = f"[{value[0].index}…{value[-1].index}]" if value else "[]"
        elif isinstance(value, bytes):
            value = f"{len(value)} bytes"
        parts.append(f"{name}={value}")
    return f"{type(message).__name__} {' '.join(parts)}"


def _nobody_looks(source: int, target: int, message: WireMessage) -> None:
    pass


def _weight(message: WireMessage) -> int:
    """About how many bytes a message takes: those of its binary fields."""
    values = (getattr(message, name) for name in message.__dataclass_fields__)
    return sum(len(value) for value in values if isinstance(value, bytes))


def _landed(connection: Connection, lane: Lane, size: int) -> None:
    connection.backlog_bytes[lane] -= size
