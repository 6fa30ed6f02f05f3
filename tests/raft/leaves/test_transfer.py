"""When the target is asked, when the leader gives up, and who is fittest."""

from __future__ import annotations

from quorate.raft.config import CoreConfig
from quorate.raft.inflights import Inflights
from quorate.raft.membership import Configuration
from quorate.raft.progress import Progress
from quorate.raft.transfer import Transfer, best_successor
from tests.raft.server import members

CONFIG = CoreConfig(node_id=1)


def matched(index: int) -> Progress:
    progress = Progress(1, 1, Inflights(1, 1))
    progress.matched(index)
    return progress


def test_the_target_is_asked_once_it_has_everything_and_again_after_an_interval() -> None:
    transfer = Transfer(2, CONFIG)
    assert not transfer.may_ask(matched(8), 9)
    assert transfer.may_ask(matched(9), 9)
    assert not transfer.may_ask(matched(9), 9)
    transfer.tick(CONFIG.heartbeat_ticks - 1)
    assert not transfer.may_ask(matched(9), 9)
    transfer.tick(1)
    assert transfer.may_ask(matched(9), 9)


def test_the_leader_gives_up_after_an_election_timeout() -> None:
    transfer = Transfer(2, CONFIG)
    assert not transfer.tick(CONFIG.election_ticks_max - 1)
    assert transfer.tick(1)


def test_the_fittest_has_the_highest_priority_then_the_longest_log_then_the_lowest_id() -> None:
    peers = {2: matched(5), 3: matched(7), 4: matched(7)}
    assert best_successor(peers, Configuration.of((1, 2, 3, 4))) == 3
    assert best_successor(peers, Configuration(tuple(members((1, 2, 3, 4), priorities={2: 2})))) == 2


def test_who_cannot_lead_or_cannot_be_reached_is_not_fit() -> None:
    configuration = Configuration(tuple(members((1, 2), learners=(3,), witnesses=(4,))))
    assert best_successor({node: matched(9) for node in (3, 4)}, configuration) is None
    for spoil in ("repairing", "silent", "probing", "in need of a snapshot"):
        peers = {2: matched(9)}
        if spoil == "repairing":
            peers[2].repairing = True
        elif spoil == "silent":
            peers[2].active = peers[2].was_active = False
        elif spoil == "probing":
            peers[2].probe_from(1)
        else:
            peers[2].wait_for_snapshot()
        assert best_successor(peers, configuration) is None, spoil


def test_who_leaves_is_not_fit() -> None:
    joint = Configuration.of((1, 3), outgoing=(1, 2))
    assert best_successor({2: matched(9), 3: matched(1)}, joint) == 3
