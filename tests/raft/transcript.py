"""Scenarios as text: commands, and below each group of them what the cluster does.

A transcript begins with prose (lines with ``#``). Then come blocks: commands, a line ``----``, the expected output,
a blank line. What happens by itself at once (fast disks, applying) is shown with what caused it; messages are shown
when they are delivered or lost, and only then. Entries are written index@term.

============================  ==========================================================================
``cluster N [setting=value]``  N servers; shortest election timeouts of 16, 20, 24 … ticks; ``witness=N`` is one
``disk N [term=] [vote=] [log=1,1,2]``  what server N finds on its disk at start
``tick N|all [times]``         time passes on one server, or on all
``campaign N``                 time passes on one server until it campaigns
``elect N``                    a whole election without a word
``deliver [A->B] [Kind]``      deliver what is under way now, optionally only this; ``again`` leaves it under way
``drop [A->B] [Kind]``         lose it
``settle``                     deliver until nothing is under way
``run N``                      N ticks with everything delivered, without a word
``propose N payload …``        ``read N``, ``crash N``, ``restart N``, ``isolate N``, ``heal``, ``peer-lost N M``
``join N``                     a server that knows of no cluster
``change N 1,2 [learners=3] [witnesses=4]``  a change of the membership; ``members``: what each server goes by
``transfer N M``               ``compact N [index]``
``slow N`` / ``fast N``        the disk of N waits / writes at once; ``persist N [how many]`` finishes writes
``status``                     roles, terms, logs; ``network``: what is under way; ``progress N``: the leader's view
============================  ==========================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from quorate.raft import messages as raft
from quorate.raft.entry import Entry, EntryKind
from quorate.raft.membership import Configuration, MemberRole
from quorate.raft.messages import Message
from quorate.raft.output import HardState, Output, Write
from tests.raft.harness import Cluster, entries
from tests.raft.server import Disk, Packet, Server, Snapshot, members

LINK = re.compile(r"(\d+)->(\d+)")


def show_entry(entry: Entry) -> str:
    position = f"{entry.index}@{entry.term}"
    match entry.kind:
        case EntryKind.NOOP:
            return f"{position} no-op"
        case EntryKind.MEMBERSHIP:
            return f"{position} members {show_members(Configuration.decode(entry.payload))}"
        case EntryKind.WITNESSED:
            return f"{position} witnessed"
        case EntryKind.COMMANDS:
            return f"{position} {entry.payload.decode()!r}"


def show_members(configuration: Configuration) -> str:
    groups: dict[str, list[int]] = {"": [], "learner ": [], "witness ": [], "leaving ": []}
    for member in configuration:
        if member.leaving:
            groups["leaving "].append(member.node_id)
        else:
            groups["" if member.role is MemberRole.VOTER else f"{member.role} "].append(member.node_id)
    parts = [word + " ".join(map(str, nodes)) for word, nodes in groups.items() if nodes]
    return ", ".join(parts) + (" (joint)" if configuration.is_joint else "")


def show_entries(found: Iterable[Entry]) -> str:
    return ", ".join(show_entry(entry) for entry in found)


def show(message: Message | Snapshot) -> str:
    kind, term = type(message).__name__, message.term
    match message:
        case Snapshot():
            return f"{kind} term {term}, up to {message.floor.index}@{message.floor.term}"
        case raft.TimeoutNow():
            return f"{kind} term {term}"
        case raft.RequestVote():
            pre = "pre-vote, " if message.pre_vote else "transfer, " if message.transfer else ""
            return f"{kind} {pre}term {term}, log ends at {message.last_index}@{message.last_term}"
        case raft.RequestVoteReply():
            pre = "pre-vote, " if message.pre_vote else ""
            return f"{kind} {pre}term {term}, {'granted' if message.granted else 'refused'}"
        case raft.AppendEntries():
            what = show_entries(message.entries) or "nothing"
            behind = f"{message.previous_index}@{message.previous_term}"
            return f"{kind} term {term}, behind {behind}: {what}; commit {message.commit}"
        case raft.AppendEntriesReply(rejected=True):
            if not message.session:
                return f"{kind} term {term}: your term is over"
            hint = f"{message.hint_index}@{message.hint_term}"
            return f"{kind} term {term}, rejected behind {message.previous_index}, try {hint}"
        case raft.AppendEntriesReply():
            return f"{kind} term {term}, matches up to {message.match_index}"
        case raft.Heartbeat():
            round_ = f"round {message.sequence}" if message.sequence else "no answer wanted"
            return f"{kind} term {term}, {round_}; commit {message.commit}"
        case raft.HeartbeatReply():
            return f"{kind} term {term}, round {message.sequence}"
        case raft.ReadIndex():
            return f"{kind} term {term}, read {message.token}"
        case raft.ReadIndexReply():
            return f"{kind} term {term}, read {message.token}: " + (
                f"at {message.index}" if message.index else "not here"
            )
    raise AssertionError(f"unknown message {message}")


def show_write(write: Write) -> str:
    parts = []
    if write.hard_state is not None:
        parts.append(f"term {write.hard_state.term}, vote {write.hard_state.voted_for or '-'}")
    if write.floor is not None:
        parts.append(f"a snapshot up to {write.floor.index}@{write.floor.term}")
    if write.entries:
        parts.append(show_entries(write.entries))
    return "; ".join(parts)


class Transcript:
    """Carries out commands and writes down what follows."""

    def __init__(self) -> None:
        self._size = 3
        self._settings: dict[str, Any] = {}
        self._witnesses: set[int] = set()
        self._disks: dict[int, Disk] = {}
        self._cluster: Cluster | None = None
        self._lines: list[str] = []
        self._known: dict[int, tuple[object, ...]] = {}
        self._quiet = False

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            voters = set(range(1, self._size + 1)) - self._witnesses
            found = members(voters, witnesses=self._witnesses)
            self._cluster = Cluster(self._size, disks=self._disks, members=found, **self._settings)
            self._cluster.observe = self._observe
            self._known = {server.node_id: self._state(server) for server in self._cluster.servers.values()}
        return self._cluster

    def execute(self, commands: Iterable[str]) -> str:
        """What the commands lead to."""
        self._lines = []
        for command in commands:
            name, *arguments = command.split()
            method: Callable[..., None] = getattr(self, "do_" + name.replace("-", "_"))
            method(*arguments)
        return "\n".join(self._lines) or "ok"

    # -- writing down ------------------------------------------------------------------------------------

    def _say(self, line: str) -> None:
        if not self._quiet:
            self._lines.append(line)

    @staticmethod
    def _state(server: Server) -> tuple[object, ...]:
        core = server.core
        return core.role, core.term, core.leader

    def _observe(self, server: Server, output: Output) -> None:
        node, core = server.node_id, server.core
        state = self._state(server)
        if state != self._known[node]:
            self._known[node] = state
            if core.leader not in (None, node):
                self._say(f"  {node} follows {core.leader} in term {core.term}")
            else:
                self._say(f"  {node} is {core.role.value} in term {core.term}")
        if output.write is not None:
            self._say(f"  {node} {'begins to write' if server.slow_disk else 'writes'} {show_write(output.write)}")
        if output.committed:
            self._say(f"  {node} applies {show_entries(output.committed)}")
        for read in output.reads:
            answer = "cannot be answered" if read.index is None else f"may be answered at {read.index}"
            self._say(f"  read {read.token} of {node} {answer}")

    def _say_packet(self, packet: Packet, prefix: str = "") -> None:
        self._say(f"{prefix}{packet.source} -> {packet.target} {show(packet.message)}")

    def _chosen(self, *filters: str) -> list[Packet]:
        kind: type = object
        source = target = 0
        for each in filters:
            if link := LINK.fullmatch(each):
                source, target = int(link[1]), int(link[2])
            else:
                kind = Snapshot if each == "Snapshot" else getattr(raft, each)
        return self.cluster.packets(kind, source, target)

    # -- commands ----------------------------------------------------------------------------------------

    def do_cluster(self, size: str, *settings: str) -> None:
        assert self._cluster is None, "the cluster is made already"
        self._size = int(size)
        for setting in settings:
            key, value = setting.split("=")
            if key == "witness":
                self._witnesses.add(int(value))
                continue
            self._settings[key] = value == "true" if value in ("true", "false") else int(value)

    def do_disk(self, node: str, *settings: str) -> None:
        assert self._cluster is None, "the cluster is made already"
        given = dict(setting.split("=") for setting in settings)
        terms = [int(term) for term in given.get("log", "").split(",") if term]
        term = int(given.get("term", max(terms, default=0)))
        self._disks[int(node)] = Disk(HardState(term, int(given["vote"]) if "vote" in given else None), entries(terms))

    def do_tick(self, node: str, times: str = "1") -> None:
        self.cluster.tick(*([] if node == "all" else [int(node)]), times=int(times))

    def do_campaign(self, node: str) -> None:
        self.cluster.campaign(int(node))

    def do_elect(self, node: str) -> None:
        self._quietly(lambda: self.cluster.elect(int(node)))

    def do_run(self, ticks: str) -> None:
        self._quietly(lambda: self.cluster.run(int(ticks)))

    def _quietly(self, action: Callable[[], None]) -> None:
        self.cluster  # noqa: B018 - made before it is silenced
        self._quiet = True
        action()
        self._quiet = False

    def do_deliver(self, *filters: str) -> None:
        again = "again" in filters
        for packet in self._chosen(*(each for each in filters if each != "again")):
            self._say_packet(packet)
            if again:
                self.cluster.step(packet.source, packet.target, packet.message)
            else:
                self.cluster.deliver(packet)

    def do_drop(self, *filters: str) -> None:
        for packet in self._chosen(*filters):
            self._say_packet(packet, "lost: ")
            self.cluster.lose(packet)

    def do_settle(self) -> None:
        for _ in range(1000):
            if not self.cluster.pool:
                return
            packet = self.cluster.pool[0]
            self._say_packet(packet)
            self.cluster.deliver(packet)
        raise AssertionError("it does not come to rest")

    def do_propose(self, node: str, *payloads: str) -> None:
        self.cluster.propose(int(node), *(payload.encode() for payload in payloads))

    def do_join(self, node: str) -> None:
        self.cluster.join(int(node))
        self._known[int(node)] = self._state(self.cluster[int(node)])

    def do_change(self, node: str, voters: str, *others: str) -> None:
        """Voters, and ``learners=`` and ``witnesses=``, each a list with commas."""
        given = {key: numbers(value) for key, value in (other.split("=") for other in others)}
        found = members(numbers(voters), learners=given.get("learners", ()), witnesses=given.get("witnesses", ()))
        self.cluster.change(int(node), found)

    def do_transfer(self, node: str, target: str) -> None:
        self.cluster.transfer(int(node), int(target))

    def do_compact(self, node: str, *index: str) -> None:
        self.cluster.compact(int(node), *map(int, index))
        floor = self.cluster.core(int(node)).log.floor
        self._say(f"  the log of {node} begins behind {floor.index}@{floor.term}")

    def do_members(self) -> None:
        for server in self.cluster.servers.values():
            found = server.core.configuration
            self._say(f"{server.node_id}: " + (show_members(found) if found.ids else "knows of no cluster"))

    def do_read(self, node: str) -> None:
        number = sum(len(server.asked) for server in self.cluster.servers.values()) + 1
        self._say(f"read {number} of {node}")
        self.cluster.read(int(node))

    def do_slow(self, node: str) -> None:
        self.cluster[int(node)].slow_disk = True

    def do_fast(self, node: str) -> None:
        self.cluster[int(node)].slow_disk = False

    def do_persist(self, node: str, writes: str | None = None) -> None:
        server = self.cluster[int(node)]
        number = len(server.writes) if writes is None else int(writes)
        for write in list(server.writes)[:number]:
            self._say(f"{node} has written {show_write(write)}")
        self.cluster.persist(server.node_id, number)

    def do_crash(self, node: str) -> None:
        self.cluster.crash(int(node))

    def do_restart(self, node: str) -> None:
        self.cluster.restart(int(node))

    def do_isolate(self, node: str) -> None:
        self.cluster.isolate(int(node))

    def do_heal(self) -> None:
        self.cluster.heal()

    def do_peer_lost(self, node: str, peer: str) -> None:
        server = self.cluster[int(node)]
        server.core.peer_lost(int(peer))
        self.cluster.pump(server)

    def do_network(self) -> None:
        for packet in self.cluster.pool:
            self._say_packet(packet)

    def do_status(self) -> None:
        for server in self.cluster.servers.values():
            core, log = server.core, server.core.log
            terms = " ".join(str(term) for term in self.cluster.terms(server.node_id)) or "empty"
            if log.floor.index:
                terms = f"({log.floor.index}@{log.floor.term}) {terms}"
            role = core.role.value if server.alive else "crashed"
            durable = "" if log.durable == log.last_index else f", durable {log.durable}"
            self._say(f"{server.node_id} {role}, term {core.term}, log {terms}{durable}, commit {log.committed}")

    def do_progress(self, node: str) -> None:
        replication = self.cluster.core(int(node)).replication
        assert replication is not None, f"{node} does not lead"
        for peer, each in replication.peers.items():
            paused = ", paused" if each.paused else ""
            self._say(f"{peer}: {each.state.value}, match {each.match}, next {each.next}{paused}")


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def split(text: str) -> tuple[str, list[tuple[list[str], str]]]:
    """The prose at the head, and the blocks: commands and their expected output."""
    head, *blocks = text.rstrip("\n").split("\n\n")
    parsed = []
    for block in blocks:
        commands, _, expected = block.partition("\n----")
        parsed.append((commands.splitlines(), expected.lstrip("\n")))
    return head, parsed


def play(text: str) -> str:
    """The transcript as it reads when its commands are carried out now."""
    head, blocks = split(text)
    transcript = Transcript()
    parts = [head]
    for commands, _ in blocks:
        spoken = [command for command in commands if not command.startswith("#")]  # a word in between
        parts.append("\n".join([*commands, "----", transcript.execute(spoken)]))
    return "\n\n".join(parts) + "\n"
