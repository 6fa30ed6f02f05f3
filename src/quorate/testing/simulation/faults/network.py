"""Faults of the network. Most cut without a word, as real networks do; a few reset connections, and both ends learn."""

from __future__ import annotations

from quorate.testing.simulation.faults.nemesis import Fault, Nemesis
from quorate.testing.simulation.host import Host
from quorate.testing.simulation.network import Path


def _cut(nemesis: Nemesis, pairs: list[tuple[int, int]], seconds: float) -> None:
    """Cut the paths from … to … for so long."""
    paths = [nemesis.network.path(source, target) for source, target in pairs]
    for path in paths:
        path.cut += 1

    def mend() -> None:
        for path in paths:
            path.cut = max(0, path.cut - 1)

    nemesis.later(seconds, mend)


def _between(left: list[int], right: list[int]) -> list[tuple[int, int]]:
    return [pair for a in left for b in right if a != b for pair in ((a, b), (b, a))]


def _two(nemesis: Nemesis) -> tuple[int, int]:
    source = nemesis.any_host().node_id
    return source, nemesis.rng.choice([node for node in nemesis.hosts if node != source])


def _isolate(nemesis: Nemesis) -> str:
    node, seconds = nemesis.any_host().node_id, nemesis.seconds()
    _cut(nemesis, _between([node], [other for other in nemesis.hosts if other != node]), seconds)
    return f"node {node} for {seconds:.3f} s"


def _partition(nemesis: Nemesis) -> str:
    nodes, seconds = list(nemesis.hosts), nemesis.seconds()
    nemesis.rng.shuffle(nodes)
    at = nemesis.rng.randint(1, len(nodes) - 1)
    _cut(nemesis, _between(nodes[:at], nodes[at:]), seconds)
    return f"{sorted(nodes[:at])} from {sorted(nodes[at:])} for {seconds:.3f} s"


def _bridge(nemesis: Nemesis) -> str:
    nodes, seconds = list(nemesis.hosts), nemesis.seconds()
    nemesis.rng.shuffle(nodes)
    bridge, *rest = nodes
    at = len(rest) // 2
    _cut(nemesis, _between(rest[:at], rest[at:]), seconds)
    return f"only node {bridge} joins {sorted(rest[:at])} and {sorted(rest[at:])} for {seconds:.3f} s"


def _one_way(nemesis: Nemesis) -> str:
    (source, target), seconds = _two(nemesis), nemesis.seconds()
    _cut(nemesis, [(source, target)], seconds)
    return f"from {source} to {target} for {seconds:.3f} s"


def _deaf(nemesis: Nemesis) -> str:
    node, seconds = nemesis.any_host().node_id, nemesis.seconds()
    others = [other for other in nemesis.hosts if other != node]
    can_send = nemesis.rng.random() < 0.5
    _cut(nemesis, [(other, node) if can_send else (node, other) for other in others], seconds)
    return f"node {node} can only {'send' if can_send else 'receive'} for {seconds:.3f} s"


def _flapping(nemesis: Nemesis) -> str:
    a, b = _two(nemesis)
    times = nemesis.rng.randint(3, 8)
    period = nemesis.election_seconds / 4
    for number in range(times):
        nemesis.later(number * period, lambda: _cut(nemesis, _between([a], [b]), period / 2))
    return f"between {a} and {b}, {times} times"


def _reset(nemesis: Nemesis) -> str | None:
    host = nemesis.any_running()
    if host is None or host.process is None:
        return None
    node = host.node_id
    for other in nemesis.hosts.values():
        host.process.transport.break_all(other.node_id)
        if other.process is not None and nemesis.rng.random() < 0.5:
            other.process.transport.break_all(node)
    return f"connections of node {node}"


def _lose(nemesis: Nemesis, leader: Host, seconds: float) -> None:
    """Kill a leader, or cut it off, perhaps from all but one."""
    others = [other for other in nemesis.hosts if other != leader.node_id]
    way = nemesis.rng.randrange(4)
    if way == 0:
        leader.kill(power=nemesis.rng.random() < 0.5)
        return
    if way == 1:
        others.remove(nemesis.rng.choice(others))
    _cut(nemesis, _between([leader.node_id], others), seconds)


def _roulette(nemesis: Nemesis) -> str:
    """One leader after the other is lost: logs part, and must be made one again (figure 8)."""
    times = nemesis.rng.randint(3, 8)
    period = nemesis.election_seconds * nemesis.rng.choice((0.8, 1.2, 2.0))

    def lose_the_leader() -> None:
        leader = nemesis.leader()
        if leader is not None:
            _lose(nemesis, leader, period * nemesis.rng.uniform(0.8, 2.5))

    for number in range(times):
        nemesis.later(number * period * nemesis.rng.uniform(0.7, 1.3), lose_the_leader)
    return f"{times} leaders, one every {period:.3f} s"


def _coups(nemesis: Nemesis) -> str:
    """For a while, whoever becomes the leader is lost before it has told everyone."""
    period = nemesis.election_seconds * nemesis.rng.uniform(4, 10)
    plan = nemesis.network.plan
    moment = (plan.base_seconds + plan.jitter_seconds) * nemesis.rng.choice((2, 5, 20))

    def lose_soon(leader: Host) -> None:
        seconds = nemesis.election_seconds * nemesis.rng.uniform(0.8, 3)
        nemesis.later(nemesis.rng.random() * moment, lambda: _lose(nemesis, leader, seconds))

    nemesis.coup = lose_soon

    def end() -> None:
        nemesis.coup = None

    nemesis.later(period, end)
    return f"for {period:.3f} s, each within {moment:.4f} s"


def _stranded(nemesis: Nemesis) -> str | None:
    """The leader keeps only some followers, no majority: what it still takes in will have to give way.

    Whoever was with it may lose its power soon after it has met the others again.
    """
    leader = nemesis.leader()
    if leader is None or leader.node_id not in nemesis.hosts:
        return None
    others = [node for node in nemesis.hosts if node != leader.node_id]
    nemesis.rng.shuffle(others)
    kept = (len(nemesis.hosts) - 1) // 2 - nemesis.rng.choice((0, 0, 1))
    stranded = [leader.node_id, *others[: max(0, kept)]]
    seconds = nemesis.election_seconds * nemesis.rng.uniform(1.0, 4.0)
    _cut(nemesis, _between(stranded, [node for node in others if node not in stranded]), seconds)
    if nemesis.rng.random() < 0.6:
        victim = nemesis.everyone[nemesis.rng.choice(stranded)]
        changes, power = nemesis.rng.randint(0, 25), nemesis.rng.random() < 0.7
        nemesis.later(seconds, lambda: victim.kill_after(changes, power=power))
    return f"leader {leader.node_id} with {stranded[1:]} for {seconds:.3f} s"


def _half_told(nemesis: Nemesis) -> str:
    """For a while, whoever becomes the leader tells one follower, and only a little: old entries, not its own first."""
    period = nemesis.election_seconds * nemesis.rng.uniform(4, 10)
    plan = nemesis.network.plan
    moment = (plan.base_seconds + plan.jitter_seconds) * nemesis.rng.choice((2, 4, 8))

    def cut_most(leader: Host) -> None:
        others = [node for node in nemesis.hosts if node != leader.node_id]
        nemesis.rng.shuffle(others)
        told = others[: nemesis.rng.choice((0, 1, 1, 2))]
        seconds = nemesis.election_seconds * nemesis.rng.uniform(0.5, 2)
        _cut(nemesis, _between([leader.node_id], [node for node in others if node not in told]), seconds)
        leader.disk.stalled_until = nemesis.scheduler.now + nemesis.rng.choice((0.0, seconds))
        if nemesis.rng.random() < 0.5:
            nemesis.later(nemesis.rng.random() * moment, lambda: leader.kill(power=nemesis.rng.random() < 0.5))

    nemesis.coup = cut_most

    def end() -> None:
        nemesis.coup = None

    nemesis.later(period, end)
    return f"for {period:.3f} s"


def _late_votes(nemesis: Nemesis) -> str | None:
    """Requests for votes of the past arrive again, when no leader may be about."""
    leader = nemesis.leader()
    seconds = nemesis.election_seconds * nemesis.rng.uniform(0.5, 1.5)
    if leader is not None and nemesis.rng.random() < 0.7:
        others = [node for node in nemesis.hosts if node != leader.node_id]
        _cut(nemesis, [(leader.node_id, other) for other in others], seconds)
    count = 0
    for source in nemesis.hosts.values():
        for target in nemesis.hosts.values():
            if source is not target and source.process is not None and target.process is not None:
                count += nemesis.network.replay_votes(source.process.transport, target.process.transport, seconds)
    return f"{count} requests within {seconds:.3f} s" if count else None


def _clog(nemesis: Nemesis) -> str:
    (source, target), seconds = _two(nemesis), nemesis.seconds()
    paths = [nemesis.network.path(source, target)]
    if nemesis.rng.random() < 0.5:
        paths.append(nemesis.network.path(target, source))
    for path in paths:
        path.clogged += 1

    def release() -> None:
        for path in paths:
            path.clogged = max(0, path.clogged - 1)
            if not path.clogged:
                nemesis.network.unclog(path)

    nemesis.later(seconds, release)
    return f"from {source} to {target}{' and back' if len(paths) > 1 else ''} for {seconds:.3f} s"


def _for_a_while(nemesis: Nemesis, paths: list[Path], attribute: str, value: float) -> float:
    """Set an attribute of some paths, and put it back after a time, which is returned."""
    seconds = nemesis.seconds()
    for path in paths:
        setattr(path, attribute, value)

    def end() -> None:
        for path in paths:
            setattr(path, attribute, 0)

    nemesis.later(seconds, end)
    return seconds


def _slow_peer(nemesis: Nemesis) -> str:
    node = nemesis.any_host().node_id
    extra = nemesis.election_seconds * nemesis.rng.random() * 0.4
    others = [other for other in nemesis.hosts if other != node]
    paths = [nemesis.network.path(*pair) for pair in _between([node], others)]
    seconds = _for_a_while(nemesis, paths, "extra_seconds", extra)
    return f"node {node} by {extra:.3f} s for {seconds:.3f} s"


def _lossy(nemesis: Nemesis) -> str:
    node = nemesis.any_host().node_id
    rate = nemesis.rng.choice((0.1, 0.5, 0.9))
    others = [other for other in nemesis.hosts if other != node]
    paths = [nemesis.network.path(*pair) for pair in _between([node], others)]
    seconds = _for_a_while(nemesis, paths, "drop", rate)
    return f"{rate:.0%} to and from node {node} for {seconds:.3f} s"


def _lost_answers(nemesis: Nemesis) -> str:
    source, target = _two(nemesis)
    seconds = _for_a_while(nemesis, [nemesis.network.path(source, target)], "answers_lost", 1)
    return f"of {source} to {target} for {seconds:.3f} s"


def _half_open(nemesis: Nemesis) -> str | None:
    host = nemesis.any_running()
    if host is None:
        return None
    node = host.node_id
    paths = [nemesis.network.path(other, node) for other in nemesis.hosts if other != node]
    _for_a_while(nemesis, paths, "half_open", 1)
    host.kill()
    return f"nobody learns that node {node} is killed"


def _damaged(nemesis: Nemesis) -> str:
    source, target = _two(nemesis)
    rate = nemesis.rng.choice((0.02, 0.3))
    seconds = _for_a_while(nemesis, [nemesis.network.path(source, target)], "damage", rate)
    return f"{rate:.0%} of the frames from {source} to {target} for {seconds:.3f} s"


def _replay(nemesis: Nemesis, *, older: bool) -> str | None:
    running = [host.process.transport for host in nemesis.hosts.values() if host.is_up and host.process is not None]
    if len(running) < 2:
        return None
    pairs = [(source, target) for source in running for target in running if source is not target]
    nemesis.rng.shuffle(pairs)
    for source, target in pairs:
        count = nemesis.network.replay(source, target, older=older)
        if count:
            return f"{count} messages from {source.node_id} to {target.node_id}"
    return None


FAULTS = (
    Fault("isolate", _isolate, nodes_min=2),
    Fault("partition", _partition, nodes_min=2),
    Fault("bridge", _bridge, nodes_min=3),
    Fault("one-way loss", _one_way, nodes_min=2),
    Fault("deaf or mute", _deaf, nodes_min=2),
    Fault("flapping", _flapping, nodes_min=2),
    Fault("leader roulette", _roulette, nodes_min=3, weight=1.5),
    Fault("coups", _coups, nodes_min=3, weight=1.5),
    Fault("stranded leader", _stranded, nodes_min=3, weight=1.5),
    Fault("half-told", _half_told, nodes_min=3),
    Fault("late requests for votes", _late_votes, nodes_min=2),
    Fault("reset", _reset, nodes_min=2),
    Fault("clog", _clog, nodes_min=2),
    Fault("slow peer", _slow_peer, nodes_min=2),
    Fault("lossy", _lossy, nodes_min=2),
    Fault("lost answers", _lost_answers, nodes_min=2),
    Fault("half-open", _half_open, nodes_min=2),
    Fault("damaged frames", _damaged, nodes_min=2),
    Fault("late replay", lambda nemesis: _replay(nemesis, older=False), nodes_min=2),
    Fault("older incarnation", lambda nemesis: _replay(nemesis, older=True), nodes_min=2, weight=2.0),
)
"""Kinds of faults."""
