"""Faults of the network. Most cut without a word, as real networks do; a few reset connections, and both ends learn."""

from __future__ import annotations

from collections.abc import Callable

from quorate.testing.simulation.faults.nemesis import Fault, Nemesis
from quorate.testing.simulation.network import Path


def cut(nemesis: Nemesis, pairs: list[tuple[int, int]], seconds: float) -> Callable[[], None]:
    """Cut the paths from … to … for so long; what is returned mends them before."""
    paths = [nemesis.network.path(source, target) for source, target in pairs]
    for path in paths:
        path.cut += 1

    def mend() -> None:
        while paths:
            path = paths.pop()
            path.cut = max(0, path.cut - 1)

    nemesis.later(seconds, mend)
    return mend


def between(left: list[int], right: list[int]) -> list[tuple[int, int]]:
    """The paths of both directions between each node on the left and each on the right."""
    return [pair for a in left for b in right if a != b for pair in ((a, b), (b, a))]


def _two(nemesis: Nemesis) -> tuple[int, int]:
    source = nemesis.any_host().node_id
    return source, nemesis.rng.choice([node for node in nemesis.hosts if node != source])


def _isolate(nemesis: Nemesis) -> str:
    node, seconds = nemesis.any_host().node_id, nemesis.seconds()
    cut(nemesis, between([node], [other for other in nemesis.hosts if other != node]), seconds)
    return f"node {node} for {seconds:.3f} s"


def _partition(nemesis: Nemesis) -> str:
    nodes, seconds = list(nemesis.hosts), nemesis.seconds()
    nemesis.rng.shuffle(nodes)
    at = nemesis.rng.randint(1, len(nodes) - 1)
    cut(nemesis, between(nodes[:at], nodes[at:]), seconds)
    return f"{sorted(nodes[:at])} from {sorted(nodes[at:])} for {seconds:.3f} s"


def _bridge(nemesis: Nemesis) -> str:
    nodes, seconds = list(nemesis.hosts), nemesis.seconds()
    nemesis.rng.shuffle(nodes)
    bridge, *rest = nodes
    at = len(rest) // 2
    cut(nemesis, between(rest[:at], rest[at:]), seconds)
    return f"only node {bridge} joins {sorted(rest[:at])} and {sorted(rest[at:])} for {seconds:.3f} s"


def _one_way(nemesis: Nemesis) -> str:
    (source, target), seconds = _two(nemesis), nemesis.seconds()
    cut(nemesis, [(source, target)], seconds)
    return f"from {source} to {target} for {seconds:.3f} s"


def _deaf(nemesis: Nemesis) -> str:
    node, seconds = nemesis.any_host().node_id, nemesis.seconds()
    others = [other for other in nemesis.hosts if other != node]
    can_send = nemesis.rng.random() < 0.5
    cut(nemesis, [(other, node) if can_send else (node, other) for other in others], seconds)
    return f"node {node} can only {'send' if can_send else 'receive'} for {seconds:.3f} s"


def _flapping(nemesis: Nemesis) -> str:
    a, b = _two(nemesis)
    times = nemesis.rng.randint(3, 8)
    period = nemesis.election_seconds / 4
    for number in range(times):
        nemesis.later(number * period, lambda: cut(nemesis, between([a], [b]), period / 2))
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


def clog(nemesis: Nemesis, paths: list[Path], seconds: float) -> None:
    """Hold back for so long whatever is sent on some paths, and then let go of all of it at once."""
    for path in paths:
        path.clogged += 1

    def release() -> None:
        for path in paths:
            path.clogged = max(0, path.clogged - 1)
            if not path.clogged:
                nemesis.network.unclog(path)

    nemesis.later(seconds, release)


def _clog(nemesis: Nemesis) -> str:
    (source, target), seconds = _two(nemesis), nemesis.seconds()
    paths = [nemesis.network.path(source, target)]
    if nemesis.rng.random() < 0.5:
        paths.append(nemesis.network.path(target, source))
    clog(nemesis, paths, seconds)
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
    paths = [nemesis.network.path(*pair) for pair in between([node], others)]
    seconds = _for_a_while(nemesis, paths, "extra_seconds", extra)
    return f"node {node} by {extra:.3f} s for {seconds:.3f} s"


def _lossy(nemesis: Nemesis) -> str:
    node = nemesis.any_host().node_id
    rate = nemesis.rng.choice((0.1, 0.5, 0.9))
    others = [other for other in nemesis.hosts if other != node]
    paths = [nemesis.network.path(*pair) for pair in between([node], others)]
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
