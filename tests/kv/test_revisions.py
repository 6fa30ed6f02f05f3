"""Compare-and-set: a revision says what was seen, and never comes again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quorate.kv.replies import NULL_ARRAY
from quorate.kv.values import Lease
from tests.kv.routers import apply, copied, opened, settle
from tests.kv.support import SECOND_US, START_US, ask, database, events, run


def test_a_value_comes_with_its_revision() -> None:
    db = database()
    assert ask(db, "QUORATE.GET a") is NULL_ARRAY
    ask(db, "SET a 1")
    ask(db, "SET b 1")
    ask(db, "HSET h f 1")
    assert ask(db, "QUORATE.GET a") == [b"1", 1]
    assert ask(db, "QUORATE.GET h") == "WRONGTYPE Operation against a key holding the wrong kind of value"
    assert ask(db, "QUORATE.REVISION a b h none a") == [1, 2, 3, 0, 1]


def test_any_change_of_a_key_changes_its_revision_and_that_of_no_other() -> None:
    db = database()
    ask(db, "SET other 1")
    seen: set[Any] = {0}
    for line in ("SADD k a", "SADD k b", "EXPIRE k 10", "PERSIST k", "SREM k a", "DEL k", "SET k 1", "APPEND k 2"):
        ask(db, line)
        revision = ask(db, "QUORATE.REVISION k")[0]
        assert (revision in seen) == (line == "DEL k")
        seen.add(revision)
    assert ask(db, "QUORATE.REVISION other") == [1]


def test_cas_sets_what_is_as_it_was_seen() -> None:
    db = database()
    told = events(db)
    assert ask(db, "QUORATE.CAS k 0 one") == 1
    assert ask(db, "QUORATE.CAS k 0 two") is None
    assert ask(db, "QUORATE.CAS k 1 two") == 2
    assert ask(db, "QUORATE.CAS k 1 three") is None
    assert ask(db, "QUORATE.CAS none 7 x") is None
    assert ask(db, "QUORATE.GET k") == [b"two", 2]
    ask(db, "DEL k")
    assert ask(db, "QUORATE.CAS k 2 three") is None
    assert ask(db, "QUORATE.CAS k 0 three") == 4
    assert told == [("set", b"k"), ("set", b"k"), ("del", b"k"), ("set", b"k")]


def test_a_key_whose_time_is_over_has_no_revision_before_it_is_swept() -> None:
    db = database()
    assert ask(db, "QUORATE.CAS k 0 x PX 10") == 1
    assert ask(db, "QUORATE.CAS k 1 y", START_US + 10_000) is None
    assert ask(db, "QUORATE.REVISION k") == [0]
    assert ask(db, "QUORATE.CAS k 0 y") == 2


@pytest.mark.parametrize(
    ("options", "expires_us"),
    [
        ("", 0),
        ("PX 1500", START_US + 1_500_000),
        ("ex 2", START_US + 2 * SECOND_US),
        ("PXAT 1800000000500", 1_800_000_000_500_000),
        ("EXAT 1800000000", 1_800_000_000_000_000),
        ("KEEPTTL", START_US + 100 * SECOND_US),
        ("LEASE l KEEPTTL", START_US + 100 * SECOND_US),
        ("PX 1500 LEASE l", START_US + 1_500_000),
    ],
)
def test_cas_takes_the_deadlines_of_set(options: str, expires_us: int) -> None:
    db = database()
    ask(db, "QUORATE.LEASE GRANT l 5000")
    ask(db, "SET k 1 EX 100")
    assert ask(db, f"QUORATE.CAS k 2 v {options}") == 3
    assert db.items[b"k"].expires_us == expires_us
    lease = db.items[b"l"].value
    assert isinstance(lease, Lease)
    assert lease.keys == ({b"k": 3} if "LEASE" in options else {})


def test_a_deadline_that_has_passed_leaves_nothing_there_and_nothing_in_the_lease() -> None:
    db = database()
    ask(db, "QUORATE.LEASE GRANT l 5000")
    assert ask(db, "QUORATE.CAS k 0 v EXAT 5 LEASE l") == 0
    assert ask(db, "QUORATE.LEASED l") == [5000, 5000, []]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("QUORATE.CAS k", "ERR wrong number of arguments for 'quorate.cas' command"),
        ("QUORATE.CAS k x v", "ERR a revision is an integer, 0 or more"),
        ("QUORATE.CAS k -1 v", "ERR a revision is an integer, 0 or more"),
        ("QUORATE.CAS k 0 v NX", "ERR syntax error"),
        ("QUORATE.CAS k 0 v PX", "ERR syntax error"),
        ("QUORATE.CAS k 0 v PX 1 KEEPTTL", "ERR syntax error"),
        ("QUORATE.CAS k 0 v KEEPTTL EX 1", "ERR syntax error"),
        ("QUORATE.CAS k 0 v LEASE", "ERR syntax error"),
        ("QUORATE.CAS k 0 v LEASE l LEASE m", "ERR syntax error"),
        ("QUORATE.CAS k 0 v PX 0", "ERR invalid expire time in 'quorate.cas' command"),
        ("QUORATE.CAS k 0 v LEASE none", "NOLEASE there is no such lease, or its time is over"),
        ("QUORATE.CAS k 0 v LEASE text", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("QUORATE.CAS set 2 v", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("QUORATE.CAD k x", "ERR a revision is an integer, 0 or more"),
        ("QUORATE.CAD k 1 1", "ERR wrong number of arguments for 'quorate.cad' command"),
    ],
)
def test_bad_requests_change_nothing(line: str, error: str) -> None:
    db = database()
    ask(db, "SET text x")
    ask(db, "SADD set x")
    assert ask(db, line) == error


def test_cad_deletes_any_type_that_is_as_it_was_seen() -> None:
    db = database()
    ask(db, "HSET h f 1")
    ask(db, "HSET h f 2")
    assert ask(db, "QUORATE.CAD h 1") == 0
    assert ask(db, "QUORATE.CAD none 0") == 0
    assert ask(db, "QUORATE.CAD h 2") == 1
    assert ask(db, "EXISTS h") == 0


def test_revisions_never_go_back_over_flushdb_a_restart_or_a_snapshot(tmp_path: Path) -> None:
    with opened(tmp_path / "one") as router:
        (first,) = apply(router, "QUORATE.CAS k 0 x")
        flushed, second = apply(router, "FLUSHALL", "QUORATE.CAS k 0 x")
        assert (flushed, second > first) == (b"OK", True)
        apply(router, "DEL k")
        settle(router)
    with opened(tmp_path / "one") as router:
        (third,) = apply(router, "QUORATE.CAS k 0 x")
        assert third > second + 1
        apply(router, "FLUSHALL")
        machines = copied(router, tmp_path / "other")
        with opened(tmp_path / "other", machines) as other:
            (there,), (here,) = apply(other, "QUORATE.CAS k 0 x"), apply(router, "QUORATE.CAS k 0 x")
            assert there == here > third + 1
            assert other.digest() == router.digest()


def test_keys_and_values_are_any_bytes() -> None:
    db = database()
    assert run(db, "QUORATE.CAS", b"\x00\xff", 0, b"\xff\x00") == 1
    assert run(db, "QUORATE.GET", b"\x00\xff") == [b"\xff\x00", 1]
