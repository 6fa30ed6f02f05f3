"""What a leader knows of one peer."""

from __future__ import annotations

from quorate.raft.inflights import Inflights
from quorate.raft.progress import Progress, ProgressState


def progress(next_index: int = 10, window: int = 2) -> Progress:
    return Progress(1, next_index, Inflights(window, 1000))


def test_probing_sends_one_message_and_waits() -> None:
    peer = progress()
    assert not peer.paused
    peer.sent(12, 30)
    assert peer.paused
    assert peer.next == 10, "a probe is not taken for received"


def test_the_first_match_opens_the_window() -> None:
    peer = progress()
    peer.sent(12, 30)
    peer.matched(12)
    assert (peer.state, peer.match, peer.next, peer.paused) == (ProgressState.REPLICATE, 12, 13, False)


def test_replicating_sends_ahead_until_the_window_is_full() -> None:
    peer = progress()
    peer.matched(9)
    peer.sent(10, 5)
    assert (peer.next, peer.paused) == (11, False)
    peer.sent(11, 5)
    assert (peer.next, peer.paused) == (12, True)
    peer.matched(10)
    assert not peer.paused


def test_an_older_acknowledgement_takes_nothing_back() -> None:
    peer = progress()
    peer.matched(9)
    peer.sent(12, 5)
    peer.matched(12)
    peer.matched(10)
    assert (peer.match, peer.next) == (12, 13)


def test_an_acknowledgement_beyond_what_was_sent_moves_on() -> None:
    peer = progress()
    peer.matched(9)
    peer.matched(20)
    assert (peer.match, peer.next) == (20, 21)


def test_probing_never_goes_below_what_is_known_to_match() -> None:
    peer = progress()
    peer.matched(9)
    peer.sent(15, 5)
    peer.probe_from(3)
    assert (peer.state, peer.next, len(peer.inflights), peer.paused) == (ProgressState.PROBE, 10, 0, False)


def test_only_a_rejection_of_the_last_probe_counts_while_probing() -> None:
    peer = progress()
    assert peer.answers_current_send(9)
    assert not peer.answers_current_send(8)
    assert not peer.answers_current_send(10)


def test_a_rejection_behind_the_match_is_of_the_past() -> None:
    peer = progress()
    peer.matched(9)
    peer.sent(15, 5)
    assert not peer.answers_current_send(9)
    assert peer.answers_current_send(12)


def test_nothing_is_sent_while_a_snapshot_is_on_its_way() -> None:
    peer = progress()
    peer.matched(5)
    peer.sent(8, 5)
    peer.recheck = True
    peer.wait_for_snapshot()
    assert (peer.state, peer.paused, peer.recheck, len(peer.inflights)) == (ProgressState.SNAPSHOT, True, False, 0)
    assert not peer.answers_current_send(7)


def test_a_match_behind_the_floor_ends_the_wait_for_a_snapshot_and_one_before_it_does_not() -> None:
    peer = progress()
    peer.wait_for_snapshot()
    peer.matched(19, floor=20)
    assert (peer.state, peer.match) == (ProgressState.SNAPSHOT, 19)
    peer.matched(20, floor=20)
    assert (peer.state, peer.next, peer.paused) == (ProgressState.REPLICATE, 21, False)


def test_after_a_snapshot_the_peer_is_probed_behind_what_it_has() -> None:
    peer = progress()
    peer.matched(5)
    peer.wait_for_snapshot()
    peer.probe_from(peer.match + 1)
    assert (peer.state, peer.next, peer.paused) == (ProgressState.PROBE, 6, False)
