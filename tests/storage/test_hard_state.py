"""Term and vote survive together, and an older vote never comes back."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.errors import CorruptLog
from quorate.raft.output import HardState
from quorate.storage import MemoryFileSystem
from quorate.storage.filesystem import read_bytes
from quorate.storage.hard_state import HardStateFile

from .support import LOG, disk

PATH = LOG.parent / "hard_state"
numbers = st.integers(0, 2**64 - 1)


def load(fs: MemoryFileSystem, path: Path = PATH) -> HardState:
    file = HardStateFile(fs, path)
    file.close()
    return file.state


def saved(*states: HardState) -> bytes:
    """The file's content after these were saved one after the other."""
    fs = disk()
    file = HardStateFile(fs, PATH)
    for state in states:
        file.save(state)
    return read_bytes(fs, PATH)


def test_a_missing_file_is_a_node_that_never_voted() -> None:
    assert load(disk()) == HardState(0, None)


@given(numbers, st.none() | numbers)
def test_what_was_saved_is_loaded_after_power_loss(term: int, voted_for: int | None) -> None:
    fs = disk()
    file = HardStateFile(fs, PATH)
    file.save(HardState(1, 1))
    file.save(HardState(term, voted_for))
    fs.crash()
    assert load(fs) == HardState(term, voted_for)


def test_no_vote_is_not_a_vote_for_node_zero() -> None:
    fs = disk({PATH: saved(HardState(5, None))})
    assert load(fs).voted_for is None
    fs = disk({PATH: saved(HardState(5, 0))})
    assert load(fs).voted_for == 0


def test_no_bit_flip_loses_the_latest_vote() -> None:
    data = saved(HardState(7, 1), HardState(7, 2), HardState(8, 3))
    for place in range(8 * len(data)):
        if data[place // 8] or place % 509 == 0:  # of the zeros between the copies, some will do
            fs = disk({PATH: data})
            fs.flip_bit(PATH, place // 8, place % 8)
            assert load(fs) == HardState(8, 3)


def test_a_damaged_copy_is_made_good_before_the_other_is_written_again() -> None:
    data = saved(HardState(7, 1))
    for damaged in (0, 4096):
        fs = disk({PATH: data})
        fs.flip_bit(PATH, damaged + 20, 0)
        file = HardStateFile(fs, PATH)
        file.close()
        fs.flip_bit(PATH, (4096 - damaged) + 20, 0)
        assert load(fs) == HardState(7, 1)


@pytest.mark.parametrize("data", [b"", b"\0" * 8192, b"nonsense"])
def test_a_file_without_a_readable_copy_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptLog, match="could vote twice"):
        load(disk({PATH: data}))


def test_two_damaged_copies_are_refused() -> None:
    fs = disk({PATH: saved(HardState(7, 1))})
    fs.flip_bit(PATH, 3, 3)
    fs.flip_bit(PATH, 4096 + 3, 3)
    with pytest.raises(CorruptLog):
        load(fs)


@pytest.mark.parametrize("seed", range(20))
def test_power_may_be_lost_at_any_point_of_a_save(seed: int) -> None:
    rng = Random(seed)
    states = [HardState(term, term % 3) for term in range(1, 4)]
    changes = 0
    finished = False
    while not finished:
        fs = disk()
        fs.lose_power_after(changes)
        done = [HardState()]
        try:
            file = HardStateFile(fs, PATH)
            for state in states:
                file.save(state)
                done.append(state)
            finished = True
        except OSError:
            pass
        fs.crash(rng)
        fs.lose_power_after(rng.randint(0, 5))
        try:
            HardStateFile(fs, PATH)
        except OSError:
            pass
        fs.crash(rng)
        assert load(fs) in (done[-1], *states[len(done) - 1 : len(done)])
        changes += 1
    assert changes > 12


def test_what_was_loaded_is_durable_even_if_the_last_process_never_synced_it() -> None:
    fs = disk()
    file = HardStateFile(fs, PATH)
    file.save(HardState(1, 1))
    fs.fail_next_sync(path=PATH)
    with pytest.raises(OSError):
        file.save(HardState(2, 2))
    fs.kill()
    assert load(fs) == HardState(2, 2)
    fs.crash()
    assert load(fs) == HardState(2, 2)
