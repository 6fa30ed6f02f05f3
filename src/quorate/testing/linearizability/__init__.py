"""Judges histories: whether what clients saw could have come from one correct object.

Record an :class:`Operation` for every request, say what the object is with a :class:`Model`, and :func:`check`::

    history = [
        Operation(0, Write("a"), None, invoked=1, returned=4, outcome=Outcome.OK),
        Operation(1, Read(), None, invoked=5, returned=6, outcome=Outcome.OK),
    ]
    result = check(history, Register())
    assert result.linearizable, result.explanation  # fails: a read after the write's answer must see it

Retried requests with one request id are one operation, from the first attempt's invocation to the last answer.
"""

from quorate.testing.linearizability.bank import Bank, Transfer
from quorate.testing.linearizability.checker import STEP_LIMIT, CheckResult, Verdict, check
from quorate.testing.linearizability.counter import Counter, Increment
from quorate.testing.linearizability.expiring import ExpiringRegister, Prolong, PutUntil, ReadAt, Take
from quorate.testing.linearizability.list_append import Append, ListAppend
from quorate.testing.linearizability.model import Model, Read
from quorate.testing.linearizability.operations import History, Operation, Outcome
from quorate.testing.linearizability.refusals import applied_though_refused
from quorate.testing.linearizability.register import CompareAndSet, Register, Write
from quorate.testing.linearizability.sessions import SessionViolation, monotonic_reads, read_your_writes
from quorate.testing.linearizability.unique_set import Contains, Delete, Insert, UniqueSet
from quorate.testing.linearizability.versioned import RemoveRevision, ReplaceRevision, VersionedRegister

__all__ = [
    "STEP_LIMIT",
    "Append",
    "Bank",
    "CheckResult",
    "CompareAndSet",
    "Contains",
    "Counter",
    "Delete",
    "ExpiringRegister",
    "History",
    "Increment",
    "Insert",
    "ListAppend",
    "Model",
    "Operation",
    "Outcome",
    "Prolong",
    "PutUntil",
    "Read",
    "ReadAt",
    "Register",
    "RemoveRevision",
    "ReplaceRevision",
    "SessionViolation",
    "Take",
    "Transfer",
    "UniqueSet",
    "Verdict",
    "VersionedRegister",
    "Write",
    "applied_though_refused",
    "check",
    "monotonic_reads",
    "read_your_writes",
]
