"""What the keyspace promises, after any sequence of changes."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from quorate.kv.deadlines import DEADLINE_BYTES
from quorate.kv.discarded import ELEMENTS_AT_ONCE, LARGE
from quorate.kv.keyspace import FLUSHED, ITEM_BYTES, Change, Item, Keyspace
from quorate.kv.slots import NOTHING
from quorate.kv.values import Hash, List, Set, SortedSet, Value, copy_of, size_of
from tests.kv.support import START_US, ask, database, run

KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
WORDS = st.binary(max_size=3)
LATER_US = st.integers(1, 50)
VALUES: st.SearchStrategy[Value] = st.one_of(
    WORDS,
    st.builds(Hash, st.lists(st.tuples(WORDS, WORDS), min_size=1)),
    st.builds(List, st.lists(WORDS, min_size=1)),
    st.builds(Set, st.lists(WORDS, min_size=1)),
    st.builds(SortedSet, st.lists(st.tuples(WORDS, st.floats(allow_nan=False)), min_size=1)),
)


class Changes(RuleBasedStateMachine):
    """Any changes; what is live, and until when, is kept beside in the simplest way."""

    @initialize()
    def start(self) -> None:
        self.db = database()
        self.until: dict[bytes, int] = {}
        self.db.on_change = lambda change: self.told.append(change)
        self.db.before_change = lambda _checksum, key, item: self.announced.append((key, item))
        self.told: list[Change] = []
        self.announced: list[tuple[bytes, Item | None]] = []
        self.dirty: set[bytes] = set()
        self.cleared = False
        self.revision = 0

    def live(self) -> set[bytes]:
        return {key for key, until in self.until.items() if not until or until > self.db.time_us}

    def changed(self, *keys: bytes) -> None:
        """Exactly these were changed, each at a revision of its own, and that was announced and told."""
        self.revision += len(keys)
        self.dirty.update(keys)
        assert self.db.revision == self.revision
        assert [key for key, _ in self.announced] == list(keys)
        assert {change[1] for change in self.told} == set(keys)
        assert {change[2] for change in self.told} == set(range(self.revision - len(keys) + 1, self.revision + 1))
        self.announced.clear()
        self.told.clear()

    @rule(key=KEYS, value=VALUES, later_us=st.none() | st.just(0) | LATER_US)
    def put(self, key: bytes, value: Value, later_us: int | None) -> None:
        kept = self.until[key] if key in self.live() else 0
        self.until[key] = kept if later_us is None else later_us and self.db.time_us + later_us
        self.db.put(key, copy_of(value), "set", expires_us=None if later_us is None else self.until[key])
        self.changed(key)
        assert self.db.items[key].revision == self.revision

    @rule(key=KEYS, element=WORDS)
    def push(self, key: bytes, element: bytes) -> None:
        if key in self.live() and not isinstance(self.db.items[key].value, List):
            return
        self.until[key] = self.until[key] if key in self.live() else 0
        self.db.edit_or_create(key, List).push(element, left=True)
        self.db.edited(key, "lpush")
        self.changed(key)

    @rule(key=KEYS)
    def pop(self, key: bytes) -> None:
        item = self.db.find(key)
        if item is not None and isinstance(item.value, List):
            value = self.db.edit(key, List)
            assert value is not None
            value.pop(left=False)
            if not len(value):
                del self.until[key]
            self.db.edited(key, "rpop")
            self.changed(key)

    @rule(key=KEYS, later_us=st.just(0) | LATER_US)
    def set_deadline(self, key: bytes, later_us: int) -> None:
        if key in self.live():
            self.until[key] = later_us and self.db.time_us + later_us
            self.db.set_deadline(key, self.until[key], "expire")
            self.changed(key)

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        assert self.db.delete(key) == (key in self.live())
        self.changed(*([key] if self.until.pop(key, None) is not None else []))

    @rule(later_us=LATER_US)
    def time_passes(self, later_us: int) -> None:
        self.db.time_us += later_us

    @rule()
    def sweep(self) -> None:
        over = sorted((until, key) for key, until in self.until.items() if key not in self.live())
        assert self.db.sweep() == len(over)
        self.changed(*(key for _, key in over))
        self.until = {key: self.until[key] for key in self.live()}

    @rule()
    def take_dirty(self) -> None:
        assert set(self.db.take_dirty()) == self.dirty
        self.dirty.clear()
        self.cleared = False

    @rule()
    def clear(self) -> None:
        before = self.db.items
        self.db.clear()
        if self.until:
            self.revision += 1
            assert self.told == [(FLUSHED, b"", self.revision, None)]
            assert set(before) == set(self.until)  # for a checkpoint that has begun
            self.until.clear()
            self.told.clear()
            self.dirty.clear()
            self.cleared = True
        assert (self.db.revision, self.db.memory_bytes, self.announced) == (self.revision, 0, [])

    @rule()
    def restart_from_a_snapshot(self) -> None:
        old, self.db = self.db, Keyspace()
        self.db.load((key, item.value, item.revision, item.expires_us) for key, item in old.items.items())
        assert (self.db.revision, len(self.db.dirty)) == (0, 0)
        assert self.db.memory_bytes == old.memory_bytes
        self.db.revision, self.db.time_us, self.db.dirty = old.revision, old.time_us, old.dirty
        self.db.on_change, self.db.before_change, self.db.cleared = old.on_change, old.before_change, old.cleared

    @invariant()
    def there_is_what_was_put(self) -> None:
        assert set(self.db.items) == set(self.until)
        assert {key for key, _ in self.db.live()} == self.live()
        assert {key: item.expires_us for key, item in self.db.items.items()} == self.until
        assert len(self.db) == len(self.until)
        assert (set(self.db.dirty), self.db.cleared) == (self.dirty, self.cleared)

    @invariant()
    def memory_is_what_the_values_take(self) -> None:
        for key, item in self.db.items.items():
            deadline = DEADLINE_BYTES + len(key) if item.expires_us else 0
            assert item.size == len(key) + ITEM_BYTES + size_of(item.value) + deadline
            assert size_of(item.value) == size_of(copy_of(item.value))
        assert self.db.memory_bytes == sum(item.size for _, item in self.db.items.items())

    @invariant()
    def the_next_deadline_is_the_first(self) -> None:
        assert self.db.with_deadline == sum(until > 0 for until in self.until.values())
        assert self.db.next_deadline_us == min((until for until in self.until.values() if until), default=0)

    @invariant()
    def all_keys_can_be_scanned(self) -> None:
        assert sorted(self.db.items.scan(0, 100)[1]) == sorted(self.until)


TestChanges = Changes.TestCase
TestChanges.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_deadlines_that_are_moved_again_and_again_take_no_memory() -> None:
    db = database()
    for number in range(2000):
        run(db, "SET", "k", "v", "PX", 1000 + number)
        run(db, "SET", f"gone{number}", "v", "PX", 1000)
        run(db, "DEL", f"gone{number}")
    assert len(db._deadlines) == db.with_deadline == 1
    assert ask(db, "QUORATE.SWEEP", START_US + 3000 * 1000) == 1
    assert db.next_deadline_us == 0


# -- what is thrown away ---------------------------------------------------------------------------------


def free(db: Keyspace) -> int:
    """Free what is discarded; returns in how many steps."""
    return sum(1 for _ in db.discarded.free())


@pytest.mark.parametrize("throw_away", ["DEL big", "UNLINK big", "SET big x", "RENAME small big", "FLUSHALL"])
@pytest.mark.parametrize("fill", ["RPUSH big", "SADD big", "HSET big", "ZADD big"])
def test_what_is_large_is_not_freed_at_once(fill: str, throw_away: str) -> None:
    db = database()
    ask(db, f"{fill} {' '.join(map(str, range(6 * LARGE)))}")
    run(db, "SET", "small", "x")
    value = db.items[b"big"].value
    ask(db, throw_away)
    assert len(value) > LARGE
    assert len(db.discarded)
    assert free(db) >= len(value) // ELEMENTS_AT_ONCE
    assert (len(value), len(db.discarded), free(db)) == (0, 0, 0)


def test_what_has_another_name_now_stays() -> None:
    db = database()
    run(db, "RPUSH", "big", *range(2 * LARGE))
    ask(db, "RENAME big new")
    assert (free(db), ask(db, "LLEN new")) == (0, 2 * LARGE)


def test_keys_that_were_all_deleted_are_freed_slot_by_slot() -> None:
    db = database()
    for number in range(3000):
        run(db, "SET", number, "v", "EX", 100)
    table = db.items
    ask(db, "FLUSHDB")
    assert (len(table), len(db.discarded), len(db)) == (3000, 3 * 3000, 0)
    assert free(db) >= 20
    assert (len(table), len(db.discarded)) == (0, 0)


def test_what_is_in_the_slots_without_keys_takes_none() -> None:
    db = database()
    run(db, "SET", "one", "v")
    (slot,) = filter(None, db.items.slots)
    run(db, "DEL", "one")
    assert slot is not NOTHING
    assert all(each is NOTHING for each in db.items.slots)
    with pytest.raises(TypeError):
        NOTHING[b"one"] = Item(b"v")
