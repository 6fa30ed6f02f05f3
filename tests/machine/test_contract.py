"""Ids and time come from the log alone: equal on every node, increasing along it."""

from __future__ import annotations

from datetime import UTC, datetime

from quorate.machine.contract import ApplyContext


def ids(time_us: int, position: int = 0, seed: int = 99, count: int = 3) -> list[str]:
    context = ApplyContext(1, 1, time_us, seed, position)
    return [str(context.uuid7()) for _ in range(count)]


def test_two_nodes_make_the_same_ids() -> None:
    assert ids(1_700_000_000_000_000) == ids(1_700_000_000_000_000)


def test_ids_increase_along_the_log() -> None:
    made = [
        made
        for time_us in (1_700_000_000_000_000, 1_700_000_000_000_001, 1_700_000_000_001_000)
        for position in (0, 1, 255)
        for made in ids(time_us, position, seed=time_us * position)
    ]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_are_uuids_of_version_7_with_the_time_in_front() -> None:
    made = ApplyContext(1, 1, 1_700_000_000_123_456, seed=5).uuid7()
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == 1_700_000_000_123


def test_the_time_is_an_aware_datetime() -> None:
    assert ApplyContext(1, 1, 1_000_001).time == datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC)
