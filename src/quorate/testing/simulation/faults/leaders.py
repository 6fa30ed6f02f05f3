"""Faults that meet leaders when it hurts: just elected, on their way out, or with entries that few others have."""

from __future__ import annotations

from collections.abc import Callable

from quorate.raft.roles import Role
from quorate.testing.simulation.faults.nemesis import Fault, Nemesis
from quorate.testing.simulation.faults.network import between, clog, cut
from quorate.testing.simulation.faults.process import ask_for_transfer
from quorate.testing.simulation.host import Host

WATCH_SECONDS = 0.001
"""How often a fault that waits for something looks whether it is so."""


def _moment(nemesis: Nemesis) -> float:
    """About how long a message is under way."""
    plan = nemesis.network.plan
    return plan.base_seconds + plan.jitter_seconds


def _lose(nemesis: Nemesis, leader: Host, seconds: float) -> None:
    """Kill a leader, or cut it off, perhaps from all but one."""
    others = [other for other in nemesis.hosts if other != leader.node_id]
    way = nemesis.rng.randrange(4)
    if way == 0:
        leader.kill(power=nemesis.rng.random() < 0.5)
        return
    if way == 1:
        others.remove(nemesis.rng.choice(others))
    cut(nemesis, between([leader.node_id], others), seconds)


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
    moment = _moment(nemesis) * nemesis.rng.choice((2, 5, 20))

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
    cut(nemesis, between(stranded, [node for node in others if node not in stranded]), seconds)
    if nemesis.rng.random() < 0.6:
        victim = nemesis.everyone[nemesis.rng.choice(stranded)]
        changes, power = nemesis.rng.randint(0, 25), nemesis.rng.random() < 0.7
        nemesis.later(seconds, lambda: victim.kill_after(changes, power=power))
    return f"leader {leader.node_id} with {stranded[1:]} for {seconds:.3f} s"


def _half_told(nemesis: Nemesis) -> str:
    """For a while, whoever becomes the leader tells one follower, and only a little: old entries, not its own first."""
    period = nemesis.election_seconds * nemesis.rng.uniform(4, 10)
    moment = _moment(nemesis) * nemesis.rng.choice((2, 4, 8))

    def cut_most(leader: Host) -> None:
        others = [node for node in nemesis.hosts if node != leader.node_id]
        nemesis.rng.shuffle(others)
        told = others[: nemesis.rng.choice((0, 1, 1, 2))]
        seconds = nemesis.election_seconds * nemesis.rng.uniform(0.5, 2)
        cut(nemesis, between([leader.node_id], [node for node in others if node not in told]), seconds)
        leader.disk.stalled_until = nemesis.scheduler.now + nemesis.rng.choice((0.0, seconds))
        if nemesis.rng.random() < 0.5:
            nemesis.later(nemesis.rng.random() * moment, lambda: leader.kill(power=nemesis.rng.random() < 0.5))

    nemesis.coup = cut_most

    def end() -> None:
        nemesis.coup = None

    nemesis.later(period, end)
    return f"for {period:.3f} s"


def _figure_8(nemesis: Nemesis) -> str | None:
    """Raft's figure 8: a leader whose last entries few have is back in office; a rival has others in their places.

    The rival was cut off as soon as it was elected. Whose entries stay is decided once it is back, too.
    """
    leader = nemesis.leader()
    if leader is None or leader.node_id not in nemesis.hosts or nemesis.coup is not None:
        return None
    others = [node for node in nemesis.hosts if node != leader.node_id]
    nemesis.rng.shuffle(others)
    kept = others[: nemesis.rng.randint(0, (len(others) - 1) // 2)]
    rest = [node for node in others if node not in kept]
    election, moment = nemesis.election_seconds, _moment(nemesis)
    mend_first = cut(nemesis, between([leader.node_id, *kept], rest), election * 6)

    def rival_is_elected(rival: Host) -> None:
        if rival.node_id not in rest:
            return
        everyone_else = [node for node in nemesis.hosts if node != rival.node_id]
        mend_rival = cut(nemesis, between([rival.node_id], everyone_else), election * 8)
        # The rival takes proposals for as long as it has not noticed.
        nemesis.later(election * nemesis.rng.uniform(0.3, 1.0), mend_first)
        nemesis.coup = lambda first: first_is_back(first, mend_rival) if first is not rival else None

    def first_is_back(first: Host, mend_rival: Callable[[], None]) -> None:
        nemesis.coup = None
        after = nemesis.rng.random() * moment * nemesis.rng.choice((2, 5, 20))
        if nemesis.rng.random() < 0.6:
            nemesis.later(after, lambda: first.kill(power=nemesis.rng.random() < 0.3))
        nemesis.later(after + election * nemesis.rng.choice((0.0, 0.5)) * nemesis.rng.random(), mend_rival)

    def end() -> None:
        nemesis.coup = None

    nemesis.coup = rival_is_elected
    nemesis.later(election * 8, end)
    return f"leader {leader.node_id} with {kept}, its rival is one of {rest}"


def _cut_off_heir(nemesis: Nemesis) -> str | None:
    """The leader is asked to hand over, and from about then on hears of nobody: its lease must not be used any more."""
    leader = nemesis.leader()
    if leader is None or leader.node_id not in nemesis.hosts:
        return None
    others = [node for node in nemesis.hosts if node != leader.node_id]
    inward = [(other, leader.node_id) for other in others]
    pairs = inward if nemesis.rng.random() < 0.5 else between([leader.node_id], others)
    seconds = nemesis.election_seconds * nemesis.rng.uniform(0.8, 2.0)
    # It may have to wait until its heir has everything: for a way there and back, and for a disk.
    after = _moment(nemesis) * nemesis.rng.choice((0.1, 1, 3)) * nemesis.rng.random()
    ask_for_transfer(leader)
    nemesis.later(after, lambda: cut(nemesis, pairs, seconds))
    return f"leader {leader.node_id} hears of nobody {after:.4f} s after it was asked to hand over"


def _forgetful_followers(nemesis: Nemesis) -> str | None:
    """Those who keep a leader in office begin anew, and meet only those who did not hear of it for long.

    What they promised the leader, before they began anew, still counts: its lease rests upon it.
    """
    leader = nemesis.leader()
    if leader is None or leader.node_id not in nemesis.hosts:
        return None
    others = [node for node in nemesis.hosts if node != leader.node_id]
    nemesis.rng.shuffle(others)
    loyal, strangers = others[: len(nemesis.hosts) // 2], others[len(nemesis.hosts) // 2 :]
    election = nemesis.election_seconds
    after, seconds = election * nemesis.rng.uniform(1.0, 2.0), election * nemesis.rng.uniform(0.5, 1.5)
    cut(nemesis, between([leader.node_id], strangers), after + seconds)

    def begin_anew() -> None:
        cut(nemesis, between([leader.node_id], loyal), seconds)
        for node in loyal:
            nemesis.everyone[node].kill()
            nemesis.everyone[node].start()

    nemesis.later(after, begin_anew)
    return (
        f"{loyal} begin anew in {after:.3f} s, when {strangers} have not heard of leader {leader.node_id} for so long"
    )


def _late_word(nemesis: Nemesis) -> str | None:
    """A follower that could not hear its leader hears it again, and then what a rival of a later term had answered.

    Time alone ends what it promised the leader, no change of term.
    """
    leader = nemesis.leader()
    if leader is None or leader.node_id not in nemesis.hosts or len(nemesis.hosts) != 3:
        return None
    loyal, rival = nemesis.rng.sample([node for node in nemesis.hosts if node != leader.node_id], 2)
    election = nemesis.election_seconds
    silent, heard = election * nemesis.rng.uniform(0.1, 0.5), election * nemesis.rng.uniform(0.1, 0.4)
    cut(nemesis, between([leader.node_id], [rival]), election * 4)
    mend = cut(nemesis, between([leader.node_id], [loyal]), election * 4)
    until = nemesis.scheduler.now + election * 2

    def watch() -> None:
        process = nemesis.everyone[rival].process
        if process is not None and process.core is not None and process.core.role is Role.CANDIDATE:
            clog(nemesis, [nemesis.network.path(rival, loyal)], silent + heard)
            nemesis.later(silent, mend)
            nemesis.later(silent + heard, lambda: cut(nemesis, between([leader.node_id], [loyal]), election))
        elif nemesis.scheduler.now < until:
            nemesis.later(WATCH_SECONDS, watch)

    watch()
    return f"node {loyal} hears leader {leader.node_id} again {silent:.3f} s after node {rival} is a candidate"


def _late_votes(nemesis: Nemesis) -> str | None:
    """Requests for votes of the past arrive again, when no leader may be about."""
    leader = nemesis.leader()
    seconds = nemesis.election_seconds * nemesis.rng.uniform(0.5, 1.5)
    if leader is not None and nemesis.rng.random() < 0.7:
        others = [node for node in nemesis.hosts if node != leader.node_id]
        cut(nemesis, [(leader.node_id, other) for other in others], seconds)
    count = 0
    for source in nemesis.hosts.values():
        for target in nemesis.hosts.values():
            if source is not target and source.process is not None and target.process is not None:
                count += nemesis.network.replay_votes(source.process.transport, target.process.transport, seconds)
    return f"{count} requests within {seconds:.3f} s" if count else None


FAULTS = (
    Fault("leader roulette", _roulette, nodes_min=3, weight=1.5),
    Fault("coups", _coups, nodes_min=3, weight=1.5),
    Fault("stranded leader", _stranded, nodes_min=3, weight=1.5),
    Fault("half-told", _half_told, nodes_min=3),
    Fault("figure 8", _figure_8, nodes_min=3),
    Fault("heir cut off", _cut_off_heir, nodes_min=3),
    Fault("forgetful followers", _forgetful_followers, nodes_min=3),
    Fault("late word of a rival", _late_word, nodes_min=3),
    Fault("late requests for votes", _late_votes, nodes_min=2),
)
"""Kinds of faults."""
