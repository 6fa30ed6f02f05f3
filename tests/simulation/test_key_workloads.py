"""The judgement of the key-value workloads, shown histories that no correct cluster can have."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from quorate.kv.machine import MACHINE
from quorate.kv.transactions import Transaction, as_request
from quorate.machine.commands import Batch, Command, encode_batch
from quorate.raft.entry import Entry, EntryKind
from quorate.testing.simulation.clients import Ended, Operation
from quorate.testing.simulation.invariants import Violation
from quorate.testing.simulation.workloads import (
    KvExpiry,
    KvFlushes,
    KvLocks,
    KvRegisters,
    KvRevisions,
    KvTransfers,
)
from quorate.testing.simulation.workloads.keys import Glimpse, KeysWorkload, Replay
from quorate.testing.simulation.workloads.kv_transfers import ACCOUNTS, JOURNAL, LOOK

SECOND_US = 1_000_000


class Told:
    """A workload's history, with a log and a state that bear it out until a test says otherwise."""

    def __init__(self, kind: type[KeysWorkload]) -> None:
        self.workload = kind(Random(0))
        self.entries: list[Entry] = []
        self.numbers = 0

    def operation(self, kind: str, key: str, argument: Any = None, result: Any = None, client: int = 1) -> Operation:
        """One that ended well: the n-th lasts from n to n + 0.5."""
        self.numbers += 1
        began = float(self.numbers)
        operation = Operation(self.numbers, client, kind, key, argument, began, began + 0.5, Ended.OK, result)
        self.workload.history.append(operation)
        return operation

    def apply(self, name: str, *requests: list[bytes], at: float, request_id: str | None = None) -> None:
        """One more entry of the log, at so many seconds of its time."""
        body = msgspec.msgpack.encode([*requests, [b"INCR", b"times:" + name.encode()]])
        batch = Batch(int(at * SECOND_US), 0, [Command(MACHINE, body, request_id)])
        self.entries.append(Entry(len(self.entries) + 1, 1, EntryKind.COMMANDS, encode_batch(batch)))

    def write(
        self, kind: str, key: str, argument: Any, *requests: list[bytes], at: float | None = None, client: int = 1
    ) -> Operation:
        """A write, answered as the log has it. The n-th operation is applied at second n, unless told otherwise."""
        operation = self.operation(kind, key, argument, client=client)
        self.apply(operation.name, *requests, at=self.numbers if at is None else at)
        operation.result = Replay().run(self.entries).carried[operation.name].replies
        self.workload.writes.append(operation)
        return operation

    def read(self, kind: str, key: str, result: Any) -> Operation:
        return self.operation(kind, key, None, result)

    def judge(self, state: list[Entry] | None = None) -> None:
        machine = Replay().run(self.entries if state is None else state).machine
        known = SimpleNamespace(committed=self.entries)
        host = SimpleNamespace(node_id=1, invariants=SimpleNamespace(known=known))
        self.workload.check(SimpleNamespace(machines={MACHINE: machine}, host=host))  # type: ignore[arg-type]


def registers() -> Told:
    told = Told(KvRegisters)
    told.write("set", "x", b"1.1", [b"SET", b"x", b"1.1"])
    told.read("read", "x", b"1.1")
    told.write("swap", "x", b"1.3", [b"GETSET", b"x", b"1.3"])
    told.read("read here", "x", (2, 2 * SECOND_US, b"1.1"))
    told.write("increment", "hits", 3, [b"INCRBY", b"hits", b"3"])
    told.write("append", "text", b"1.6", [b"APPEND", b"text", b"1.6;"])
    told.read("text", "text", b"1.6;")
    told.write("take", "x", None, [b"GETDEL", b"x"])
    told.read("read", "x", None)
    return told


def test_what_the_log_bears_out_passes() -> None:
    registers().judge()


# -- what all of them must bear --------------------------------------------------------------------------


def test_a_write_that_is_not_in_the_log() -> None:
    told = registers()
    lost = told.operation("set", "y", b"1.10", [b"OK"])
    told.workload.writes.append(lost)
    with pytest.raises(Violation, match="acknowledged, and applied 0 times"):
        told.judge()


def test_a_write_that_is_there_twice() -> None:
    told = registers()
    told.apply("1.1", [b"SET", b"x", b"1.1"], at=20)
    with pytest.raises(Violation, match="applied 2 times"):
        told.judge()


def test_a_retry_is_no_second_time() -> None:
    told = Told(KvRegisters)
    told.write("set", "x", b"1.1", [b"SET", b"x", b"1.1"])
    for at in (20, 21):
        told.apply("another's", [b"INCR", b"hits"], at=at, request_id="the same")
    told.judge()


def test_a_write_that_was_said_not_to_be() -> None:
    told = registers()
    told.workload.writes[0].ended = Ended.NOT_APPLIED
    with pytest.raises(Violation, match="was applied all the same"):
        told.judge()


def test_another_answer_than_the_logs() -> None:
    told = registers()
    told.workload.writes[1].result = [b"1.7"]
    with pytest.raises(Violation, match="by the log it is"):
        told.judge()


def test_what_a_client_never_learned_is_taken_from_the_log() -> None:
    told = registers()
    unknown = told.workload.writes[1]
    unknown.ended, unknown.result = Ended.UNKNOWN, None
    told.judge()
    assert (unknown.ended, unknown.result) == (Ended.OK, [b"1.1"])


def test_another_state_than_the_logs() -> None:
    told = registers()
    with pytest.raises(Violation, match="another state than the log leads to"):
        told.judge(told.entries[:-1])


def test_a_log_in_another_order_than_that_of_the_clients() -> None:
    told = registers()
    first, second = told.workload.writes[0], told.workload.writes[2]
    first.invoked, first.completed = second.completed + 10, second.completed + 11
    with pytest.raises(Violation, match="stands before it in the log"):
        told.judge()


def test_a_strong_read_of_an_old_state() -> None:
    told = registers()
    told.workload.glimpses.append(Glimpse(1, 1, 2, 2 * SECOND_US, since=6.0))
    with pytest.raises(Violation, match="a strong read had to see revision"):
        told.judge()
    told.workload.glimpses[:] = [Glimpse(1, 1, 2, 2 * SECOND_US, since=None)]
    told.judge()


@pytest.mark.parametrize("later", [Glimpse(2, 1, 6, 8, None), Glimpse(2, 1, 7, 7, None)], ids=["revision", "time"])
def test_a_node_that_goes_back(later: Glimpse) -> None:
    told = registers()
    told.workload.glimpses += [Glimpse(2, 1, 7, 8, None), Glimpse(2, 2, 1, 1, None), later]
    with pytest.raises(Violation, match="a node went back"):
        told.judge()


# -- each of them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "key", "result", "words"),
    [
        ("read", "x", b"1.3", "not linearizable"),
        ("read here", "x", (2, 2 * SECOND_US, b"1.3"), "is not what the key held"),
        ("count", "hits", b"2", "not linearizable"),
        ("text", "text", b"1.5;1.6;", "not linearizable"),
    ],
)
def test_registers(kind: str, key: str, result: Any, words: str) -> None:
    told = registers()
    told.read(kind, key, result)
    with pytest.raises(Violation, match=words):
        told.judge()


def expiring() -> Told:
    """Set at second 1 for 4 seconds, prolonged at 2 until 10, for ever never."""
    told = Told(KvExpiry)
    told.write("put", "brief", (b"1.1", 4000), [b"SET", b"brief", b"1.1", b"PX", b"4000"])
    told.write("prolong", "brief", 8000, [b"PEXPIRE", b"brief", b"8000"])
    return told


@pytest.mark.parametrize(
    ("at", "value", "good"),
    [(3.0, b"1.1", True), (3.0, None, False), (9.9, b"1.1", True), (10.0, None, True), (10.0, b"1.1", False)],
)
def test_expiry(at: float, value: bytes | None, good: bool) -> None:
    for kind, words in (("read", "not linearizable"), ("read here", "is not what the key held")):
        told = expiring()
        told.read(kind, "brief", (4, int(at * SECOND_US), value))
        if good:
            told.judge()
        else:
            with pytest.raises(Violation, match=words):
                told.judge()


def test_expiry_behind_the_deadline_there_is_nothing_to_prolong() -> None:
    told = expiring()
    late = told.write("prolong", "brief", 8000, [b"PEXPIRE", b"brief", b"8000"], at=11)
    assert late.result == [0]
    told.judge()
    taken = told.write("take", "brief", None, [b"GETDEL", b"brief"], at=12)
    assert taken.result == [None]
    told.judge()


def test_flushes() -> None:
    told = Told(KvFlushes)
    told.write("set", "some", (("key:1", "key:2"), b"1.1"), [b"SET", b"key:1", b"1.1"], [b"SET", b"key:2", b"1.1"])
    told.write("flush", "all", None, [b"FLUSHALL"])
    told.read("read", "key:1", None)
    told.read("read here", "key:2", (5, 3 * SECOND_US, None))
    told.judge()
    told.read("read", "key:2", b"1.1")
    with pytest.raises(Violation, match="not linearizable"):
        told.judge()


def locked() -> tuple[Told, int]:
    """Client 1 takes the lock at second 1, for four seconds, and writes with its token."""
    told = Told(KvLocks)
    request = [b"QUORATE.LOCK", b"lock", b"client 1", b"4000"]
    (token,) = told.write("lock", "lock", 4000, request).result
    told.write("write", "lock", token, fenced(token))
    return told, token


def fenced(token: int) -> list[bytes]:
    return [b"QUORATE.FENCED", b"lock", b"%d" % token, b"RPUSH", b"written:lock", b"%d" % token]


def test_locks() -> None:
    told, token = locked()
    refused = told.write("lock", "lock", 100, [b"QUORATE.LOCK", b"lock", b"client 2", b"100"], client=2)
    assert refused.result == [None]
    again = told.write("lock", "lock", 4000, [b"QUORATE.LOCK", b"lock", b"client 1", b"4000"])
    assert again.result == [token]
    told.write("renew", "lock", (token, 1000), [b"QUORATE.RENEW", b"lock", b"%d" % token, b"1000"])
    (later,) = told.write("lock", "lock", 9000, [b"QUORATE.LOCK", b"lock", b"client 2", b"9000"], at=9, client=2).result
    assert later > token
    late = told.write("write", "lock", token, fenced(token), at=10)
    assert late.result[0].startswith("-FENCED")
    told.write("unlock", "lock", later, [b"QUORATE.UNLOCK", b"lock", b"%d" % later], at=11, client=2)
    told.read("look", "lock", [b"client 2", later, 8000])
    told.judge()


@pytest.mark.parametrize(
    ("kind", "client", "argument", "reply", "at"),
    [
        ("lock", 2, 100, 9, 3),
        ("lock", 1, 100, 9, 3),
        ("lock", 1, 100, None, 3),
        ("lock", 2, 100, None, 8),
        ("write", 1, 1, 2, 8),
        ("write", 1, 1, "-FENCED", 3),
        ("write", 2, 7, 2, 3),
        ("renew", 1, (1, 100), 1, 8),
        ("renew", 1, (1, 100), 0, 3),
        ("unlock", 2, 7, 1, 3),
    ],
)
def test_locks_that_answer_otherwise(kind: str, client: int, argument: Any, reply: Any, at: float) -> None:
    told, token = locked()
    assert token == 1
    request = [b"SET", b"other", b"1"]
    wrong = told.write(kind, "lock", argument, request, at=at, client=client)
    replay = Replay().run(told.entries)
    replay.carried[wrong.name].replies[0] = reply
    with pytest.raises(Violation, match=r"a lock answered|was written"):
        told.workload.judge(replay)


def test_locks_whose_tokens_do_not_grow() -> None:
    told, token = locked()
    later = told.write("lock", "lock", 100, [b"SET", b"other", b"1"], at=8, client=2)
    other = told.write("lock", "bolt", 100, [b"SET", b"other", b"1"], at=9, client=2)
    replay = Replay().run(told.entries)
    replay.carried[later.name].replies[0] = token + 5
    for reply, words in ((token + 4, "comes behind"), (token + 6, "")):
        replay.carried[other.name].replies[0] = reply
        if words:
            with pytest.raises(Violation, match=words):
                told.workload.judge(replay)
        else:
            told.workload.judge(replay)


def test_revisions() -> None:
    told = Told(KvRevisions)
    (first,) = told.write("replace", "one", (0, b"1.1"), [b"QUORATE.CAS", b"one", b"0", b"1.1"]).result
    told.read("look", "one", (b"1.1", first))
    (none,) = told.write("replace", "one", (0, b"1.3"), [b"QUORATE.CAS", b"one", b"0", b"1.3"]).result
    assert none is None
    told.write("remove", "one", first, [b"QUORATE.CAD", b"one", b"%d" % first])
    told.read("look", "one", None)
    told.judge()
    told.read("look", "one", (b"1.1", first))
    with pytest.raises(Violation, match="not linearizable"):
        told.judge()


@pytest.mark.parametrize(
    ("expected", "reply", "good"), [(1, None, True), (3, 5, True), (1, 5, False), (3, None, False), (3, 2, False)]
)
def test_revisions_are_compared_and_grow(expected: int, reply: int | None, good: bool) -> None:
    told = Told(KvRevisions)
    told.operation("replace", "one", (0, b"first"), [1])
    told.operation("replace", "one", (1, b"second"), [3])
    told.operation("replace", "one", (expected, b"third"), [reply])
    if good:
        told.workload.judge(Replay())
    else:
        with pytest.raises(Violation, match="not linearizable"):
            told.workload.judge(Replay())


def transfers(*notes: bytes) -> Told:
    told = Told(KvTransfers)
    for note in notes:
        _, source, target, amount = note.split()
        requests = [[b"DECRBY", source, amount], [b"INCRBY", target, amount], [b"RPUSH", JOURNAL, note]]
        told.write("transfer", "", note, as_request(Transaction([], requests)))
    return told


def test_transfers() -> None:
    note = b"1.1 %s %s 7" % (ACCOUNTS[0], ACCOUNTS[1])
    told = transfers(note)
    told.read("look", "strong", [b"-7", b"7", None, None, [note]])
    told.read("look", "eventually", [None, None, None, None, []])
    told.write("audit", "log", None, as_request(Transaction([], list(LOOK))))
    told.judge()
    told.read("look", "eventually", [b"-7", None, None, None, [note]])
    with pytest.raises(Violation, match="the journal leads to"):
        told.judge()


def test_transfers_a_look_that_is_too_old() -> None:
    told = transfers(b"1.1 %s %s 7" % (ACCOUNTS[0], ACCOUNTS[1]))
    told.read("look", "strong", [None, None, None, None, []])
    with pytest.raises(Violation, match="not linearizable"):
        told.judge()
