"""The trial of requests before they are carried out: it foresees each reply, or refuses, and changes nothing."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from quorate.errors import CommandFailed
from quorate.kv import trial
from quorate.kv.codec import to_portable
from quorate.kv.keyspace import Keyspace
from quorate.kv.machine import KvMachine
from quorate.kv.registry import COMMANDS, Arguments
from quorate.kv.replies import CommandError, Reply
from quorate.kv.transactions import EXEC, Transaction, as_request, revision_of
from quorate.kv.trial import KeysRefused, Trial, WatchedChanged
from quorate.machine.contract import ApplyContext
from tests.kv.random_commands import ALL_KEYS, random_command
from tests.kv.support import SECOND_US, START_US, ask, database
from tests.kv.test_determinism import contents, restored

Request = list[bytes]


def request(line: str) -> Request:
    return [word.encode() for word in line.split()]


def machine_with(*lines: str) -> KvMachine:
    machine = KvMachine()
    machine.keyspace = database()
    for line in lines:
        assert not isinstance(ask(machine.keyspace, line), str), line
    return machine


def check(machine: KvMachine, *requests: Request) -> None:
    before = contents(machine.keyspace), machine.keyspace.revision, machine.keyspace.time_us
    try:
        machine.check(msgspec.msgpack.encode(requests), context())
    finally:
        assert before == (contents(machine.keyspace), machine.keyspace.revision, machine.keyspace.time_us)


def refused(machine: KvMachine, *requests: Request) -> KeysRefused:
    with pytest.raises(KeysRefused) as raised:
        check(machine, *requests)
    return raised.value


def context(time_us: int = START_US + 1, seed: int = 1) -> ApplyContext:
    return ApplyContext(1, 1, time_us, seed)


def transaction(*lines: str, watched: dict[bytes, int] | None = None) -> Request:
    return as_request(Transaction(list((watched or {}).items()), [request(line) for line in lines]))


# -- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("GET string", None),
        ("SET new x NX", None),
        ("SET string x NX", None),
        ("QUORATE.CAS string 0 x", None),
        ("QUORATE.FENCED lock 5 SET a b", None),
        ("DEL lock", None),
        ("QUORATE.FENCED lock 7 SET a b", "FENCED the lock is not held"),
        ("QUORATE.FENCED lock 5 HSET string f v", "WRONGTYPE"),
        ("QUORATE.FENCED lock 5 FLUSHALL", "no part of a joint command"),
        ("HSET string f v", "WRONGTYPE"),
        ("SET lock x", "WRONGTYPE"),
        ("INCR string", "ERR value is not an integer"),
        ("RENAME nothing new", "ERR no such key"),
        ("GET", "ERR wrong number of arguments"),
        ("SET a b XX NX", "ERR syntax error"),
        ("NONSENSE a", "ERR unknown command"),
        ("FLUSHALL", "no part of a joint command"),
        ("PUBLISH a b", "no part of a joint command"),
        ("BLPOP list 0", "no part of a joint command"),
        ("SORT list STORE other", "no part of a joint command"),
        ("DBSIZE", "no part of a joint command"),
        ("QUORATE.SWEEP", "no part of a joint command"),
        ("QUORATE.LEASE KEEPALIVE lease", "no part of a joint command"),
        ("QUORATE.CAS new 0 x LEASE lease", "no part of a joint command"),
        ("DEL lease", "a lease"),
    ],
)
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a transaction"])
def test_what_is_refused(line: str, says: str | None, inside: bool) -> None:
    machine = machine_with(
        "SET string x", "RPUSH list 2 1", "SET a b", "QUORATE.LEASE GRANT lease 9000", "QUORATE.LOCK lock me 9000"
    )
    assert ask(machine.keyspace, "QUORATE.LOCKED lock") == [b"me", 5, 9000]
    requests = [transaction("SET first x", line)] if inside else [request("SET first x"), request(line)]
    if says is None:
        check(machine, *requests)
    else:
        refusal = refused(machine, *requests)
        assert says in refusal.line
        assert refusal.number == (0 if "lease" in says else 1)
        assert refusal.line in str(refusal)


def test_what_earlier_requests_did_counts() -> None:
    machine = machine_with()
    check(machine, request("RPUSH a 1"), request("LSET a 0 2"))
    assert refused(machine, request("RPUSH a 1"), transaction("DEL a", "SET a x"), request("LSET a 0 2")).number == 3


def test_a_transaction_whose_watched_key_has_changed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "BYTES_MAX", 1000)
    machine = machine_with("SET k x", "SET large " + "x" * 2000)
    revision = revision_of(machine.keyspace, b"large")
    for watched in ({b"k": 1, b"large": revision}, {b"gone": 0}):
        check(machine, transaction("SET a 1", watched=watched))
    for watched in ({b"k": 2}, {b"large": revision + 1}, {b"gone": 1}):
        refusal = refused(machine, request("SET b 1"), transaction("SET a 1", watched=watched))
        assert (type(refusal), refusal.number) == (WatchedChanged, 1)
    refused(machine, request("SET k y"), transaction("SET a 1", watched={b"k": 1}))


def test_a_transaction_inside_a_transaction_is_refused() -> None:
    inner = [EXEC, msgspec.msgpack.encode(Transaction([], []))]
    assert "no part" in refused(machine_with(), as_request(Transaction([], [inner]))).line


def test_what_takes_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, bound in {"REQUESTS_MAX": 10, "KEYS_MAX": 20, "BYTES_MAX": 5_000}.items():
        monkeypatch.setattr(trial, name, bound)
    machine = machine_with("SET large " + "x" * 3000, "SET second " + "x" * 3000)
    check(machine, *[request("SET a x")] * 5, transaction(*["SET b x"] * 5))
    assert "10 requests" in refused(machine, *[request("SET a x")] * 5, transaction(*["SET b x"] * 6)).line
    check(machine, request("MGET " + " ".join(map(str, range(20)))))
    assert "20 keys" in refused(machine, request("MGET " + " ".join(map(str, range(21))))).line
    check(machine, request("GET large"), request("GET large"))
    assert "5000 bytes" in refused(machine, request("GET large"), request("GET second")).line
    check(machine, request("APPEND large x"))
    assert "copies" in refused(machine, *[request("APPEND large x")] * 2).line
    assert "copies" in refused(machine, request("SETRANGE small 9000 x")).line


def test_what_cannot_be_read_is_refused_by_the_reader() -> None:
    with pytest.raises(msgspec.MsgspecError):
        KvMachine().check(b"rubbish", context())


def test_a_refusal_is_plain_data() -> None:
    refusal: CommandFailed = WatchedChanged(3, "x")
    assert type(refusal)(*refusal.args).args == (3, "x")


# -- what is foreseen ------------------------------------------------------------------------------------

COORDINATION = """
SET s1 x PX 700
HSET h1 f v
PEXPIRE s2 500
PEXPIRE l1 500
PERSIST s1
QUORATE.LOCK s3 me 900
QUORATE.LOCK s3 you 900
QUORATE.RENEW s3 12 900
QUORATE.UNLOCK s3 12
QUORATE.FENCED s3 12 SET s1 x
QUORATE.CAS s1 0 x
QUORATE.CAS s2 30 x PX 300
QUORATE.CAD s1 31
QUORATE.GET s1
QUORATE.LEASE GRANT t3 800
QUORATE.LEASE ATTACH t3 s1 h1
SPOP t1 2
DEL t3
""".strip().splitlines()


def any_request(random: Random) -> Request:
    return random_command(random) if random.random() < 0.7 else request(random.choice(COORDINATION))


def any_requests(random: Random, db: Keyspace) -> list[Request]:
    plain = [any_request(random) for _ in range(random.choice([1, 1, 2, 3, 6]))]
    plain = [each for each in plain if not is_wrong(each)] or [request("SET s1 x")]
    if random.random() < 0.5:
        return plain
    keys = random.sample(ALL_KEYS, random.choice([0, 1, 2]))
    watched = [(key, revision_of(db, key) + (random.random() < 0.1)) for key in keys]
    return [*plain[:1], as_request(Transaction(watched, plain[1:]))]


def is_wrong(command: Request) -> bool:
    """Whether its arguments alone tell: such a request gets into no transaction."""
    try:
        COMMANDS[command[0]].check_arguments(command)
    except CommandError:
        return True
    return False


class Recorder:
    """Carries out requests as the machine does, and remembers the replies."""

    def __init__(self) -> None:
        self.replies: list[Any] = []
        self._machine = KvMachine()

    def answer(self, keyspace: Keyspace, arguments: Arguments, context: ApplyContext) -> Reply:
        reply = self._machine._answer(keyspace, arguments, context)
        self.replies.append(to_portable(reply))
        return reply

    def taken(self) -> list[Any]:
        replies, self.replies = self.replies, []
        return replies


def is_kind_of_limit(refusal: KeysRefused) -> bool:
    return "no part of a joint command" in refusal.line or "a lease" in refusal.line


@pytest.mark.parametrize("seed", range(6))
def test_each_reply_is_foreseen(seed: int) -> None:
    random = Random(seed)
    tried = Recorder()
    attempts = Trial(tried.answer)
    db = database()
    scratch: Keyspace | None = None
    foreseen = refusals = 0
    for number in range(300):
        at = context(START_US + number * SECOND_US // 5, number)
        for _ in range(3):
            db.time_us = at.time_us
            single = any_request(random)
            if single[0] not in (b"FLUSHALL", b"FLUSHDB") and not is_wrong(single):
                tried.answer(db, single, at)
        tried.taken()
        requests = any_requests(random, db)
        before = contents(db), db.revision
        refusal: KeysRefused | None = None
        try:
            attempts.check(db, requests, at)
        except KeysRefused as error:
            refusal = error
        expected = tried.taken()
        assert (contents(db), db.revision) == before
        if refusal is not None and is_kind_of_limit(refusal):
            continue
        real = restored(db)
        real.time_us = at.time_us
        real.random.seed(at.random_seed)
        for each in requests:
            tried.answer(real, each, at)
        replies = tried.taken()
        if refusal is None:
            foreseen += 1
            assert replies == expected, requests
            scratch = attempts._scratch if scratch is None else scratch
            assert scratch is not None
            assert attempts._scratch is scratch, "it could be emptied"
        else:
            refusals += 1
            assert replies[: len(expected)] == expected, requests
            assert expected, requests
    assert foreseen > 50
    assert refusals > 25
